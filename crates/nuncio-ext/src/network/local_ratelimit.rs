//! `envoy.filters.network.local_ratelimit`: a token for each connection; without one it is closed.

use crate::bucket::{Bucket, Size};
use crate::read;
use nuncio_api::envoy::extensions::filters::listener::local_ratelimit::v3 as listener;
use nuncio_api::envoy::extensions::filters::network::local_ratelimit::v3::LocalRateLimit as Message;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, NetworkFilter, NetworkFilterEntry, NetworkPart, NetworkStep, Posture, ResponseFlags, RuntimeFlag,
    StreamCx,
};
use nuncio_stats::{Scope, stats_table};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.local_ratelimit",
    message: "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    posture: Posture::UntrustedDownstream,
    build,
};

/// The registry's line of the listener filter: the same, before anything is known of the connection.
pub const LISTENER_ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.listener.local_ratelimit",
    message: "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit",
    posture: Posture::UntrustedDownstream,
    build: build_listener,
};

stats_table! {
    /// `local_rate_limit.<prefix>.`, `listener_local_ratelimit.<prefix>.`
    pub LOCAL_RATE_LIMIT: "network_local_rate_limit" {
        /// Connections closed for want of a token.
        counter RATE_LIMITED = "rate_limited",
    }
}

#[derive(Debug)]
struct LocalRateLimit {
    bucket: Arc<Bucket>,
    enabled: RuntimeFlag,
    scope: Arc<Scope>,
}

/// Buckets in use by filters with a `share_key`: the same for the same key and size.
static SHARED: Mutex<Option<HashMap<String, Weak<Bucket>>>> = Mutex::new(None);

fn shared(key: &str, size: Size) -> Arc<Bucket> {
    let mut held = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let held = held.get_or_insert_default();
    held.retain(|_, bucket| bucket.strong_count() > 0);
    let key = format!("{key}/{}/{}", size.max, size.per_second);
    if let Some(bucket) = held.get(&key).and_then(Weak::upgrade) {
        return bucket;
    }
    let bucket = Arc::new(Bucket::new(size));
    held.insert(key, Arc::downgrade(&bucket));
    bucket
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let Message { stat_prefix, token_bucket, runtime_enabled, share_key } = read::message(config)?;
    let size = Size::read(&token_bucket.ok_or_else(|| ConfigError::at("token_bucket", "is missing"))?);
    Ok(NetworkPart::Filter(Arc::new(LocalRateLimit {
        bucket: if share_key.is_empty() { Arc::new(Bucket::new(size)) } else { shared(&share_key, size) },
        enabled: read::runtime_flag(runtime_enabled.as_ref()),
        scope: cx.stats.scope(&format!("local_rate_limit.{stat_prefix}."), &LOCAL_RATE_LIMIT),
    })))
}

fn build_listener(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let listener::LocalRateLimit { stat_prefix, token_bucket, runtime_enabled } = read::message(config)?;
    let size = Size::read(&token_bucket.ok_or_else(|| ConfigError::at("token_bucket", "is missing"))?);
    Ok(NetworkPart::Filter(Arc::new(LocalRateLimit {
        bucket: Arc::new(Bucket::new(size)),
        enabled: read::runtime_flag(runtime_enabled.as_ref()),
        scope: cx.stats.scope(&format!("listener_local_ratelimit.{stat_prefix}."), &LOCAL_RATE_LIMIT),
    })))
}

impl NetworkFilter for LocalRateLimit {
    fn on_new_connection(&self, cx: &mut StreamCx) -> NetworkStep {
        if !self.enabled.now(&cx.worker.runtime.values()) || self.bucket.take(1.0, crate::bucket::now()) {
            return NetworkStep::Continue;
        }
        self.scope.inc(cx.worker.lane, RATE_LIMITED);
        cx.info.flags.set(ResponseFlags::URX);
        NetworkStep::Close
    }
}
