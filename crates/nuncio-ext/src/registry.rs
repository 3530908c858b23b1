//! The table of extensions: one line each, sorted by name. A vendor's binary adds a table of its own.

use crate::access_log;
use crate::{http, network, tracers};
use nuncio_core::{AccessLogEntry, HttpFilterEntry, NetworkFilterEntry, TracerEntry};

/// HTTP filters.
pub static HTTP_FILTERS: &[HttpFilterEntry] = &[
    http::adaptive_concurrency::ENTRY,
    http::admission_control::ENTRY,
    http::api_key_auth::ENTRY,
    http::bandwidth_limit::ENTRY,
    http::basic_auth::ENTRY,
    http::body_size_limit::ENTRY,
    http::buffer::ENTRY,
    http::cdn_loop::ENTRY,
    http::composite::COMPOSITE,
    http::compressor::ENTRY,
    http::connect_grpc_bridge::ENTRY,
    http::cors::ENTRY,
    http::credential_injector::ENTRY,
    http::csrf::ENTRY,
    http::custom_response::ENTRY,
    http::decompressor::ENTRY,
    http::dynamic_forward_proxy::ENTRY,
    http::ext_authz::ENTRY,
    http::ext_proc::ENTRY,
    http::fault::ENTRY,
    http::grpc_http1_bridge::ENTRY,
    http::grpc_http1_reverse_bridge::ENTRY,
    http::grpc_json_reverse_transcoder::ENTRY,
    http::grpc_json_transcoder::ENTRY,
    http::grpc_stats::ENTRY,
    http::grpc_web::ENTRY,
    http::header_mutation::ENTRY,
    http::header_to_metadata::ENTRY,
    http::health_check::ENTRY,
    http::ip_tagging::ENTRY,
    http::json_to_metadata::ENTRY,
    http::local_ratelimit::ENTRY,
    http::lua::ENTRY,
    http::composite::DELEGATE,
    http::ratelimit::ENTRY,
    http::rbac::ENTRY,
    http::set_filter_state::ENTRY,
    http::set_metadata::ENTRY,
    http::stateful_session::ENTRY,
];

/// Network filters, but for the HTTP connection manager and the TCP proxy.
pub static NETWORK_FILTERS: &[NetworkFilterEntry] = &[
    network::connection_limit::ENTRY,
    network::direct_response::ENTRY,
    network::echo::ENTRY,
    network::ext_authz::ENTRY,
    network::local_ratelimit::ENTRY,
    network::ratelimit::ENTRY,
    network::rbac::ENTRY,
    network::set_filter_state::ENTRY,
    network::sni_cluster::ENTRY,
    network::sni_dynamic_forward_proxy::ENTRY,
];

/// Listener filters that only let connections in or not.
pub static LISTENER_FILTERS: &[NetworkFilterEntry] = &[network::local_ratelimit::LISTENER_ENTRY, network::set_filter_state::LISTENER_ENTRY];

/// Tracers.
pub static TRACERS: &[TracerEntry] = &[tracers::opentelemetry::ENTRY];

/// Access loggers.
pub static ACCESS_LOGGERS: &[&AccessLogEntry] = &[
    &access_log::FILE,
    &access_log::HTTP_GRPC,
    &access_log::OPEN_TELEMETRY,
    &access_log::STDERR,
    &access_log::STDOUT,
    &access_log::TCP_GRPC,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_and_name_messages_that_exist() {
        assert!(HTTP_FILTERS.is_sorted_by(|a, b| a.name < b.name));
        assert!(ACCESS_LOGGERS.is_sorted_by(|a, b| a.name < b.name));
        assert!(NETWORK_FILTERS.is_sorted_by(|a, b| a.name < b.name));
        for entry in NETWORK_FILTERS.iter().chain(LISTENER_FILTERS) {
            assert!(nuncio_api::schema::message(entry.message).is_some(), "{}: no message", entry.name);
        }
        for entry in ACCESS_LOGGERS {
            assert!(nuncio_api::schema::message(entry.message).is_some(), "{}: no message", entry.name);
        }
        for entry in HTTP_FILTERS {
            for message in [entry.message, entry.route_message].into_iter().filter(|m| !m.is_empty()) {
                assert!(nuncio_api::schema::message(message).is_some(), "{}: no message {message}", entry.name);
            }
        }
    }
}
