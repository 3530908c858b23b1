//! `envoy.filters.http.header_mutation`: adds, changes and removes headers of requests, responses and trailers, and query
//! parameters.
//!
//! Per route its mutations come after those of the filter itself; with `most_specific_header_mutations_wins` they
//! already have the last word that way.

mod config;

use super::query::Query;
use nuncio_api::envoy::config::core::v3::{header_value_option::HeaderAppendAction, key_value_append::KeyValueAppendAction};
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_core::format::Format;
use nuncio_core::matching::TextMatch;
use nuncio_core::{HttpFilter, HttpFilterEntry, Phases, Posture, RouteRef, Step, StreamCx};
use std::cell::Cell;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.header_mutation",
    message: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    route_message: "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
    posture: Posture::UntrustedBoth,
    build: config::build,
    route: config::route,
};

/// A value to set.
#[derive(Debug)]
enum Text {
    /// The same for every request.
    Fixed(Box<[u8]>),
    /// Made from the exchange.
    Made(Format),
}

thread_local! {
    /// Where values are made: kept per thread, so that steady traffic allocates nothing.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Text {
    /// Lends the value for this exchange.
    fn with<R>(&self, cx: &StreamCx, use_it: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Text::Fixed(text) => use_it(text),
            Text::Made(format) => {
                let mut text = SCRATCH.take();
                text.clear();
                format.write(cx, &mut text);
                let result = use_it(&text);
                SCRATCH.set(text);
                result
            }
        }
    }
}

/// One change of a header.
#[derive(Debug)]
enum Mutation {
    Remove(HeaderName),
    /// Never a pseudo header: without them it is no message.
    RemoveMatching(TextMatch),
    Set { name: HeaderName, value: Text, action: HeaderAppendAction, keep_empty: bool },
}

/// One change of the query.
#[derive(Debug)]
enum ParameterMutation {
    /// All of this name go.
    Remove(Box<[u8]>),
    /// One is added, or takes the place of those there are.
    Set { name: Box<[u8]>, value: Text, action: KeyValueAppendAction },
}

impl ParameterMutation {
    fn change(&self, query: &mut Query, cx: &StreamCx) {
        use KeyValueAppendAction as Action;
        match self {
            ParameterMutation::Remove(name) => query.remove(name),
            ParameterMutation::Set { name, value, action } => {
                match action {
                    Action::AddIfAbsent if query.contains(name) => return,
                    Action::OverwriteIfExists if !query.contains(name) => return,
                    Action::OverwriteIfExists | Action::OverwriteIfExistsOrAdd => query.remove(name),
                    Action::AppendIfExistsOrAdd | Action::AddIfAbsent => {}
                }
                value.with(cx, |value| query.add(name, value));
            }
        }
    }
}

/// Changes by where they apply.
#[derive(Debug, Default)]
struct Mutations {
    request: Vec<Mutation>,
    query: Vec<ParameterMutation>,
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

impl Mutations {
    fn of(&self, part: Part) -> &[Mutation] {
        match part {
            Part::Request => &self.request,
            Part::RequestTrailers => &self.request_trailers,
            Part::Response => &self.response,
            Part::ResponseTrailers => &self.response_trailers,
        }
    }
}

impl HeaderMutation {
    /// Called with each part by its name, so that nothing is left of the choice.
    #[inline(always)]
    fn apply(&self, cx: &mut StreamCx, part: Part) -> Step {
        let own = self.mutations.of(part);
        if !own.is_empty() {
            mutate(cx, own, part);
        }
        self.on_route(cx, |cx, more| mutate(cx, more.of(part), part));
        Step::Continue
    }

    /// Lends the settings of the route in their order.
    #[inline]
    fn on_route(&self, cx: &mut StreamCx, mut each: impl FnMut(&mut StreamCx, &Mutations)) {
        // The route's settings are pinned by the route itself, which outlives this call.
        let Some(route) = cx.route.as_ref().filter(|route| route.is_configured()).cloned() else { return };
        let levels = route.filter_configs::<Mutations>(&self.name);
        if self.most_specific_wins {
            levels.rev().for_each(|more| each(cx, more));
        } else {
            levels.for_each(|more| each(cx, more));
        }
    }

    fn change_query(&self, cx: &mut StreamCx) {
        if self.mutations.query.is_empty() && !cx.route.as_ref().is_some_and(RouteRef::is_configured) {
            return;
        }
        let mut query = None;
        let mut change = |cx: &mut StreamCx, mutations: &Mutations| {
            for mutation in &mutations.query {
                mutation.change(query.get_or_insert_with(|| Query::of(cx.request.path().unwrap_or_default())), cx);
            }
        };
        change(cx, &self.mutations);
        self.on_route(cx, change);
        if let Some(query) = query.filter(|_| cx.request.path().is_some()) {
            cx.request.insert(Known::Path, query.target());
        }
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
            Mutation::RemoveMatching(matcher) => {
                map(cx, part).remove_where(|name, _| matcher.matches(name));
            }
            Mutation::Set { name, value: Text::Fixed(value), action, keep_empty } => {
                set(map(cx, part), name, value, *action, *keep_empty);
            }
            Mutation::Set { name, value: Text::Made(format), action, keep_empty } => {
                let mut text = SCRATCH.take();
                text.clear();
                format.write(cx, &mut text);
                set(map(cx, part), name, &text, *action, *keep_empty);
                SCRATCH.set(text);
            }
        }
    }
}

fn set(map: &mut HeaderMap, name: &HeaderName, value: &[u8], action: HeaderAppendAction, keep_empty: bool) {
    if value.is_empty() && !keep_empty {
        return;
    }
    match action {
        HeaderAppendAction::AppendIfExistsOrAdd => map.append(name, value),
        HeaderAppendAction::AddIfAbsent => drop(map.add_if_absent(name, value)),
        HeaderAppendAction::OverwriteIfExistsOrAdd => map.insert(name, value),
        HeaderAppendAction::OverwriteIfExists if map.contains(name) => map.insert(name, value),
        HeaderAppendAction::OverwriteIfExists => {}
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
        self.change_query(cx);
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
