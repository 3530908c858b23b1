//! `envoy.filters.http.api_key_auth`: clients are known by a key, from a header, the query or a cookie.
//!
//! The first source that has anything is the one that counts.

use super::query::Query;
use crate::read::{self, within};
use nuncio_api::envoy::extensions::filters::http::api_key_auth::v3 as proto;
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_codec::path::{percent_decode, query_pairs, split_query};
use nuncio_core::matching::cookie;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, Step, StreamCx};
use nuncio_stats::{Scope, stats_table};
use std::borrow::Cow;
use std::collections::HashMap;
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.api_key_auth",
    message: "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
    route_message: "envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuthPerRoute",
    posture: Posture::UntrustedDownstream,
    build,
    route,
};

stats_table! {
    /// `http.<prefix>.api_key_auth.`
    pub API_KEY_AUTH: "api_key_auth" {
        /// Requests of clients that may pass.
        counter ALLOWED = "allowed",
        /// Requests of clients that are known, but not wanted here.
        counter FORBIDDEN = "forbidden",
        /// Requests without a key that is known.
        counter UNAUTHORIZED = "unauthorized",
    }
}

/// Clients by their keys.
type Credentials = HashMap<Box<[u8]>, Box<str>>;

/// Where keys are.
#[derive(Debug)]
enum Source {
    Header(HeaderName),
    Query(Box<[u8]>),
    Cookie(Box<[u8]>),
}

/// What becomes of the key, and of the client's name.
#[derive(Debug, Default)]
struct Forwarding {
    header: Option<HeaderName>,
    hide: bool,
}

#[derive(Debug)]
struct Settings {
    credentials: Credentials,
    sources: Box<[Source]>,
    forwarding: Forwarding,
    /// Nobody else, if there are any.
    allowed: Box<[String]>,
}

#[derive(Debug)]
struct ApiKeyAuth {
    name: String,
    settings: Settings,
    stats: Arc<Scope>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::ApiKeyAuth { credentials, key_sources, forwarding } = read::message(config)?;
    Ok(Arc::new(ApiKeyAuth {
        name: cx.filter_name.to_owned(),
        settings: settings(credentials, &key_sources, forwarding, Vec::new())?,
        stats: cx.stats.scope(&format!("{}api_key_auth.", cx.stat_prefix), &API_KEY_AUTH),
    }))
}

fn route(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let proto::ApiKeyAuthPerRoute { credentials, key_sources, allowed_clients, forwarding } = read::message(config)?;
    Ok(Arc::new(settings(credentials, &key_sources, forwarding, allowed_clients)?))
}

fn settings(
    credentials: Vec<proto::Credential>,
    sources: &[proto::KeySource],
    forwarding: Option<proto::Forwarding>,
    allowed: Vec<String>,
) -> Result<Settings, ConfigError> {
    let mut clients = Credentials::new();
    for (index, proto::Credential { key, client }) in credentials.into_iter().enumerate() {
        if clients.insert(key.into_bytes().into(), client.into()).is_some() {
            return Err(ConfigError::at(format!("credentials[{index}].key"), "this key is another credential's, too"));
        }
    }
    let proto::Forwarding { header, hide_credentials: hide } = forwarding.unwrap_or_default();
    let header = (!header.is_empty()).then(|| read::header_name(&header)).transpose().map_err(within("forwarding.header"))?;
    Ok(Settings {
        credentials: clients,
        sources: read::each("key_sources", sources, source)?,
        forwarding: Forwarding { header, hide },
        allowed: allowed.into(),
    })
}

fn source(from: &proto::KeySource) -> Result<Source, ConfigError> {
    let proto::KeySource { header, query, cookie } = from;
    match (&**header, &**query, &**cookie) {
        ("", "", "") => Err(ConfigError::at("", "one of `header`, `query` and `cookie` is needed")),
        ("", "", cookie) => Ok(Source::Cookie(cookie.as_bytes().into())),
        ("", query, _) => Ok(Source::Query(query.as_bytes().into())),
        (header, ..) => Ok(Source::Header(read::header_name(header).map_err(within("header"))?)),
    }
}

