//! One exchange as filters, the router and access logs see it.

use crate::filter_state::FilterState;
use crate::format::LogMoment;
use crate::metadata::Metadata;
use crate::rate_limit::RateLimitPolicy;
use crate::{ConnInfo, ResponseFlags, StateSlot, StreamTrace, TraceReason, Worker};
use nuncio_codec::headers::{HeaderMap, Trailers};
use nuncio_rt::{Address, Time};
use std::{any::Any, borrow::Cow, cell::OnceCell, fmt, rc::Rc, sync::Arc, time::Duration};

/// HTTP version of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
    /// HTTP/3
    Http3,
    /// Not HTTP.
    None,
}

impl Protocol {
    /// As `%PROTOCOL%` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
            Protocol::Http3 => "HTTP/3",
            Protocol::None => "",
        }
    }
}

/// Where a route stands in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteId {
    /// Index of the virtual host.
    pub virtual_host: u32,
    /// Index of the route in it.
    pub route: u32,
}

/// A level of a route configuration at which filters may have settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterLevel {
    /// One of the route's weighted clusters, by its place.
    WeightedCluster(u32),
    /// The route.
    Route,
    /// Its virtual host.
    VirtualHost,
    /// The route configuration.
    RouteConfig,
}

/// What filters and logs may know of a route.
pub trait RouteView {
    /// `%ROUTE_NAME%`.
    fn name(&self) -> &str;
    /// Name of its virtual host (`%VIRTUAL_HOST_NAME%`).
    fn virtual_host_name(&self) -> &str;
    /// `typed_per_filter_config` for a filter at one level, if there are settings at it. See [`RouteRef::filter_config`].
    fn filter_config_at(&self, level: FilterLevel, filter: &str) -> Option<&(dyn Any + Send + Sync)>;
    /// Whether any filter has settings at any level; if not, none is asked for.
    fn has_filter_configs(&self) -> bool {
        true
    }
    /// The route's metadata.
    fn metadata(&self) -> Option<&Metadata> {
        None
    }
    /// The metadata of the route's virtual host.
    fn virtual_host_metadata(&self) -> Option<&Metadata> {
        None
    }
    /// The cluster that this request goes to, if the route forwards it; `choice` is which of its weighted clusters.
    fn cluster_name<'a>(&'a self, _cx: &'a StreamCx, _choice: Option<u32>) -> Option<&'a str> {
        None
    }
    /// The route's `rate_limits`.
    fn rate_limits(&self) -> &[RateLimitPolicy] {
        &[]
    }
    /// The virtual host's `rate_limits`.
    fn virtual_host_rate_limits(&self) -> &[RateLimitPolicy] {
        &[]
    }
    /// `include_vh_rate_limits`: those of the virtual host apply beside the route's.
    fn includes_virtual_host_rate_limits(&self) -> bool {
        false
    }
}

/// A route table, pinned by the streams that matched in it.
pub trait RouteTableView {
    /// The route at `id`.
    fn route(&self, id: RouteId) -> Option<&dyn RouteView>;
}

/// A matched route; keeps the table it was matched in.
#[derive(Clone)]
pub struct RouteRef {
    /// The table.
    pub table: Rc<dyn RouteTableView>,
    /// Which route of it.
    pub id: RouteId,
    /// Which of the route's weighted clusters the request goes to, where it has such.
    pub choice: Option<u32>,
    /// Some filter has settings for this route.
    configured: bool,
}

impl RouteRef {
    /// The route at `id` of a table, and which of its weighted clusters was chosen.
    pub fn new(table: Rc<dyn RouteTableView>, id: RouteId, choice: Option<u32>) -> RouteRef {
        let configured = table.route(id).is_some_and(RouteView::has_filter_configs);
        RouteRef { table, id, choice, configured }
    }

    /// Whether any filter has settings for this route.
    #[inline]
    pub fn is_configured(&self) -> bool {
        self.configured
    }

    /// What there is to know of the route.
    pub fn view(&self) -> Option<&dyn RouteView> {
        self.table.route(self.id)
    }

    /// The settings of the filter configured under `filter`, at each level that has any; the most specific first.
    pub fn filter_configs<'r, 'f, T: 'static>(&'r self, filter: &'f str) -> impl DoubleEndedIterator<Item = &'r T> {
        let view = if self.configured { self.view() } else { None };
        let levels = [self.choice.map(FilterLevel::WeightedCluster), Some(FilterLevel::Route), Some(FilterLevel::VirtualHost), Some(FilterLevel::RouteConfig)];
        levels.into_iter().flatten().filter_map(move |level| view?.filter_config_at(level, filter)?.downcast_ref())
    }

