//! Things that Envoy loads from disk: dynamic modules, databases.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::extensions::dynamic_modules::v3::DynamicModuleConfig;
use nuncio_api::envoy::extensions::filters::http::wasm::v3::Wasm;
use nuncio_api::envoy::extensions::wasm::v3::{PluginConfig, plugin_config};
use nuncio_api::envoy::extensions::geoip_providers::maxmind::v3::MaxMindConfig;
use std::path::{Path, PathBuf};

pub(super) fn check(cx: &mut CompileCx<'_>, module: &DynamicModuleConfig) {
    let name = &module.name;
    if name.is_empty() {
        return;
    }
    let file = format!("lib{name}.so");
    let search = std::env::var("ENVOY_DYNAMIC_MODULES_SEARCH_PATH").unwrap_or_default();
    let places = [search.as_str(), ".", "/usr/lib", "/usr/local/lib", "/lib"].into_iter().filter(|p| !p.is_empty());
    if !places.map(|p| Path::new(p).join(&file)).any(|p: PathBuf| p.exists()) {
        cx.at("name", |cx| {
            cx.error(codes::MISSING_FILE, format!("the dynamic module `{file}` is not there"))
                .envoy(format!("Failed to load dynamic module: {file} not found in any search path"));
        });
    }
}

/// A Wasm filter without a plugin.
pub(super) fn wasm_filter(cx: &mut CompileCx<'_>, filter: &Wasm) {
    if filter.config.is_none() {
        no_plugin(cx, "");
    }
}

fn no_plugin(cx: &mut CompileCx<'_>, name: &str) {
    cx.error(codes::MISSING, "a Wasm plugin needs a runtime that is there, and code").envoy(format!("Unable to create Wasm plugin {name}"));
}

/// Runtimes that Envoy has.
const WASM_RUNTIMES: [&str; 3] = ["", "envoy.wasm.runtime.v8", "envoy.wasm.runtime.null"];

pub(super) fn wasm(cx: &mut CompileCx<'_>, plugin: &PluginConfig) {
    let vm = plugin.vm.as_ref().map(|plugin_config::Vm::VmConfig(vm)| vm);
    if vm.is_none_or(|vm| vm.code.is_none() || !WASM_RUNTIMES.contains(&vm.runtime.as_str())) {
        no_plugin(cx, &plugin.name);
    }
}

pub(super) fn geoip(cx: &mut CompileCx<'_>, config: &MaxMindConfig) {
    let databases = [
        ("city_db_path", &config.city_db_path),
        ("isp_db_path", &config.isp_db_path),
        ("anon_db_path", &config.anon_db_path),
        ("asn_db_path", &config.asn_db_path),
        ("country_db_path", &config.country_db_path),
    ];
    for (field, path) in databases {
        if !path.is_empty() && !Path::new(path).is_file() {
            cx.at(field, |cx| {
                cx.error(codes::MISSING_FILE, format!("the database `{path}` is not there"))
                    .envoy(format!("Unable to open Maxmind database file {path}. Error Error opening the specified MaxMind DB file"));
            });
        }
    }
}
