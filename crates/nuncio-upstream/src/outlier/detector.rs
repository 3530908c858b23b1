//! Judging the hosts of a cluster by what workers noted about them: who is ejected, and when it comes back.
//!
//! No clock and no task of its own: the cluster calls [`Detector::failing`] when a row of errors is long enough and
//! [`Detector::sweep`] at each interval. Both answer whether the health of a host changed.

use super::config::{Consecutive, Finding, OutlierConfig, number};
use super::monitor::{Monitor, Origin, Volume};
use crate::events::Object;
use crate::host::{HealthFlags, Host, HostState};
use nuncio_core::RuntimeValues;
use nuncio_rt::{Rng, Time};
use nuncio_stats::{CounterId, Lane, Scope, tables::outlier_detection as stat};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// The judge of one cluster's hosts.
#[derive(Debug)]
pub(crate) struct Detector {
    cluster: Arc<str>,
    config: Arc<OutlierConfig>,
    stats: Arc<Scope>,
    rng: Rng,
    records: Vec<Record>,
    ejected: u64,
    /// By origin.
    rates: [Rates; 2],
}

/// What is remembered about a host.
#[derive(Debug)]
struct Record {
    host: Arc<Host>,
    /// What had been counted by the last sweep.
    seen: [Volume; 2],
    ejections: u32,
    /// How many times the base ejection time it would be ejected for.
    backoff: u32,
    jitter: Duration,
    ejected_at: Option<Time>,
    returned_at: Option<Time>,
    degraded_at: Option<Time>,
}

/// Rates of success over a cluster, in percent; negative while there are none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Their mean.
    pub average: f64,
    /// What is below this is an outlier.
    pub ejection_threshold: f64,
}

const NO_RATES: Rates = Rates { average: -1.0, ejection_threshold: -1.0 };

impl Record {
    fn monitor(&self) -> Option<&Monitor> {
        self.host.state.monitor()
    }

    fn is_ejected(&self) -> bool {
        self.host.state.flags().has(HealthFlags::FAILED_OUTLIER_CHECK)
    }
}

impl Detector {
    pub(crate) fn new(cluster: Arc<str>, config: Arc<OutlierConfig>, stats: Arc<Scope>) -> Detector {
        let rng = Rng::default();
        Detector { cluster, config, stats, rng, records: Vec::new(), ejected: 0, rates: [NO_RATES; 2] }
    }

    /// The wait between sweeps.
    pub(crate) fn interval(&self, runtime: &RuntimeValues) -> Duration {
        duration(runtime, "outlier_detection.interval_ms", self.config.interval)
    }

    /// Rates of the last interval: of answers, of local origin.
    pub(crate) fn rates(&self) -> [Rates; 2] {
        self.rates
    }

    /// Judges these hosts from now on, and no others.
    pub(crate) fn set_hosts(&mut self, hosts: &[Arc<Host>]) {
        let mut before: HashMap<*const HostState, Record> =
            self.records.drain(..).map(|record| (Arc::as_ptr(&record.host.state), record)).collect();
        self.records = (hosts.iter())
            .map(|host| match before.remove(&Arc::as_ptr(&host.state)) {
                Some(record) => Record { host: host.clone(), ..record },
                None => Record {
                    host: host.clone(),
                    seen: [Volume::default(); 2],
                    ejections: 0,
                    backoff: 0,
                    jitter: Duration::ZERO,
                    ejected_at: None,
                    returned_at: None,
                    degraded_at: None,
                },
            })
            .collect();
        let gone = before.values().filter(|record| record.is_ejected()).count() as u64;
        self.count_ejected(-(gone as i64));
    }

    /// A row of errors is long enough. `host` may be gone already.
    pub(crate) fn failing(&mut self, host: &HostState, kind: Consecutive, now: Time, runtime: &RuntimeValues) -> bool {
        let Some(at) = self.find(host) else { return false };
        if self.records[at].is_ejected() {
            return false;
        }
        let changed = self.found(at, kind.finding(), now, runtime);
        if kind == Consecutive::Server {
            self.inc(stat::EJECTIONS_CONSECUTIVE_5XX);
        }
        self.records[at].monitor().inspect(|monitor| monitor.ends(kind));
        changed
    }

