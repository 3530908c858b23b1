//! Listener filters: which of them see what, and which cannot be left out.

use crate::context::CompileCx;
use nuncio_api::envoy::config::listener::v3 as proto;
use proto::listener_filter::ConfigType;

/// What becomes of a listener filter that is not built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    /// It only looks; whoever needs what it sees reports that.
    Harmless,
    /// Something is missing that people will notice.
    Effect,
    /// Connections would be taken for what they are not.
    Unsafe,
}

/// Listener filters by message name.
static FILTERS: &[(&str, Without)] = &[
    ("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", Without::Harmless),
    ("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector", Without::Harmless),
    ("envoy.extensions.filters.listener.original_dst.v3.OriginalDst", Without::Effect),
    ("envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit", Without::Effect),
    ("envoy.extensions.filters.listener.set_filter_state.v3.Config", Without::Effect),
    ("envoy.extensions.filters.listener.original_src.v3.OriginalSrc", Without::Effect),
    // Addresses that access control relies on would be the balancer's.
    ("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol", Without::Unsafe),
];

pub(super) fn check(cx: &mut CompileCx<'_>, filters: &[proto::ListenerFilter]) {
    for (index, filter) in filters.iter().enumerate() {
        let proto::ListenerFilter { name, filter_disabled, config_type } = filter;
        cx.item("listener_filters", index, |cx| {
            let (what, without) = match config_type {
                Some(ConfigType::TypedConfig(config)) => {
                    let message = nuncio_api::any_type(config);
                    let known = FILTERS.iter().find(|(m, _)| *m == message);
                    (format!("the listener filter `{name}`"), known.map_or(Without::Unsafe, |(_, without)| *without))
                }
                Some(ConfigType::ConfigDiscovery(_)) => (format!("the discovered listener filter `{name}`"), Without::Unsafe),
                // Reported when it was read.
                None => return,
            };
            match without {
                Without::Harmless if filter_disabled.is_none() => {}
                Without::Harmless | Without::Effect => drop(cx.value_without_effect(&what)),
                Without::Unsafe => drop(cx.value_unsafe_without(&what)),
            }
        });
    }
}
