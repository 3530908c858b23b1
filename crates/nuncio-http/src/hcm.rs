//! The HTTP connection manager: the terminal network filter that speaks HTTP.
//!
//! [`Hcm`] is built once per configuration and shared; [`HcmWorker`] is its half on one worker, with the worker's
//! routes, clusters and recycled exchanges. Connections themselves are in `server`.

use crate::config::{HcmConfig, RouteSource};
use crate::routes::{RouteConfig, RouteTable, Scopes};
use crate::server;
use crate::stream::{Chains, Exchange, HostStats, Routes};
use nuncio_codec::date::DateCache;
use nuncio_codec::headers::HeaderMap;
use nuncio_core::format::LogMoment;
use nuncio_core::{ConnInfo, Connection, LocalFuture, Protocol, StreamCx, Terminal, TerminalWorker, Worker};
use nuncio_rt::Time;
use nuncio_stats::{Lane, 
    Scope, Store,
    tables::{
        http1::{self, HTTP1},
        http2::{self, HTTP2},
        http_connection_manager::{self as stat, HTTP},
        listener_http::{self, LISTENER_HTTP},
        router::{ROUTER, route::ROUTE},
    },
};
use nuncio_upstream::WorkerClusters;
use std::{cell::RefCell, fmt, rc::Rc, sync::Arc};

/// Exchanges kept for reuse by one connection manager on one worker.
const POOLED_EXCHANGES: usize = 256;

/// An HTTP connection manager.
#[derive(Debug)]
pub struct Hcm {
    config: Arc<HcmConfig>,
    stats: HcmStats,
}

/// The statistics a connection manager moves.
#[derive(Debug, Clone)]
pub(crate) struct HcmStats {
    /// `http.<prefix>.`
    pub(crate) http: Arc<Scope>,
    /// The router's part of `http.<prefix>.`.
    pub(crate) router: Arc<Scope>,
    /// `listener.<address>.http.<prefix>.`
    pub(crate) listener: Arc<Scope>,
    /// `http1.`
    pub(crate) http1: Arc<Scope>,
    /// `http2.`
    pub(crate) http2: Arc<Scope>,
    /// By route table and virtual host; see [`Routes`].
    pub(crate) hosts: Arc<[Arc<[HostStats]>]>,
}

impl Hcm {
    /// A connection manager on a listener whose stats begin with `listener_prefix`, for example
    /// `listener.0.0.0.0_10000.`.
    pub fn new(config: HcmConfig, store: &Arc<Store>, listener_prefix: &str) -> Hcm {
        let prefix = format!("http.{}.", config.stat_prefix);
        let stats = HcmStats {
            http: store.scope(&prefix, &HTTP),
            router: store.scope(&prefix, &ROUTER),
            listener: store.scope(&format!("{listener_prefix}{prefix}"), &LISTENER_HTTP),
            http1: store.scope("http1.", &HTTP1),
            http2: store.scope("http2.", &HTTP2),
            hosts: config.routes.tables().iter().map(|table| hosts(table, store)).collect(),
        };
        stats.http.open(Lane::MAIN, stat::TRACING);
        if config.records_route_resolution {
            stats.http.open(Lane::MAIN, stat::ROUTE_RESOLUTION);
        }
        Hcm { config: Arc::new(config), stats }
    }

    /// Its configuration.
    pub fn config(&self) -> &HcmConfig {
        &self.config
    }
}

/// The scopes of all virtual clusters, and of the routes that have one.
fn hosts(table: &RouteTable, store: &Arc<Store>) -> Arc<[HostStats]> {
    let of = |entry: &crate::routes::HostEntry| {
        let host = &entry.host;
        let names = host.virtual_clusters.iter().map(|c| &*c.name).chain(["other"]);
        let scope = |kind: &str, name: &str| store.scope(&format!("vhost.{}.{kind}.{name}.", host.name), &ROUTE);
        let classes = if host.virtual_clusters.is_empty() { Vec::new() } else { names.map(|name| scope("vcluster", name)).collect() };
        let prefix = |entry: &'_ crate::routes::RouteEntry| {
            let more = entry.route.more.as_ref().filter(|more| !more.stat_prefix.is_empty());
            more.map(|more| scope("route", &more.stat_prefix))
        };
        let routes = (0..).zip(&entry.routes).filter_map(|(at, entry)| Some((at, prefix(entry)?)));
        HostStats { classes, routes: routes.collect() }
    };
    table.hosts().iter().map(of).collect()
}

