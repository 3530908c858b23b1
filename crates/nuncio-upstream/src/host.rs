//! One upstream host: what it is, how it does, and what has been counted about it.
//!
//! A [`Host`] is immutable but for its [`HostState`], which outlives changes of weight, metadata or priority: it goes
//! with the address for as long as the cluster has that address. Counters are one cell per lane, written by that lane
//! only; the number of requests in flight is additionally one shared atomic where the policy compares hosts by it.

use crate::config::{ClusterConfig, EndpointHealth, EndpointHealthCheck, Locality};
use crate::orca::Reported;
use nuncio_core::HostFacts;
use nuncio_core::metadata::{Metadata, is_canary};
use crate::outlier::{Monitor, Origin};
use nuncio_rt::{Address, Io, TcpOptions, Time};
use nuncio_stats::Lane;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::{io, rc::Rc, time::Duration};

/// One upstream host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where it is.
    pub address: Arc<Address>,
    /// Its name, may be empty.
    pub hostname: Arc<str>,
    /// Where it stands.
    pub locality: Arc<Locality>,
    /// 0 is served first.
    pub priority: u32,
    /// Its share of the load, at least 1.
    pub weight: u32,
    /// Endpoint metadata.
    pub metadata: Option<Arc<Metadata>>,
    /// What its own statistics call it, in the place of its address.
    pub observability_name: Option<Arc<str>>,
    /// Metadata of its locality.
    pub locality_metadata: Option<Arc<Metadata>>,
    /// How it is health checked differently from its cluster.
    pub health_check: Arc<EndpointHealthCheck>,
    /// Where it has several addresses: all of them, in the order in which they are tried.
    pub attempts: Arc<[Address]>,
    /// Health and counters.
    pub state: Arc<HostState>,
}

impl Host {
    /// What exchanges show of it.
    pub fn facts(&self) -> Rc<HostFacts> {
        Rc::new(HostFacts::new(self.address.clone(), self.hostname.clone(), self.metadata.clone()))
    }

    /// Opens a connection to it. `again` is told of every attempt but the first, which are several where it has several
    /// addresses.
    pub(crate) async fn connect(&self, options: &TcpOptions, timeout: Duration, again: impl FnMut()) -> io::Result<Io> {
        match self.attempts.is_empty() {
            true => nuncio_rt::connect(&self.address, options, timeout).await,
            false => nuncio_rt::connect_any(&self.attempts, options, timeout, again).await,
        }
    }

    /// Whether its metadata marks it as a canary.
    pub fn is_canary(&self) -> bool {
        is_canary(self.metadata.as_deref())
    }
}

/// Why a host is thought to be well or not: a set of flags, printed by `/clusters` as `health_flags`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthFlags(pub u32);

impl HealthFlags {
    /// Active health checks fail.
    pub const FAILED_ACTIVE_HC: HealthFlags = HealthFlags(1);
    /// Ejected by outlier detection.
    pub const FAILED_OUTLIER_CHECK: HealthFlags = HealthFlags(1 << 1);
    /// Unhealthy by configuration or EDS.
    pub const FAILED_EDS_HEALTH: HealthFlags = HealthFlags(1 << 2);
    /// Active health checks say degraded.
    pub const DEGRADED_ACTIVE_HC: HealthFlags = HealthFlags(1 << 3);
    /// Degraded by configuration or EDS.
    pub const DEGRADED_EDS_HEALTH: HealthFlags = HealthFlags(1 << 4);
    /// No longer in the assignment, kept while it is healthy.
    pub const PENDING_DYNAMIC_REMOVAL: HealthFlags = HealthFlags(1 << 5);
    /// Not checked yet and not to be used before.
    pub const PENDING_ACTIVE_HC: HealthFlags = HealthFlags(1 << 6);
    /// Told us with `x-envoy-immediate-health-check-fail` to leave it out.
    pub const EXCLUDED_VIA_IMMEDIATE_HC_FAIL: HealthFlags = HealthFlags(1 << 7);
    /// The last active health check timed out.
    pub const ACTIVE_HC_TIMEOUT: HealthFlags = HealthFlags(1 << 8);
    /// Draining by EDS.
    pub const EDS_STATUS_DRAINING: HealthFlags = HealthFlags(1 << 9);

    /// Said with `x-envoy-degraded` that it is degraded, and outlier detection heeds that.
    pub const DEGRADED_OUTLIER_DETECTION: HealthFlags = HealthFlags(1 << 10);

