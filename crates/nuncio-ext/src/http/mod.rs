//! HTTP filters, one file or folder each; `registry` lists them.

pub mod adaptive_concurrency;
mod additions;
pub mod admission_control;
pub mod api_key_auth;
pub mod bandwidth_limit;
pub mod basic_auth;
pub mod body_size_limit;
pub mod buffer;
pub mod cdn_loop;
pub mod composite;
pub mod compressor;
pub mod connect_grpc_bridge;
pub mod cors;
pub mod credential_injector;
pub mod csrf;
pub mod custom_response;
pub mod decompressor;
pub mod ext_authz;
pub mod ext_proc;
pub mod dynamic_forward_proxy;
pub mod fault;
mod grpc_calls;
pub mod grpc_http1_bridge;
pub mod grpc_http1_reverse_bridge;
pub mod grpc_json_reverse_transcoder;
pub mod grpc_json_transcoder;
pub mod grpc_stats;
pub mod grpc_web;
pub mod header_mutation;
pub mod header_to_metadata;
pub mod health_check;
pub mod ip_tagging;
pub mod json_to_metadata;
pub mod local_ratelimit;
pub mod lua;
mod query;
pub mod ratelimit;
pub mod rbac;
pub mod set_filter_state;
pub mod set_metadata;
pub mod stateful_session;

use nuncio_core::{BuildCx, ConfigError, FilterConfig, RouteRef};
use std::{any::Any, sync::Arc};

/// Settings for routes of a filter that has none.
fn no_route_config(_: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Err(ConfigError::at("", "this filter has no settings for routes"))
}

/// The settings that a filter has on a route: the most specific ones of the route, else its own.
fn settings<'s, T: 'static>(route: &'s Option<RouteRef>, filter: &str, own: &'s T) -> &'s T {
    route.as_ref().and_then(|route| route.filter_config(filter)).unwrap_or(own)
}
