//! HTTP filters that have rules of their own beyond the API's.

use super::data_source;
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3::DataSource;
use nuncio_api::envoy::extensions::filters::http as proto;
use nuncio_api::envoy::extensions::http::injected_credentials::generic::v3::Generic as GenericCredential;
use nuncio_api::envoy::extensions::http::injected_credentials::oauth2::v3::{OAuth2 as OAuth2Credential, o_auth2::FlowType};
use std::time::Duration;

/// Requirements must name providers that are there.
pub(super) fn jwt_authn(cx: &mut CompileCx<'_>, config: &proto::jwt_authn::v3::JwtAuthentication) {
    use proto::jwt_authn::v3::jwt_provider::JwksSourceSpecifier;
    use proto::jwt_authn::v3::requirement_rule::RequirementType;
    for (name, provider) in &config.providers {
        let Some(JwksSourceSpecifier::LocalJwks(source)) = &provider.jwks_source_specifier else { continue };
        let Some(text) = data_source::read(Some(source)) else { continue };
        if let Some(said) = bad_jwks(&text) {
            cx.entry("providers", name, |cx| {
                cx.at("local_jwks", |cx| {
                    cx.error(codes::BAD_VALUE, "this is not a JSON Web Key Set with a public key in it")
                        .envoy(format!("Provider '{name}' in jwt_authn config has invalid local jwks: {said}"));
                });
            });
        }
    }
    for (index, rule) in config.rules.iter().enumerate() {
        cx.item("rules", index, |cx| match &rule.requirement_type {
            Some(RequirementType::Requires(requirement)) => cx.at("requires", |cx| requires(cx, config, requirement)),
            Some(RequirementType::RequirementName(name)) if !config.requirement_map.contains_key(name) => cx.at("requirement_name", |cx| {
                cx.error(codes::MISSING, format!("there is no requirement `{name}` in requirement_map"))
                    .envoy(format!("Wrong requirement_name: {name}. It should be one of"));
            }),
            _ => {}
        });
    }
    for (name, requirement) in &config.requirement_map {
        cx.entry("requirement_map", name, |cx| requires(cx, config, requirement));
    }
}

/// What Envoy says to a key set, as far as it can be told without reading the keys.
fn bad_jwks(text: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim();
    if text.starts_with("-----BEGIN") {
        return None;
    }
    let document = nuncio_api::Document::parse(nuncio_api::Source::new("jwks", text), nuncio_api::Syntax::Json);
    let Ok(document) = document else { return Some("Jwks is an invalid JSON") };
    match document.node_of("keys").map(|keys| document.tree().value(keys)) {
        None => Some("Jwks does not have [keys] field"),
        Some(nuncio_api::Value::List([])) => Some("Jwks doesn't have any valid public key"),
        Some(nuncio_api::Value::List(_)) => None,
        Some(_) => Some("Jwks [keys] should be a list"),
    }
}

fn requires(cx: &mut CompileCx<'_>, config: &proto::jwt_authn::v3::JwtAuthentication, from: &proto::jwt_authn::v3::JwtRequirement) {
    use proto::jwt_authn::v3::jwt_requirement::RequiresType;
    match &from.requires_type {
        Some(RequiresType::ProviderName(name)) => cx.at("provider_name", |cx| provider(cx, config, name)),
        Some(RequiresType::ProviderAndAudiences(p)) => {
            cx.at("provider_and_audiences", |cx| cx.at("provider_name", |cx| provider(cx, config, &p.provider_name)));
        }
        Some(RequiresType::RequiresAny(list)) => cx.at("requires_any", |cx| {
            for (index, one) in list.requirements.iter().enumerate() {
                cx.item("requirements", index, |cx| requires(cx, config, one));
            }
        }),
        Some(RequiresType::RequiresAll(list)) => cx.at("requires_all", |cx| {
            for (index, one) in list.requirements.iter().enumerate() {
                cx.item("requirements", index, |cx| requires(cx, config, one));
            }
        }),
        _ => {}
    }
}

fn provider(cx: &mut CompileCx<'_>, config: &proto::jwt_authn::v3::JwtAuthentication, name: &str) {
    if config.providers.contains_key(name) {
        return;
    }
    let near = crate::nearest(name, config.providers.keys().map(String::as_str)).map(str::to_owned);
    let finding = cx.error(codes::MISSING, format!("there is no provider `{name}`"));
    finding.envoy(format!("Required provider ['{name}'] is not found."));
    if let Some(near) = near {
        finding.help(format!("did you mean `{near}`?"));
    }
}

pub(super) fn cache(cx: &mut CompileCx<'_>, config: &proto::cache::v3::CacheConfig) {
    if config.typed_config.is_none() && !config.disabled.unwrap_or(false) {
        cx.error(codes::MISSING, "set typed_config (for example SimpleHttpCacheConfig) or `disabled: true`")
            .envoy("at least one of typed_config or disabled must be set");
    }
}

