//! The compiled route configuration: find the route of a request, or say why there is none.
//!
//! A table never changes; streams keep the one they were matched in. Lookup costs do not grow with the number of
//! virtual hosts or routes, and the result is always that of Envoy's rule: the most specific domain, then the
//! first route that matches.

use super::config::{BufferLimit, FilterOverride, FilterOverrides, Route, RouteConfig, RouteTree, TlsRequirement, VirtualCluster, VirtualHost};
use super::domains::{DomainMatch, Domains, Taken};
use super::index::PathIndex;
use super::action::{Action, ForwardExtras};
use super::matcher::{MatchCx, Mismatch, RequestParts, path_without_parameters};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::matching::tree::Facts;
use nuncio_core::metadata::Metadata;
use nuncio_core::rate_limit::RateLimitPolicy;
use nuncio_core::{ConfigError, FilterLevel, RouteId, RouteTableView, RouteView, StreamCx};
use std::{any::Any, borrow::Cow, ops::Range, rc::Rc, sync::Arc};

/// A compiled route configuration.
#[derive(Debug)]
pub struct RouteTable {
    /// What belongs to no virtual host; `virtual_hosts` is empty here.
    config: RouteConfig,
    hosts: Box<[HostEntry]>,
    domains: Domains,
}

/// A virtual host of a table.
#[derive(Debug)]
pub struct HostEntry {
    /// Its settings; `routes` is empty here.
    pub host: Arc<VirtualHost>,
    /// Its routes in their order.
    pub routes: Box<[RouteEntry]>,
    finder: Finder,
}

/// How the routes of a virtual host are found that may take a request.
#[derive(Debug)]
enum Finder {
    /// All are tried in turn.
    Scan,
    /// By their paths.
    Index(Box<PathIndex>),
    /// By `matcher`.
    Tree(Box<RouteTree>),
}

/// A route of a table, with what it inherits.
#[derive(Debug)]
pub struct RouteEntry {
    /// The route as configured.
    pub route: Route,
    /// The virtual host it belongs to.
    pub host: Arc<VirtualHost>,
    /// Filter settings of the route configuration.
    inherited: FilterOverrides,
    /// Some filter has settings at some level.
    configured: bool,
}

/// What a request was matched with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteMatch {
    /// Nothing: 404, `route_not_found`.
    None,
    /// A virtual host that wants TLS (`require_tls`): see [`super::tls_redirect`].
    RequireTls {
        /// Its index.
        virtual_host: u32,
    },
    /// A route.
    Route(RouteId),
}

impl RouteMatch {
    /// The route, if there is one.
    pub fn route(self) -> Option<RouteId> {
        match self {
            RouteMatch::Route(id) => Some(id),
            RouteMatch::None | RouteMatch::RequireTls { .. } => None,
        }
    }
}

/// How a request was matched, step by step.
#[derive(Debug)]
pub struct Explanation<'t> {
    /// The virtual host, and how its domain came to match; `None` if no domain does.
    pub virtual_host: Option<(u32, DomainMatch)>,
    /// The routes that were looked at, each with what kept it from matching. The last is the match if it has none.
    pub routes: Vec<(RouteId, Option<Mismatch<'t>>)>,
    /// The outcome.
    pub outcome: RouteMatch,
    /// Nothing was looked at: the request's `x-forwarded-proto` is empty.
    pub without_scheme: bool,
}

impl RouteTable {
    /// Compiles a configuration; all that is wrong with it is reported, with Envoy's sentences.
    pub fn compile(mut config: RouteConfig) -> Result<RouteTable, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let domains = index_domains(&config, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let hosts = std::mem::take(&mut config.virtual_hosts);
        let hosts = hosts.into_iter().map(|host| HostEntry::new(host, &config.filters)).collect();
        Ok(RouteTable { config, hosts, domains })
    }

    /// The table as streams of one worker keep it.
    pub fn pin(self: &Arc<Self>) -> Rc<PinnedTable> {
        Rc::new(PinnedTable(self.clone()))
    }

    /// Name of the route configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// What belongs to no virtual host; its `virtual_hosts` is empty.
    pub fn config(&self) -> &RouteConfig {
        &self.config
    }

    /// The virtual hosts in their order.
    pub fn hosts(&self) -> &[HostEntry] {
        &self.hosts
    }

