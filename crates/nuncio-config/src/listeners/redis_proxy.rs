//! `RedisProxy` → [`RedisConfig`].

use super::tcp_proxy::known;
use crate::context::CompileCx;
use crate::{codes, routes, unbuilt};
use nuncio_api::envoy::config::core::v3::{DataSource, RuntimeFractionalPercent};
use nuncio_api::envoy::extensions::filters::network::redis_proxy::v3 as proto;
use nuncio_core::format::Format;
use nuncio_core::{Fraction, RuntimeFraction, Terminal};
use nuncio_redis::{Fault, FaultKind, KeyFormat, KeyPart, Mirror, RedisConfig, RedisProxy, Route};
use proto::redis_proxy::{
    ConnPoolSettings, ConnectionRateLimit, PrefixRoutes, RedisFault, conn_pool_settings::ReadPolicy, prefix_routes,
    prefix_routes::route::{ReadCommandPolicy, RequestMirrorPolicy}, redis_fault::RedisFaultType,
};
use std::sync::Arc;
use std::time::Duration;

/// `buffer_flush_timeout` when not set.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(3);

/// `max_upstream_unknown_connections` when not set.
const UNKNOWN_CONNECTIONS: u32 = 100;

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::RedisProxy) -> Arc<dyn Terminal> {
    #[allow(deprecated)]
    let proto::RedisProxy {
        stat_prefix,
        settings,
        latency_in_micros,
        prefix_routes,
        downstream_auth_password,
        downstream_auth_passwords,
        faults,
        downstream_auth_username,
        external_auth_provider,
        custom_commands,
        protocol_version,
    } = from;
    // Without it everybody would be let in.
    crate::unsafe_unbuilt!(cx, external_auth_provider);
    if *protocol_version != 0 {
        cx.at("protocol_version", |cx| {
            cx.value_unsafe_without("version 3 of the protocol");
        });
    }
    let mut config = RedisConfig {
        stat_prefix: stat_prefix.clone(),
        latency_in_micros: *latency_in_micros,
        username: secret(cx, "downstream_auth_username", downstream_auth_username.as_ref()),
        custom_commands: custom_commands.iter().map(|name| name.to_ascii_lowercase()).collect(),
        faults: cx.each("faults", faults, |cx, from| Some(fault(cx, from))),
        ..RedisConfig::default()
    };
    let old = secret(cx, "downstream_auth_password", downstream_auth_password.as_ref());
    let others = cx.each("downstream_auth_passwords", downstream_auth_passwords, |cx, from| Some(routes::data(cx, from, None)?.into_bytes()));
    config.passwords = [old].into_iter().chain(others).filter(|password| !password.is_empty()).collect();
    if let Some(settings) = settings {
        cx.at("settings", |cx| pool(cx, settings, &mut config));
    }
    if let Some(PrefixRoutes { routes, case_insensitive, catch_all_route }) = prefix_routes {
        cx.at("prefix_routes", |cx| {
            config.case_insensitive = *case_insensitive;
            config.routes = cx.each("routes", routes, |cx, from| Some(route(cx, from)));
            distinct(cx, &config.routes, *case_insensitive);
            config.catch_all = catch_all_route.as_ref().map(|from| cx.at("catch_all_route", |cx| route(cx, from)));
        });
    }
    if config.routes.is_empty() && config.catch_all.is_none() {
        cx.error(codes::MISSING, "there is no route: no key goes anywhere")
            .help("name a cluster in prefix_routes.catch_all_route")
            .envoy("cannot configure a redis-proxy without any upstream");
    }
    // The longest prefix goes first.
    config.routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.len()));
    RedisProxy::new(config, &cx.stats)
}

fn secret(cx: &mut CompileCx<'_>, field: &'static str, from: Option<&DataSource>) -> Vec<u8> {
    let text = from.and_then(|from| cx.at(field, |cx| routes::data(cx, from, None)));
    text.unwrap_or_default().into_bytes()
}