pub(super) fn local_ratelimit(cx: &mut CompileCx<'_>, config: &proto::local_ratelimit::v3::LocalRateLimit) {
    for (index, descriptor) in config.descriptors.iter().enumerate() {
        if config.descriptors[..index].iter().any(|earlier| earlier.entries == descriptor.entries) {
            let shown: Vec<String> = descriptor.entries.iter().map(|e| format!("{}={}", e.key, e.value)).collect();
            cx.item("descriptors", index, |cx| {
                cx.error(codes::CONFLICT, "a descriptor before this one has the same entries")
                    .envoy(format!("duplicate descriptor in the local rate descriptor: {}", shown.join(", ")));
            });
        }
    }
    let Some(bucket) = &config.token_bucket else { return };
    let fill = bucket.fill_interval.as_ref().map_or(Duration::ZERO, |d| {
        Duration::new(u64::try_from(d.seconds).unwrap_or(0), u32::try_from(d.nanos).unwrap_or(0).min(999_999_999))
    });
    if fill < Duration::from_millis(50) {
        cx.at("token_bucket", |cx| {
            cx.at("fill_interval", |cx| {
                cx.error(codes::BAD_VALUE, "the bucket is filled every 50 ms at most")
                    .envoy("local rate limit token bucket fill timer must be >= 50ms");
            });
        });
    }
}

#[allow(deprecated)]
pub(super) fn lua(cx: &mut CompileCx<'_>, config: &proto::lua::v3::Lua) {
    if !config.inline_code.is_empty() && config.default_source_code.is_some() {
        cx.at("inline_code", |cx| {
            cx.error(codes::CONFLICT, "inline_code and default_source_code are two names of the same")
                .envoy("Error: Only one of `inline_code` or `default_source_code` can be set for the Lua filter.");
        });
    }
    cx.at("inline_code", |cx| script(cx, &config.inline_code));
    cx.at("default_source_code", |cx| source(cx, config.default_source_code.as_ref()));
    for (name, code) in &config.source_codes {
        cx.entry("source_codes", name, |cx| source(cx, Some(code)));
    }
}

pub(super) fn lua_route(cx: &mut CompileCx<'_>, config: &proto::lua::v3::LuaPerRoute) {
    if let Some(proto::lua::v3::lua_per_route::Override::SourceCode(code)) = &config.r#override {
        cx.at("source_code", |cx| source(cx, Some(code)));
    }
}

fn source(cx: &mut CompileCx<'_>, source: Option<&DataSource>) {
    if let Some(text) = data_source::read(source) {
        script(cx, &String::from_utf8_lossy(&text));
    }
}

/// Envoy runs a script once when it loads it.
fn script(cx: &mut CompileCx<'_>, text: &str) {
    let first = text.lines().next().unwrap_or_default();
    for (number, line) in text.lines().enumerate() {
        let Some(module) = required(line) else { continue };
        let file = format!("./{}.lua", module.replace('.', "/"));
        if !std::path::Path::new(&file).exists() {
            cx.error(codes::BAD_SCRIPT, format!("line {}: the module `{module}` is not there", number + 1))
                .help(format!("put it at {file}, seen from where the process is started"))
                .envoy(format!("script load error: [string \"{first}...\"]:{}: module '{module}' not found:", number + 1));
            return;
        }
    }
}

/// The module that a statement at the outermost level requires.
fn required(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("local ").map_or(line, |l| l.split_once('=').map_or("", |(_, r)| r.trim_start()));
    let argument = rest.strip_prefix("require")?.trim_start_matches([' ', '(']);
    let quote = argument.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    argument[1..].split(quote).next()
}

pub(super) fn health_check(cx: &mut CompileCx<'_>, config: &proto::health_check::v3::HealthCheck) {
    if !config.pass_through_mode.unwrap_or(false) && config.cache_time.as_ref().is_some_and(|t| t.seconds != 0 || t.nanos != 0) {
        cx.at("cache_time", |cx| {
            cx.error(codes::CONFLICT, "cache_time is for pass_through_mode: true")
                .envoy("cache_time_ms must not be set when path_through_mode is disabled");
        });
    }
}

pub(super) fn oauth2(cx: &mut CompileCx<'_>, config: &proto::oauth2::v3::OAuth2) {
    let Some(credentials) = config.config.as_ref().and_then(|c| c.credentials.as_ref()) else { return };
    cx.at("config", |cx| {
        cx.at("credentials", |cx| {
            if let Some(secret) = &credentials.token_secret {
                cx.at("token_secret", |cx| super::tls::static_secret(cx, secret, "GenericSecret", "invalid token secret configuration"));
            }
            if let Some(proto::oauth2::v3::o_auth2_credentials::TokenFormation::HmacSecret(secret)) = &credentials.token_formation {
                cx.at("hmac_secret", |cx| super::tls::static_secret(cx, secret, "GenericSecret", "invalid HMAC secret configuration"));
            }
        });
    });
}