    /// A host has said that it is degraded.
    pub(crate) fn degraded(&mut self, host: &HostState, now: Time) -> bool {
        let Some(at) = self.find(host) else { return false };
        if !host.set_flags(HealthFlags::DEGRADED_OUTLIER_DETECTION, true) {
            return false;
        }
        self.inc(stat::EJECTIONS_DETECTED_DEGRADATION);
        self.records[at].degraded_at = Some(now);
        self.log_ejection(at, "DEGRADED", true, now, Some(("eject_consecutive_event", Object::new())));
        true
    }

    /// An active health check of a host has passed.
    pub(crate) fn check_passed(&mut self, host: &HostState, now: Time) -> bool {
        let concerned = self.config.active_check_unejects && host.flags().has(HealthFlags::FAILED_OUTLIER_CHECK);
        let at = if concerned { self.find(host) } else { None };
        if let Some(at) = at {
            self.uneject(at, now);
        }
        at.is_some()
    }

    /// Lets hosts back whose time is up, and ejects those whose rates are out of line.
    pub(crate) fn sweep(&mut self, now: Time, runtime: &RuntimeValues) -> bool {
        let mut changed = false;
        let mut volumes = Vec::with_capacity(self.records.len());
        for at in 0..self.records.len() {
            changed |= self.let_back(at, now, runtime);
            let record = &mut self.records[at];
            let Some(monitor) = record.host.state.monitor() else { continue };
            let volume = [Origin::External, Origin::Local].map(|origin| {
                monitor.set_rate(origin, -1.0);
                let (ever, seen) = (monitor.volume(origin), record.seen[origin as usize]);
                record.seen[origin as usize] = ever;
                Volume { total: ever.total - seen.total, success: ever.success - seen.success }
            });
            volumes.push((at, volume));
        }
        for origin in [Origin::External, Origin::Local] {
            let volumes: Vec<_> = volumes.iter().map(|(at, volume)| (*at, volume[origin as usize])).collect();
            changed |= self.judge_rates(origin, &volumes, now, runtime);
        }
        changed
    }

    fn let_back(&mut self, at: usize, now: Time, runtime: &RuntimeValues) -> bool {
        let base = duration(runtime, "outlier_detection.base_ejection_time_ms", self.config.base_ejection_time);
        let max = duration(runtime, "outlier_detection.max_ejection_time_ms", self.config.max_ejection_time);
        let record = &mut self.records[at];
        if record.degraded_at.is_some_and(|since| now.since(since) >= base) {
            record.degraded_at = None;
            record.host.state.set_flags(HealthFlags::DEGRADED_OUTLIER_DETECTION, false);
            self.log_return(at, now);
            return true;
        }
        if !record.is_ejected() {
            record.backoff = record.backoff.saturating_sub(1);
            return false;
        }
        let term = base.saturating_mul(record.backoff).min(max).saturating_add(record.jitter);
        let over = record.ejected_at.is_none_or(|since| now.since(since) >= term);
        if over {
            self.uneject(at, now);
        }
        over
    }

    fn uneject(&mut self, at: usize, now: Time) {
        self.count_ejected(-1);
        let record = &mut self.records[at];
        record.host.state.set_flags(HealthFlags::FAILED_OUTLIER_CHECK, false);
        record.returned_at = Some(now);
        if let Some(monitor) = record.monitor() {
            for kind in [Consecutive::Server, Consecutive::Gateway, Consecutive::LocalOrigin] {
                monitor.ends(kind);
            }
        }
        self.log_return(at, now);
    }