impl Source {
    /// The key; nothing where it is empty.
    fn key<'h>(&self, request: &'h HeaderMap) -> Option<Cow<'h, [u8]>> {
        let found = match self {
            Source::Header(name) => {
                let value = request.get(name)?;
                Cow::Borrowed(value.strip_prefix(b"Bearer ").unwrap_or(value))
            }
            Source::Query(name) => {
                let query = split_query(request.path()?).1?;
                let (_, value) = query_pairs(query).find(|(key, _)| *percent_decode(key) == **name)?;
                percent_decode(value)
            }
            Source::Cookie(name) => Cow::Borrowed(cookie(request, name)?),
        };
        (!found.is_empty()).then_some(found)
    }

    /// Takes the key out of the request.
    fn hide(&self, request: &mut HeaderMap) {
        match self {
            Source::Header(name) => {
                request.remove(name);
            }
            Source::Query(name) => {
                let mut query = Query::of(request.path().unwrap_or_default());
                if query.contains(name) {
                    query.remove(name);
                    request.insert(Known::Path, query.target());
                }
            }
            Source::Cookie(name) => {
                if cookie(request, name).is_none() {
                    return;
                }
                let kept = without(request, name);
                request.remove(Known::Cookie);
                if !kept.is_empty() {
                    request.insert(Known::Cookie, kept);
                }
            }
        }
    }
}

/// The request's cookies but for one.
fn without(request: &HeaderMap, name: &[u8]) -> Vec<u8> {
    let is_it = |pair: &[u8]| pair.split(|&byte| byte == b'=').next() == Some(name) && pair.contains(&b'=');
    let pairs = request.get_all(Known::Cookie).flat_map(|line| line.split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
    let kept: Vec<&[u8]> = pairs.filter(|pair| !pair.is_empty() && !is_it(pair)).collect();
    kept.join(&b"; "[..])
}

/// How somebody is turned away.
struct Denial {
    status: u16,
    body: &'static str,
    details: &'static str,
}

const fn unauthorized(details: &'static str) -> Denial {
    Denial { status: 401, body: "Client authentication failed.", details }
}

impl Settings {
    /// The client that a request comes from; what a route leaves out is the filter's.
    fn client<'s>(&'s self, own: &'s Settings, request: &HeaderMap) -> Result<&'s str, Denial> {
        let sources = self.sources_or(own);
        let credentials = if self.credentials.is_empty() { &own.credentials } else { &self.credentials };
        if sources.is_empty() {
            return Err(unauthorized("missing_key_sources"));
        }
        if credentials.is_empty() {
            return Err(unauthorized("missing_credentials"));
        }
        let key = sources.iter().find_map(|source| source.key(request)).ok_or(unauthorized("missing_api_key"))?;
        let client = credentials.get(&*key).ok_or(unauthorized("unknown_api_key"))?;
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| **allowed == **client) {
            return Err(Denial { status: 403, body: "Client is forbidden.", details: "client_not_allowed" });
        }
        Ok(client)
    }

    fn sources_or<'s>(&'s self, own: &'s Settings) -> &'s [Source] {
        if self.sources.is_empty() { &own.sources } else { &self.sources }
    }
}

impl HttpFilter for ApiKeyAuth {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let route = cx.configured_route();
        let settings = super::settings(&route, &self.name, &self.settings);
        let lane = cx.worker.lane;
        match settings.client(&self.settings, &cx.request) {
            Ok(client) => {
                self.stats.inc(lane, ALLOWED);
                if let Some(header) = &settings.forwarding.header {
                    cx.request.insert(header, client);
                }
            }
            Err(Denial { status, body, details }) => {
                self.stats.inc(lane, if status == 401 { UNAUTHORIZED } else { FORBIDDEN });
                return Step::reply(LocalReply::new(status, details).body(body));
            }
        }
        if settings.forwarding.hide {
            for source in settings.sources_or(&self.settings) {
                source.hide(&mut cx.request);
            }
        }
        Step::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_taken_out() {
        let headers: HeaderMap =
            [(&b"cookie"[..], &b"a=1; c=k; b=2"[..]), (b"cookie", b"c=\"k2\""), (b"cookie", b"c")].into_iter().collect();
        assert_eq!(without(&headers, b"c"), b"a=1; b=2; c");
    }
}
