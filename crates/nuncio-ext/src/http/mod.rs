//! HTTP filters, one file or folder each; `registry` lists them.

mod additions;
pub mod bandwidth_limit;
pub mod buffer;
pub mod composite;
pub mod compressor;
pub mod cors;
pub mod csrf;
pub mod decompressor;
pub mod ext_authz;
pub mod dynamic_forward_proxy;
pub mod fault;
mod grpc_calls;
pub mod grpc_http1_bridge;
pub mod grpc_http1_reverse_bridge;
pub mod grpc_stats;
pub mod grpc_web;
pub mod header_mutation;
pub mod header_to_metadata;
pub mod health_check;
pub mod local_ratelimit;
pub mod lua;
pub mod ratelimit;
pub mod rbac;
pub mod set_filter_state;
pub mod set_metadata;

use nuncio_core::RouteRef;

/// The settings that a filter has on a route: the most specific ones of the route, else its own.
fn settings<'s, T: 'static>(route: &'s Option<RouteRef>, filter: &str, own: &'s T) -> &'s T {
    route.as_ref().and_then(|route| route.filter_config(filter)).unwrap_or(own)
}
