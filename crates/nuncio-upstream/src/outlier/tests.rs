//! The detector on hosts that are told how requests went.

use super::*;
use crate::events::EventLog;
use crate::host::Host;
use crate::host_set::testing;
use nuncio_core::{LineSink, RuntimeValue, RuntimeValues};
use nuncio_rt::Time;
use nuncio_stats::{CounterId, Lane, Scope, Store, tables::outlier_detection as stat};
use std::{sync::Mutex, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

/// A cluster's detector, its hosts and a clock.
struct Bench {
    detector: Detector,
    hosts: Vec<Arc<Host>>,
    stats: Arc<Scope>,
    now: Time,
    runtime: RuntimeValues,
    _store: Arc<Store>,
}

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl LineSink for Lines {
    fn write(&self, _lane: Lane, line: &[u8]) {
        self.0.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
    }
}

impl Bench {
    fn new(config: OutlierConfig, hosts: u16) -> Bench {
        let store = Store::new(5);
        let stats = store.scope("cluster.c.outlier_detection.", &stat::OUTLIER_DETECTION);
        let config = Arc::new(config);
        let hosts: Vec<Arc<Host>> = (1..=hosts)
            .map(|port| {
                let host = testing::host(port, 1, 0, HealthFlags::default());
                let state = HostState::with(5, HealthFlags::default(), Some(Monitor::new(config.clone(), 5)), false);
                let Host { address, hostname, locality, priority, weight, metadata, health_check, attempts, .. } = Arc::into_inner(host).unwrap();
                Arc::new(Host { address, hostname, locality, priority, weight, metadata, observability_name: None, locality_metadata: None, health_check, attempts, state })
            })
            .collect();
        let mut detector = Detector::new("c".into(), config, stats.clone());
        detector.set_hosts(&hosts);
        Bench { detector, hosts, stats, now: Time::ORIGIN, runtime: RuntimeValues::default(), _store: store }
    }

    /// As a worker and the cluster would.
    fn note(&mut self, host: usize, outcome: Outcome, times: usize) {
        let state = self.hosts[host].state.clone();
        for _ in 0..times {
            let found = state.monitor().unwrap().note(Lane::worker(host as u16 % 4), outcome, &self.runtime);
            for kind in found.into_iter().flatten() {
                self.detector.failing(&state, kind, self.now, &self.runtime);
            }
        }
    }

    fn pass(&mut self, time: Duration) -> bool {
        self.now = self.now + time;
        self.detector.sweep(self.now, &self.runtime)
    }

    fn ejected(&self) -> Vec<usize> {
        let out = |host: &Arc<Host>| host.state.flags().has(HealthFlags::FAILED_OUTLIER_CHECK);
        (0..self.hosts.len()).filter(|i| out(&self.hosts[*i])).collect()
    }

    fn count(&self, id: CounterId) -> u64 {
        self.stats.counter(id)
    }
}

fn eager() -> OutlierConfig {
    OutlierConfig { consecutive: [3; 3], max_ejection_percent: 100, ..OutlierConfig::default() }
}

#[test]
fn terms_of_ejection_grow_to_their_maximum_and_shrink_while_all_is_well() {
    let mut bench = Bench::new(OutlierConfig { max_ejection_time: SECOND * 70, ..eager() }, 1);
    for (round, term) in [30, 60, 70, 70].into_iter().enumerate() {
        bench.note(0, Outcome::Status(500), 3);
        assert_eq!(bench.ejected(), [0], "round {round}");
        assert!(!bench.pass(SECOND * (term - 1)), "round {round}");
        assert!(bench.pass(SECOND), "round {round}");
        assert_eq!(bench.ejected(), []);
    }
    assert_eq!(bench.count(stat::EJECTIONS_ENFORCED_CONSECUTIVE_5XX), 4);
    assert_eq!(bench.stats.gauge(stat::EJECTIONS_ACTIVE), 0);
    // Backoff is 4 now, one less for each sweep without an ejection.
    for _ in 0..4 {
        bench.pass(SECOND);
    }
    bench.note(0, Outcome::Status(500), 3);
    assert!(!bench.pass(SECOND * 29) && bench.pass(SECOND));
}

#[test]
fn no_more_hosts_are_ejected_than_the_percentage_allows() {
    let mut bench = Bench::new(OutlierConfig { max_ejection_percent: 50, ..eager() }, 3);
    (0..3).for_each(|host| bench.note(host, Outcome::Status(500), 3));
    assert_eq!(bench.ejected(), [0]);
    assert_eq!(bench.count(stat::EJECTIONS_OVERFLOW), 2);
    // Envoy's defaults eject nobody where there are fewer than ten hosts.
    let mut few = Bench::new(OutlierConfig { max_ejection_percent: 10, ..eager() }, 3);
    few.note(0, Outcome::Status(500), 3);
    assert_eq!((few.ejected(), few.count(stat::EJECTIONS_OVERFLOW)), (vec![], 1));
    let mut one = Bench::new(OutlierConfig { max_ejection_percent: 10, always_eject_one_host: true, ..eager() }, 3);
    (0..3).for_each(|host| one.note(host, Outcome::Status(500), 3));
    assert_eq!(one.ejected(), [0]);
}

#[test]
fn outlying_success_rates_eject() {
    let config = OutlierConfig { success_rate_request_volume: 10, consecutive: [1000; 3], ..eager() };
    let mut bench = Bench::new(config, 6);
    (0..5).for_each(|host| bench.note(host, Outcome::Status(200), 10));
    bench.note(5, Outcome::Status(200), 5);
    bench.note(5, Outcome::Status(500), 5);
    assert!(bench.pass(SECOND * 10));
    assert_eq!(bench.ejected(), [5]);
    assert_eq!(bench.hosts[5].state.success_rates(), [50.0, -1.0]);
    let rates = bench.detector.rates()[0];
    assert!((rates.average - 91.666).abs() < 0.001 && (rates.ejection_threshold - 56.262).abs() < 0.001, "{rates:?}");
    assert_eq!((bench.count(stat::EJECTIONS_ENFORCED_SUCCESS_RATE), bench.count(stat::EJECTIONS_TOTAL)), (1, 1));
    // Nothing happened in the next interval: no rates.
    bench.pass(SECOND * 10);
    assert_eq!((bench.hosts[0].state.success_rates(), bench.detector.rates()[0].average), ([-1.0, -1.0], -1.0));
}

#[test]
fn failure_percentages_need_volume_hosts_and_enforcement() {
    let mut config = OutlierConfig { failure_percentage_minimum_hosts: 2, failure_percentage_request_volume: 4, ..eager() };
    config.consecutive = [1000; 3];
    for (enforcing, out) in [(0, vec![]), (100, vec![1])] {
        config.enforcing[Finding::FailurePercentage as usize] = enforcing;
        let mut bench = Bench::new(config.clone(), 3);
        bench.note(0, Outcome::Status(200), 4);
        bench.note(1, Outcome::Status(500), 4);
        bench.note(2, Outcome::Status(500), 3);
        bench.pass(SECOND * 10);
        assert_eq!(bench.ejected(), out);
        assert_eq!(bench.count(stat::EJECTIONS_DETECTED_FAILURE_PERCENTAGE), 1);
    }
}

#[test]
fn checks_and_removal_end_ejections() {
    let mut bench = Bench::new(eager(), 2);
    (0..2).for_each(|host| bench.note(host, Outcome::ConnectFailed, 3));
    assert_eq!(bench.ejected(), [0, 1]);
    let first = bench.hosts[0].state.clone();
    assert!(bench.detector.check_passed(&first, bench.now) && !bench.detector.check_passed(&first, bench.now));
    assert_eq!(bench.stats.gauge(stat::EJECTIONS_ACTIVE), 1);
    bench.detector.set_hosts(&bench.hosts[..1]);
    assert_eq!(bench.stats.gauge(stat::EJECTIONS_ACTIVE), 0);
    let gone = bench.hosts[1].state.clone();
    assert!(!bench.detector.failing(&gone, Consecutive::Server, bench.now, &bench.runtime));
}

#[test]
fn the_runtime_decides_how_much_is_enforced() {
    let mut bench = Bench::new(eager(), 1);
    let value = RuntimeValue { number: Some(0.0), ..RuntimeValue::default() };
    bench.runtime = [("outlier_detection.enforcing_consecutive_5xx".into(), value)].into_iter().collect();
    bench.note(0, Outcome::Status(500), 3);
    assert_eq!((bench.ejected(), bench.count(stat::EJECTIONS_DETECTED_CONSECUTIVE_5XX)), (vec![], 1));
}

#[test]
fn events_are_written_as_envoy_writes_them() {
    let lines = Arc::new(Lines::default());
    let config = OutlierConfig { events: Some(EventLog(lines.clone())), detect_degraded: true, ..eager() };
    let mut bench = Bench::new(config, 1);
    bench.note(0, Outcome::Status(500), 3);
    bench.pass(SECOND * 31);
    let host = bench.hosts[0].state.clone();
    assert!(bench.detector.degraded(&host, bench.now) && !bench.detector.degraded(&host, bench.now));
    let lines = lines.0.lock().unwrap();
    let without_time = |line: &String| {
        let (head, tail) = line.split_once(",\"timestamp\":\"").unwrap();
        format!("{head}{}", tail.split_once('"').unwrap().1)
    };
    assert_eq!(
        lines.iter().map(without_time).collect::<String>(),
        r#"{"type":"CONSECUTIVE_5XX","cluster_name":"c","upstream_url":"127.0.0.1:1","action":"EJECT","num_ejections":1,"enforced":true,"eject_consecutive_event":{}}
{"type":"CONSECUTIVE_5XX","secs_since_last_action":"31","cluster_name":"c","upstream_url":"127.0.0.1:1","action":"UNEJECT","num_ejections":1,"enforced":false}
{"type":"DEGRADED","secs_since_last_action":"0","cluster_name":"c","upstream_url":"127.0.0.1:1","action":"EJECT","num_ejections":1,"enforced":true,"eject_consecutive_event":{}}
"#
    );
}