    /// The assignment says that it is healthy. Not shown.
    pub const EDS_STATUS_HEALTHY: HealthFlags = HealthFlags(1 << 11);
    /// The assignment says that it timed out, which is unhealthy. Not shown.
    pub const EDS_STATUS_TIMEOUT: HealthFlags = HealthFlags(1 << 12);

    const UNHEALTHY: u32 = 1 | 1 << 1 | 1 << 2;
    const SHOWN: u32 = (1 << 11) - 1;
    const DEGRADED: u32 = 1 << 3 | 1 << 4 | 1 << 10;
    const EXCLUDED: u32 = 1 << 6 | 1 << 7;

    /// Names in the order in which they are printed.
    const NAMES: [(HealthFlags, &'static str); 11] = [
        (HealthFlags::FAILED_ACTIVE_HC, "/failed_active_hc"),
        (HealthFlags::FAILED_OUTLIER_CHECK, "/failed_outlier_check"),
        (HealthFlags::FAILED_EDS_HEALTH, "/failed_eds_health"),
        (HealthFlags::DEGRADED_ACTIVE_HC, "/degraded_active_hc"),
        (HealthFlags::DEGRADED_EDS_HEALTH, "/degraded_eds_health"),
        (HealthFlags::PENDING_DYNAMIC_REMOVAL, "/pending_dynamic_removal"),
        (HealthFlags::PENDING_ACTIVE_HC, "/pending_active_hc"),
        (HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL, "/excluded_via_immediate_hc_fail"),
        (HealthFlags::ACTIVE_HC_TIMEOUT, "/active_hc_timeout"),
        (HealthFlags::EDS_STATUS_DRAINING, "/eds_status_draining"),
        (HealthFlags::DEGRADED_OUTLIER_DETECTION, "/degraded_outlier_detection"),
    ];

    /// True if any flag of `other` is set.
    pub fn has(self, other: HealthFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// What load balancing makes of the flags.
    pub fn health(self) -> Health {
        if self.0 & HealthFlags::UNHEALTHY != 0 {
            Health::Unhealthy
        } else if self.0 & HealthFlags::DEGRADED != 0 {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }

    /// The one status that the flags come to: what we found ourselves, then what the assignment says.
    pub fn status(self) -> EndpointHealth {
        if self.has(HealthFlags::FAILED_ACTIVE_HC) || self.has(HealthFlags::FAILED_OUTLIER_CHECK) {
            EndpointHealth::Unhealthy
        } else if self.has(HealthFlags::EDS_STATUS_DRAINING) {
            EndpointHealth::Draining
        } else if self.has(HealthFlags::EDS_STATUS_TIMEOUT) {
            EndpointHealth::Timeout
        } else if self.has(HealthFlags::FAILED_EDS_HEALTH) {
            EndpointHealth::Unhealthy
        } else if self.health() == Health::Degraded {
            EndpointHealth::Degraded
        } else if self.has(HealthFlags::EDS_STATUS_HEALTHY) {
            EndpointHealth::Healthy
        } else {
            EndpointHealth::Unknown
        }
    }

    /// Left out of the reckoning of panic and priorities.
    pub fn is_excluded(self) -> bool {
        self.0 & HealthFlags::EXCLUDED != 0
    }
}

impl std::fmt::Display for HealthFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 & HealthFlags::SHOWN == 0 {
            return f.write_str("healthy");
        }
        HealthFlags::NAMES.iter().filter(|(flag, _)| self.has(*flag)).try_for_each(|(_, name)| f.write_str(name))
    }
}

/// How much a host may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Fully.
    Healthy,
    /// When there are not enough healthy ones.
    Degraded,
    /// In panic only.
    Unhealthy,
}

/// What changes about a host while it exists.
#[derive(Debug)]
pub struct HostState {
    flags: AtomicU32,
    /// Made when first asked for: most policies never do.
    active: OnceLock<Box<Active>>,
    /// Nanoseconds on the process's clock, 0 while not known.
    healthy_since: AtomicU64,
    /// Made when the host is first used: most hosts of most clusters never are.
    lanes: OnceLock<Box<[OnceLock<Box<HostCounters>>]>>,
    /// How many.
    lane_count: u16,
    /// A request has asked for it lately, where hosts come on demand.
    used: AtomicBool,
    monitor: Option<Box<Monitor>>,
    reported: Option<Box<Reported>>,
}

/// Requests in flight over all workers; on a cache line of its own, for every worker writes it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Active(AtomicU32);

/// What one lane has counted about a host: one cache line. A lane's part of a gauge may be negative, their sum is not.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct HostCounters {
    counters: [AtomicU64; 6],
    gauges: [AtomicU32; 3],
}

