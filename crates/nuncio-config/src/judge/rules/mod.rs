//! The rules by message: one table, one function per message, a file per field of knowledge.
//!
//! A rule gets the decoded message at the current path and reports; it holds wherever the message stands in the API.

mod config_source;
mod data_source;
mod dns_cache;
mod filters;
mod format;
mod http2;
mod modules;
mod overload;
mod rbac;
mod regex;
mod routes;
mod sinks;
mod tls;

pub(crate) use config_source::needs_node;

use crate::context::CompileCx;
use nuncio_api::envoy;
use prost::{Message, Name};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Applies a rule to wire bytes.
type Rule = Box<dyn Fn(&mut CompileCx<'_>, &[u8]) + Send + Sync>;

fn rule<M: Message + Name + Default + 'static>(check: fn(&mut CompileCx<'_>, &M)) -> (String, Rule) {
    let apply = move |cx: &mut CompileCx<'_>, bytes: &[u8]| {
        if let Ok(message) = M::decode(bytes) {
            check(cx, &message);
        }
    };
    (M::full_name(), Box::new(apply))
}

fn all() -> Vec<(String, Rule)> {
    use envoy::config::{core::v3 as core, metrics::v3 as metrics, overload::v3 as overload_v3, trace::v3 as trace};
    use envoy::extensions::{dynamic_modules::v3 as modules_v3, filters::http, transport_sockets::tls::v3 as tls_v3};
    vec![
        rule::<core::ConfigSource>(config_source::check),
        rule::<core::ApiConfigSource>(config_source::check_api),
        rule::<envoy::config::route::v3::RouteConfiguration>(routes::plugins),
        rule::<core::SubstitutionFormatString>(format::check),
        rule::<envoy::extensions::access_loggers::file::v3::FileAccessLog>(data_source::log_file),
        rule::<core::DataSource>(data_source::check),
        rule::<envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig>(dns_cache::check),
        rule::<core::Http2ProtocolOptions>(http2::check),
        rule::<envoy::r#type::matcher::v3::RegexMatcher>(regex::check),
        rule::<nuncio_api::xds::r#type::matcher::v3::RegexMatcher>(regex::check_xds),
        rule::<tls_v3::DownstreamTlsContext>(tls::downstream),
        rule::<tls_v3::UpstreamTlsContext>(tls::upstream),
        rule::<tls_v3::CommonTlsContext>(tls::common),
        rule::<tls_v3::SdsSecretConfig>(config_source::check_sds),
        rule::<tls_v3::TlsCertificate>(tls::certificate),
        rule::<tls_v3::CertificateValidationContext>(tls::validation),
        rule::<modules_v3::DynamicModuleConfig>(modules::check),
        rule::<envoy::extensions::geoip_providers::maxmind::v3::MaxMindConfig>(modules::geoip),
        rule::<metrics::StatsdSink>(sinks::statsd),
        rule::<metrics::MetricsServiceConfig>(sinks::metrics_service),
        rule::<envoy::extensions::stat_sinks::open_telemetry::v3::SinkConfig>(sinks::open_telemetry),
        rule::<trace::ZipkinConfig>(sinks::zipkin),
        rule::<trace::DatadogConfig>(sinks::datadog),
        rule::<envoy::config::rbac::v3::Policy>(rbac::check),
        rule::<overload_v3::OverloadManager>(overload::check),
        rule::<envoy::extensions::http::injected_credentials::generic::v3::Generic>(filters::generic_credential),
        rule::<envoy::extensions::http::injected_credentials::oauth2::v3::OAuth2>(filters::oauth2_credential),
        rule::<envoy::extensions::wasm::v3::PluginConfig>(modules::wasm),
        rule::<http::wasm::v3::Wasm>(modules::wasm_filter),
        rule::<envoy::extensions::filters::network::redis_proxy::v3::RedisProxy>(filters::redis_proxy),
        rule::<http::jwt_authn::v3::JwtAuthentication>(filters::jwt_authn),
        rule::<http::cache::v3::CacheConfig>(filters::cache),
        rule::<http::local_ratelimit::v3::LocalRateLimit>(filters::local_ratelimit),
        rule::<http::lua::v3::Lua>(filters::lua),
        rule::<http::lua::v3::LuaPerRoute>(filters::lua_route),
        rule::<http::health_check::v3::HealthCheck>(filters::health_check),
        rule::<http::oauth2::v3::OAuth2>(filters::oauth2),
        rule::<http::grpc_json_transcoder::v3::GrpcJsonTranscoder>(filters::transcoder),
        rule::<http::ext_authz::v3::ExtAuthz>(filters::ext_authz),
        rule::<http::basic_auth::v3::BasicAuth>(filters::basic_auth),
    ]
}

static RULES: LazyLock<HashMap<String, Rule>> = LazyLock::new(|| all().into_iter().collect());

/// Applies the rule of a message, if it has one.
pub(super) fn apply(cx: &mut CompileCx<'_>, message: &str, bytes: &[u8]) {
    if let Some(rule) = RULES.get(message) {
        rule(cx, bytes);
    }
}