pub(super) fn generic_credential(cx: &mut CompileCx<'_>, config: &GenericCredential) {
    let Some(secret) = &config.credential else { return };
    cx.at("credential", |cx| super::tls::static_secret(cx, secret, "GenericSecret", "Invalid generic credential"));
}

pub(super) fn oauth2_credential(cx: &mut CompileCx<'_>, config: &OAuth2Credential) {
    let Some(FlowType::ClientCredentials(credentials)) = &config.flow_type else { return };
    let Some(secret) = &credentials.client_secret else { return };
    let named = |cx: &mut CompileCx<'_>| super::tls::static_secret(cx, secret, "GenericSecret", "Invalid oauth2 client secret configuration");
    cx.at("client_credentials", |cx| cx.at("client_secret", named));
}

pub(super) fn redis_proxy(cx: &mut CompileCx<'_>, config: &nuncio_api::envoy::extensions::filters::network::redis_proxy::v3::RedisProxy) {
    let routed = config.prefix_routes.as_ref().is_some_and(|p| p.catch_all_route.is_some() || !p.routes.is_empty());
    if !routed {
        cx.error(codes::MISSING, "there is no cluster that commands could go to: prefix_routes").envoy("cannot configure a redis-proxy without any upstream");
    }
}

pub(super) fn transcoder(cx: &mut CompileCx<'_>, config: &proto::grpc_json_transcoder::v3::GrpcJsonTranscoder) {
    use proto::grpc_json_transcoder::v3::grpc_json_transcoder::DescriptorSet;
    let bytes = match &config.descriptor_set {
        Some(DescriptorSet::ProtoDescriptor(path)) if !path.is_empty() => cx.at("proto_descriptor", |cx| {
            if !data_source::file(cx, path) {
                return None;
            }
            let bytes = std::fs::read(path).ok()?;
            if is_descriptor_set(&bytes) {
                return Some(bytes);
            }
            cx.error(codes::BAD_VALUE, format!("`{path}` does not hold a FileDescriptorSet"))
                .envoy(format!("unable to parse proto descriptor from file `{path}`"));
            None
        }),
        Some(DescriptorSet::ProtoDescriptorBin(bytes)) => Some(bytes.clone()),
        _ => None,
    };
    let Some(bytes) = bytes else { return };
    for (index, service) in config.services.iter().enumerate() {
        let name = service.rsplit('.').next().unwrap_or(service);
        let found = bytes.windows(name.len().max(1)).any(|w| w == name.as_bytes());
        if !found {
            cx.item("services", index, |cx| {
                cx.error(codes::MISSING, format!("the descriptor has no service `{service}`"))
                    .envoy(format!("transcoding_filter: Could not find '{service}' in the proto descriptor"));
            });
        }
    }
}

fn is_descriptor_set(bytes: &[u8]) -> bool {
    use prost::Message as _;
    !bytes.is_empty() && prost_types::FileDescriptorSet::decode(bytes).is_ok_and(|set| !set.file.is_empty())
}

#[allow(deprecated)]
pub(super) fn ext_authz(cx: &mut CompileCx<'_>, config: &proto::ext_authz::v3::ExtAuthz) {
    use nuncio_api::envoy::config::core::v3::ApiVersion;
    if config.transport_api_version == ApiVersion::V2 as i32 {
        cx.at("transport_api_version", |cx| {
            cx.error(codes::BAD_VALUE, "the v2 API was removed; write V3")
                .envoy("V2 xDS transport protocol version is deprecated. The v2 xDS major version has been removed and is no longer supported.");
        });
    }
}

/// Lines of `user:{SHA}` and the base64 of a SHA-1.
pub(super) fn basic_auth(cx: &mut CompileCx<'_>, config: &proto::basic_auth::v3::BasicAuth) {
    let Some(users) = data_source::read(config.users.as_ref()) else { return };
    let text = String::from_utf8_lossy(&users);
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let said = match line.split_once(':') {
            None => "unexpected format: missing ':'",
            Some((user, hash)) if user.is_empty() || hash.is_empty() => "empty user name or password",
            Some((_, hash)) => match hash.strip_prefix("{SHA}") {
                None => "unsupported htpasswd format: please use {SHA}",
                Some(sum) if sum.len() != 28 || !sum.ends_with('=') => "invalid htpasswd format, invalid SHA hash length",
                Some(_) => continue,
            },
        };
        cx.at("users", |cx| {
            cx.error(codes::BAD_VALUE, "users are lines of `name:{SHA}` with the base64 of the password's SHA-1").envoy(format!("basic auth: {said}"));
        });
        return;
    }
}
