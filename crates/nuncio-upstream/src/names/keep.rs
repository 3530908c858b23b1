//! The task that keeps one name looked up, for as long as requests ask for it.

use super::{Found, NameCache, parts, sockets};
use crate::dns::{Answer, LookupError};
use crate::manager::Backoff;
use nuncio_rt::Rng;
use nuncio_stats::{Lane, tables::dns_cache as stat};
use std::{rc::Weak, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Looks `name` up again and again: after an answer when the records' time is up (but not before the least refresh rate),
/// after a failure when the failures' refresh rate says.
pub(super) async fn looked_up(cache: Weak<NameCache>, name: Arc<str>) {
    let rng = Rng::default();
    let Some(config) = cache.upgrade().map(|cache| cache.info.config.clone()) else { return };
    let mut backoff = Backoff::new(&config.dns);
    let mut used = Instant::now();
    loop {
        let Some((found, ttl)) = look_up(&cache, &name, &config.query_timeout).await else { return };
        let Some(held) = cache.upgrade() else { return };
        let failed = matches!(found, Found::Failed(_));
        held.found(&name, found);
        if failed && config.disable_refresh_on_failure {
            return held.forget(&name);
        }
        drop(held);
        let wait = match ttl {
            Some(ttl) => {
                backoff.reset();
                ttl.unwrap_or(config.dns.refresh_rate).max(config.dns.min_refresh_rate)
            }
            None => backoff.next(&rng),
        };
        tokio::time::sleep(wait).await;
        let Some(held) = cache.upgrade() else { return };
        if held.take_used(&name) {
            used = Instant::now();
        } else if used.elapsed() > config.host_ttl {
            return held.forget(&name);
        }
    }
}

/// One lookup: what it came to, and for how long that holds; no time at all for failures.
async fn look_up(cache: &Weak<NameCache>, name: &str, timeout: &Duration) -> Option<(Found, Option<Option<Duration>>)> {
    let (host, port) = parts(name);
    let held = cache.upgrade()?;
    let stats = held.info.stats.clone();
    stats.inc(Lane::MAIN, stat::DNS_QUERY_ATTEMPT);
    let answer = match timeout.is_zero() {
        true => Some(held.look_up(host).await),
        false => tokio::time::timeout(*timeout, held.look_up(host)).await.ok(),
    };
    let failed = |text: &str| Found::Failed(text.into());
    Some(match answer {
        Some(Answer::Found { addresses, ttl }) => {
            stats.inc(Lane::MAIN, stat::DNS_QUERY_SUCCESS);
            (Found::Addresses(sockets(&addresses, port)), Some(ttl))
        }
        Some(Answer::NotFound) => {
            stats.inc(Lane::MAIN, stat::DNS_QUERY_SUCCESS);
            (failed("cares_norecords:Domain_name_not_found"), Some(None))
        }
        Some(Answer::Failed(error)) => {
            stats.inc(Lane::MAIN, stat::DNS_QUERY_FAILURE);
            let text = match error {
                LookupError::Timeout => "cares_failure:Timeout_while_contacting_DNS_servers",
                LookupError::Server => "cares_failure:DNS_server_returned_general_failure",
                LookupError::Unreachable => "cares_failure:Could_not_contact_DNS_servers",
                LookupError::BadName => "cares_failure:Misformatted_domain_name",
            };
            (failed(text), None)
        }
        None => {
            stats.inc(Lane::MAIN, stat::DNS_QUERY_TIMEOUT);
            stats.inc(Lane::MAIN, stat::DNS_QUERY_FAILURE);
            (failed("resolve_timeout"), None)
        }
    })
}