    /// A route by its place.
    #[inline]
    pub fn get(&self, id: RouteId) -> Option<&RouteEntry> {
        self.hosts.get(id.virtual_host as usize)?.routes.get(id.route as usize)
    }

    /// The route of a request.
    #[inline]
    pub fn find(&self, head: &HeaderMap, cx: &MatchCx<'_>) -> RouteMatch {
        if is_without_scheme(head) {
            return RouteMatch::None;
        }
        let Some((virtual_host, _)) = self.host_of(head) else { return RouteMatch::None };
        let entry = &self.hosts[virtual_host as usize];
        if entry.wants_tls(head) {
            return RouteMatch::RequireTls { virtual_host };
        }
        let bare = self.bare_path(head);
        let request = RequestParts::of(head, bare.as_deref());
        let fits = |route: &u32| entry.routes[*route as usize].check(&request, cx).is_ok();
        let found = match &entry.finder {
            Finder::Index(index) => index.candidates(request.path).find(fits),
            Finder::Scan => (0..entry.routes.len() as u32).find(fits),
            Finder::Tree(tree) => tree.candidates(head, cx).find(fits),
        };
        found.map_or(RouteMatch::None, |route| RouteMatch::Route(RouteId { virtual_host, route }))
    }

    /// The same as [`RouteTable::find`], by looking at every route in turn and noting what it asked for.
    pub fn explain<'t>(&'t self, head: &HeaderMap, cx: &MatchCx<'_>) -> Explanation<'t> {
        let without_scheme = is_without_scheme(head);
        let virtual_host = if without_scheme { None } else { self.host_of(head) };
        let mut explanation = Explanation { virtual_host, routes: Vec::new(), outcome: RouteMatch::None, without_scheme };
        let Some((virtual_host, _)) = virtual_host else { return explanation };
        let entry = &self.hosts[virtual_host as usize];
        if entry.wants_tls(head) {
            explanation.outcome = RouteMatch::RequireTls { virtual_host };
            return explanation;
        }
        let bare = self.bare_path(head);
        let request = RequestParts::of(head, bare.as_deref());
        let tried = match &entry.finder {
            Finder::Tree(tree) => tree.candidates(head, cx),
            Finder::Index(_) | Finder::Scan => 0..entry.routes.len() as u32,
        };
        for route in tried {
            let Some(candidate) = entry.routes.get(route as usize) else { break };
            let id = RouteId { virtual_host, route };
            let mismatch = candidate.check(&request, cx).err();
            explanation.routes.push((id, mismatch));
            if mismatch.is_none() {
                explanation.outcome = RouteMatch::Route(id);
                break;
            }
        }
        explanation
    }

    /// The path to match where it is not the request's own.
    #[inline]
    fn bare_path(&self, head: &HeaderMap) -> Option<Vec<u8>> {
        if self.config.ignore_path_parameters_in_path_matching { path_without_parameters(head) } else { None }
    }

    /// The virtual host of a request.
    #[inline]
    pub fn host_of(&self, head: &HeaderMap) -> Option<(u32, DomainMatch)> {
        if let Some(only) = self.domains.only() {
            return Some((only, DomainMatch::Any));
        }
        let mut name = match &self.config.vhost_header {
            Some(header) => head.get(header)?,
            None => head.get(Known::Authority)?,
        };
        if self.config.ignore_port_in_host_matching {
            name = &name[..port_at(name).unwrap_or(name.len())];
        }
        self.domains.find(name)
    }

    /// Bytes that the index takes, beside the configuration itself.
    pub fn index_bytes(&self) -> usize {
        let paths = self.hosts.iter().map(|host| match &host.finder {
            Finder::Index(index) => index.memory_bytes(),
            Finder::Scan | Finder::Tree(_) => 0,
        });
        self.domains.memory_bytes() + paths.sum::<usize>()
    }
}

