//! What is done with a request that a route takes (`Route.action`).

use super::config::{FilterOverrides, HedgePolicy};
use super::mutation::{HeaderMutations, HeaderRules, Value};
use nuncio_core::matching::Substitution;
use super::retry::RetryPolicy;
use super::template::PathTemplateRewrite;
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_upstream::MetadataMatch;
use nuncio_core::rate_limit::RateLimitPolicy;
use nuncio_core::{RuntimeFraction, RuntimeUint};
use std::{sync::Arc, time::Duration};

/// Envoy's default `RouteAction.timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// What is done with a request.
#[derive(Debug)]
pub enum Action {
    /// `route`: it goes to a cluster.
    Forward(Box<RouteAction>),
    /// `redirect`: the client is sent elsewhere.
    Redirect(Box<Redirect>),
    /// `direct_response`: it is answered here.
    DirectResponse(Box<DirectResponse>),
    /// `non_forwarding_action`: a filter is expected to answer it.
    NonForwarding,
}

/// `RouteAction`.
#[derive(Debug)]
pub struct RouteAction {
    /// Where it goes.
    pub cluster: ClusterSpecifier,
    /// Status when that cluster does not exist. Envoy's default: 503.
    pub cluster_not_found_status: u16,
    /// Longest time until the response is complete; zero for none. Envoy's default: 15 s.
    pub timeout: Duration,
    /// Longest time without a byte: zero for none, `None` for the connection manager's.
    pub idle_timeout: Option<Duration>,
    /// Longest time for the client to take the response once it is complete here; `None` for the connection
    /// manager's.
    pub flush_timeout: Option<Duration>,
    /// `None` for the virtual host's.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// How the path is changed.
    pub path_rewrite: PathRewrite,
    /// How the host is changed.
    pub host_rewrite: HostRewrite,
    /// Adds the old host to `x-forwarded-host` when the host is changed.
    pub append_x_forwarded_host: bool,
    /// `priority: HIGH`.
    pub high_priority: bool,
    /// What few routes have.
    pub more: Option<Box<ForwardExtras>>,
}

impl RouteAction {
    /// Whether a request is ended here and its body goes on as plain bytes (`connect_config`).
    pub fn ends_connect(&self, head: &HeaderMap) -> bool {
        let Some(more) = &self.more else { return false };
        let with_post = more.upgrades.iter().find_map(|upgrade| upgrade.connect);
        with_post.is_some_and(|with_post| head.is_connect() || with_post && head.get(Known::Method) == Some(b"POST"))
    }

    /// Forwards to `cluster` with Envoy's defaults.
    pub fn to(cluster: ClusterSpecifier) -> RouteAction {
        RouteAction {
            cluster,
            cluster_not_found_status: 503,
            timeout: DEFAULT_TIMEOUT,
            idle_timeout: None,
            flush_timeout: None,
            retry_policy: None,
            path_rewrite: PathRewrite::None,
            host_rewrite: HostRewrite::None,
            append_x_forwarded_host: false,
            high_priority: false,
            more: None,
        }
    }

    /// How the request is hashed.
    pub fn hash_policy(&self) -> &[HashPolicy] {
        self.more.as_ref().map_or(&[], |more| &more.hash_policy)
    }

    /// Its weighted clusters, where it has such.
    pub(super) fn weighted(&self) -> Option<&WeightedClusters> {
        match &self.cluster {
            ClusterSpecifier::Weighted(weighted) => Some(weighted),
            _ => None,
        }
    }

    /// What is asked of hosts' metadata, by the weighted cluster that was picked or else by the route.
    pub fn metadata_match(&self, choice: Option<usize>) -> Option<&MetadataMatch> {
        let of_choice = match &self.cluster {
            ClusterSpecifier::Weighted(weighted) => choice.and_then(|at| weighted.clusters.get(at)?.metadata_match.as_deref()),
            _ => None,
        };
        of_choice.or_else(|| self.more.as_ref()?.metadata_match.as_deref())
    }
}

/// What few forwarding routes have.
#[derive(Debug, Default)]
pub struct ForwardExtras {
    /// Hedging; `None` for the virtual host's.
    pub hedge_policy: Option<HedgePolicy>,
    /// How the request is hashed for consistent load balancing, in this order.
    pub hash_policy: Box<[HashPolicy]>,
    /// What is asked of hosts' metadata.
    pub metadata_match: Option<Arc<MetadataMatch>>,
    /// What requests count as for rate limits.
    pub rate_limits: Box<[RateLimitPolicy]>,
    /// `include_vh_rate_limits`.
    pub include_vh_rate_limits: bool,
    /// Protocol upgrades that differ from the connection manager's.
    pub upgrades: Box<[Upgrade]>,
    /// Mirrors; empty for the virtual host's.
    pub mirror_policies: Arc<[MirrorPolicy]>,
    /// Following redirects of the upstream.
    pub internal_redirect: Option<InternalRedirect>,
    /// Longest life of a stream.
    pub max_stream_duration: Option<MaxStreamDuration>,
    /// `max_grpc_timeout`: the time for a gRPC request is what it asks for, within limits.
    pub grpc_timeout: Option<GrpcTimeout>,
}

