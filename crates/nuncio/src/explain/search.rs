//! Finding the answer: listener, filter chain, virtual host, route, clusters; then what that means.

use super::answer::{Answer, Destination, Hosts, Tried};
use super::question::Question;
use nuncio_codec::headers::{HeaderMap, Known, KnownSet};
use nuncio_codec::path::{self, Cleaned};
use nuncio_config::Snapshot;
use nuncio_core::{RouteId, RouteView, RuntimeValues};
use nuncio_http::{Hcm, Outlook};
use nuncio_http::config::{HcmConfig, RouteSource};
use nuncio_http::routes::{
    Action, ClusterName, ClusterPolicies, ClusterSpecifier, Explanation, MatchCx, Mismatch, RedirectPath, RetryPolicy, RouteAction, RouteEntry, RouteMatch, RouteTable,
    WeightedClusters, redirect_location,
};
use nuncio_listen::{FilterChainConfig, ListenerConfig, matching};
use nuncio_rt::Address;
use nuncio_upstream::ClusterConfig;
use nuncio_upstream::config::{Discovery, LbConfig};
use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What is asked.
pub(crate) struct Facts<'a> {
    /// The configuration.
    pub(crate) snapshot: &'a Snapshot,
    /// The hosts of its clusters.
    pub(crate) hosts: &'a dyn Hosts,
}

/// What would become of the request.
///
/// # Errors
/// No listener or filter chain takes it, or the chain that does speaks no HTTP.
pub(crate) fn explain(question: &Question, facts: &Facts<'_>) -> Result<Answer, String> {
    let listener = listener(question, facts.snapshot)?;
    let (chain, place) = chain(question, listener)?;
    let terminal: &dyn Any = &*chain.terminal;
    let addresses: Vec<String> = listener.addresses.iter().map(|address| address.to_string()).collect();
    let named = format!("{} {}", listener.name, addresses.join(", "));
    let Some(hcm) = terminal.downcast_ref::<Hcm>() else {
        return Err(format!("listener {named}: {place} speaks no HTTP: it passes bytes on as they are"));
    };
    let config = hcm.config();
    let mut head = question.head();
    let table = match &config.routes {
        RouteSource::Fixed(table) => table,
        RouteSource::Scoped(scopes) => match scopes.find(&head).and_then(|at| scopes.tables.get(at)) {
            Some(table) => table,
            None => return Err(format!("listener {named}: the request belongs to no scope of routes; it would be answered 404")),
        },
    };
    let mut answer = Answer {
        listener: named,
        chain: place,
        cleaned: Vec::new(),
        virtual_host: None,
        routes: Vec::new(),
        outcome: String::new(),
        filters: Vec::new(),
        clusters: Vec::new(),
        patience: None,
        notes: Vec::new(),
    };
    if let Some(refusal) = clean(&mut head, config, question.port, &mut answer.cleaned) {
        answer.outcome = refusal;
        return Ok(answer);
    }
    for name in &table.config().internal_only_headers {
        head.remove(name);
    }
    let values = facts.snapshot.runtime.values();
    let cx = MatchCx { random: question.random.unwrap_or(0), runtime: Some(&values), ..MatchCx::default() };
    let found = table.explain(&head, &cx);
    describe(&found, table, &head, &mut answer);
    match found.outcome {
        RouteMatch::None => answer.outcome = "404: no route takes it (flag NR, details route_not_found)".into(),
        RouteMatch::RequireTls { .. } => answer.outcome = "301 to https: the virtual host says require_tls".into(),
        RouteMatch::Route(id) => {
            if let Some(entry) = table.get(id) {
                let choice = match (&entry.route.action, question.random) {
                    (Action::Forward(action), Some(random)) => action.pick_cluster(&head, random, None, &values).choice,
                    _ => None,
                };
                answer.filters = filters(config, entry, choice);
                act(entry, config, &head, question, facts, &values, &mut answer);
            }
        }
    }
    Ok(answer)
}

fn listener<'a>(question: &Question, snapshot: &'a Snapshot) -> Result<&'a ListenerConfig, String> {
    let listeners = snapshot.listeners.iter().map(|listener| &listener.config);
    let known = || {
        let all = snapshot.listeners.iter().flat_map(|l| l.config.addresses.iter().map(move |a| format!("{} {a}", l.config.name)));
        all.collect::<Vec<_>>().join(", ")
    };
    if let Some(name) = &question.listener {
        let found = listeners.into_iter().find(|listener| *listener.name == **name);
        return found.ok_or_else(|| format!("no listener is called '{name}'; there are: {}", known()));
    }
    let asked: Option<IpAddr> = question.host.parse().ok();
    let fits = |listener: &&ListenerConfig| {
        listener.addresses.iter().any(|address| match address.address() {
            Address::Ip(at) => at.port() == question.port && (at.ip().is_unspecified() || asked.is_none_or(|ip| ip == at.ip())),
            Address::Pipe(_) | Address::Internal(_) => false,
        })
    };
    let found = listeners.into_iter().find(fits);
    found.ok_or_else(|| format!("no listener is at port {}; there are: {} (--listener NAME picks one)", question.port, known()))
}