fn index_domains(config: &RouteConfig, errors: &mut Vec<ConfigError>) -> Domains {
    let hosts = &config.virtual_hosts;
    let places = || {
        (0..).zip(hosts).flat_map(|(host, entry)| {
            entry.domains.iter().enumerate().map(move |(nth, domain)| (host, nth, &**domain))
        })
    };
    let mut taken = Vec::new();
    let list = places().map(|(host, _, domain): (u32, usize, &str)| (domain, host));
    let domains = Domains::build(list, |place, why| taken.push((place, why)));
    if !taken.is_empty() {
        let places: Vec<_> = places().collect();
        errors.extend(taken.into_iter().map(|(place, why)| {
            let (host, nth, domain) = places[place];
            let message = match why {
                Taken::Any => format!("Only a single wildcard domain is permitted in route {}", config.name),
                Taken::Domain => format!(
                    "Only unique values for domains are permitted. Duplicate entry of domain {} in route {}",
                    domain.to_ascii_lowercase(),
                    config.name
                ),
            };
            ConfigError::at(format!("virtual_hosts[{host}].domains[{nth}]"), message)
        }));
    }
    domains
}

impl HostEntry {
    fn new(mut host: VirtualHost, inherited: &FilterOverrides) -> HostEntry {
        let routes = std::mem::take(&mut host.routes);
        let finder = match host.tree.take() {
            Some(tree) => Finder::Tree(tree),
            None => PathIndex::build(&routes).map_or(Finder::Scan, Finder::Index),
        };
        let host = Arc::new(host);
        let entry = |route: Route| {
            let weighted = match &route.action {
                Action::Forward(action) => action.weighted().is_some_and(|weighted| weighted.clusters.iter().any(|c| !c.filters.is_empty())),
                _ => false,
            };
            let configured = weighted || ![&route.filters, &host.filters, inherited].iter().all(|level| level.is_empty());
            RouteEntry { route, host: host.clone(), inherited: inherited.clone(), configured }
        };
        HostEntry { routes: routes.into_iter().map(entry).collect(), host, finder }
    }

    /// Whether its routes are tried in their order, each for every request.
    pub(super) fn is_in_order(&self) -> bool {
        !matches!(self.finder, Finder::Tree(_))
    }

    /// Where a route stands below the virtual host, `routes[2]`.
    pub fn place(&self, route: u32) -> Cow<'_, str> {
        match &self.finder {
            Finder::Tree(tree) => Cow::Borrowed(tree.places.get(route as usize).map_or("matcher", |place| place)),
            Finder::Index(_) | Finder::Scan => Cow::Owned(format!("routes[{route}]")),
        }
    }

    fn wants_tls(&self, head: &HeaderMap) -> bool {
        let wanted = match self.host.require_tls {
            TlsRequirement::None => return false,
            TlsRequirement::All => true,
            TlsRequirement::ExternalOnly => head.get(Known::XEnvoyInternal) != Some(b"true"),
        };
        wanted && head.get(Known::XForwardedProto) != Some(b"https")
    }
}

impl RouteTree {
    /// The routes that a request leads to.
    fn candidates(&self, head: &HeaderMap, cx: &MatchCx<'_>) -> Range<u32> {
        let facts = Facts { request: Some(head), filter_state: cx.filter_state, runtime: cx.runtime, ..Facts::default() };
        self.tree.find(&facts).action().cloned().unwrap_or(0..0)
    }
}

impl VirtualHost {
    /// The first virtual cluster whose conditions hold.
    pub fn virtual_cluster(&self, head: &HeaderMap) -> Option<&VirtualCluster> {
        self.virtual_clusters.iter().find(|cluster| cluster.headers.iter().all(|header| header.matches(head)))
    }
}

impl RouteEntry {
    /// Whether the route, or the chosen one of its weighted clusters, switches a filter off (true) or on; settings of a
    /// filter switch it on.
    pub fn switches(&self, choice: Option<u32>, filter: &str) -> Option<bool> {
        self.filter_override(choice, filter).map(|settings| settings.disabled.unwrap_or(false))
    }

    /// The places of its weighted clusters; just none where it has no such.
    pub(crate) fn choices(&self) -> impl Iterator<Item = Option<u32>> {
        let weighted = match &self.route.action {
            Action::Forward(action) => action.weighted(),
            _ => None,
        };
        let choices = weighted.map_or(0, |weighted| weighted.clusters.len() as u32);
        (choices == 0).then_some(None).into_iter().chain((0..choices).map(Some))
    }