fn upgrade_chains(config: &HcmConfig, table: &Arc<RouteTable>) -> Vec<Option<Chains>> {
    config.upgrades.iter().map(|upgrade| Some(Chains::new(upgrade.filters.clone()?, table))).collect()
}

impl Terminal for Hcm {
    fn on_worker(self: Arc<Self>, worker: &Rc<Worker>) -> Rc<dyn TerminalWorker> {
        let clusters = worker.parts.get::<WorkerClusters>().unwrap_or_else(|| WorkerClusters::start(worker));
        crate::install_client(worker, &clusters);
        let of = |at: usize, table: &Arc<RouteTable>| {
            let hosts = self.stats.hosts.get(at).cloned().unwrap_or_default();
            Rc::new(self.half(worker, &clusters, table, hosts, None))
        };
        match &self.config.routes {
            RouteSource::Fixed(table) => of(0, table),
            RouteSource::Scoped(scopes) => {
                let halves = scopes.tables.iter().enumerate().map(|(at, table)| of(at, table)).collect();
                let none = Arc::new(RouteTable::compile(RouteConfig::default()).unwrap_or_else(|_| unreachable!("an empty route table compiles")));
                Rc::new(self.half(worker, &clusters, &none, Arc::default(), Some((scopes.clone(), halves))))
            }
        }
    }
}

impl Hcm {
    /// The half on one worker that uses this route table.
    fn half(
        &self,
        worker: &Rc<Worker>,
        clusters: &Rc<WorkerClusters>,
        table: &Arc<RouteTable>,
        hosts: Arc<[HostStats]>,
        scopes: Option<(Arc<Scopes>, Vec<Rc<HcmWorker>>)>,
    ) -> HcmWorker {
        HcmWorker {
            chains: Chains::new(self.config.filters.clone(), table),
            upgrade_chains: upgrade_chains(&self.config, table),
            routes: Routes::new(table.clone(), clusters.clone(), self.stats.router.clone(), hosts, self.config.records_route_resolution),
            scopes,
            date: RefCell::default(),
            exchanges: RefCell::default(),
            nobody: Rc::new(ConnInfo::nobody()),
            config: self.config.clone(),
            stats: self.stats.http.clone(),
            listener_stats: self.stats.listener.clone(),
            http1_stats: self.stats.http1.clone(),
            http2_stats: self.stats.http2.clone(),
            worker: worker.clone(),
        }
    }
}

/// A connection manager on one worker.
pub(crate) struct HcmWorker {
    pub(crate) config: Arc<HcmConfig>,
    pub(crate) chains: Chains,
    /// By place in `upgrades`, where those have filters of their own.
    pub(crate) upgrade_chains: Vec<Option<Chains>>,
    /// Where there are scopes, of requests that belong to none: no routes.
    pub(crate) routes: Rc<Routes>,
    /// Whose the requests of each scope are.
    scopes: Option<(Arc<Scopes>, Vec<Rc<HcmWorker>>)>,
    pub(crate) stats: Arc<Scope>,
    pub(crate) http1_stats: Arc<Scope>,
    pub(crate) http2_stats: Arc<Scope>,
    pub(crate) worker: Rc<Worker>,
    pub(crate) date: RefCell<DateCache>,
    listener_stats: Arc<Scope>,
    exchanges: RefCell<Vec<Box<Exchange>>>,
    /// Whose exchanges those are: the connection that an exchange served last may be long gone, or out of cache.
    nobody: Rc<ConnInfo>,
}

impl fmt::Debug for HcmWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HcmWorker").field("stat_prefix", &self.config.stat_prefix).finish_non_exhaustive()
    }
}

impl TerminalWorker for HcmWorker {
    fn serve(self: Rc<Self>, connection: Connection) -> LocalFuture<()> {
        Box::pin(server::serve(self, connection))
    }

    fn refused(self: Rc<Self>, info: &Rc<ConnInfo>, by_us: bool) {
        server::refused(&self, info, by_us);
    }
}

impl HcmWorker {
    /// Whose a request is, where that goes by scopes.
    #[inline]
    pub(crate) fn scope_of(&self, head: &HeaderMap) -> Option<Rc<HcmWorker>> {
        let (scopes, halves) = self.scopes.as_ref()?;
        halves.get(scopes.find(head)?).cloned()
    }