    fn judge_rates(&mut self, origin: Origin, volumes: &[(usize, Volume)], now: Time, runtime: &RuntimeValues) -> bool {
        let config = self.config.clone();
        let number = |key, default: u32| number(runtime, key, u64::from(default));
        let hosts = number("outlier_detection.success_rate_minimum_hosts", config.success_rate_minimum_hosts);
        let volume = number("outlier_detection.success_rate_request_volume", config.success_rate_request_volume);
        let failure_hosts = number("outlier_detection.failure_percentage_minimum_hosts", config.failure_percentage_minimum_hosts);
        let failure_volume = number("outlier_detection.failure_percentage_request_volume", config.failure_percentage_request_volume);
        self.rates[origin as usize] = NO_RATES;
        if (self.records.len() as u64) < hosts.min(failure_hosts) {
            return false;
        }
        let (mut rated, mut failure_rated) = (Vec::new(), Vec::new());
        for (at, seen) in volumes.iter().filter(|(_, seen)| seen.total > 0) {
            let record = &self.records[*at];
            if record.is_ejected() {
                continue;
            }
            let rate = seen.success as f64 * 100.0 / seen.total as f64;
            if seen.total >= volume.min(failure_volume) {
                record.monitor().inspect(|monitor| monitor.set_rate(origin, rate));
            }
            if seen.total >= volume {
                rated.push((*at, rate));
            }
            if seen.total >= failure_volume {
                failure_rated.push((*at, rate));
            }
        }
        let mut changed = false;
        let (by_rate, by_failures) = match origin {
            Origin::External => (Finding::SuccessRate, Finding::FailurePercentage),
            Origin::Local => (Finding::SuccessRateLocalOrigin, Finding::FailurePercentageLocalOrigin),
        };
        if !rated.is_empty() && rated.len() as u64 >= hosts {
            let factor = number("outlier_detection.success_rate_stdev_factor", config.success_rate_stdev_factor) as f64 / 1000.0;
            let rates = ejection_threshold(&rated, factor);
            self.rates[origin as usize] = rates;
            for (at, _) in rated.iter().filter(|(_, rate)| *rate < rates.ejection_threshold) {
                self.inc(stat::EJECTIONS_SUCCESS_RATE);
                changed |= self.found(*at, by_rate, now, runtime);
            }
        }
        if !failure_rated.is_empty() && failure_rated.len() as u64 >= failure_hosts {
            let threshold = number("outlier_detection.failure_percentage_threshold", config.failure_percentage_threshold) as f64;
            for (at, _) in failure_rated.iter().filter(|(_, rate)| 100.0 - rate >= threshold) {
                changed |= self.found(*at, by_failures, now, runtime);
            }
        }
        changed
    }

    /// A host is an outlier: it is ejected if there may be one more, and if such findings are acted upon.
    fn found(&mut self, at: usize, finding: Finding, now: Time, runtime: &RuntimeValues) -> bool {
        self.inc(DETECTED[finding as usize]);
        let percent = number(runtime, "outlier_detection.max_ejection_percent", u64::from(self.config.max_ejection_percent)).min(100);
        let share = 100.0 * (self.ejected + 1) as f64 / self.records.len() as f64;
        let always_one = self.config.always_eject_one_host && self.ejected == 0;
        if share > percent as f64 && !always_one {
            self.inc(stat::EJECTIONS_OVERFLOW);
            return false;
        }
        if matches!(finding, Finding::Consecutive5xx | Finding::SuccessRate) {
            self.inc(stat::EJECTIONS_TOTAL);
        }
        let enforcing = number(runtime, finding.enforcing_key(), u64::from(self.config.enforcing[finding as usize]));
        let enforced = self.rng.below(100) < enforcing;
        let ejects = enforced && !self.records[at].is_ejected();
        if ejects {
            self.count_ejected(1);
            self.inc(stat::EJECTIONS_ENFORCED_TOTAL);
            self.inc(ENFORCED[finding as usize]);
            self.eject(at, now, runtime);
        }
        self.log_finding(at, finding, enforced, now);
        ejects
    }

    fn eject(&mut self, at: usize, now: Time, runtime: &RuntimeValues) {
        let base = duration(runtime, "outlier_detection.base_ejection_time_ms", self.config.base_ejection_time);
        let max = duration(runtime, "outlier_detection.max_ejection_time_ms", self.config.max_ejection_time);
        let jitter = duration(runtime, "outlier_detection.max_ejection_time_jitter_ms", self.config.max_ejection_time_jitter);
        let jitter = self.rng.below(millis(jitter).saturating_add(1));
        let record = &mut self.records[at];
        record.host.state.set_flags(HealthFlags::FAILED_OUTLIER_CHECK, true);
        record.ejections += 1;
        record.ejected_at = Some(now);
        record.jitter = Duration::from_millis(jitter);
        if base.saturating_mul(record.backoff) < max.saturating_add(base) {
            record.backoff += 1;
        }
    }

    fn find(&self, host: &HostState) -> Option<usize> {
        self.records.iter().position(|record| std::ptr::eq(&*record.host.state, host))
    }

    fn inc(&self, id: CounterId) {
        self.stats.inc(Lane::MAIN, id);
    }

    fn count_ejected(&mut self, n: i64) {
        self.ejected = self.ejected.saturating_add_signed(n);
        self.stats.gauge_add(Lane::MAIN, stat::EJECTIONS_ACTIVE, n);
    }