    /// How much of a request's body may be kept: the route's word, else the virtual host's.
    pub(crate) fn buffer_limit(&self) -> Option<BufferLimit> {
        self.route.more.as_ref().and_then(|more| more.buffer_limit).or(self.host.buffer_limit)
    }

    /// Whether the route takes the request; else why not.
    #[inline]
    fn check(&self, request: &RequestParts<'_>, cx: &MatchCx<'_>) -> Result<(), Mismatch<'_>> {
        self.route.matcher.check(request, cx)?;
        match (&self.route.action, cx.runtime) {
            (Action::Forward(action), Some(runtime)) if action.is_weightless(runtime) => Err(Mismatch::Weights),
            _ => Ok(()),
        }
    }

    /// What the most specific level says of a filter: weighted cluster, route, virtual host, route configuration.
    fn filter_override(&self, choice: Option<u32>, filter: &str) -> Option<&FilterOverride> {
        let of_choice = choice.and_then(|choice| self.override_at(FilterLevel::WeightedCluster(choice), filter));
        let levels = [FilterLevel::Route, FilterLevel::VirtualHost, FilterLevel::RouteConfig];
        of_choice.or_else(|| levels.into_iter().find_map(|level| self.override_at(level, filter)))
    }

    fn override_at(&self, level: FilterLevel, filter: &str) -> Option<&FilterOverride> {
        match (level, &self.route.action) {
            (FilterLevel::WeightedCluster(choice), Action::Forward(action)) => action.filter_override(choice, filter),
            (FilterLevel::WeightedCluster(_), _) => None,
            (FilterLevel::Route, _) => self.route.filters.get(filter),
            (FilterLevel::VirtualHost, _) => self.host.filters.get(filter),
            (FilterLevel::RouteConfig, _) => self.inherited.get(filter),
        }
    }
}

impl RouteEntry {
    fn forward_extras(&self) -> Option<&ForwardExtras> {
        match &self.route.action {
            Action::Forward(action) => action.more.as_deref(),
            _ => None,
        }
    }
}

impl RouteView for RouteEntry {
    fn name(&self) -> &str {
        &self.route.name
    }

    fn virtual_host_name(&self) -> &str {
        &self.host.name
    }

    fn filter_config_at(&self, level: FilterLevel, filter: &str) -> Option<&(dyn Any + Send + Sync)> {
        self.override_at(level, filter)?.config.as_deref()
    }

    fn has_filter_configs(&self) -> bool {
        self.configured
    }

    fn metadata(&self) -> Option<&Metadata> {
        self.route.more.as_ref()?.metadata.as_deref()
    }

    fn virtual_host_metadata(&self) -> Option<&Metadata> {
        self.host.metadata.as_deref()
    }

    fn cluster_name<'a>(&'a self, cx: &'a StreamCx, choice: Option<u32>) -> Option<&'a str> {
        match &self.route.action {
            Action::Forward(action) => Some(action.chosen(&cx.request, choice).name),
            _ => None,
        }
    }

    fn rate_limits(&self) -> &[RateLimitPolicy] {
        self.forward_extras().map_or(&[], |more| &more.rate_limits)
    }

    fn virtual_host_rate_limits(&self) -> &[RateLimitPolicy] {
        &self.host.rate_limits
    }

    fn includes_virtual_host_rate_limits(&self) -> bool {
        self.forward_extras().is_some_and(|more| more.include_vh_rate_limits)
    }
}

/// A table as one worker's streams keep it.
#[derive(Debug)]
pub struct PinnedTable(pub Arc<RouteTable>);

impl RouteTableView for PinnedTable {
    fn route(&self, id: RouteId) -> Option<&dyn RouteView> {
        self.0.get(id).map(|entry| entry as &dyn RouteView)
    }
}

/// Envoy takes a request whose scheme is empty for one that could not be read.
#[inline]
fn is_without_scheme(head: &HeaderMap) -> bool {
    head.get(Known::XForwardedProto) == Some(b"")
}

/// Where the port of `host:port` begins, colon included: at the last colon that is not inside brackets.
fn port_at(host: &[u8]) -> Option<usize> {
    let colon = host.iter().rposition(|&b| b == b':')?;
    let bracket = host.iter().rposition(|&b| b == b']');
    (bracket < Some(colon)).then_some(colon)
}
