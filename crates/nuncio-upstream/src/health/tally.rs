//! From single checks to a host's health: thresholds, first checks, the wait until the next.
//!
//! Rules of Envoy's health checker: the first check decides at once when it passes; a host that fails needs
//! `unhealthy_threshold` misses where the network is to blame (or the status is retriable) and one where the answer is
//! wrong; an unhealthy one needs `healthy_threshold` passes.

use super::config::HealthCheckConfig;
use crate::host::{HealthFlags, HostState};
use nuncio_rt::Rng;
use std::time::Duration;

/// What one check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All well; perhaps degraded.
    Pass {
        /// The answer had `x-envoy-degraded`.
        degraded: bool,
    },
    /// The host answered, wrongly.
    Fail {
        /// Counted towards the threshold instead of deciding at once (`retriable_statuses`).
        retriable: bool,
        /// What it answered; 0 where that is no status.
        status: u16,
        /// It asked to be left out (`x-envoy-immediate-health-check-fail`).
        immediate: bool,
    },
    /// The host could not be reached, or closed the connection.
    NetworkFailure,
    /// The host did not answer in time.
    Timeout,
    /// It said so in an answer to a request (`x-envoy-immediate-health-check-fail`).
    Passive,
}

/// What a check did to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Healthy now, where it was not, or the other way round.
    pub(super) transition: bool,
    /// On the way to a transition: thresholds are being counted.
    pub(super) pending: bool,
    /// Load balancing has to know: a transition, a change of degradation, the first check.
    pub(super) changed: bool,
    /// It was the first check.
    pub(super) first: bool,
    /// Degraded or not, where that changed.
    pub(super) degraded: Option<bool>,
}

impl Outcome {
    const NONE: Outcome = Outcome { transition: false, pending: false, changed: false, first: false, degraded: None };
}

/// One host's checks so far.
#[derive(Debug)]
pub(super) struct Tally {
    first: bool,
    passes: u32,
    misses: u32,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally { first: true, passes: 0, misses: 0 }
    }

    /// Takes a check into account: sets the host's flags.
    pub(super) fn note(&mut self, verdict: Verdict, host: &HostState, config: &HealthCheckConfig) -> Outcome {
        let mut outcome = match verdict {
            Verdict::Pass { degraded } => self.pass(degraded, host, config),
            _ => self.miss(verdict, host, config),
        };
        outcome.first = std::mem::replace(&mut self.first, false);
        outcome.changed |= outcome.transition | host.set_flags(HealthFlags::PENDING_ACTIVE_HC, false);
        outcome
    }

    fn pass(&mut self, degraded: bool, host: &HostState, config: &HealthCheckConfig) -> Outcome {
        self.misses = 0;
        let mut outcome = Outcome::NONE;
        if host.flags().has(HealthFlags::FAILED_ACTIVE_HC) {
            self.passes += 1;
            if self.first || self.passes >= config.healthy_threshold {
                self.passes = 0;
                host.set_flags(HealthFlags::ACTIVE_HC_TIMEOUT, false);
                host.set_flags(HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL, false);
                host.set_flags(HealthFlags::FAILED_ACTIVE_HC, false);
                outcome.transition = true;
            } else {
                outcome.pending = true;
            }
        }
        outcome.degraded = host.set_flags(HealthFlags::DEGRADED_ACTIVE_HC, degraded).then_some(degraded);
        outcome.changed = outcome.degraded.is_some();
        outcome
    }

    fn miss(&mut self, verdict: Verdict, host: &HostState, config: &HealthCheckConfig) -> Outcome {
        self.passes = 0;
        let mut outcome = Outcome::NONE;
        if !host.flags().has(HealthFlags::FAILED_ACTIVE_HC) {
            self.misses += 1;
            let decides = matches!(verdict, Verdict::Fail { retriable: false, .. } | Verdict::Passive);
            if decides || self.misses >= config.unhealthy_threshold {
                self.misses = 0;
                outcome.transition = host.set_flags(HealthFlags::FAILED_ACTIVE_HC, true);
            } else {
                outcome.pending = true;
            }
        }
        if let Verdict::Fail { immediate: true, .. } = verdict {
            outcome.changed = host.set_flags(HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL, true);
        }
        if host.flags().has(HealthFlags::FAILED_ACTIVE_HC) {
            host.set_flags(HealthFlags::ACTIVE_HC_TIMEOUT, verdict == Verdict::Timeout);
        }
        outcome
    }
}

