//! A route configuration in plain terms: what a configuration source makes and [`super::RouteTable`] compiles.
//!
//! Names and meanings are those of `envoy.config.route.v3`; defaults are filled in by whoever makes these values.

use super::action::{Action, MirrorPolicy};
use nuncio_core::matching::{HeaderMatch, tree::MatchTree};
use nuncio_core::CustomTag;
use nuncio_core::Fraction;
use nuncio_core::format::Format;
use nuncio_core::metadata::Metadata;
use nuncio_core::rate_limit::RateLimitPolicy;
use super::matcher::Matcher;
use super::mutation::HeaderRules;
use super::retry::RetryPolicy;
use nuncio_codec::headers::HeaderName;
use std::{any::Any, fmt, ops::Range, sync::Arc};

/// `RouteConfiguration`.
#[derive(Debug, Default)]
pub struct RouteConfig {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// Virtual hosts in their order.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Request headers that only internal clients may send.
    pub internal_only_headers: Vec<HeaderName>,
    /// Header changes of the last level.
    pub headers: Option<Box<HeaderRules>>,
    /// The most specific level has the last word, instead of the first.
    pub most_specific_header_mutations_wins: bool,
    /// The port in the host is not looked at when a virtual host is chosen.
    pub ignore_port_in_host_matching: bool,
    /// Parameters of path segments (`/a;x=1/b`) are not looked at when a route is chosen.
    pub ignore_path_parameters_in_path_matching: bool,
    /// Header that chooses the virtual host instead of `:authority`.
    pub vhost_header: Option<HeaderName>,
    /// Mirrors of routes and virtual hosts without their own.
    pub mirror_policies: Arc<[MirrorPolicy]>,
    /// Settings of filters for all routes.
    pub filters: FilterOverrides,
}

/// `VirtualHost`.
#[derive(Debug, Default)]
pub struct VirtualHost {
    /// Its name, unique in logs and stats at best.
    pub name: Arc<str>,
    /// Domains: exact, `*.x`, `x.*` or `*`.
    pub domains: Vec<Box<str>>,
    /// Routes in their order.
    pub routes: Vec<Route>,
    /// Which of the routes are tried, where that is not said by their order.
    pub tree: Option<Box<RouteTree>>,
    /// Who is sent to https.
    pub require_tls: TlsRequirement,
    /// Header changes of this level.
    pub headers: Option<Box<HeaderRules>>,
    /// Retry policy of routes without their own.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// Hedging of routes without their own.
    pub hedge_policy: Option<HedgePolicy>,
    /// Sends `x-envoy-attempt-count` upstream.
    pub include_request_attempt_count: bool,
    /// Sends `x-envoy-attempt-count` to the client.
    pub include_attempt_count_in_response: bool,
    /// Sends `x-envoy-is-timeout-retry` upstream.
    pub include_is_timeout_retry_header: bool,
    /// How much of a request's body may be kept, on routes that say nothing.
    pub buffer_limit: Option<BufferLimit>,
    /// Mirrors of routes without their own.
    pub mirror_policies: Arc<[MirrorPolicy]>,
    /// Request classes with stats of their own.
    pub virtual_clusters: Vec<VirtualCluster>,
    /// What requests count as for rate limits.
    pub rate_limits: Box<[RateLimitPolicy]>,
    /// Settings of filters for this virtual host.
    pub filters: FilterOverrides,
    /// What is known of it beside: `%METADATA(VIRTUAL_HOST:…)%`.
    pub metadata: Option<Arc<Metadata>>,
}

/// `VirtualHost.matcher`: leads to some of the virtual host's routes, which are tried in their order.
#[derive(Debug)]
pub struct RouteTree {
    /// The matcher.
    pub tree: MatchTree<Range<u32>>,
    /// Where each route stands below the virtual host: `matcher.on_no_match.action.typed_config`.
    pub places: Box<[Box<str>]>,
}

/// `VirtualHost.TlsRequirementType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsRequirement {
    /// Nobody.
    #[default]
    None,
    /// Clients that are not internal.
    ExternalOnly,
    /// Everybody.
    All,
}

/// `VirtualCluster`.
#[derive(Debug)]
pub struct VirtualCluster {
    /// Its name in stats.
    pub name: Arc<str>,
    /// All must match.
    pub headers: Box<[HeaderMatch]>,
}

