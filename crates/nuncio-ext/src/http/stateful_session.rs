//! `envoy.filters.http.stateful_session`: a client stays with the host that answered it first, by a cookie or a header.
//!
//! Where that host is not there any more, or not well, the request goes elsewhere, unless the session is `strict`. Only the
//! first attempt goes to the host of the session.

use crate::read::{self, within};
use base64::{Engine, engine::general_purpose::STANDARD};
use nuncio_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_api::envoy::extensions::filters::http::stateful_session::v3 as proto;
use nuncio_api::envoy::extensions::http::stateful_session::{cookie::v3 as cookie_proto, header::v3 as header_proto};
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_codec::path::split_query;
use nuncio_core::matching::cookie;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, OverrideHost, Phases, Posture, StateSlot, Step, StreamCx,
};
use nuncio_stats::{CounterId, Scope, stats_table};
use prost::Message;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.stateful_session",
    message: "envoy.extensions.filters.http.stateful_session.v3.StatefulSession",
    route_message: "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
    posture: Posture::UntrustedBoth,
    build,
    route,
};

stats_table! {
    /// `http.<prefix>.stateful_session.<stat_prefix>.`, of routes `stateful_session.<stat_prefix>.`
    pub STATEFUL_SESSION: "stateful_session" {
        /// Requests whose host is not there, and that were answered so.
        counter FAILED_CLOSED = "failed_closed",
        /// Requests that went to another host than that of their session, or had none.
        counter FAILED_OPEN = "failed_open",
        /// Requests that have no part in sessions.
        counter NO_SESSION = "no_session",
        /// Requests that went to the host of their session.
        counter ROUTED = "routed",
    }
}

/// What a session's cookie holds.
#[derive(Clone, PartialEq, Message)]
struct CookieContent {
    #[prost(string, tag = "1")]
    address: String,
    /// Unix seconds; 0 for never.
    #[prost(int64, tag = "2")]
    expires: i64,
}

/// How a session is told.
#[derive(Debug)]
enum Carrier {
    Header(HeaderName),
    Cookie {
        name: Box<str>,
        /// Only requests below it have a part in sessions; empty for all.
        path: Box<str>,
        ttl: Duration,
        /// As the cookie ends.
        attributes: Box<str>,
    },
}

#[derive(Debug, Default)]
struct Settings {
    carrier: Option<Carrier>,
    /// The status of the answer where the host is not there.
    strict: Option<u16>,
    stats: Option<Arc<Scope>>,
}

#[derive(Debug)]
struct StatefulSession {
    name: String,
    settings: Settings,
    state: StateSlot<Option<Held>>,
}

/// A request that has a part in sessions.
struct Held {
    /// The host that its session names.
    address: Option<String>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let prefix = format!("{}stateful_session.", cx.stat_prefix);
    let settings = settings(read::message(config)?, &prefix, cx)?;
    Ok(Arc::new(StatefulSession { name: cx.filter_name.to_owned(), settings, state: cx.state_slot() }))
}

fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    use proto::stateful_session_per_route::Override;
    let proto::StatefulSessionPerRoute { r#override } = read::message(config)?;
    Ok(Arc::new(match r#override {
        Some(Override::StatefulSession(session)) => settings(session, "stateful_session.", cx).map_err(within("stateful_session"))?,
        Some(Override::Disabled(_)) | None => Settings::default(),
    }))
}

fn settings(from: proto::StatefulSession, prefix: &str, cx: &mut BuildCx<'_>) -> Result<Settings, ConfigError> {
    let proto::StatefulSession { session_state, strict, stat_prefix, status_on_strict_destination_not_found: status } = from;
    let status = match u16::try_from(status) {
        Ok(0) => 503,
        Ok(status @ 200..600) => status,
        _ => return Err(ConfigError::at("status_on_strict_destination_not_found", format!("{status} is not a status"))),
    };
    let carrier = match session_state {
        Some(state) => carrier(&state, &mut cx.warnings).map_err(within("session_state"))?,
        None => None,
    };
    Ok(Settings {
        carrier,
        strict: strict.then_some(status),
        stats: (!stat_prefix.is_empty()).then(|| cx.stats.scope(&format!("{prefix}{stat_prefix}."), &STATEFUL_SESSION)),
    })
}