/// The wait until the next check. `traffic`: the cluster has made a connection at some time.
pub(super) fn wait(
    verdict: Verdict,
    outcome: Outcome,
    traffic: bool,
    config: &HealthCheckConfig,
    rng: &Rng,
) -> Duration {
    let passed = matches!(verdict, Verdict::Pass { .. });
    let unhealthy = config.unhealthy_interval.unwrap_or(config.interval);
    let base = match (traffic, passed, outcome.pending) {
        (false, true, _) => config.no_traffic_healthy_interval.unwrap_or(config.no_traffic_interval),
        (false, false, _) => config.no_traffic_interval,
        (true, true, false) => config.interval,
        (true, true, true) => config.healthy_edge_interval.unwrap_or(config.interval),
        (true, false, false) => unhealthy,
        (true, false, true) => config.unhealthy_edge_interval.unwrap_or(unhealthy),
    };
    let share = base * config.interval_jitter_percent / 100;
    base + random(share, rng) + random(config.interval_jitter, rng)
}

/// Something below `limit`, in whole milliseconds.
pub(super) fn random(limit: Duration, rng: &Rng) -> Duration {
    Duration::from_millis(rng.below(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::super::config::{HealthCheckKind, TcpHealthCheck};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PASS: Verdict = Verdict::Pass { degraded: false };
    const WRONG: Verdict = Verdict::Fail { retriable: false, status: 500, immediate: false };

    fn config() -> HealthCheckConfig {
        let kind = HealthCheckKind::Tcp(TcpHealthCheck::default());
        HealthCheckConfig { unhealthy_threshold: 3, healthy_threshold: 2, ..HealthCheckConfig::new(SECOND, SECOND * 5, kind) }
    }

    fn host() -> std::sync::Arc<HostState> {
        HostState::new(1, HealthFlags::FAILED_ACTIVE_HC)
    }

    #[test]
    fn the_first_pass_makes_healthy_at_once_later_ones_count() {
        let (config, host, mut tally) = (config(), host(), Tally::new());
        assert!(tally.note(PASS, &host, &config).transition);
        assert!(tally.note(WRONG, &host, &config).transition);
        assert!(tally.note(PASS, &host, &config).pending);
        assert!(tally.note(PASS, &host, &config).transition);
        assert_eq!(host.flags().to_string(), "healthy");
    }

    #[test]
    fn network_failures_count_towards_the_threshold() {
        let (config, host, mut tally) = (config(), host(), Tally::new());
        tally.note(PASS, &host, &config);
        for verdict in [Verdict::NetworkFailure, Verdict::Fail { retriable: true, status: 503, immediate: false }] {
            assert!(tally.note(verdict, &host, &config).pending);
        }
        assert!(tally.note(Verdict::Timeout, &host, &config).transition);
        assert_eq!(host.flags().to_string(), "/failed_active_hc/active_hc_timeout");
        tally.note(Verdict::NetworkFailure, &host, &config);
        assert_eq!(host.flags().to_string(), "/failed_active_hc");
    }

    #[test]
    fn a_pass_between_starts_the_count_anew_and_degradation_shows() {
        let (config, host, mut tally) = (config(), host(), Tally::new());
        tally.note(PASS, &host, &config);
        for _ in 0..3 {
            tally.note(Verdict::NetworkFailure, &host, &config);
            tally.note(Verdict::NetworkFailure, &host, &config);
            tally.note(PASS, &host, &config);
        }
        assert_eq!(host.flags().to_string(), "healthy");
        assert!(tally.note(Verdict::Pass { degraded: true }, &host, &config).changed);
        assert_eq!(host.flags().to_string(), "/degraded_active_hc");
    }

    #[test]
    fn an_idle_cluster_is_checked_every_minute() {
        let rng = Rng::seeded(1, 1);
        let calm = Outcome::NONE;
        let edge = Outcome { pending: true, ..calm };
        let config = HealthCheckConfig { unhealthy_edge_interval: Some(SECOND), ..config() };
        assert_eq!(wait(PASS, calm, false, &config, &rng), SECOND * 60);
        assert_eq!(wait(PASS, calm, true, &config, &rng), SECOND * 5);
        assert_eq!(wait(Verdict::Timeout, edge, true, &config, &rng), SECOND);
        assert_eq!(wait(Verdict::Timeout, calm, true, &config, &rng), SECOND * 5);
        let jittery = HealthCheckConfig { interval_jitter_percent: 50, ..config };
        let waits: Vec<_> = (0..100).map(|_| wait(PASS, calm, true, &jittery, &rng)).collect();
        assert!(waits.iter().all(|w| (5000..7500).contains(&w.as_millis())) && waits.iter().any(|w| *w > SECOND * 6));
    }
}