    /// The most specific settings of the filter configured under `filter`.
    pub fn filter_config<T: 'static>(&self, filter: &str) -> Option<&T> {
        if !self.configured {
            return None;
        }
        self.filter_configs(filter).next()
    }

    /// The cluster that the request in `cx` goes to, if the route forwards it.
    pub fn cluster_name<'a>(&'a self, cx: &'a StreamCx) -> Option<&'a str> {
        self.view()?.cluster_name(cx, self.choice)
    }
}

impl fmt::Debug for RouteRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouteRef({}, {})", self.id.virtual_host, self.id.route)
    }
}

/// When the parts of an exchange passed. `None` for what has not happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Last byte of the request received.
    pub request_received: Option<Time>,
    /// Connecting to the upstream began (`US_CX_BEG`); also set for a reused connection.
    pub upstream_connect_start: Option<Time>,
    /// The connection to the upstream stood (`US_CX_END`).
    pub upstream_connected: Option<Time>,
    /// How long the attempt waited for the pool to hand out a connection, or to give up
    /// (`%UPSTREAM_CONNECTION_POOL_READY_DURATION%`).
    pub upstream_pool_wait: Option<Duration>,
    /// First byte sent to the upstream.
    pub upstream_first_tx: Option<Time>,
    /// Last byte sent to the upstream.
    pub upstream_last_tx: Option<Time>,
    /// First byte received from the upstream.
    pub upstream_first_rx: Option<Time>,
    /// Last byte received from the upstream.
    pub upstream_last_rx: Option<Time>,
    /// First byte sent to the client.
    pub response_first_tx: Option<Time>,
    /// Last byte sent to the client.
    pub response_last_tx: Option<Time>,
}

/// Bytes of one side of an exchange, as they were on the wire.
///
/// Header bytes of HTTP/1 are the header lines without the start line and the empty line; received ones count
/// three bytes per line besides name and value (`:` and the line end), sent ones four, as Envoy counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireBytes {
    /// Everything sent: start line, headers, framing and body.
    pub sent: u64,
    /// Everything received.
    pub received: u64,
    /// Header bytes sent.
    pub headers_sent: u64,
    /// Header bytes received.
    pub headers_received: u64,
}

/// How the side of a connection ended, as far as an exchange can tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CloseType {
    /// Orderly, or still open.
    #[default]
    Normal,
    /// Reset by us.
    LocalReset,
    /// Reset by the peer.
    RemoteReset,
}

impl WireBytes {
    /// Adds what has been moved since there were `before` bytes: there are `now`.
    pub fn add_since(&mut self, before: WireBytes, now: WireBytes) {
        self.sent += now.sent.saturating_sub(before.sent);
        self.received += now.received.saturating_sub(before.received);
        self.headers_sent += now.headers_sent.saturating_sub(before.headers_sent);
        self.headers_received += now.headers_received.saturating_sub(before.headers_received);
    }
}

impl CloseType {
    /// As `%DOWNSTREAM_DETECTED_CLOSE_TYPE%` prints it.
    pub fn name(self) -> &'static str {
        match self {
            CloseType::Normal => "Normal",
            CloseType::LocalReset => "LocalReset",
            CloseType::RemoteReset => "RemoteReset",
        }
    }
}

/// What exchanges show of the cluster that they went to. One for all exchanges of a worker, so that workers do
/// not count references to the same thing.
#[derive(Debug, Clone, Default)]
pub struct ClusterFacts {
    /// Its name (`%UPSTREAM_CLUSTER_RAW%`).
    pub name: Arc<str>,
    /// Its name for people (`%UPSTREAM_CLUSTER%`: `alt_stat_name` where set).
    pub display_name: Arc<str>,
    /// Its metadata (`%METADATA(CLUSTER:…)%`).
    pub metadata: Option<Arc<Metadata>>,
}

/// What exchanges show of the host that they went to; like [`ClusterFacts`], one for all exchanges of a worker.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Its address (`%UPSTREAM_HOST%`).
    pub address: Arc<Address>,
    /// Its host name (`%UPSTREAM_HOST_NAME%`); empty if it has none.
    pub name: Arc<str>,
    /// Its metadata (`%METADATA(UPSTREAM_HOST:…)%`).
    pub metadata: Option<Arc<Metadata>>,
    /// The address as a text, once somebody has asked for it.
    text: OnceCell<Box<str>>,
}

impl HostFacts {
    /// Those of the host at an address.
    pub fn new(address: Arc<Address>, name: Arc<str>, metadata: Option<Arc<Metadata>>) -> HostFacts {
        HostFacts { address, name, metadata, text: OnceCell::new() }
    }

    /// The address as a text, made once: nearly every line of a log has it.
    pub fn address_text(&self) -> &str {
        self.text.get_or_init(|| self.address.to_string().into())
    }
}

