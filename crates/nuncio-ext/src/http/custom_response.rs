//! `envoy.filters.http.custom_response`: answers, of upstreams and from here, are replaced by others.
//!
//! A matcher is asked about each answer: that of the most specific level that leads anywhere counts. Redirects
//! (`RedirectPolicy`) are not built: where a matcher leads to one, the answer stays as it is.

use super::additions::{Addition, additions};
use crate::line_format::LineFormat;
use crate::matcher::{self, Findings, Place};
use crate::read::{self, within};
use nuncio_api::envoy::extensions::filters::http::custom_response::v3 as proto;
use nuncio_api::envoy::extensions::http::custom_response::local_response_policy::v3 as local;
use nuncio_api::xds::core::v3::TypedExtensionConfig;
use nuncio_core::format::FormatCx;
use nuncio_core::matching::tree::{Facts, MatchTree};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, StateSlot, Step, StreamCx,
};
use local::local_response_policy::ResponseCodeDetailsAction as DetailsProto;
use std::{any::Any, borrow::Cow, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.custom_response",
    message: MESSAGE,
    route_message: MESSAGE,
    posture: Posture::UntrustedBoth,
    build,
    route,
};

const MESSAGE: &str = "envoy.extensions.filters.http.custom_response.v3.CustomResponse";
const LOCAL: &str = "envoy.extensions.http.custom_response.local_response_policy.v3.LocalResponsePolicy";

/// `LocalResponsePolicy`
#[derive(Debug)]
struct Policy {
    /// `None` for that of the answer.
    status: Option<u16>,
    body: String,
    format: Option<LineFormat>,
    headers: Box<[Addition]>,
    /// `None` for those of the answer.
    details: Option<Box<str>>,
}

/// What answers are replaced by; `None` where they stay as they are.
type Matcher = MatchTree<Option<Policy>>;

#[derive(Debug)]
struct CustomResponse {
    name: String,
    matcher: Option<Matcher>,
    /// The answer has been replaced.
    state: StateSlot<bool>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    Ok(Arc::new(CustomResponse { name: cx.filter_name.to_owned(), matcher: matcher(config, cx)?, state: cx.state_slot() }))
}

fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Ok(Arc::new(matcher(config, cx)?))
}

fn matcher(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Option<Matcher>, ConfigError> {
    let proto::CustomResponse { custom_response_matcher } = read::message(config)?;
    let Some(from) = custom_response_matcher else { return Ok(None) };
    let at_field = within("custom_response_matcher");
    let mut findings = Findings::default();
    let mut action = |at: &str, config: &TypedExtensionConfig, findings: &mut Findings| {
        let made = policy(config, at, cx).map_err(within(at));
        made.map_err(|error| findings.errors.push(error)).ok()
    };
    let made = matcher::read(&from, Place::Http, &mut action, &mut findings);
    cx.unsafe_without.append(&mut findings.refusals);
    match (made, findings.errors.into_iter().next()) {
        (Some(tree), None) => Ok(Some(tree)),
        (_, error) => Err(at_field(error.unwrap_or_else(|| ConfigError::at("", "this leads nowhere")))),
    }
}

fn policy(config: &TypedExtensionConfig, at: &str, cx: &mut BuildCx<'_>) -> Result<Option<Policy>, ConfigError> {
    if matcher::type_of(config) != LOCAL {
        let message = format!("`{}` is accepted without effect: it is not built yet", matcher::type_of(config));
        cx.warnings.push(ConfigError::at(format!("custom_response_matcher.{at}"), message));
        return Ok(None);
    }
    let local::LocalResponsePolicy { body, body_format, status_code, response_headers_to_add, response_code_details_action } =
        matcher::message(config)?;
    let inner = |field: &'static str| move |error| within("typed_config")(within(field)(error));
    let format = body_format.as_ref().map(|format| LineFormat::substitution(format, "body_format", &mut cx.warnings));
    Ok(Some(Policy {
        status: status_code.and_then(|status| u16::try_from(status).ok()),
        body: body.as_ref().map(read::text_source).transpose().map_err(inner("body"))?.unwrap_or_default(),
        format: format.transpose().map_err(within("typed_config"))?,
        headers: additions("response_headers_to_add", &response_headers_to_add, cx).map_err(within("typed_config"))?,
        details: match response_code_details_action {
            Some(DetailsProto::PreserveResponseCodeDetails(_)) => None,
            Some(DetailsProto::ResponseCodeDetails(details)) => Some(details.into()),
            None => Some(Box::default()),
        },
    }))
}

impl Policy {
    fn reply(&self, cx: &StreamCx) -> LocalReply {
        let body = match &self.format {
            None => self.body.clone(),
            Some(format) => {
                let mut body = Vec::new();
                format.write_in(&FormatCx { local_reply_body: self.body.as_bytes(), ..FormatCx::from(cx) }, &mut body);
                String::from_utf8_lossy(&body).into_owned()
            }
        };
        let status = self.status.or(cx.response.status()).unwrap_or(500);
        let details = match &self.details {
            Some(details) => Cow::Owned(details.to_string()),
            None => cx.info.details.clone(),
        };
        let mut reply = LocalReply::new(status, details).body(body);
        for (name, value) in self.headers.iter().filter_map(|header| header.made(cx)) {
            reply = reply.header(name, value);
        }
        reply
    }
}

impl CustomResponse {
    /// The policy of the most specific level that has one for this answer.
    fn find<'s>(&'s self, cx: &StreamCx, route: Option<&'s nuncio_core::RouteRef>) -> Option<&'s Policy> {
        let runtime = cx.worker.runtime.values();
        let facts = Facts::of(cx, &runtime);
        let of_route = route.into_iter().flat_map(|route| route.filter_configs::<Option<Matcher>>(&self.name));
        let matchers = of_route.chain([&self.matcher]).flatten();
        matchers.filter_map(|matcher| matcher.find(&facts).action()).next()?.as_ref()
    }
}

impl HttpFilter for CustomResponse {
    fn phases(&self) -> Phases {
        Phases::RESPONSE_HEADERS
    }

    fn response_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        if cx.held_state(&self.state).is_some_and(|replaced| *replaced) {
            return Step::Continue;
        }
        let route = cx.configured_route();
        let Some(policy) = self.find(cx, route.as_ref()) else { return Step::Continue };
        *cx.state(&self.state) = true;
        Step::reply(policy.reply(cx))
    }
}
