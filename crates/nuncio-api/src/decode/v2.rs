//! Names of Envoy's v2 API, removed in 2020, that still stand in configurations and tutorials, and what replaced them.

use crate::schema;

/// A field that v2 had: message (v3 full name), field, what to write now.
const FIELDS: [(&str, &str, &str); 31] = [
    (
        "envoy.config.cluster.v3.Cluster",
        "hosts",
        "`load_assignment: {cluster_name, endpoints: [{lb_endpoints: [{endpoint: {address}}]}]}`",
    ),
    (
        "envoy.config.cluster.v3.Cluster",
        "tls_context",
        "`transport_socket` named envoy.transport_sockets.tls with an UpstreamTlsContext as its typed_config",
    ),
    (
        "envoy.config.cluster.v3.Cluster",
        "extension_protocol_options",
        "`typed_extension_protocol_options`",
    ),
    (
        "envoy.config.cluster.v3.Cluster",
        "drain_connections_on_host_removal",
        "`ignore_health_on_host_removal`",
    ),
    (
        "envoy.config.cluster.v3.Cluster",
        "outlier_detection_config",
        "`outlier_detection`",
    ),
    (
        "envoy.config.listener.v3.FilterChain",
        "tls_context",
        "`transport_socket` named envoy.transport_sockets.tls with a DownstreamTlsContext as its typed_config",
    ),
    (
        "envoy.config.listener.v3.Filter",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.config.listener.v3.ListenerFilter",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.config.listener.v3.Listener",
        "drain_type_deprecated",
        "`drain_type`",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "idle_timeout",
        "`common_http_protocol_options: {idle_timeout}`",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing",
        "operation_name",
        "`traffic_direction` on the listener",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing",
        "request_headers_for_tags",
        "`custom_tags: [{request_header}]`",
    ),
    (
        "envoy.config.accesslog.v3.AccessLog",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.config.core.v3.TransportSocket",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.config.metrics.v3.StatsSink",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.config.trace.v3.Tracing.Http",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.config.core.v3.HealthCheck.CustomHealthCheck",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.config.core.v3.HealthCheck.HttpHealthCheck",
        "use_http2",
        "`codec_client_type: HTTP2`",
    ),
    (
        "envoy.config.core.v3.HealthCheck.HttpHealthCheck",
        "service_name",
        "`service_name_matcher`",
    ),
    (
        "envoy.config.route.v3.RetryPolicy.RetryHostPredicate",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.config.route.v3.RetryPolicy.RetryPriority",
        "config",
        "`typed_config` with an \"@type\"",
    ),
    (
        "envoy.config.route.v3.RouteMatch",
        "regex",
        "`safe_regex: {regex}`",
    ),
    (
        "envoy.config.route.v3.HeaderMatcher",
        "regex_match",
        "`string_match: {safe_regex: {regex}}`",
    ),
    (
        "envoy.config.route.v3.QueryParameterMatcher",
        "value",
        "`string_match: {exact}`",
    ),
    (
        "envoy.config.route.v3.QueryParameterMatcher",
        "regex",
        "`string_match: {safe_regex: {regex}}`",
    ),
    (
        "envoy.config.route.v3.RouteAction",
        "request_mirror_policy",
        "`request_mirror_policies`, a list",
    ),
    (
        "envoy.config.route.v3.RouteAction",
        "auto_host_rewrite_header",
        "`host_rewrite_header`",
    ),
    (
        "envoy.config.route.v3.VirtualHost",
        "per_filter_config",
        "`typed_per_filter_config` with an \"@type\" in each",
    ),
    (
        "envoy.config.route.v3.Route",
        "per_filter_config",
        "`typed_per_filter_config` with an \"@type\" in each",
    ),
    (
        "envoy.config.bootstrap.v3.Bootstrap",
        "runtime",
        "`layered_runtime`",
    ),
];

/// Renames that change nothing but the name: message, v2 field, v3 field.
const RENAMES: [(&str, &str, &str); 2] = [
    (
        "envoy.config.cluster.v3.Cluster",
        "drain_connections_on_host_removal",
        "ignore_health_on_host_removal",
    ),
    (
        "envoy.config.route.v3.RouteAction",
        "auto_host_rewrite_header",
        "host_rewrite_header",
    ),
];

/// What to write instead of a field that only v2 had.
pub(super) fn field(message: &str, name: &str) -> Option<&'static str> {
    FIELDS
        .iter()
        .find(|(m, f, _)| *m == message && *f == name)
        .map(|(_, _, instead)| *instead)
}

/// The new name, where the old field only needs renaming.
pub(super) fn rename(message: &str, name: &str) -> Option<&'static str> {
    RENAMES
        .iter()
        .find(|(m, f, _)| *m == message && *f == name)
        .map(|(_, _, new)| *new)
}

/// v2 messages that the API's own version annotations do not name: they had changed before they were annotated.
const MESSAGES: [(&str, &str); 4] = [
    (
        "envoy.api.v2.auth.DownstreamTlsContext",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    ),
    (
        "envoy.api.v2.auth.UpstreamTlsContext",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    ),
    (
        "envoy.config.filter.http.router.v2.Router",
        "envoy.extensions.filters.http.router.v3.Router",
    ),
    (
        "envoy.config.accesslog.v2.FileAccessLog",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    ),
];

/// The v3 message that replaced a v2 message.
pub(super) fn message(name: &str) -> Option<&'static str> {
    let listed = MESSAGES
        .iter()
        .find(|(v2, _)| *v2 == name)
        .map(|(_, v3)| *v3);
    listed.or_else(|| schema::successor(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_name_messages_and_fields_of_today() {
        for (message, field, _) in FIELDS {
            let known = schema::message(message).expect(message);
            assert!(known.field(field).is_none(), "{message} has {field} still");
        }
        for (message, _, new) in RENAMES {
            assert!(
                schema::message(message)
                    .expect(message)
                    .field(new)
                    .is_some(),
                "{message}.{new}"
            );
        }
        for (_, v3) in MESSAGES {
            assert!(schema::message(v3).is_some(), "{v3}");
        }
    }
}