/// What is known of the upstream side of an exchange; of the last attempt where there were several.
#[derive(Debug, Clone, Default)]
pub struct UpstreamFacts {
    /// The cluster.
    pub cluster: Option<Rc<ClusterFacts>>,
    /// The host.
    pub host: Option<Rc<HostFacts>>,
    /// Our end of the connection (`%UPSTREAM_LOCAL_ADDRESS%`).
    pub local: Option<std::net::SocketAddr>,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub transport_failure: Cow<'static, str>,
    /// Protocol spoken upstream.
    pub protocol: Option<Protocol>,
    /// What the TLS handshake with the host came to.
    pub tls: Option<Rc<crate::TlsFacts>>,
    /// `%UPSTREAM_CONNECTION_ID%`; 0 if no connection was had.
    pub connection_id: u64,
    /// Bytes exchanged with the upstream, in all attempts.
    pub bytes: WireBytes,
    /// How the upstream's connection ended.
    pub close_type: CloseType,
}

impl UpstreamFacts {
    /// Another host is being tried: what is known of a connection is not of this attempt's.
    #[inline]
    pub fn turn_to(&mut self, host: Rc<HostFacts>) {
        self.host = Some(host);
        self.connection_id = 0;
        self.local = None;
        self.protocol = None;
        self.tls = None;
    }

    /// Whether the last attempt got a connection.
    pub fn is_connected(&self) -> bool {
        self.connection_id != 0
    }
}

