//! DNS discovery: the task that keeps one name of a cluster resolved.

use super::cluster::Cluster;
use super::service::{self, Found};
use crate::config::DnsConfig;
use crate::dns::{Answer, LookupError, Resolve};
use nuncio_rt::{Address, Rng};
use nuncio_stats::{Lane, tables::cluster as stat};
use std::{
    net::{IpAddr, SocketAddr},
    rc::{Rc, Weak},
    time::Duration,
};

/// A name of a cluster.
pub(super) struct Name {
    /// Which target of the cluster it is.
    pub(super) target: usize,
    pub(super) host: String,
    pub(super) port: u16,
    /// Logical DNS: only the first address counts.
    pub(super) first_only: bool,
    /// It is a service: its servers have addresses, ports, priorities and weights of their own.
    pub(super) service: bool,
}

/// Resolves `name` again and again. After an answer the next question comes after the refresh rate, or after the
/// records' time to live where that is respected; after a failure the waits grow. A silent resolver changes nothing.
pub(super) async fn keep_resolved(cluster: Weak<Cluster>, name: Name, dns: DnsConfig, resolver: Rc<dyn Resolve>) {
    let rng = Rng::default();
    let mut backoff = Backoff::new(&dns);
    loop {
        let stats = match cluster.upgrade() {
            Some(cluster) => cluster.info.stats.clone(),
            None => return,
        };
        stats.inc(Lane::MAIN, stat::UPDATE_ATTEMPT);
        let found = match name.service {
            true => service::look_up(&*resolver, &name.host, dns.lookup_family).await,
            false => look_up(&*resolver, &name, &dns).await,
        };
        let Some(cluster) = cluster.upgrade() else { return };
        let wait = match found {
            Ok(Found { addresses, servers, ttl }) => {
                backoff.reset();
                stats.inc(Lane::MAIN, stat::UPDATE_SUCCESS);
                cluster.resolved(name.target, addresses, servers);
                next_refresh(&dns, ttl, &rng)
            }
            Err(_) => {
                stats.inc(Lane::MAIN, stat::UPDATE_FAILURE);
                backoff.next(&rng)
            }
        };
        cluster.discovered();
        drop((cluster, stats));
        tokio::time::sleep(wait).await;
    }
}

/// Looks up the name of a host.
async fn look_up(resolver: &dyn Resolve, name: &Name, dns: &DnsConfig) -> Result<Found, LookupError> {
    match resolver.resolve(&name.host, dns.lookup_family).await {
        Answer::Found { addresses, ttl } => Ok(Found { addresses: sockets(addresses, name), servers: Vec::new(), ttl }),
        // A logical host does not vanish because its name has no address for a while.
        Answer::NotFound if name.first_only => Err(LookupError::Server),
        Answer::NotFound => Ok(Found { addresses: Vec::new(), servers: Vec::new(), ttl: None }),
        Answer::Failed(error) => Err(error),
    }
}

fn sockets(addresses: Vec<IpAddr>, name: &Name) -> Vec<Address> {
    let count = if name.first_only { 1 } else { addresses.len() };
    addresses.into_iter().take(count).map(|ip| Address::Ip(SocketAddr::new(ip, name.port))).collect()
}

fn next_refresh(dns: &DnsConfig, ttl: Option<Duration>, rng: &Rng) -> Duration {
    let rate = match ttl {
        Some(ttl) if dns.respect_ttl && !ttl.is_zero() => ttl.max(dns.min_refresh_rate),
        _ => dns.refresh_rate,
    };
    let jitter = u64::try_from(dns.jitter.as_millis()).unwrap_or(u64::MAX);
    rate + Duration::from_millis(rng.below(jitter))
}

/// Waits after failures: the base, doubling up to the maximum, fully jittered.
pub(crate) struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
    fixed: bool,
}

impl Backoff {
    pub(crate) fn new(dns: &DnsConfig) -> Backoff {
        let (base, max) = dns.failure_refresh_rate.unwrap_or((dns.refresh_rate, dns.refresh_rate));
        Backoff { base, max: max.max(base), failures: 0, fixed: dns.failure_refresh_rate.is_none() }
    }

    pub(crate) fn next(&mut self, rng: &Rng) -> Duration {
        if self.fixed {
            return self.base;
        }
        let ceiling = self.base.saturating_mul(2u32.saturating_pow(self.failures)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let ms = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(1 + rng.below(ms))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_to_live_counts_only_when_respected_and_never_below_the_minimum() {
        let rng = Rng::seeded(1, 1);
        let mut dns = DnsConfig::default();
        assert_eq!(next_refresh(&dns, Some(SECOND * 60), &rng), SECOND * 5);
        dns.respect_ttl = true;
        assert_eq!(next_refresh(&dns, Some(SECOND * 60), &rng), SECOND * 60);
        assert_eq!(next_refresh(&dns, Some(SECOND / 2), &rng), SECOND);
        assert_eq!(next_refresh(&dns, Some(Duration::ZERO), &rng), SECOND * 5);
        assert_eq!(next_refresh(&dns, None, &rng), SECOND * 5);
    }

    #[test]
    fn waits_after_failures_grow_to_their_maximum() {
        let rng = Rng::seeded(2, 2);
        let dns = DnsConfig { failure_refresh_rate: Some((SECOND, SECOND * 3)), ..DnsConfig::default() };
        let mut backoff = Backoff::new(&dns);
        let waits: Vec<Duration> = (0..200).map(|_| backoff.next(&rng)).collect();
        assert!(waits[0] <= SECOND && waits.iter().all(|w| *w <= SECOND * 3 && !w.is_zero()));
        assert!(waits.iter().any(|w| *w > SECOND * 2));
        assert_eq!(Backoff::new(&DnsConfig::default()).next(&rng), SECOND * 5);
    }
}