fn carrier(from: &TypedExtensionConfig, warnings: &mut Vec<ConfigError>) -> Result<Option<Carrier>, ConfigError> {
    let Some(any) = &from.typed_config else { return Ok(None) };
    let config = FilterConfig { type_url: &any.type_url, value: &any.value };
    match any.type_url.rsplit('/').next().unwrap_or_default() {
        "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState" => {
            let header_proto::HeaderBasedSessionState { name } = read::message(config)?;
            Ok(Some(Carrier::Header(read::header_name(&name).map_err(within("typed_config.name"))?)))
        }
        "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState" => {
            let cookie_proto::CookieBasedSessionState { cookie } = read::message(config)?;
            let cookie = cookie.unwrap_or_default();
            if cookie.name.is_empty() {
                return Err(ConfigError::at("typed_config.cookie.name", "is empty"));
            }
            let attributes = cookie.attributes.iter().map(|attribute| match &*attribute.value {
                "" => format!("; {}", attribute.name),
                value => format!("; {}={value}", attribute.name),
            });
            Ok(Some(Carrier::Cookie {
                attributes: attributes.chain(["; HttpOnly".to_owned()]).collect::<String>().into(),
                name: cookie.name.into(),
                path: cookie.path.into(),
                ttl: cookie.ttl.as_ref().map(read::duration).unwrap_or_default(),
            }))
        }
        _ => {
            warnings.push(ConfigError::at("session_state", format!("`{}` is accepted without effect: it is not built yet", from.name)));
            Ok(None)
        }
    }
}

/// Whether a request's path is that of a cookie, or below it (RFC 6265, 5.1.4).
fn is_below(path: &[u8], of_cookie: &[u8]) -> bool {
    path.strip_prefix(of_cookie).is_some_and(|rest| rest.is_empty() || of_cookie.ends_with(b"/") || rest[0] == b'/')
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

impl Carrier {
    /// What a request says of its session; `None` if it has no part in sessions.
    fn read(&self, request: &HeaderMap) -> Option<Held> {
        let decoded = |text: Option<&[u8]>| STANDARD.decode(text?).ok();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok().filter(|text| !text.is_empty());
        match self {
            Carrier::Header(name) => Some(Held { address: decoded(request.get(name)).and_then(text) }),
            Carrier::Cookie { name, path, .. } => {
                let (target, _) = split_query(request.path().unwrap_or_default());
                if !path.is_empty() && !is_below(target, path.as_bytes()) {
                    return None;
                }
                let address = decoded(cookie(request, name.as_bytes())).and_then(|content| match CookieContent::decode(&*content) {
                    Ok(CookieContent { expires, .. }) if expires != 0 && expires < unix_now() => None,
                    Ok(content) => Some(content.address).filter(|address| !address.is_empty()),
                    // As older versions wrote them.
                    Err(_) => text(content),
                });
                Some(Held { address })
            }
        }
    }

    /// Tells the client where its session is from now on.
    fn write(&self, address: String, response: &mut HeaderMap) {
        match self {
            Carrier::Header(name) => response.insert(name, STANDARD.encode(address)),
            Carrier::Cookie { name, path, ttl, attributes } => {
                let seconds = ttl.as_secs();
                let expires = if seconds == 0 { 0 } else { unix_now().saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX)) };
                let content = STANDARD.encode(CookieContent { address, expires }.encode_to_vec());
                let age = if seconds == 0 { String::new() } else { format!("; Max-Age={seconds}") };
                let path = if path.is_empty() { String::new() } else { format!("; Path={path}") };
                response.append(Known::SetCookie, format!("{name}=\"{content}\"{age}{path}{attributes}"));
            }
        }
    }
}

impl Settings {
    fn count(&self, cx: &StreamCx, what: CounterId) {
        if let Some(stats) = &self.stats {
            stats.inc(cx.worker.lane, what);
        }
    }
}

impl HttpFilter for StatefulSession {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::RESPONSE_HEADERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let route = cx.configured_route();
        let settings = super::settings(&route, &self.name, &self.settings);
        let Some(carrier) = &settings.carrier else { return Step::Continue };
        let Some(held) = carrier.read(&cx.request) else {
            settings.count(cx, NO_SESSION);
            return Step::Continue;
        };
        if let Some(address) = &held.address {
            cx.override_host = Some(Box::new(OverrideHost { address: address.as_str().into(), strict: settings.strict }));
        }
        *cx.state(&self.state) = Some(held);
        Step::Continue
    }

    fn response_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let Some(held) = cx.held_state(&self.state).and_then(Option::take) else { return Step::Continue };
        let route = cx.configured_route();
        let settings = super::settings(&route, &self.name, &self.settings);
        let Some(host) = cx.info.upstream.host.as_ref().map(|host| host.address.to_string()) else {
            if settings.strict.is_some() && held.address.is_some() {
                settings.count(cx, FAILED_CLOSED);
            }
            return Step::Continue;
        };
        if held.address.as_ref() == Some(&host) {
            settings.count(cx, ROUTED);
            return Step::Continue;
        }
        if settings.strict.is_none() {
            settings.count(cx, FAILED_OPEN);
        }
        if let Some(carrier) = &settings.carrier {
            carrier.write(host, &mut cx.response);
        }
        Step::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_for_its_path_and_below() {
        for (path, of_cookie, want) in
            [("/a", "/a", true), ("/a/b", "/a", true), ("/ab", "/a", false), ("/a/b", "/a/", true), ("/", "/", true), ("/x", "/", true), ("/a", "/a/", false)]
        {
            assert_eq!(is_below(path.as_bytes(), of_cookie.as_bytes()), want, "{path} {of_cookie}");
        }
    }
}