impl ForwardExtras {
    /// `None` when there is nothing in it, as in most routes.
    pub fn boxed(self) -> Option<Box<ForwardExtras>> {
        let ForwardExtras {
            hedge_policy,
            hash_policy,
            metadata_match,
            rate_limits,
            include_vh_rate_limits,
            upgrades,
            mirror_policies,
            internal_redirect,
            max_stream_duration,
            grpc_timeout,
        } = &self;
        let idle = hedge_policy.is_none()
            && hash_policy.is_empty()
            && metadata_match.is_none()
            && rate_limits.is_empty()
            && !include_vh_rate_limits
            && upgrades.is_empty()
            && mirror_policies.is_empty()
            && internal_redirect.is_none()
            && max_stream_duration.is_none()
            && grpc_timeout.is_none();
        (!idle).then(|| Box::new(self))
    }
}

/// Where a request goes.
#[derive(Debug)]
pub enum ClusterSpecifier {
    /// `cluster`
    Cluster(Arc<str>),
    /// `cluster_header`: the cluster that a request header names.
    Header(HeaderName),
    /// `weighted_clusters`
    Weighted(Box<WeightedClusters>),
}

/// `WeightedCluster`.
#[derive(Debug)]
pub struct WeightedClusters {
    /// The choices; at least one has a weight.
    pub clusters: Box<[WeightedCluster]>,
    /// Header that, holding a number, takes the place of the random number.
    pub random_header: Option<HeaderName>,
    /// The route's `hash_policy` takes the place of the random number.
    pub use_hash_policy: bool,
    /// `runtime_key_prefix`: weights may be changed under `<prefix>.<cluster>`.
    pub changeable: bool,
}

/// `WeightedCluster.ClusterWeight`.
#[derive(Debug)]
pub struct WeightedCluster {
    /// Its name, or the header that has it.
    pub cluster: ClusterName,
    /// Its share of the sum of all weights.
    pub weight: RuntimeUint,
    /// Header changes for requests that take this choice.
    pub headers: Option<Box<HeaderRules>>,
    /// What is asked of hosts' metadata, the route's wishes included; `None` for the route's.
    pub metadata_match: Option<Arc<MetadataMatch>>,
    /// Replaces the host.
    pub host_rewrite: Option<Box<[u8]>>,
    /// Settings of filters for this choice.
    pub filters: FilterOverrides,
}

/// A cluster, or the request header that names it.
#[derive(Debug)]
pub enum ClusterName {
    /// This one.
    Name(Arc<str>),
    /// The one that the header names.
    Header(HeaderName),
}

/// How a path is changed.
#[derive(Debug, Default)]
pub enum PathRewrite {
    /// Not at all.
    #[default]
    None,
    /// `prefix_rewrite`: what matched is replaced.
    Prefix(Box<[u8]>),
    /// `regex_rewrite`, on the path without query.
    Regex(Box<Substitution>),
    /// `path_rewrite_policy` with a URI template.
    Template(Box<PathTemplateRewrite>),
    /// `path_rewrite`: a formatted text takes the place of the path, the query stays.
    Formatted(Value),
}

/// How the host is changed.
#[derive(Debug, Default)]
pub enum HostRewrite {
    /// Not at all.
    #[default]
    None,
    /// `host_rewrite_literal`
    Literal(Box<[u8]>),
    /// `auto_host_rewrite`: the name of the upstream host that is picked.
    Auto,
    /// `host_rewrite_header`: the value of a request header.
    Header(HeaderName),
    /// `host_rewrite_path_regex`, from the path without query.
    PathRegex(Box<Substitution>),
    /// `host_rewrite`: a formatted text.
    Formatted(Value),
}

