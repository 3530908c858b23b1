//! `envoy.filters.http.cors`: which origins may use what is behind, as browsers ask it (the Fetch standard, 3.2).
//!
//! Policies are those of the route and its virtual host: what the route's leaves open, the virtual host's says.

use crate::read;
use nuncio_api::envoy::extensions::filters::http::cors::v3 as proto;
use nuncio_codec::headers::Known;
use nuncio_core::matching::TextMatch;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Fraction, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, RouteRef, RuntimeFraction,
    StateSlot, Step, StreamCx,
};
use nuncio_stats::{Scope, stats_table};
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.cors",
    message: "envoy.extensions.filters.http.cors.v3.Cors",
    route_message: "envoy.extensions.filters.http.cors.v3.CorsPolicy",
    posture: Posture::UntrustedBoth,
    build,
    route,
};

stats_table! {
    /// `http.<prefix>.cors.`
    pub CORS: "cors" {
        /// Requests from an origin that is not allowed.
        counter ORIGIN_INVALID = "origin_invalid",
        /// Requests from an origin that is allowed.
        counter ORIGIN_VALID = "origin_valid",
    }
}

/// Under this name are the policies that routes and virtual hosts have in their field `cors`. They count where there are no
/// settings of the filter, whatever its name is.
pub const CORS_OF_ROUTES: &str = "cors of routes";

#[derive(Debug)]
struct Policy {
    origins: Box<[TextMatch]>,
    methods: String,
    headers: String,
    expose: String,
    max_age: String,
    credentials: Option<bool>,
    private_network: Option<bool>,
    forward_not_matching: Option<bool>,
    enabled: RuntimeFraction,
    shadow: RuntimeFraction,
}

#[derive(Debug)]
struct Cors {
    name: String,
    stats: Arc<Scope>,
    /// The origin of a request that is answered as CORS says.
    origin: StateSlot<Option<Vec<u8>>>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::Cors {} = read::message(config)?;
    let stats = cx.stats.scope(&format!("{}cors.", cx.stat_prefix), &CORS);
    Ok(Arc::new(Cors { name: cx.filter_name.to_owned(), stats, origin: cx.state_slot() }))
}

fn route(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let proto::CorsPolicy {
        allow_origin_string_match,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        filter_enabled,
        shadow_enabled,
        allow_private_network_access,
        forward_not_matching_preflights,
    } = read::message(config)?;
    Ok(Arc::new(Policy {
        origins: read::each("allow_origin_string_match", &allow_origin_string_match, read::text)?,
        methods: allow_methods,
        headers: allow_headers,
        expose: expose_headers,
        max_age,
        credentials: allow_credentials,
        private_network: allow_private_network_access,
        forward_not_matching: forward_not_matching_preflights,
        enabled: read::runtime_fraction(filter_enabled.as_ref(), Fraction::ALL),
        shadow: read::runtime_fraction(shadow_enabled.as_ref(), Fraction { numerator: 0, denominator: 100 }),
    }))
}

/// The policies of all levels, the most specific first: each is asked for what those before it say nothing of.
struct Policies<'p>(Vec<&'p Policy>);

impl<'p> Policies<'p> {
    fn of(route: &'p Option<RouteRef>, name: &str) -> Policies<'p> {
        let levels = |name| route.iter().flat_map(move |route| route.filter_configs(name)).collect();
        let own: Vec<_> = levels(name);
        Policies(if own.is_empty() { levels(CORS_OF_ROUTES) } else { own })
    }

    fn first<T>(&self, what: impl Fn(&'p Policy) -> Option<T>) -> Option<T> {
        self.0.iter().copied().find_map(what)
    }

    fn text(&self, what: impl Fn(&'p Policy) -> &'p str) -> Option<&'p str> {
        self.first(|policy| Some(what(policy)).filter(|text| !text.is_empty()))
    }

    fn enabled(&self, cx: &StreamCx) -> (bool, bool) {
        let Some(policy) = self.first(Some) else { return (false, false) };
        (cx.worker.draws(&policy.enabled), cx.worker.draws(&policy.shadow))
    }

    fn allows(&self, origin: &[u8]) -> bool {
        let origins = self.first(|policy| Some(&policy.origins).filter(|origins| !origins.is_empty()));
        origins.is_some_and(|list| list.iter().any(|allowed| allowed.matches(b"*") || allowed.matches(origin)))
    }
}

impl Policies<'_> {
    /// The answer to a browser that asks whether it may; without an origin that is allowed, it may not.
    fn preflight(&self, cx: &StreamCx, origin: Option<&[u8]>) -> LocalReply {
        let mut reply = LocalReply::new(200, "cors_response");
        if let Some(origin) = origin {
            reply = reply.header("access-control-allow-origin", String::from_utf8_lossy(origin));
        }
        if self.first(|policy| policy.credentials) == Some(true) {
            reply = reply.header("access-control-allow-credentials", "true");
        }
        for (name, text) in [
            ("access-control-allow-methods", self.text(|policy| &policy.methods)),
            ("access-control-allow-headers", self.text(|policy| &policy.headers)),
            ("access-control-max-age", self.text(|policy| &policy.max_age)),
        ] {
            if let Some(text) = text {
                reply = reply.header(name, text);
            }
        }
        let wanted = cx.request.get(Known::AccessControlRequestPrivateNetwork) == Some(b"true");
        if wanted && self.first(|policy| policy.private_network) == Some(true) {
            reply = reply.header("access-control-allow-private-network", "true");
        }
        reply
    }
}

impl HttpFilter for Cors {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::RESPONSE_HEADERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let Some(origin) = cx.request.get(Known::Origin).filter(|origin| !origin.is_empty()) else { return Step::Continue };
        let route = cx.configured_route();
        let policies = Policies::of(&route, &self.name);
        let (enabled, shadow) = policies.enabled(cx);
        if !enabled && !shadow {
            return Step::Continue;
        }
        let allowed = policies.allows(origin);
        self.stats.inc(cx.worker.lane, if allowed { ORIGIN_VALID } else { ORIGIN_INVALID });
        if !enabled {
            return Step::Continue;
        }
        let preflight = cx.request.method() == Some(b"OPTIONS")
            && cx.request.get(Known::AccessControlRequestMethod).is_some_and(|method| !method.is_empty());
        if !allowed {
            let forward = policies.first(|policy| policy.forward_not_matching).unwrap_or(true);
            return if preflight && !forward { Step::reply(policies.preflight(cx, None)) } else { Step::Continue };
        }
        let reply = preflight.then(|| policies.preflight(cx, Some(origin)));
        let origin = origin.to_vec();
        *cx.state(&self.origin) = Some(origin);
        reply.map_or(Step::Continue, Step::reply)
    }

    fn response_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let Some(origin) = cx.held_state(&self.origin).and_then(Option::take) else { return Step::Continue };
        let route = cx.configured_route();
        let policies = Policies::of(&route, &self.name);
        cx.response.insert(Known::AccessControlAllowOrigin, origin);
        if policies.first(|policy| policy.credentials) == Some(true) {
            cx.response.insert(Known::AccessControlAllowCredentials, "true");
        }
        if let Some(expose) = policies.text(|policy| &policy.expose) {
            cx.response.insert(Known::AccessControlExposeHeaders, expose);
        }
        Step::Continue
    }
}