fn pool(cx: &mut CompileCx<'_>, from: &ConnPoolSettings, config: &mut RedisConfig) {
    let ConnPoolSettings {
        op_timeout,
        enable_hashtagging,
        enable_redirection,
        dns_cache_config,
        max_buffer_size_before_flush,
        buffer_flush_timeout,
        max_upstream_unknown_connections,
        enable_command_stats,
        read_policy,
        connection_rate_limit,
    } = from;
    unbuilt!(cx, dns_cache_config);
    config.redirection = enable_redirection.then(|| max_upstream_unknown_connections.unwrap_or(UNKNOWN_CONNECTIONS));
    config.op_timeout = cx.duration("op_timeout", op_timeout.as_ref()).unwrap_or_default();
    config.hashtagging = *enable_hashtagging;
    let wait = cx.duration("buffer_flush_timeout", buffer_flush_timeout.as_ref()).unwrap_or(FLUSH_TIMEOUT);
    config.buffering = (*max_buffer_size_before_flush > 0).then_some((*max_buffer_size_before_flush as usize, wait));
    config.command_stats = *enable_command_stats;
    config.replicas = *read_policy != ReadPolicy::Master as i32;
    config.connections_per_second = connection_rate_limit.as_ref().map(|ConnectionRateLimit { connection_rate_limit_per_sec }| *connection_rate_limit_per_sec);
}

fn route(cx: &mut CompileCx<'_>, from: &prefix_routes::Route) -> Route {
    let prefix_routes::Route { prefix, remove_prefix, cluster, request_mirror_policy, key_formatter, read_command_policy } = from;
    cx.at("cluster", |cx| known(cx, cluster));
    let read_cluster = read_command_policy.as_ref().map(|ReadCommandPolicy { cluster }| {
        cx.at("read_command_policy", |cx| cx.at("cluster", |cx| known(cx, cluster)));
        Arc::from(cluster.as_str())
    });
    let mirrors = cx.each("request_mirror_policy", request_mirror_policy, |cx, RequestMirrorPolicy { cluster, runtime_fraction, exclude_read_commands }| {
        cx.at("cluster", |cx| known(cx, cluster));
        Some(Mirror { cluster: cluster.as_str().into(), fraction: runtime_fraction.as_ref().map(fraction), exclude_reads: *exclude_read_commands })
    });
    Route {
        prefix: prefix.clone().into_bytes(),
        remove_prefix: *remove_prefix,
        cluster: cluster.as_str().into(),
        read_cluster,
        mirrors,
        key_format: (!key_formatter.is_empty()).then(|| cx.at("key_formatter", |cx| key_format(cx, key_formatter))).flatten(),
    }
}

/// Texts around `%KEY%`, which are formats.
fn key_format(cx: &mut CompileCx<'_>, text: &str) -> Option<KeyFormat> {
    let mut parts = Vec::new();
    for (index, part) in text.split("%KEY%").enumerate() {
        if index > 0 {
            parts.push(KeyPart::Key);
        }
        if part.is_empty() {
            continue;
        }
        match Format::compile(part) {
            Ok((format, _)) => parts.push(KeyPart::Format(format)),
            Err(error) => {
                let said = error.to_string();
                cx.refused_unless_parity(codes::BAD_VALUE, said).note("Envoy finds out when a key comes");
                return None;
            }
        }
    }
    Some(KeyFormat(parts))
}

fn fraction(from: &RuntimeFractionalPercent) -> RuntimeFraction {
    let RuntimeFractionalPercent { default_value, runtime_key } = from;
    let default = default_value.as_ref().map_or(Fraction { numerator: 0, denominator: 100 }, routes::fraction);
    RuntimeFraction { default, key: runtime_key.as_str().into() }
}

fn fault(cx: &mut CompileCx<'_>, from: &RedisFault) -> Fault {
    let RedisFault { fault_type, fault_enabled, delay, commands } = from;
    let kind = if *fault_type == RedisFaultType::Delay as i32 { FaultKind::Delay } else { FaultKind::Error };
    if kind == FaultKind::Delay && delay.is_none() {
        cx.warn(codes::MISSING, "a delay without `delay` delays nothing");
    }
    Fault {
        kind,
        enabled: fault_enabled.as_ref().map_or_else(|| fraction(&RuntimeFractionalPercent::default()), fraction),
        delay: cx.duration("delay", delay.as_ref()).unwrap_or_default(),
        commands: commands.iter().map(|command| command.to_ascii_lowercase()).collect(),
    }
}

/// A prefix stands once.
fn distinct(cx: &mut CompileCx<'_>, routes: &[Route], case_insensitive: bool) {
    let same = |a: &Route, b: &Route| if case_insensitive { a.prefix.eq_ignore_ascii_case(&b.prefix) } else { a.prefix == b.prefix };
    for (index, route) in routes.iter().enumerate() {
        if routes[..index].iter().any(|other| same(route, other)) {
            let prefix = String::from_utf8_lossy(&route.prefix).into_owned();
            cx.item("routes", index, |cx| {
                cx.at("prefix", |cx| {
                    cx.error(codes::CONFLICT, format!("there is a route for `{prefix}` already")).envoy(format!("prefix `{prefix}` already exists."));
                });
            });
        }
    }
}