/// `RedirectAction`.
#[derive(Debug)]
pub struct Redirect {
    /// The new scheme.
    pub scheme: Option<Box<[u8]>>,
    /// The new host; `None` keeps the request's.
    pub host: Option<Box<[u8]>>,
    /// The new port, as configured: Envoy does not look whether there is such a port.
    pub port: Option<u32>,
    /// The new path.
    pub path: RedirectPath,
    /// Drops the query.
    pub strip_query: bool,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

impl Default for Redirect {
    fn default() -> Self {
        Redirect { scheme: None, host: None, port: None, path: RedirectPath::Keep, strip_query: false, status: 301 }
    }
}

/// The path a client is redirected to.
#[derive(Debug, Default)]
pub enum RedirectPath {
    /// The one it asked for.
    #[default]
    Keep,
    /// `path_redirect`; a query in it takes the place of the request's.
    Replace(Box<[u8]>),
    /// The request's, rewritten.
    Rewrite(PathRewrite),
}

/// `DirectResponseAction`.
#[derive(Debug)]
pub struct DirectResponse {
    /// Status.
    pub status: u16,
    /// Body; may be empty.
    pub body: Arc<str>,
    /// `body_format`: makes the body instead, with `%LOCAL_REPLY_BODY%` being `body`.
    pub body_format: Option<Value>,
    /// `content-type` that goes with `body_format`.
    pub content_type: Option<Box<str>>,
}

/// `RequestMirrorPolicy`.
#[derive(Debug)]
pub struct MirrorPolicy {
    /// Where copies go.
    pub cluster: ClusterName,
    /// Which requests are copied.
    pub fraction: Option<RuntimeFraction>,
    /// Appends `-shadow` to the host.
    pub shadow_host_suffix: bool,
    /// Whether copies are traced; `None` as the request.
    pub trace_sampled: Option<bool>,
    /// Replaces the host of copies.
    pub host_rewrite: Option<Box<[u8]>>,
    /// Header changes of copies, one after the other.
    pub request_mutations: Box<[HeaderMutations]>,
}

/// `HashPolicy`.
#[derive(Debug)]
pub struct HashPolicy {
    /// What is hashed.
    pub source: HashSource,
    /// Once this one gave a hash, the rest is not asked.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Debug)]
pub enum HashSource {
    /// Values of a request header, after a rewrite if there is one.
    Header {
        /// The header.
        name: HeaderName,
        /// Applied to the value first.
        rewrite: Option<Box<Substitution>>,
    },
    /// A cookie, which is made if it is missing and `ttl` is set.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// Life of a cookie made here; zero is the session.
        ttl: Option<Duration>,
        /// `Path` of a cookie made here.
        path: Box<str>,
        /// More attributes of a cookie made here.
        attributes: Box<[(Box<str>, Box<str>)]>,
    },
    /// The client's IP address.
    SourceIp,
    /// A query parameter.
    QueryParameter(Box<str>),
    /// A filter state object.
    FilterState(Box<str>),
}

/// `RouteAction.UpgradeConfig`.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// `websocket`, `CONNECT`…; compared in any letter case.
    pub kind: Box<str>,
    /// Allowed or not.
    pub enabled: bool,
    /// CONNECT is ended here and its payload sent as plain TCP; with true, POST too.
    pub connect: Option<bool>,
}

/// `InternalRedirectPolicy`.
#[derive(Debug, Clone)]
pub struct InternalRedirect {
    /// Redirects followed at most. Envoy's default: 1.
    pub max: u32,
    /// Statuses followed; Envoy's default: 302 only.
    pub statuses: Box<[u16]>,
    /// Follows from https to http and back.
    pub allow_cross_scheme: bool,
    /// Headers of the redirect that go into the new request.
    pub response_headers_to_copy: Box<[HeaderName]>,
    /// All must accept the route that a redirect leads to.
    pub predicates: Box<[RedirectPredicate]>,
}

/// Which redirects are followed.
#[derive(Debug, Clone)]
pub enum RedirectPredicate {
    /// `allow_listed_routes`: to routes of these names.
    AllowListedRoutes(Box<[Box<str>]>),
    /// `previous_routes`: not the same way twice.
    PreviousRoutes,
    /// `safe_cross_scheme`: not from http to https.
    SafeCrossScheme,
}

/// `max_grpc_timeout` and `grpc_timeout_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GrpcTimeout {
    /// The longest that is granted; zero for any.
    pub max: Duration,
    /// Taken off what is asked for.
    pub offset: Duration,
}

/// `RouteAction.MaxStreamDuration`; zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaxStreamDuration {
    /// For every request; `None` for the connection manager's.
    pub max: Option<Duration>,
    /// Believes `grpc-timeout` up to this much.
    pub grpc_timeout_header_max: Option<Duration>,
    /// Taken off `grpc-timeout`.
    pub grpc_timeout_header_offset: Option<Duration>,
}
