//! `DnsCacheConfig`: a cache of names is shared by its name, so that all who use it must say the same.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;

/// Compares with the first configuration of that name.
pub(super) fn check(cx: &mut CompileCx<'_>, config: &DnsCacheConfig) {
    let first = cx.dns_caches.entry(config.name.clone()).or_insert_with(|| config.clone());
    if first != config {
        let name = &config.name;
        cx.error(codes::CONFLICT, format!("the DNS cache `{name}` is configured otherwise elsewhere"))
            .envoy(format!("config specified DNS cache '{name}' with different settings"))
            .help("filters and clusters that share a cache say the same about it; caches of other names are their own");
    }
}
