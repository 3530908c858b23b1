//! Active health checks: one task per host on the main thread.
//!
//! A [`Checker`] belongs to a cluster. Each of its sessions asks its host (`http`, `tcp`, `grpc`, `redis`), lets [`tally`] decide what
//! that means, tells the cluster, and waits. Requests never wait for any of it: workers see the outcome with the next
//! host set.

mod config;
mod door;
mod events;
mod grpc;
mod http;
mod http2;
mod redis;
mod tally;
mod tcp;

pub use config::{
    GrpcHealthCheck, HeaderAppend, HealthCheckConfig, HealthCheckKind, HttpHealthCheck, Payload, Predicate, RedisHealthCheck, StatusRange, TcpHealthCheck,
};

use crate::host::{HealthFlags, Host, HostState};
use crate::manager::{Cluster, Task};
use nuncio_rt::Rng;
use nuncio_stats::{Lane, Scope, Store, tables::cluster, tables::health_check as stat};
use std::{
    cell::RefCell,
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
};
pub(crate) use door::Door;
pub(crate) use http2::Http2Client;
use tally::{Outcome, Tally, Verdict, random, wait};

/// The checks of one cluster's hosts.
#[derive(Debug)]
pub(crate) struct Checker {
    cluster: Weak<Cluster>,
    config: HealthCheckConfig,
    stats: Arc<Scope>,
    /// What checks of Redis count beside that.
    redis: Option<Arc<Scope>>,
    rng: Rng,
    sessions: RefCell<HashMap<*const HostState, Session>>,
}

/// One host under check.
#[derive(Debug)]
struct Session {
    host: Arc<Host>,
    tally: Rc<RefCell<Tally>>,
    _task: Task,
}

/// What asks a host.
enum Probe {
    Http(http::HttpProbe),
    Tcp(tcp::TcpProbe),
    Grpc(grpc::GrpcProbe),
    Redis(redis::RedisProbe),
}

impl Probe {
    fn new(checker: &Checker, host: &Host, cluster: &Cluster) -> Option<Probe> {
        let config = &checker.config;
        let door = Door::new(config, host, cluster);
        Some(match &config.kind {
            HealthCheckKind::Http(http) => Probe::Http(http::HttpProbe::new(http.clone(), host_name(&config.kind, host, cluster), door)),
            HealthCheckKind::Tcp(tcp) => Probe::Tcp(tcp::TcpProbe::new(tcp.clone(), door)),
            HealthCheckKind::Grpc(grpc) => {
                Probe::Grpc(grpc::GrpcProbe::new(grpc, &host_name(&config.kind, host, cluster), config.timeout, door))
            }
            HealthCheckKind::Redis(redis) => Probe::Redis(redis::RedisProbe::new(redis, door, checker.redis.clone()?)),
        })
    }

    async fn check(&mut self, config: &HealthCheckConfig) -> Verdict {
        let asked = async {
            match self {
                Probe::Http(probe) => probe.check().await,
                Probe::Tcp(probe) => probe.check().await,
                Probe::Grpc(probe) => probe.check().await,
                Probe::Redis(probe) => probe.check().await,
            }
        };
        match tokio::time::timeout(config.timeout, asked).await {
            Ok(verdict) => verdict,
            Err(_) => {
                match self {
                    Probe::Http(probe) => probe.forget(),
                    Probe::Tcp(probe) => probe.forget(),
                    Probe::Grpc(probe) => probe.forget(),
                    Probe::Redis(probe) => probe.forget(),
                }
                Verdict::Timeout
            }
        }
    }
}

fn host_name(kind: &HealthCheckKind, host: &Host, cluster: &Cluster) -> Arc<str> {
    match &host.health_check.hostname {
        Some(name) if !name.is_empty() => name.clone(),
        _ if !kind.host().is_empty() => kind.host().into(),
        _ => cluster.info.name().clone(),
    }
}

impl Checker {
    pub(crate) fn new(cluster: &Rc<Cluster>, config: HealthCheckConfig, store: &Store) -> Rc<Checker> {
        let prefix = format!("{}health_check.", cluster.info.stats.prefix());
        let of_redis = || store.scope(&format!("{prefix}redis."), &stat::redis::REDIS);
        Rc::new(Checker {
            cluster: Rc::downgrade(cluster),
            redis: matches!(config.kind, HealthCheckKind::Redis(_)).then(of_redis),
            config,
            stats: store.scope(&prefix, &stat::HEALTH_CHECK),
            rng: Rng::default(),
            sessions: RefCell::default(),
        })
    }