    /// An exchange on a connection, reused where possible.
    pub(crate) fn take_exchange(&self, conn: &Rc<ConnInfo>) -> Box<Exchange> {
        match self.exchanges.borrow_mut().pop() {
            Some(mut exchange) => {
                exchange.cx.conn = conn.clone();
                exchange
            }
            None => Box::new(Exchange::new(StreamCx::new(self.worker.clone(), conn.clone()))),
        }
    }

    /// Gives a finished exchange back.
    pub(crate) fn put_exchange(&self, mut exchange: Box<Exchange>) {
        let mut pool = self.exchanges.borrow_mut();
        if pool.len() < POOLED_EXCHANGES {
            exchange.cx.conn = self.nobody.clone();
            pool.push(exchange);
        }
    }

    /// The first request on a codec makes the codec's own statistics visible.
    pub(crate) fn open_http1_stats(&self) {
        self.http1_stats.open(self.worker.lane, http1::OPEN);
    }

    /// The first connection of HTTP/2 makes its codec's statistics visible.
    pub(crate) fn open_http2_stats(&self) {
        self.http2_stats.open(self.worker.lane, http2::OPEN);
    }

    /// A request's head has begun to arrive.
    pub(crate) fn count_request(&self, protocol: Protocol) {
        let lane = self.worker.lane;
        self.stats.inc(lane, stat::DOWNSTREAM_RQ_TOTAL);
        let of_protocol = if protocol == Protocol::Http2 { stat::DOWNSTREAM_RQ_HTTP2_TOTAL } else { stat::DOWNSTREAM_RQ_HTTP1_TOTAL };
        self.stats.inc(lane, of_protocol);
        self.stats.gauge_add(lane, stat::DOWNSTREAM_RQ_ACTIVE, 1);
    }

    /// An exchange is over.
    pub(crate) fn count_response(&self, cx: &StreamCx, now: Time) {
        let lane = self.worker.lane;
        self.stats.gauge_add(lane, stat::DOWNSTREAM_RQ_ACTIVE, -1);
        // Health checks are not among the requests that are told of.
        if cx.info.health_check {
            self.stats.inc(lane, stat::TRACING_HEALTH_CHECK);
            return;
        }
        let ms = now.millis_since(cx.info.start);
        self.stats.record(lane, stat::DOWNSTREAM_RQ_TIME, ms);
        if self.config.records_route_resolution && cx.info.route_resolutions > 0 {
            let micros = u64::try_from(cx.info.route_resolution_time.as_micros()).unwrap_or(u64::MAX);
            self.stats.record(lane, stat::DOWNSTREAM_RQ_ROUTE_RESOLUTION_TIME_US, micros);
            self.stats.record(lane, stat::DOWNSTREAM_RQ_ROUTE_RESOLUTIONS, u64::from(cx.info.route_resolutions));
        }
        if cx.info.status != 0 {
            self.count_status(cx.info.status);
        }
    }

    /// Logs an exchange as it is at this moment.
    pub(crate) fn log(&self, cx: &mut StreamCx, moment: LogMoment) {
        cx.info.moment = moment;
        for log in &self.config.access_logs {
            log.log(cx);
        }
        cx.info.moment = LogMoment::NotSet;
    }

    /// A head with this status has been sent.
    pub(crate) fn count_status(&self, status: u16) {
        let lane = self.worker.lane;
        let (here, there) = match status {
            100..=199 => (stat::DOWNSTREAM_RQ_1XX, listener_http::DOWNSTREAM_RQ_1XX),
            200..=299 => (stat::DOWNSTREAM_RQ_2XX, listener_http::DOWNSTREAM_RQ_2XX),
            300..=399 => (stat::DOWNSTREAM_RQ_3XX, listener_http::DOWNSTREAM_RQ_3XX),
            400..=499 => (stat::DOWNSTREAM_RQ_4XX, listener_http::DOWNSTREAM_RQ_4XX),
            _ => (stat::DOWNSTREAM_RQ_5XX, listener_http::DOWNSTREAM_RQ_5XX),
        };
        self.stats.inc(lane, stat::DOWNSTREAM_RQ_COMPLETED);
        self.listener_stats.inc(lane, listener_http::DOWNSTREAM_RQ_COMPLETED);
        self.stats.inc(lane, here);
        self.listener_stats.inc(lane, there);
    }
}