/// A statistic of a host, counters first, in the order of `/clusters?format=json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum HostStat {
    /// Connections that could not be made.
    CxConnectFail,
    /// Connections begun.
    CxTotal,
    /// Requests that ended in an error or a 5xx.
    RqError,
    /// Requests answered otherwise.
    RqSuccess,
    /// Requests timed out.
    RqTimeout,
    /// Requests sent.
    RqTotal,
    /// Open connections (gauge).
    CxActive,
    /// Requests in flight (gauge).
    RqActive,
    /// Requests that wait for a connection (gauge).
    RqPendingActive,
}

impl HostStat {
    /// All of them, in order.
    pub const ALL: [HostStat; 9] = [
        HostStat::CxConnectFail,
        HostStat::CxTotal,
        HostStat::RqError,
        HostStat::RqSuccess,
        HostStat::RqTimeout,
        HostStat::RqTotal,
        HostStat::CxActive,
        HostStat::RqActive,
        HostStat::RqPendingActive,
    ];

    /// As `/clusters` calls it.
    pub fn name(self) -> &'static str {
        match self {
            HostStat::CxConnectFail => "cx_connect_fail",
            HostStat::CxTotal => "cx_total",
            HostStat::RqError => "rq_error",
            HostStat::RqSuccess => "rq_success",
            HostStat::RqTimeout => "rq_timeout",
            HostStat::RqTotal => "rq_total",
            HostStat::CxActive => "cx_active",
            HostStat::RqActive => "rq_active",
            HostStat::RqPendingActive => "rq_pending_active",
        }
    }

    /// Whether it goes down as well as up.
    pub fn is_gauge(self) -> bool {
        self as usize >= HostStat::CxActive as usize
    }
}

impl HostCounters {
    /// Adds one. Only the lane's own thread may.
    #[inline]
    pub fn inc(&self, stat: HostStat) {
        self.add(stat, 1);
    }

    /// Takes one from a gauge. Only the lane's own thread may.
    #[inline]
    pub fn dec(&self, stat: HostStat) {
        self.add(stat, u32::MAX);
    }

    #[inline]
    fn add(&self, stat: HostStat, n: u32) {
        let at = stat as usize;
        if let Some(cell) = self.counters.get(at) {
            cell.store(cell.load(Relaxed).wrapping_add(u64::from(n)), Relaxed);
        } else if let Some(cell) = self.gauges.get(at - self.counters.len()) {
            cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
        }
    }
}

impl HostState {
    /// A host never used, with these flags.
    pub fn new(lanes: usize, flags: HealthFlags) -> Arc<HostState> {
        HostState::with(lanes, flags, None, false)
    }

    /// The same for a host of this cluster, with room for what the cluster notes about its hosts.
    pub(crate) fn of_cluster(lanes: usize, flags: HealthFlags, config: &ClusterConfig) -> Arc<HostState> {
        let monitor = config.outlier.as_ref().map(|outlier| Monitor::new(outlier.clone(), lanes));
        HostState::with(lanes, flags, monitor, config.orca.is_some())
    }

    pub(crate) fn with(lanes: usize, flags: HealthFlags, monitor: Option<Monitor>, reports: bool) -> Arc<HostState> {
        Arc::new(HostState {
            monitor: monitor.map(Box::new),
            reported: reports.then(Box::default),
            flags: AtomicU32::new(flags.0),
            active: OnceLock::new(),
            used: AtomicBool::new(false),
            healthy_since: AtomicU64::new(0),
            lanes: OnceLock::new(),
            lane_count: u16::try_from(lanes).unwrap_or(u16::MAX),
        })
    }

    /// The flags now. Load balancing uses those of the last published host set.
    pub fn flags(&self) -> HealthFlags {
        HealthFlags(self.flags.load(Relaxed))
    }

    /// Sets or clears flags; returns whether that changed anything.
    pub fn set_flags(&self, flags: HealthFlags, on: bool) -> bool {
        let before =
            if on { self.flags.fetch_or(flags.0, Relaxed) } else { self.flags.fetch_and(!flags.0, Relaxed) };
        if on { before & flags.0 != flags.0 } else { before & flags.0 != 0 }
    }

    /// Notes that a request asks for it.
    pub(crate) fn mark_used(&self) {
        // Mostly it is said already, and the cache line stays with everybody.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    /// Whether a request has asked for it since this was asked last.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Relaxed)
    }

