//! The filter's messages, read.

use super::script::Script;
use super::{LUA, Lua};
use crate::read::{self, within};
use nuncio_api::envoy::config::core::v3::DataSource;
use nuncio_api::envoy::extensions::filters::http::lua::v3 as proto;
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter};
use std::collections::{BTreeMap, HashMap};
use std::{any::Any, sync::Arc};

/// The message.
pub(super) const MESSAGE: &str = "envoy.extensions.filters.http.lua.v3.Lua";
/// The message of routes.
pub(super) const ROUTE_MESSAGE: &str = "envoy.extensions.filters.http.lua.v3.LuaPerRoute";

/// What a route runs.
#[derive(Debug)]
pub(super) enum Runs {
    /// What the filter runs.
    Default,
    Nothing,
    /// One of `source_codes`.
    Named(String),
    Own(Arc<Script>),
}

/// `LuaPerRoute`
#[derive(Debug)]
pub(super) struct PerRoute {
    pub(super) runs: Runs,
    pub(super) context: Option<BTreeMap<String, MetadataValue>>,
}

fn script(field: &str, from: &DataSource, paths: &[String]) -> Result<Arc<Script>, ConfigError> {
    let text = read::text_source(from).map_err(within(field))?;
    Script::new(text, paths).map(Arc::new).map_err(within(field))
}

fn without_effect(cx: &mut BuildCx<'_>, fields: [(&str, bool); 2]) {
    for (field, set) in fields {
        if set {
            cx.warnings.push(ConfigError::at(field, "is accepted without effect: it is not built yet"));
        }
    }
}

#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub(super) fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::Lua {
        inline_code,
        source_codes,
        default_source_code,
        stat_prefix,
        clear_route_cache,
        filter_context,
        package_paths,
        package_cpaths,
        shared_vm_id,
    } = read::message(config)?;
    without_effect(cx, [("package_cpaths", !package_cpaths.is_empty()), ("shared_vm_id", !shared_vm_id.is_empty())]);
    let default = match (&default_source_code, inline_code.is_empty()) {
        (Some(_), false) => return Err(ConfigError::at("inline_code", "does not go together with default_source_code")),
        (Some(from), true) => Some(script("default_source_code", from, &package_paths)?),
        (None, false) => Some(Arc::new(Script::new(inline_code, &package_paths).map_err(within("inline_code"))?)),
        (None, true) => None,
    };
    let mut named = HashMap::new();
    for (name, from) in &source_codes {
        named.insert(name.clone(), script(&format!("source_codes.{name}"), from, &package_paths)?);
    }
    let suffix = if stat_prefix.is_empty() { "lua.".to_owned() } else { format!("lua.{stat_prefix}.") };
    Ok(Arc::new(Lua(Arc::new(super::Shared {
        name: cx.filter_name.to_owned(),
        default,
        named,
        context: filter_context.as_ref().map(read::fields).unwrap_or_default(),
        clear_route_cache: clear_route_cache.unwrap_or(true),
        stats: cx.stats.scope(&format!("{}{suffix}", cx.stat_prefix), &LUA),
        state: cx.state_slot(),
    }))))
}

pub(super) fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    use proto::lua_per_route::Override;
    let proto::LuaPerRoute { filter_context, package_paths, package_cpaths, shared_vm_id, r#override } = read::message(config)?;
    without_effect(cx, [("package_cpaths", !package_cpaths.is_empty()), ("shared_vm_id", !shared_vm_id.is_empty())]);
    let runs = match &r#override {
        None | Some(Override::Disabled(false)) => Runs::Default,
        Some(Override::Disabled(true)) => Runs::Nothing,
        Some(Override::Name(name)) => Runs::Named(name.clone()),
        Some(Override::SourceCode(from)) => Runs::Own(script("source_code", from, &package_paths)?),
    };
    Ok(Arc::new(PerRoute { runs, context: filter_context.as_ref().map(read::fields) }))
}