fn chain<'a>(question: &Question, listener: &'a ListenerConfig) -> Result<(&'a FilterChainConfig, String), String> {
    let client = Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let local = listener.addresses.first().map_or_else(|| client.clone(), |address| address.address());
    let tls = question.scheme == "https";
    let facts = matching::ConnectionFacts {
        local: &local,
        remote: &client,
        direct_remote: &client,
        server_name: tls.then_some(question.host.as_str()),
        transport_protocol: if tls { "tls" } else { "raw_buffer" },
        application_protocols: if tls { &["h2", "http/1.1"] } else { &["http/1.1"] },
        tls: None,
    };
    let all = listener.filter_chains.len();
    let named = |chain: &FilterChainConfig| if chain.name.is_empty() { String::new() } else { format!(" '{}'", chain.name) };
    let chosen = match &listener.chain_matcher {
        None => matching::select(listener.filter_chains.iter().map(|chain| &chain.matches), &facts),
        Some(matcher) => match matching::select_named(matcher, &listener.filter_chains, &facts) {
            Some(None) => return Err(format!("listener {}: filter_chain_matcher leads to a chain that is not there; the connection would be closed", listener.name)),
            found => found.flatten(),
        },
    };
    match chosen {
        Some(at) => {
            let chain = &listener.filter_chains[at];
            Ok((chain, format!("filter chain {} of {all}{}", at + 1, named(chain))))
        }
        None => match &listener.default_filter_chain {
            Some(chain) => Ok((chain, format!("the default filter chain{}", named(chain)))),
            None => Err(format!("listener {}: no filter chain takes the connection; it would be closed", listener.name)),
        },
    }
}

/// Cleans path and host up as the connection manager does; an answer if it refuses.
fn clean(head: &mut HeaderMap, config: &HcmConfig, port: u16, told: &mut Vec<String>) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match path::clean(head.path().unwrap_or_default(), config.cleaning.of_paths()) {
        Cleaned::Unchanged => {}
        Cleaned::Changed(new) => {
            told.push(format!("path cleaned up: {}", text(&new)));
            head.insert(Known::Path, new);
        }
        Cleaned::Redirect(new) => return Some(format!("307 to {}: path_with_escaped_slashes_action", text(&new))),
        Cleaned::Refused => return Some("400: the path cannot be cleaned up (details path_normalization_failed)".into()),
    }
    if let Some(host) = head.authority().and_then(|host| config.cleaning.clean_host(host, Some(port))) {
        told.push(format!("host cleaned up: {}", text(&host)));
        head.insert(Known::Authority, host);
    }
    None
}

fn describe(found: &Explanation<'_>, table: &RouteTable, head: &HeaderMap, answer: &mut Answer) {
    let host = |index: u32| table.hosts().get(index as usize).map(|entry| &entry.host);
    answer.virtual_host = Some(match found.virtual_host.and_then(|(index, how)| Some((host(index)?, how))) {
        Some((host, how)) => format!("{}   ({how:?} match of {} in {})", host.name, authority(head), domains(&host.domains)),
        None if found.without_scheme => "none is looked for: x-forwarded-proto is empty".into(),
        None => format!("none has a domain for {}", authority(head)),
    });
    let tried = |(id, mismatch): &(RouteId, Option<_>)| {
        let entry = table.get(*id)?;
        let failed = mismatch.as_ref().map(|why: &Mismatch<'_>| match why {
            Mismatch::Path(_) => format!("the path is \"{}\"", String::from_utf8_lossy(head.path().unwrap_or_default())),
            why => format!("it wants: {why}"),
        });
        let condition = entry.route.matcher.path.to_string();
        Some(Tried { index: id.route, name: entry.name().to_owned(), condition, failed })
    };
    answer.routes = found.routes.iter().filter_map(tried).collect();
}

fn authority(head: &HeaderMap) -> String {
    format!("\"{}\"", String::from_utf8_lossy(head.authority().unwrap_or_default()))
}