/// `Route`.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs; may be empty.
    pub name: Box<str>,
    /// Which requests it takes.
    pub matcher: Matcher,
    /// What is done with them.
    pub action: Action,
    /// Header changes of this level.
    pub headers: Option<Box<HeaderRules>>,
    /// Settings of filters for this route.
    pub filters: FilterOverrides,
    /// What few routes have.
    pub more: Option<Box<RouteExtras>>,
}

impl Route {
    /// A route without a name that does nothing but its action.
    pub fn new(matcher: Matcher, action: Action) -> Route {
        Route {
            name: Box::default(),
            matcher,
            action,
            headers: None,
            filters: FilterOverrides::default(),
            more: None,
        }
    }
}

/// What few routes have.
#[derive(Debug, Default)]
pub struct RouteExtras {
    /// Prefix of stats of this route, `vhost.<v>.route.<prefix>.…`; empty for none.
    pub stat_prefix: Box<str>,
    /// How much of a request's body may be kept.
    pub buffer_limit: Option<BufferLimit>,
    /// Name of the traced operation.
    pub decorator: Option<Decorator>,
    /// Sampling of this route.
    pub tracing: Option<Tracing>,
    /// Metadata of the route.
    pub metadata: Option<Arc<Metadata>>,
}

impl RouteExtras {
    /// `None` when there is nothing in it, as in most routes.
    pub fn boxed(self) -> Option<Box<RouteExtras>> {
        let RouteExtras { stat_prefix, buffer_limit, decorator, tracing, metadata } = &self;
        let idle = stat_prefix.is_empty()
            && buffer_limit.is_none()
            && decorator.is_none()
            && tracing.is_none()
            && metadata.is_none();
        (!idle).then(|| Box::new(self))
    }
}

/// How much of a request's body may be kept in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferLimit {
    /// `request_body_buffer_limit`: by filters and for retries, whatever a connection may hold.
    Body(u64),
    /// `per_request_buffer_limit_bytes`: for retries, and no more than a connection may hold.
    PerRequest(u32),
}

/// `Decorator`.
#[derive(Debug, Clone)]
pub struct Decorator {
    /// The operation's name.
    pub operation: Box<str>,
    /// Sends it on in `x-envoy-decorator-operation`.
    pub propagate: bool,
}

/// `Tracing`: fractions of requests.
#[derive(Debug)]
pub struct Tracing {
    /// Honouring `x-client-trace-id`.
    pub client_sampling: Fraction,
    /// Sampled at random.
    pub random_sampling: Fraction,
    /// Of all that would be sampled.
    pub overall_sampling: Fraction,
    /// Tags that go before those of the connection manager.
    pub custom_tags: Box<[CustomTag]>,
    /// Name of the operation.
    pub operation: Option<Arc<Format>>,
    /// Name of attempts at upstreams.
    pub upstream_operation: Option<Arc<Format>>,
}

/// `HedgePolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HedgePolicy {
    /// A try that times out is not given up but joined by another.
    pub hedge_on_per_try_timeout: bool,
}

/// Settings of HTTP filters for a route, a virtual host or a route configuration, by filter name.
#[derive(Clone, Default)]
pub struct FilterOverrides(Option<Arc<[(Box<str>, FilterOverride)]>>);

/// One entry of `typed_per_filter_config`.
#[derive(Clone)]
pub struct FilterOverride {
    /// The filter's own per-route settings.
    pub config: Option<Arc<dyn Any + Send + Sync>>,
    /// `FilterConfig.disabled`: the filter is skipped; with false it runs even where it is off by default.
    pub disabled: Option<bool>,
}

impl FilterOverrides {
    /// Settings by filter name.
    pub fn new(entries: Vec<(Box<str>, FilterOverride)>) -> FilterOverrides {
        FilterOverrides((!entries.is_empty()).then(|| entries.into()))
    }

    /// The settings of a filter.
    pub fn get(&self, filter: &str) -> Option<&FilterOverride> {
        self.0.as_deref()?.iter().find(|(name, _)| **name == *filter).map(|(_, found)| found)
    }

    /// True when no filter has settings here.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for FilterOverrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.as_deref().unwrap_or_default().iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}