/// The facts of one exchange, complete when it is logged.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// When its first byte arrived.
    pub start: Time,
    /// When it was over.
    pub end: Option<Time>,
    /// HTTP version spoken with the client.
    pub protocol: Protocol,
    /// Why it ended as it did.
    pub flags: ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`; empty for none.
    pub details: Cow<'static, str>,
    /// `%CONNECTION_TERMINATION_DETAILS%`; empty for none.
    pub termination_details: Cow<'static, str>,
    /// Status sent to the client, 0 if none was.
    pub status: u16,
    /// Request body bytes received.
    pub bytes_received: u64,
    /// Response body bytes sent.
    pub bytes_sent: u64,
    /// Bytes exchanged with the client.
    pub downstream: WireBytes,
    /// How the client's connection ended.
    pub downstream_close_type: CloseType,
    /// Times a route was looked up.
    pub route_resolutions: u32,
    /// What these took, where somebody counts it.
    pub route_resolution_time: Duration,
    /// Attempts made upstream; 0 when there was none.
    pub attempts: u32,
    /// When things happened.
    pub timings: Timings,
    /// The upstream side.
    pub upstream: UpstreamFacts,
    /// The client's address as trusted headers tell it (`%DOWNSTREAM_REMOTE_ADDRESS%`); the connection's else.
    pub remote: Option<Address>,
    /// Name of the virtual cluster that matched.
    pub virtual_cluster: Option<Arc<str>>,
    /// True if the answer was made here.
    pub local_reply: bool,
    /// True if the request asked for another protocol and may have it (`connection: upgrade`, CONNECT).
    pub upgraded: bool,
    /// True if the health check filter took the request.
    pub health_check: bool,
    /// True if this exchange counts as internal (`x-envoy-internal`).
    pub internal: bool,
    /// At which moment it is being logged.
    pub moment: LogMoment,
    /// Why it is traced; `None` before that is decided, and without tracing.
    pub trace_reason: Option<TraceReason>,
}

impl StreamInfo {
    /// At which moment it is being logged: what a proxy for bytes logs at the end is a connection.
    pub fn log_moment(&self) -> LogMoment {
        let ended = matches!(self.moment, LogMoment::DownstreamEnd | LogMoment::NotSet);
        let bytes = ended && self.protocol == Protocol::None;
        if bytes { LogMoment::TcpConnectionEnd } else { self.moment }
    }
}

impl Default for StreamInfo {
    fn default() -> Self {
        StreamInfo {
            start: Time::default(),
            end: None,
            protocol: Protocol::Http11,
            flags: ResponseFlags::NONE,
            details: Cow::Borrowed(""),
            termination_details: Cow::Borrowed(""),
            status: 0,
            bytes_received: 0,
            bytes_sent: 0,
            downstream: WireBytes::default(),
            downstream_close_type: CloseType::Normal,
            route_resolutions: 0,
            route_resolution_time: Duration::ZERO,
            attempts: 0,
            timings: Timings::default(),
            upstream: UpstreamFacts::default(),
            remote: None,
            virtual_cluster: None,
            local_reply: false,
            upgraded: false,
            health_check: false,
            internal: false,
            moment: LogMoment::NotSet,
            trace_reason: None,
        }
    }
}

/// The host that a filter wants a request to go to first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideHost {
    /// Its address, as `%UPSTREAM_HOST%` prints it.
    pub address: Box<str>,
    /// Where it is not there, or not well, the request is not sent elsewhere, but answered with this status.
    pub strict: Option<u16>,
}

/// One exchange: heads, facts, the matched route, and state that filters keep for its length.
#[derive(Debug)]
pub struct StreamCx {
    /// Request head, pseudo headers included.
    pub request: HeaderMap,
    /// Request trailers, empty until they arrive.
    pub request_trailers: Trailers,
    /// Response head, pseudo headers included; empty until there is one.
    pub response: HeaderMap,
    /// Response trailers, empty until they arrive.
    pub response_trailers: Trailers,
    /// Facts.
    pub info: StreamInfo,
    /// The matched route.
    pub route: Option<RouteRef>,
    /// Dynamic metadata, by namespace.
    pub metadata: Metadata,
    /// Objects that filters leave for each other.
    pub filter_state: FilterState,
    /// How much of the request filters may keep, in bytes, where it is not the connection's limit.
    pub request_buffer_limit: Option<usize>,
    /// `per_connection_buffer_limit_bytes`: how much filters should keep of either direction, in bytes.
    pub buffer_limit: usize,
    /// Whether answers from here are gRPC's, where a filter has changed the content type that tells it.
    pub grpc_replies: Option<bool>,
    /// A filter has changed what routes are matched by: the route is looked up again before the next filter.
    pub route_is_stale: bool,
    /// Where its first attempt goes, if that host is there and well.
    pub override_host: Option<Box<OverrideHost>>,
    /// The random number by which a route's weighted cluster is picked; drawn once per request.
    pub random: u64,
    /// Its trace, where it has one.
    pub trace: Option<Box<StreamTrace>>,
    /// The client's connection.
    pub conn: Rc<ConnInfo>,
    /// The worker it runs on.
    pub worker: Rc<Worker>,
    slots: Vec<Option<Box<dyn Any>>>,
}

impl StreamCx {
    /// The route, if filters have settings for it: held, so that they outlast changes to the exchange.
    #[inline]
    pub fn configured_route(&self) -> Option<RouteRef> {
        self.route.as_ref().filter(|route| route.is_configured()).cloned()
    }

    /// A fresh exchange on a connection.
    pub fn new(worker: Rc<Worker>, conn: Rc<ConnInfo>) -> StreamCx {
        StreamCx {
            request: worker.take_headers(),
            request_trailers: Trailers::default(),
            response: worker.take_headers(),
            response_trailers: Trailers::default(),
            info: StreamInfo::default(),
            route: None,
            metadata: Metadata::new(),
            filter_state: FilterState::default(),
            request_buffer_limit: None,
            buffer_limit: 0,
            grpc_replies: None,
            route_is_stale: false,
            override_host: None,
            random: 0,
            trace: None,
            conn,
            worker,
            slots: Vec::new(),
        }
    }

    /// Makes it a fresh exchange again, keeping what was allocated.
    pub fn reset(&mut self) {
        self.request.clear();
        self.request_trailers.clear();
        self.response.clear();
        self.response_trailers.clear();
        self.info = StreamInfo::default();
        self.route = None;
        self.metadata.clear();
        self.filter_state.clear();
        self.request_buffer_limit = None;
        self.grpc_replies = None;
        self.route_is_stale = false;
        self.override_host = None;
        self.trace = None;
        self.slots.clear();
    }

    /// A filter's state for this stream, made on first use.
    pub fn state<T: Default + 'static>(&mut self, slot: &StateSlot<T>) -> &mut T {
        let index = slot.index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let place = &mut self.slots[index];
        if !place.as_ref().is_some_and(|held| held.is::<T>()) {
            *place = Some(Box::<T>::default());
        }
        match place.as_mut().and_then(|held| held.downcast_mut::<T>()) {
            Some(state) => state,
            None => unreachable!("the slot was just filled with a value of this type"),
        }
    }

    /// A filter's state for this stream, if it has made any.
    pub fn held_state<T: 'static>(&mut self, slot: &StateSlot<T>) -> Option<&mut T> {
        self.slots.get_mut(slot.index())?.as_mut()?.downcast_mut()
    }

    /// The state of this type that any filter of the chain has made: for filters that must agree.
    pub fn find_state<T: 'static>(&mut self) -> Option<&mut T> {
        self.slots.iter_mut().flatten().find_map(|held| held.downcast_mut())
    }

    /// `typed_per_filter_config` of the matched route for the filter configured under `filter`.
    pub fn route_config<T: 'static>(&self, filter: &str) -> Option<&T> {
        self.route.as_ref()?.filter_config(filter)
    }

    /// Duration of the exchange so far, or in all.
    pub fn duration(&self, now: Time) -> Duration {
        self.info.end.unwrap_or(now).since(self.info.start)
    }
}

impl Drop for StreamCx {
    fn drop(&mut self) {
        self.worker.put_headers(std::mem::take(&mut self.request));
        self.worker.put_headers(std::mem::take(&mut self.response));
    }
}