fn domains(domains: &[Box<str>]) -> String {
    const SHOWN: usize = 4;
    let first: Vec<&str> = domains.iter().take(SHOWN).map(|domain| &**domain).collect();
    if domains.len() > SHOWN { format!("{} and {} more", first.join(", "), domains.len() - SHOWN) } else { first.join(", ") }
}

/// `choice` is which of the route's weighted clusters is picked, where that is known.
fn filters(config: &HcmConfig, entry: &RouteEntry, choice: Option<usize>) -> Vec<String> {
    let choice = choice.and_then(|choice| u32::try_from(choice).ok());
    let on = |filter: &&nuncio_http::Installed| !entry.switches(choice, &filter.name).unwrap_or(filter.disabled);
    let mut names: Vec<String> = config.filters.iter().filter(on).map(|filter| filter.name.to_string()).collect();
    if config.has_router {
        names.push("router".into());
    }
    names
}

fn act(
    entry: &RouteEntry,
    config: &HcmConfig,
    head: &HeaderMap,
    question: &Question,
    facts: &Facts<'_>,
    values: &RuntimeValues,
    answer: &mut Answer,
) {
    if !config.has_router {
        answer.notes.push("the connection manager has no router: every request is answered 404".into());
    }
    match &entry.route.action {
        Action::DirectResponse(reply) => answer.outcome = format!("answered here: {}, {} bytes", reply.status, reply.body.len()),
        Action::NonForwarding => answer.outcome = "non_forwarding_action: a filter is expected to answer".into(),
        Action::Redirect(redirect) => {
            let to = redirect_location(head, redirect);
            let rewritten = match redirect.path {
                RedirectPath::Keep | RedirectPath::Replace(_) => "",
                _ => ", its path rewritten",
            };
            answer.outcome = format!("{} to {}{rewritten}", redirect.status, String::from_utf8_lossy(&to));
        }
        Action::Forward(action) => forward(entry, action, config, head, question, facts, values, answer),
    }
}

#[allow(clippy::too_many_arguments)]
fn forward(
    entry: &RouteEntry,
    action: &RouteAction,
    config: &HcmConfig,
    head: &HeaderMap,
    question: &Question,
    facts: &Facts<'_>,
    values: &RuntimeValues,
    answer: &mut Answer,
) {
    let shares = shares(action, head, values);
    let picked = question.random.map(|random| action.pick_cluster(head, random, None, values).name.to_owned());
    answer.clusters = shares
        .into_iter()
        .filter(|(name, _)| picked.as_ref().is_none_or(|picked| picked == name))
        .map(|(name, share)| destination(name, share, action.high_priority, facts))
        .collect();
    let names: Vec<&str> = answer.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    answer.outcome = match names.as_slice() {
        [] => format!("{}: no cluster is named (flag NC)", action.cluster_not_found_status),
        [one] => format!("to cluster {one}"),
        several => format!("to one of {} clusters by weight (--random N shows which)", several.len()),
    };
    // As in the router, what a cluster says goes before what its routes say.
    let first = answer.clusters.first().and_then(|cluster| config_of(&cluster.name, facts));
    let of_cluster = first.and_then(ClusterPolicies::of).and_then(|policies| policies.retry.as_ref());
    let retries = of_cluster.or(action.retry_policy.as_ref()).or(entry.host.retry_policy.as_ref());
    let mut head = head.clone();
    if config.client_address.use_remote_address {
        // Clients from outside have no say in these.
        head.remove_all(&STEERING);
    }
    let outlook = Outlook::of(&head, entry, action, retries, config);
    notes(action, retries, outlook.retries, answer);
    answer.patience = Some(outlook);
}

/// The clusters a route may send to, with their share in percent.
fn shares(action: &RouteAction, head: &HeaderMap, values: &RuntimeValues) -> Vec<(String, f64)> {
    let named = |name: &ClusterName| match name {
        ClusterName::Name(name) => name.to_string(),
        ClusterName::Header(header) => head.get_str(header).unwrap_or_default().to_owned(),
    };
    match &action.cluster {
        ClusterSpecifier::Cluster(name) => vec![(name.to_string(), 100.0)],
        ClusterSpecifier::Header(header) => head.get_str(header).map(|name| (name.to_owned(), 100.0)).into_iter().collect(),
        ClusterSpecifier::Weighted(weighted) => {
            let WeightedClusters { clusters, .. } = &**weighted;
            let total: u64 = clusters.iter().map(|cluster| cluster.weight.now(values)).sum();
            let share = |weight: u64| weight as f64 * 100.0 / total.max(1) as f64;
            let all = clusters.iter().map(|cluster| (named(&cluster.cluster), share(cluster.weight.now(values))));
            all.filter(|(_, share)| *share > 0.0).collect()
        }
    }
}