    /// Checks these hosts from now on, and no others.
    pub(crate) fn set_hosts(self: &Rc<Self>, hosts: &[Arc<Host>]) {
        let mut before = std::mem::take(&mut *self.sessions.borrow_mut());
        let mut now = HashMap::with_capacity(hosts.len());
        for host in hosts.iter().filter(|host| !host.health_check.disable_active) {
            let key = Arc::as_ptr(&host.state);
            let session = before.remove(&key).unwrap_or_else(|| {
                self.gauge(&host.state, 1);
                let tally = Rc::new(RefCell::new(Tally::new()));
                let task = Task::spawn(Checker::session(Rc::downgrade(self), host.clone(), tally.clone()));
                Session { host: host.clone(), tally, _task: task }
            });
            now.insert(key, session);
        }
        before.values().for_each(|gone| self.gauge(&gone.host.state, -1));
        *self.sessions.borrow_mut() = now;
    }

    /// Counts a host in or out of `healthy` and `degraded`.
    fn gauge(&self, host: &HostState, n: i64) {
        let flags = host.flags();
        let healthy = i64::from(!flags.has(HealthFlags::FAILED_ACTIVE_HC));
        let degraded = i64::from(flags.has(HealthFlags::DEGRADED_ACTIVE_HC));
        self.stats.gauge_add(Lane::MAIN, stat::HEALTHY, n * healthy);
        self.stats.gauge_add(Lane::MAIN, stat::DEGRADED, n * degraded);
    }

    async fn session(checker: Weak<Checker>, host: Arc<Host>, tally: Rc<RefCell<Tally>>) {
        let Some((config, mut probe, first_wait)) = checker.upgrade().and_then(|checker| {
            let cluster = checker.cluster.upgrade()?;
            let probe = Probe::new(&checker, &host, &cluster)?;
            Some((checker.config.clone(), probe, random(checker.config.initial_jitter, &checker.rng)))
        }) else {
            return;
        };
        if !first_wait.is_zero() {
            tokio::time::sleep(first_wait).await;
        }
        loop {
            match checker.upgrade() {
                Some(checker) => checker.stats.inc(Lane::MAIN, stat::ATTEMPT),
                None => return,
            }
            let verdict = probe.check(&config).await;
            let Some(pause) = checker.upgrade().and_then(|checker| checker.note(verdict, &tally, &host)) else {
                return;
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes a check into account; answers how long to wait for the next.
    fn note(&self, verdict: Verdict, tally: &RefCell<Tally>, host: &Arc<Host>) -> Option<std::time::Duration> {
        let cluster = self.cluster.upgrade()?;
        let outcome = self.tally(verdict, tally, host);
        let passed = matches!(verdict, Verdict::Pass { .. });
        cluster.checked(host, passed, outcome.changed);
        let traffic = cluster.info.stats.used(cluster::UPSTREAM_CX_TOTAL.0);
        Some(cluster.within_limits(wait(verdict, outcome, traffic, &self.config, &self.rng)))
    }

    /// The host has told a worker that it has failed. Answers whether load balancing has to know.
    pub(crate) fn failed_passively(&self, host: &HostState) -> bool {
        let sessions = self.sessions.borrow();
        let Some(session) = sessions.get(&std::ptr::from_ref(host)) else { return false };
        let excluded = host.set_flags(HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL, true);
        self.tally(Verdict::Passive, &session.tally, &session.host).changed || excluded
    }

    fn tally(&self, verdict: Verdict, tally: &RefCell<Tally>, host: &Host) -> Outcome {
        self.gauge(&host.state, -1);
        let outcome = tally.borrow_mut().note(verdict, &host.state, &self.config);
        self.gauge(&host.state, 1);
        if !self.config.events.is_empty() {
            self.log(verdict, outcome, host);
        }
        self.stats.inc(Lane::MAIN, if matches!(verdict, Verdict::Pass { .. }) { stat::SUCCESS } else { stat::FAILURE });
        match verdict {
            Verdict::NetworkFailure | Verdict::Timeout => self.stats.inc(Lane::MAIN, stat::NETWORK_FAILURE),
            Verdict::Passive => self.stats.inc(Lane::MAIN, stat::PASSIVE_FAILURE),
            Verdict::Pass { .. } | Verdict::Fail { .. } => {}
        }
        outcome
    }
}
