//! HTTP filters whose configuration comes over ECDS: what Envoy demands of their defaults.

use super::filters::extension;
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3::ExtensionConfigSource;

pub(super) fn check(cx: &mut CompileCx<'_>, name: &str, source: &ExtensionConfigSource) {
    let ExtensionConfigSource { config_source: _, default_config, apply_default_config_without_warming, type_urls } = source;
    if *apply_default_config_without_warming && default_config.is_none() {
        cx.error(codes::MISSING, "there is no default_config that could be applied before the real one comes")
            .envoy(format!("Error: filter config {name} applied without warming but has no default config."));
    }
    for (index, url) in type_urls.iter().enumerate() {
        let message = nuncio_api::schema::type_name(url);
        if extension(message).is_none() {
            cx.item("type_urls", index, |cx| {
                cx.error(codes::UNKNOWN_EXTENSION, format!("no HTTP filter is configured by `{message}`"))
                    .envoy(format!("Error: no factory found for a required type URL {message}."));
            });
        }
    }
    let Some(default) = default_config else { return };
    let message = nuncio_api::any_type(default);
    cx.at("default_config", |cx| {
        if extension(message).is_none() {
            cx.error(codes::UNKNOWN_EXTENSION, format!("no HTTP filter is configured by `{message}`")).envoy(format!(
                "Error: cannot find filter factory {name} for default filter configuration with type URL {}.",
                default.type_url
            ));
        } else if !type_urls.iter().any(|url| nuncio_api::schema::type_name(url) == message) {
            let wanted: Vec<&str> = type_urls.iter().map(|url| nuncio_api::schema::type_name(url)).collect();
            let wanted = wanted.join(", ");
            cx.error(codes::CONFLICT, format!("the default is a `{message}`, type_urls allow `{wanted}`"))
                .envoy(format!("Error: filter config has type URL {message} but expect {wanted}."));
        }
    });
}
