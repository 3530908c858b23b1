//! The node as we show it: who the file says that we are, what we are, and which extensions we know.
//!
//! Every extension whose configuration we read and judge is listed; `disabled` are those that have no effect here or are
//! refused, so that nobody sends us one in the belief that it works.

use super::state::Running;
use nuncio_api::envoy::config::core::v3::{BuildVersion, Extension, Node, node::UserAgentVersionType};
use nuncio_api::envoy::r#type::v3::SemanticVersion;
use prost_types::{Struct, Value, value::Kind};

/// The API that we speak is this version's.
const API: SemanticVersion = SemanticVersion { major_number: 1, minor_number: 40, patch: 0 };

/// Extensions that work, beside HTTP filters and access loggers, which have a table.
const AT_WORK: [&str; 31] = [
    "envoy.cluster.dns",
    "envoy.cluster.logical_dns",
    "envoy.cluster.static",
    "envoy.cluster.strict_dns",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions",
    "envoy.filters.http.router",
    "envoy.filters.listener.http_inspector",
    "envoy.filters.listener.tls_inspector",
    "envoy.filters.network.http_connection_manager",
    "envoy.filters.network.tcp_proxy",
    "envoy.health_checkers.http",
    "envoy.health_checkers.tcp",
    "envoy.http.stateful_header_formatters.preserve_case",
    "envoy.load_balancing_policies.least_request",
    "envoy.load_balancing_policies.random",
    "envoy.load_balancing_policies.round_robin",
    "envoy.load_balancing_policies.wrr_locality",
    "envoy.network.dns_resolver.cares",
    "envoy.network.dns_resolver.getaddrinfo",
    "envoy.path.match.uri_template.uri_template_matcher",
    "envoy.path.rewrite.uri_template.uri_template_rewriter",
    "envoy.regex_engines.google_re2",
    "envoy.request_id.uuid",
    "envoy.retry_host_predicates.previous_hosts",
    "envoy.transport_sockets.raw_buffer",
    "envoy.transport_sockets.tls",
    "raw_buffer",
    "tls",
    "preserve_case",
    "envoy.ip",
];

/// The node in force.
pub(super) fn shown(running: &Running) -> Node {
    let mut node = running.loaded().node.clone();
    node.user_agent_name = "envoy".into();
    node.user_agent_version_type = Some(UserAgentVersionType::UserAgentBuildVersion(build()));
    let works = |name: &str, category: &str| match category {
        "envoy.access_loggers" => nuncio_ext::registry::ACCESS_LOGGERS.iter().any(|entry| entry.name == name),
        "envoy.filters.http" => AT_WORK.contains(&name) || running.filters.iter().any(|entry| entry.name == name),
        "envoy.filters.network" => AT_WORK.contains(&name) || nuncio_ext::registry::NETWORK_FILTERS.iter().any(|entry| entry.name == name),
        "envoy.transport_sockets.upstream" => name.ends_with("raw_buffer"),
        _ => AT_WORK.contains(&name),
    };
    let extension = |known: &nuncio_api::Extension| Extension {
        name: known.name.into(),
        category: known.category.into(),
        disabled: !works(known.name, known.category),
        type_urls: known.types.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        ..Extension::default()
    };
    node.extensions = nuncio_api::extensions().iter().map(extension).collect();
    node
}

fn build() -> BuildVersion {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let version = crate::cli::build_version();
    let mut parts = version.split('/');
    let mut fields = std::collections::BTreeMap::from([("nuncio.version".to_owned(), text(env!("CARGO_PKG_VERSION")))]);
    for name in ["revision.sha", "", "revision.status", "build.type", "ssl.version"] {
        if let Some(part) = parts.next().filter(|_| !name.is_empty()) {
            fields.insert(name.to_owned(), text(part));
        }
    }
    BuildVersion { version: Some(API), metadata: Some(Struct { fields }) }
}