    fn log_finding(&self, at: usize, finding: Finding, enforced: bool, now: Time) {
        let rate = |origin| self.records[at].monitor().map_or(0.0, |monitor| monitor.rate(origin)) as u32;
        let (name, details) = match finding {
            Finding::SuccessRate | Finding::SuccessRateLocalOrigin => {
                let origin = if finding == Finding::SuccessRate { Origin::External } else { Origin::Local };
                let rates = self.rates[origin as usize];
                let details = Object::new()
                    .plain("host_success_rate", rate(origin))
                    .plain("cluster_average_success_rate", rates.average as u32)
                    .plain("cluster_success_rate_ejection_threshold", rates.ejection_threshold as u32);
                ("eject_success_rate_event", details)
            }
            Finding::FailurePercentage => {
                ("eject_failure_percentage_event", Object::new().plain("host_success_rate", rate(Origin::External)))
            }
            Finding::FailurePercentageLocalOrigin => {
                ("eject_failure_percentage_event", Object::new().plain("host_success_rate", rate(Origin::Local)))
            }
            _ => ("eject_consecutive_event", Object::new()),
        };
        self.log_ejection(at, finding.name(), enforced, now, Some((name, details)));
    }

    fn log_ejection(&self, at: usize, kind: &str, enforced: bool, now: Time, details: Option<(&str, Object)>) {
        self.log(at, kind, self.records[at].returned_at, "EJECT", enforced, now, details);
    }

    fn log_return(&self, at: usize, now: Time) {
        // The first kind there is stands for none.
        self.log(at, Finding::Consecutive5xx.name(), self.records[at].ejected_at, "UNEJECT", false, now, None);
    }

    #[allow(clippy::too_many_arguments, reason = "the members of one line")]
    fn log(&self, at: usize, kind: &str, last: Option<Time>, action: &str, enforced: bool, now: Time, details: Option<(&str, Object)>) {
        let Some(log) = &self.config.events else { return };
        let record = &self.records[at];
        let mut line = Object::new().text("type", kind).time("timestamp", now.wall());
        if let Some(last) = last {
            line = line.text("secs_since_last_action", &now.since(last).as_secs().to_string());
        }
        line = line
            .text("cluster_name", &self.cluster)
            .text("upstream_url", &record.host.address.to_string())
            .text("action", action)
            .plain("num_ejections", record.ejections)
            .plain("enforced", enforced);
        if let Some((name, details)) = details {
            line = line.object(name, details);
        }
        line.write([log]);
    }
}

impl Drop for Detector {
    fn drop(&mut self) {
        // The statistics outlive a cluster that is replaced.
        self.stats.gauge_add(Lane::MAIN, stat::EJECTIONS_ACTIVE, -(self.ejected as i64));
    }
}

/// Mean less so many standard deviations.
fn ejection_threshold(rated: &[(usize, f64)], factor: f64) -> Rates {
    let n = rated.len() as f64;
    let average = rated.iter().map(|(_, rate)| rate).sum::<f64>() / n;
    let variance = rated.iter().map(|(_, rate)| (rate - average).powi(2)).sum::<f64>() / n;
    Rates { average, ejection_threshold: average - factor * variance.sqrt() }
}

fn duration(runtime: &RuntimeValues, key: &str, default: Duration) -> Duration {
    Duration::from_millis(number(runtime, key, millis(default)))
}

fn millis(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}

const DETECTED: [CounterId; 7] = [
    stat::EJECTIONS_DETECTED_CONSECUTIVE_5XX,
    stat::EJECTIONS_DETECTED_CONSECUTIVE_GATEWAY_FAILURE,
    stat::EJECTIONS_DETECTED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE,
    stat::EJECTIONS_DETECTED_SUCCESS_RATE,
    stat::EJECTIONS_DETECTED_LOCAL_ORIGIN_SUCCESS_RATE,
    stat::EJECTIONS_DETECTED_FAILURE_PERCENTAGE,
    stat::EJECTIONS_DETECTED_LOCAL_ORIGIN_FAILURE_PERCENTAGE,
];

const ENFORCED: [CounterId; 7] = [
    stat::EJECTIONS_ENFORCED_CONSECUTIVE_5XX,
    stat::EJECTIONS_ENFORCED_CONSECUTIVE_GATEWAY_FAILURE,
    stat::EJECTIONS_ENFORCED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE,
    stat::EJECTIONS_ENFORCED_SUCCESS_RATE,
    stat::EJECTIONS_ENFORCED_LOCAL_ORIGIN_SUCCESS_RATE,
    stat::EJECTIONS_ENFORCED_FAILURE_PERCENTAGE,
    stat::EJECTIONS_ENFORCED_LOCAL_ORIGIN_FAILURE_PERCENTAGE,
];
