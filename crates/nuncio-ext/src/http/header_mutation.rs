//! `envoy.filters.http.header_mutation`: adds, changes and removes headers of requests, responses and trailers.
//!
//! Per route its mutations come after those of the filter itself; with `most_specific_header_mutations_wins` they
//! already have the last word that way.

use nuncio_api::envoy::config::common::mutation_rules::v3::{HeaderMutation as MutationProto, header_mutation::Action};
use nuncio_api::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use nuncio_api::envoy::extensions::filters::http::header_mutation::v3 as proto;
use nuncio_codec::headers::{HeaderMap, HeaderName};
use nuncio_core::format::Format;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, Phases, Posture, Step, StreamCx};
use prost::Message;
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.header_mutation",
    message: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    route_message: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
    posture: Posture::UntrustedBoth,
    build,
    route,
};

/// One change of a header.
#[derive(Debug)]
enum Mutation {
    Remove(HeaderName),
    Set { name: HeaderName, value: Format, action: HeaderAppendAction, keep_empty: bool },
}

/// Changes by where they apply.
#[derive(Debug, Default)]
struct Mutations {
    request: Vec<Mutation>,
    request_trailers: Vec<Mutation>,
    response: Vec<Mutation>,
    response_trailers: Vec<Mutation>,
}

#[derive(Debug)]
struct HeaderMutation {
    /// What its per-route settings are found under.
    name: String,
    mutations: Mutations,
    /// Settings of routes are applied up to the most specific ones, instead of down from them.
    most_specific_wins: bool,
}

/// Which map of the exchange is changed.
#[derive(Clone, Copy)]
enum Part {
    Request,
    RequestTrailers,
    Response,
    ResponseTrailers,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::HeaderMutation { mutations, most_specific_header_mutations_wins: most_specific_wins } = decode(config)?;
    let mutations = Mutations::build(mutations.unwrap_or_default(), cx)?;
    Ok(Arc::new(HeaderMutation { name: cx.filter_name.to_owned(), mutations, most_specific_wins }))
}

fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let proto::HeaderMutationPerRoute { mutations } = decode(config)?;
    Ok(Arc::new(Mutations::build(mutations.unwrap_or_default(), cx)?))
}

fn decode<M: Message + Default>(config: FilterConfig<'_>) -> Result<M, ConfigError> {
    M::decode(config.value).map_err(|error| ConfigError::at("", error.to_string()))
}

impl Mutations {
    fn build(from: proto::Mutations, cx: &mut BuildCx<'_>) -> Result<Mutations, ConfigError> {
        let proto::Mutations {
            request_mutations,
            query_parameter_mutations,
            response_mutations,
            response_trailers_mutations,
            request_trailers_mutations,
            formatters,
        } = from;
        for (field, set) in [
            ("mutations.query_parameter_mutations", !query_parameter_mutations.is_empty()),
            ("mutations.formatters", !formatters.is_empty()),
        ] {
            if set {
                cx.warnings.push(ConfigError::at(field, "is accepted without effect: it is not built yet"));
            }
        }
        Ok(Mutations {
            request: list("request_mutations", request_mutations, cx)?,
            request_trailers: list("request_trailers_mutations", request_trailers_mutations, cx)?,
            response: list("response_mutations", response_mutations, cx)?,
            response_trailers: list("response_trailers_mutations", response_trailers_mutations, cx)?,
        })
    }

    fn of(&self, part: Part) -> &[Mutation] {
        match part {
            Part::Request => &self.request,
            Part::RequestTrailers => &self.request_trailers,
            Part::Response => &self.response,
            Part::ResponseTrailers => &self.response_trailers,
        }
    }
}

fn list(field: &str, from: Vec<MutationProto>, cx: &mut BuildCx<'_>) -> Result<Vec<Mutation>, ConfigError> {
    let mut mutations = Vec::with_capacity(from.len());
    for (index, MutationProto { action }) in from.into_iter().enumerate() {
        let at = format!("mutations.{field}[{index}]");
        match action {
            None => {}
            Some(Action::Remove(name)) => mutations.push(Mutation::Remove(header_name(&at, &name)?)),
            Some(Action::RemoveOnMatch(_)) => {
                cx.warnings.push(ConfigError::at(format!("{at}.remove_on_match"), "is accepted without effect: it is not built yet"));
            }
            Some(Action::Append(option)) => {
                #[allow(deprecated)] // Envoy still obeys it
                let action = match option.append {
                    Some(true) => HeaderAppendAction::AppendIfExistsOrAdd,
                    Some(false) => HeaderAppendAction::OverwriteIfExistsOrAdd,
                    None => option.append_action(),
                };
                let header = option.header.unwrap_or_default();
                let raw = String::from_utf8_lossy(&header.raw_value).into_owned();
                let text = if header.value.is_empty() { raw } else { header.value };
                let (value, _) = Format::compile(&text).map_err(|e| ConfigError::at(format!("{at}.append.header.value"), e.to_string()))?;
                let name = header_name(&at, &header.key)?;
                mutations.push(Mutation::Set { name, value: value.omit_empty(), action, keep_empty: option.keep_empty_value });
            }
        }
    }
    Ok(mutations)
}

fn header_name(at: &str, name: &str) -> Result<HeaderName, ConfigError> {
    HeaderName::new(name).ok_or_else(|| ConfigError::at(at, format!("`{name}` is not a header name")))
}

impl HeaderMutation {
    fn apply(&self, cx: &mut StreamCx, part: Part) -> Step {
        mutate(cx, self.mutations.of(part), part);
        // The route's settings are pinned by the route itself, which outlives this call.
        if let Some(route) = cx.route.clone() {
            let levels = route.filter_configs::<Mutations>(&self.name);
            if self.most_specific_wins {
                levels.rev().for_each(|more| mutate(cx, more.of(part), part));
            } else {
                levels.for_each(|more| mutate(cx, more.of(part), part));
            }
        }
        Step::Continue
    }
}

fn map(cx: &mut StreamCx, part: Part) -> &mut HeaderMap {
    match part {
        Part::Request => &mut cx.request,
        Part::RequestTrailers => &mut cx.request_trailers,
        Part::Response => &mut cx.response,
        Part::ResponseTrailers => &mut cx.response_trailers,
    }
}

fn mutate(cx: &mut StreamCx, mutations: &[Mutation], part: Part) {
    for mutation in mutations {
        match mutation {
            Mutation::Remove(name) => {
                map(cx, part).remove(name);
            }
            Mutation::Set { name, value, action, keep_empty } => {
                let mut text = Vec::new();
                value.write(cx, &mut text);
                if text.is_empty() && !keep_empty {
                    continue;
                }
                let map = map(cx, part);
                match action {
                    HeaderAppendAction::AppendIfExistsOrAdd => map.append(name, text),
                    HeaderAppendAction::AddIfAbsent => drop(map.add_if_absent(name, text)),
                    HeaderAppendAction::OverwriteIfExistsOrAdd => map.insert(name, text),
                    HeaderAppendAction::OverwriteIfExists if map.contains(name) => map.insert(name, text),
                    HeaderAppendAction::OverwriteIfExists => {}
                }
            }
        }
    }
}

impl HttpFilter for HeaderMutation {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
            .and(Phases::REQUEST_TRAILERS)
            .and(Phases::RESPONSE_HEADERS)
            .and(Phases::RESPONSE_TRAILERS)
    }
    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        self.apply(cx, Part::Request)
    }
    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        self.apply(cx, Part::RequestTrailers)
    }
    fn response_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        self.apply(cx, Part::Response)
    }
    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        self.apply(cx, Part::ResponseTrailers)
    }
}
