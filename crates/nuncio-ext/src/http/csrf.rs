//! `envoy.filters.http.csrf`: requests that change something must come from the site itself, or from a site that is named.

use crate::read;
use nuncio_api::envoy::extensions::filters::http::csrf::v3 as proto;
use nuncio_codec::headers::Known;
use nuncio_core::matching::TextMatch;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Fraction, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, RuntimeFraction, Step, StreamCx,
};
use nuncio_stats::{Scope, stats_table};
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.csrf",
    message: MESSAGE,
    route_message: MESSAGE,
    posture: Posture::UntrustedBoth,
    build,
    route,
};

const MESSAGE: &str = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy";

stats_table! {
    /// `http.<prefix>.csrf.`
    pub CSRF: "csrf" {
        /// Requests that change something and do not say where they come from.
        counter MISSING_SOURCE_ORIGIN = "missing_source_origin",
        /// Requests from another site.
        counter REQUEST_INVALID = "request_invalid",
        /// Requests from the site itself, or one that is named.
        counter REQUEST_VALID = "request_valid",
    }
}

#[derive(Debug)]
struct Policy {
    enabled: RuntimeFraction,
    shadow: RuntimeFraction,
    origins: Box<[TextMatch]>,
}

#[derive(Debug)]
struct Csrf {
    name: String,
    policy: Policy,
    stats: Arc<Scope>,
}

fn policy(config: FilterConfig<'_>) -> Result<Policy, ConfigError> {
    let proto::CsrfPolicy { filter_enabled, shadow_enabled, additional_origins } = read::message(config)?;
    let none = Fraction { numerator: 0, denominator: 100 };
    Ok(Policy {
        enabled: read::runtime_fraction(filter_enabled.as_ref(), none),
        shadow: read::runtime_fraction(shadow_enabled.as_ref(), none),
        origins: read::each("additional_origins", &additional_origins, read::text)?,
    })
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let stats = cx.stats.scope(&format!("{}csrf.", cx.stat_prefix), &CSRF);
    Ok(Arc::new(Csrf { name: cx.filter_name.to_owned(), policy: policy(config)?, stats }))
}

fn route(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(policy(config)?))
}

/// Host and port of a URL; a text that is none stays as it is.
fn host_and_port(url: &[u8]) -> &[u8] {
    let Some(at) = url.windows(3).position(|part| part == b"://") else { return url };
    let rest = &url[at + 3..];
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = authority.iter().rposition(|&byte| byte == b'@').map_or(authority, |at| &authority[at + 1..]);
    if at == 0 || host.is_empty() { url } else { host }
}

impl HttpFilter for Csrf {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        if !matches!(cx.request.method(), Some(b"POST" | b"PUT" | b"DELETE" | b"PATCH")) {
            return Step::Continue;
        }
        let policy = cx.route_config::<Policy>(&self.name).unwrap_or(&self.policy);
        let (enabled, shadow) = (cx.worker.draws(&policy.enabled), cx.worker.draws(&policy.shadow));
        if !enabled && !shadow {
            return Step::Continue;
        }
        let source = match cx.request.get(Known::Origin).unwrap_or_default() {
            b"" => host_and_port(cx.request.get(Known::Referer).unwrap_or_default()),
            // An origin that shall not be known; the referer does not stand in for it.
            b"null" => b"",
            origin => host_and_port(origin),
        };
        let target = host_and_port(cx.request.authority().unwrap_or_default());
        let lane = cx.worker.lane;
        if source.is_empty() {
            self.stats.inc(lane, MISSING_SOURCE_ORIGIN);
        } else if source == target || policy.origins.iter().any(|allowed| allowed.matches(source)) {
            self.stats.inc(lane, REQUEST_VALID);
            return Step::Continue;
        } else {
            self.stats.inc(lane, REQUEST_INVALID);
        }
        if !enabled {
            return Step::Continue;
        }
        Step::reply(LocalReply::new(403, "csrf_origin_mismatch").body("Invalid origin"))
    }
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn an_origin_is_a_host_and_its_port() {
        for (url, wanted) in [
            ("https://a.example", "a.example"),
            ("http://a.example:81/x?y", "a.example:81"),
            ("http://user@a.example/", "a.example"),
            ("a.example:80", "a.example:80"),
            ("null", "null"),
            ("", ""),
        ] {
            assert_eq!(host_and_port(url.as_bytes()), wanted.as_bytes(), "{url}");
        }
    }
}