/// Request headers that change timeouts and retries.
const STEERING: KnownSet = KnownSet::of(&[
    Known::XEnvoyUpstreamRqTimeoutMs,
    Known::XEnvoyUpstreamRqPerTryTimeoutMs,
    Known::XEnvoyExpectedRqTimeoutMs,
    Known::XEnvoyRetryOn,
    Known::XEnvoyRetryGrpcOn,
    Known::XEnvoyMaxRetries,
    Known::XEnvoyHedgeOnPerTryTimeout,
]);

fn config_of<'a>(name: &str, facts: &Facts<'a>) -> Option<&'a ClusterConfig> {
    facts.snapshot.clusters.iter().map(|cluster| &*cluster.config).find(|config| *config.name == *name)
}

fn destination(name: String, share: f64, high: bool, facts: &Facts<'_>) -> Destination {
    let config = config_of(&name, facts);
    let limits = config.map(|config| if high { config.circuit_breakers.high } else { config.circuit_breakers.default });
    Destination {
        share,
        kind: config.map(kind),
        listed: config.is_some_and(|config| matches!(config.discovery, Discovery::Static | Discovery::StrictDns(_) | Discovery::LogicalDns(_))),
        hosts: facts.hosts.of(&name),
        limits: limits.map_or([0; 4], |l| [l.max_connections, l.max_pending_requests, l.max_requests, l.max_retries]),
        // Members have checks of their own.
        checked: config.is_some_and(|config| !config.health_checks.is_empty() || matches!(config.discovery, Discovery::Aggregate(_) | Discovery::Composite(_))),
        name,
    }
}

fn kind(config: &ClusterConfig) -> String {
    let discovery = match &config.discovery {
        Discovery::Static => "STATIC",
        Discovery::Eds(_) => "EDS",
        Discovery::StrictDns(_) => "STRICT_DNS",
        Discovery::LogicalDns(_) => "LOGICAL_DNS",
        Discovery::Dynamic(_) => return "dynamic forward proxy".to_owned(),
        Discovery::OriginalDst(_) => return "ORIGINAL_DST".to_owned(),
        Discovery::Composite(members) => return format!("composite of {}", members.join(", ")),
        Discovery::Aggregate(members) => return format!("aggregate of {}", members.join(", ")),
    };
    format!("{discovery} {}", policy(&config.lb))
}

fn policy(lb: &LbConfig) -> &'static str {
    match lb {
        LbConfig::RoundRobin { .. } => "ROUND_ROBIN",
        LbConfig::LeastRequest { .. } => "LEAST_REQUEST",
        LbConfig::Random => "RANDOM",
        LbConfig::Hash(hash) => match hash.table {
            nuncio_upstream::config::HashTableConfig::Ring(_) => "RING_HASH",
            nuncio_upstream::config::HashTableConfig::Maglev { .. } => "MAGLEV",
        },
    }
}

fn notes(action: &RouteAction, policy: Option<&Arc<RetryPolicy>>, retries: u32, answer: &mut Answer) {
    let lonely = |cluster: &&Destination| cluster.kind.is_some() && cluster.hosts.len() == 1;
    let several = answer.clusters.len() > 1;
    let mut notes = Vec::new();
    for cluster in &answer.clusters {
        if cluster.kind.is_none() {
            notes.push(format!("{} does not exist: answered {} (flag NC)", cluster.name, action.cluster_not_found_status));
        } else if cluster.hosts.is_empty() && cluster.listed {
            notes.push(format!("{} has no hosts: answered 503 (flag UH)", cluster.name));
        }
    }
    if retries > 0
        && several
        && !policy.is_some_and(|policy| policy.refresh_cluster_on_retry)
        && let Some(alone) = answer.clusters.iter().filter(lonely).min_by(|a, b| a.share.total_cmp(&b.share))
    {
        notes.push(format!(
            "retries stay inside the cluster that was picked: if the one host of {} is down, about {:.0} % of requests fail",
            alone.name, alone.share
        ));
    }
    let unchecked: Vec<&str> = answer.clusters.iter().filter(|c| c.kind.is_some() && !c.checked).map(|c| c.name.as_str()).collect();
    if !unchecked.is_empty() {
        notes.push(format!("no health checks: {} (a host that is down is still tried)", unchecked.join(", ")));
    }
    answer.notes.extend(notes);
}
