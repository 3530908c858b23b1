//! HTTP filters that have rules of their own beyond the API's.

use super::data_source;
use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::extensions::filters::http as proto;
use std::time::Duration;

/// Requirements must name providers that are there.
pub(super) fn jwt_authn(cx: &mut CompileCx<'_>, config: &proto::jwt_authn::v3::JwtAuthentication) {
    use proto::jwt_authn::v3::jwt_provider::JwksSourceSpecifier;
    use proto::jwt_authn::v3::requirement_rule::RequirementType;
    for (name, provider) in &config.providers {
        let Some(JwksSourceSpecifier::LocalJwks(source)) = &provider.jwks_source_specifier else { continue };
        let Some(text) = data_source::read(Some(source)) else { continue };
        if !is_jwks(&text) {
            cx.entry("providers", name, |cx| {
                cx.at("local_jwks", |cx| {
                    cx.error(codes::BAD_VALUE, "this is neither a JSON Web Key Set nor PEM").envoy(format!(
                        "Provider '{name}' in jwt_authn config has invalid local jwks: Jwks is an invalid JSON"
                    ));
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

fn is_jwks(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.first() == Some(&b'{') || text.starts_with(b"-----BEGIN")
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
            cx.error(codes::CONFLICT, "inline_code and default_source_code are two names of the same").envoy(
                "Error: Only one of `inline_code` or `default_source_code` can be set for the Lua filter.",
            );
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
                Some(sum) if sum.len() != 28 => "invalid htpasswd format, invalid SHA hash length",
                Some(_) => continue,
            },
        };
        cx.at("users", |cx| {
            cx.error(codes::BAD_VALUE, "users are lines of `name:{SHA}` with the base64 of the password's SHA-1").envoy(format!("basic auth: {said}"));
        });
        return;
    }
}
