//! Slow start: a host that has just become healthy gets a share that grows to its full one within a window.

use crate::config::SlowStart;
use crate::host::{Health, Host};
use crate::host_set::HostSet;
use nuncio_rt::Time;

/// Notes when hosts became healthy, as far as nobody has; returns the moment until which some host is in slow start.
pub(super) fn begin(set: &HostSet, config: SlowStart, now: Time) -> Time {
    let mut until = Time::ORIGIN;
    for host in set.hosts().filter(|host| host.state.flags().health() == Health::Healthy) {
        let since = host.state.healthy_since(now);
        if now.since(since) <= config.window {
            until = until.max(since + config.window);
        }
    }
    until
}

/// What part of its weight a host has now, above 0 and at most 1.
pub(super) fn factor(host: &Host, config: SlowStart, now: Time) -> f64 {
    if host.state.flags().health() != Health::Healthy {
        return 1.0;
    }
    let passed = now.since(host.state.healthy_since(now));
    if passed >= config.window {
        return 1.0;
    }
    // Whole milliseconds, and one at least.
    let part = passed.as_millis().max(1) as f64 / config.window.as_millis().max(1) as f64;
    let grown = if config.aggression == 1.0 || part == 1.0 { part } else { part.powf(1.0 / config.aggression) };
    grown.max(config.min_weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HealthFlags;
    use crate::host_set::testing::host;
    use std::time::Duration;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn the_share_grows_with_time_and_aggression() {
        let config = SlowStart { window: WINDOW, aggression: 1.0, min_weight: 0.1 };
        let host = host(1, 1, 0, HealthFlags::default());
        let start = Time::default() + Duration::from_secs(1);
        host.state.became_healthy(start);
        let at = |config, seconds| factor(&host, config, start + Duration::from_secs(seconds));
        assert_eq!((at(config, 0), at(config, 3), at(config, 30), at(config, 60)), (0.1, 0.1, 0.5, 1.0));
        let eager = SlowStart { aggression: 2.0, ..config };
        assert!((at(eager, 15) - 0.5).abs() < 1e-9);
        let shy = SlowStart { aggression: 0.5, ..config };
        assert!((at(shy, 30) - 0.25).abs() < 1e-9);
    }

    #[test]
    fn a_host_that_is_not_healthy_has_its_weight() {
        let config = SlowStart { window: WINDOW, aggression: 1.0, min_weight: 0.1 };
        let host = host(1, 1, 0, HealthFlags::DEGRADED_EDS_HEALTH);
        assert_eq!(factor(&host, config, Time::default()), 1.0);
    }
}
