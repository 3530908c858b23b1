//! `envoy.filters.network.connection_limit`: so many connections at a time, over all workers.

use crate::read;
use nuncio_api::envoy::extensions::filters::network::connection_limit::v3::ConnectionLimit as Message;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, NetworkFilter, NetworkFilterEntry, NetworkPart, NetworkStep, Posture, RuntimeFlag, StateSlot, StreamCx,
};
use nuncio_stats::{Lane, Scope, stats_table};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.connection_limit",
    message: "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    posture: Posture::UntrustedBoth,
    build,
};

stats_table! {
    /// `connection_limit.<prefix>.`
    pub CONNECTION_LIMIT: "connection_limit" {
        /// Connections open now, those that are about to be closed included.
        gauge ACTIVE_CONNECTIONS = "active_connections",
        /// Connections closed because there were too many.
        counter LIMITED_CONNECTIONS = "limited_connections",
    }
}

#[derive(Debug)]
struct ConnectionLimit {
    limit: Arc<Limit>,
    enabled: RuntimeFlag,
    /// Connections beyond the limit are closed after so long.
    delay: Duration,
    counted: StateSlot<Counted>,
}

#[derive(Debug)]
struct Limit {
    most: u64,
    open: AtomicU64,
    scope: Arc<Scope>,
}

/// A connection that counts; no more once it has ended.
#[derive(Debug, Default)]
struct Counted(Option<(Arc<Limit>, Lane, bool)>);

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((limit, lane, within)) = self.0.take() else { return };
        limit.scope.gauge_add(lane, ACTIVE_CONNECTIONS, -1);
        if within {
            limit.open.fetch_sub(1, Relaxed);
        }
    }
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let Message { stat_prefix, max_connections, delay, runtime_enabled } = read::message(config)?;
    let scope = cx.stats.scope(&format!("connection_limit.{stat_prefix}."), &CONNECTION_LIMIT);
    Ok(NetworkPart::Filter(Arc::new(ConnectionLimit {
        limit: Arc::new(Limit { most: max_connections.unwrap_or(0), open: AtomicU64::new(0), scope }),
        enabled: read::runtime_flag(runtime_enabled.as_ref()),
        delay: delay.as_ref().map_or(Duration::ZERO, read::duration),
        counted: cx.state_slot(),
    })))
}

impl NetworkFilter for ConnectionLimit {
    fn on_new_connection(&self, cx: &mut StreamCx) -> NetworkStep {
        if !self.enabled.now(&cx.worker.runtime.values()) {
            return NetworkStep::Continue;
        }
        let (limit, lane) = (&self.limit, cx.worker.lane);
        let within = limit.open.fetch_update(Relaxed, Relaxed, |open| (open < limit.most).then_some(open + 1)).is_ok();
        limit.scope.gauge_add(lane, ACTIVE_CONNECTIONS, 1);
        cx.state(&self.counted).0 = Some((limit.clone(), lane, within));
        if within {
            return NetworkStep::Continue;
        }
        limit.scope.inc(lane, LIMITED_CONNECTIONS);
        if self.delay.is_zero() {
            return NetworkStep::Close;
        }
        let (worker, delay) = (cx.worker.clone(), self.delay);
        NetworkStep::wait(async move {
            worker.timers.sleep(delay).await;
            |_: &mut StreamCx| NetworkStep::Close
        })
    }
}