    /// What outlier detection notes about it, where there is some.
    #[inline]
    pub(crate) fn monitor(&self) -> Option<&Monitor> {
        self.monitor.as_deref()
    }

    /// What it has reported about its load, where that counts.
    #[inline]
    pub(crate) fn reported(&self) -> Option<&Reported> {
        self.reported.as_deref()
    }

    /// Success rates of the last interval of outlier detection, in percent: of answers, and of local origin. Negative
    /// while there are none.
    pub fn success_rates(&self) -> [f64; 2] {
        [Origin::External, Origin::Local].map(|origin| self.monitor.as_ref().map_or(-1.0, |monitor| monitor.rate(origin)))
    }

    /// Since when it is healthy: as health checks found, or else since somebody first asked, which is `now`.
    pub(crate) fn healthy_since(&self, now: Time) -> Time {
        match self.healthy_since.compare_exchange(0, now.as_nanos().max(1), Relaxed, Relaxed) {
            Ok(_) => now,
            Err(since) => Time::from_nanos(since),
        }
    }

    /// Health checks found it healthy after it was not.
    pub(crate) fn became_healthy(&self, now: Time) {
        self.healthy_since.store(now.as_nanos().max(1), Relaxed);
    }

    /// One lane's counters; `None` for a lane that the store does not have.
    #[inline]
    pub fn counters(&self, lane: Lane) -> Option<&HostCounters> {
        let lanes = self.lanes.get_or_init(|| (0..self.lane_count).map(|_| OnceLock::new()).collect());
        lanes.get(lane.index()).map(|cell| &**cell.get_or_init(Box::default))
    }

    /// A statistic over all lanes.
    pub fn stat(&self, stat: HostStat) -> u64 {
        let lanes = self.lanes.get().into_iter().flatten().filter_map(|cell| cell.get());
        let at = stat as usize;
        if !stat.is_gauge() {
            return lanes.filter_map(|lane| lane.counters.get(at)).map(|cell| cell.load(Relaxed)).sum();
        }
        let parts = lanes.filter_map(|lane| lane.gauges.get(at - lane.counters.len()));
        let sum = parts.fold(0u32, |sum, cell| sum.wrapping_add(cell.load(Relaxed)));
        // Lanes are read one after the other while they move.
        u64::try_from(sum as i32).unwrap_or(0)
    }

    /// Requests in flight as [`HostState::request_began`] and [`HostState::request_ended`] were told.
    #[inline]
    pub fn active_requests(&self) -> u32 {
        self.active.get().map_or(0, |active| active.0.load(Relaxed))
    }

    /// Counts a request in flight for policies that compare hosts by it.
    #[inline]
    pub fn request_began(&self) {
        self.active.get_or_init(Box::default).0.fetch_add(1, Relaxed);
    }

    /// The end of a request counted by [`HostState::request_began`].
    #[inline]
    pub fn request_ended(&self) {
        self.active.get_or_init(Box::default).0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_in_order_and_nothing_set_is_healthy() {
        let state = HostState::new(1, HealthFlags::default());
        assert_eq!(state.flags().to_string(), "healthy");
        assert!(state.set_flags(HealthFlags::ACTIVE_HC_TIMEOUT, true));
        assert!(state.set_flags(HealthFlags::FAILED_ACTIVE_HC, true));
        assert!(!state.set_flags(HealthFlags::FAILED_ACTIVE_HC, true));
        assert_eq!(state.flags().to_string(), "/failed_active_hc/active_hc_timeout");
        assert_eq!(state.flags().health(), Health::Unhealthy);
        assert!(state.set_flags(HealthFlags::FAILED_ACTIVE_HC, false));
        assert_eq!(state.flags().health(), Health::Healthy);
    }

    #[test]
    fn counters_of_four_workers_add_up() {
        let state = HostState::new(5, HealthFlags::default());
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let state = &state;
                scope.spawn(move || {
                    let lane = Lane::worker(worker);
                    for _ in 0..10_000 {
                        if let Some(cells) = state.counters(lane) {
                            cells.inc(HostStat::RqTotal);
                            cells.inc(HostStat::RqActive);
                            cells.dec(HostStat::RqActive);
                            cells.inc(HostStat::RqPendingActive);
                        }
                        state.request_began();
                        state.request_ended();
                    }
                });
            }
        });
        assert_eq!((state.stat(HostStat::RqTotal), state.stat(HostStat::RqActive)), (40_000, 0));
        assert_eq!(state.stat(HostStat::RqPendingActive), 40_000);
        assert_eq!(state.active_requests(), 0);
    }
}
