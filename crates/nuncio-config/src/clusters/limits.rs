//! `CircuitBreakers` → [`CircuitBreakers`].

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::config::core::v3::RoutingPriority;
use nuncio_upstream::config::{CircuitBreakers, RetryBudget, Thresholds};

/// Limits per routing priority. Of several entries for one priority the first counts, as in Envoy.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::CircuitBreakers) -> CircuitBreakers {
    let proto::CircuitBreakers { thresholds, per_host_thresholds } = from;
    let entries = cx.each("thresholds", thresholds, |cx, entry| Some((entry.priority, limits(cx, entry))));
    let of = |priority: RoutingPriority| entries.iter().find(|(p, _)| *p == priority as i32).map(|(_, t)| *t).unwrap_or_default();
    let per_host = cx.each("per_host_thresholds", per_host_thresholds, per_host);
    CircuitBreakers {
        default: of(RoutingPriority::Default),
        high: of(RoutingPriority::High),
        per_host_max_connections: per_host.into_iter().find(|(p, _)| *p == RoutingPriority::Default as i32).and_then(|(_, max)| max),
    }
}

fn limits(cx: &mut CompileCx<'_>, from: &proto::circuit_breakers::Thresholds) -> Thresholds {
    let proto::circuit_breakers::Thresholds {
        priority: _,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = from;
    let budget = retry_budget.as_ref().map(|budget| {
        let proto::circuit_breakers::thresholds::RetryBudget { budget_percent, budget_interval, min_retry_concurrency } = budget;
        let default = RetryBudget::default();
        RetryBudget {
            percent: budget_percent.as_ref().map_or(default.percent, |p| p.value),
            min_retry_concurrency: min_retry_concurrency.unwrap_or(default.min_retry_concurrency),
            interval: cx.at("retry_budget", |cx| cx.duration("budget_interval", budget_interval.as_ref())).unwrap_or(default.interval),
        }
    });
    Thresholds {
        max_connections: max_connections.unwrap_or(1024),
        max_pending_requests: max_pending_requests.unwrap_or(1024),
        max_requests: max_requests.unwrap_or(1024),
        max_retries: max_retries.unwrap_or(3),
        retry_budget: budget,
        max_connection_pools: max_connection_pools.map_or(u64::MAX, u64::from),
        track_remaining: *track_remaining,
    }
}

/// Per host only connections can be limited; Envoy refuses everything else.
fn per_host(cx: &mut CompileCx<'_>, from: &proto::circuit_breakers::Thresholds) -> Option<(i32, Option<u32>)> {
    let proto::circuit_breakers::Thresholds {
        priority,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = from;
    let others = max_pending_requests.is_some()
        || max_requests.is_some()
        || max_retries.is_some()
        || retry_budget.is_some()
        || *track_remaining
        || max_connection_pools.is_some();
    if others {
        cx.error(codes::BAD_VALUE, "only max_connections can be limited per host").envoy("Unsupported field in per_host_thresholds");
    }
    Some((*priority, *max_connections))
}
