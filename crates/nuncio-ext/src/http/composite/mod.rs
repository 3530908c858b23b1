//! `envoy.filters.http.match_delegate` and `envoy.filters.http.composite`: filters that run where a matcher says so.
//!
//! `match_delegate` has one filter, which runs unless the matcher leads to `SkipFilter`. `composite` has none of its own: the
//! matcher leads to the filter to run. Either way the matcher is asked with the request's head, and again with what comes
//! later as long as it cannot tell; the filter sees what comes from then on.
//!
//! What runs is the filter itself, in this one's place in the chain: its verdicts are this filter's.

mod config;

use nuncio_core::matching::tree::{Facts, MatchTree, Outcome};
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{
    HttpFilter, HttpFilterEntry, Phases, Posture, RuntimeFraction, StateObject, StateSlot, Step, StreamCx,
};
use nuncio_rt::Buf;
use nuncio_stats::{Scope, stats_table};
use std::{collections::BTreeMap, sync::Arc};

/// The registry's line of `match_delegate`.
pub const DELEGATE: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.match_delegate",
    message: "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
    route_message: "envoy.extensions.common.matching.v3.ExtensionWithMatcherPerRoute",
    posture: Posture::UntrustedBoth,
    build: config::delegate,
    route: config::delegate_route,
};

/// The registry's line of `composite`.
pub const COMPOSITE: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.composite",
    message: "envoy.extensions.filters.http.composite.v3.Composite",
    route_message: "envoy.extensions.filters.http.composite.v3.CompositePerRoute",
    posture: Posture::UntrustedBoth,
    build: config::composite,
    route: config::composite_route,
};

stats_table! {
    /// `http.<prefix>.composite.`
    pub COMPOSITE_STATS: "composite" {
        /// Filters that were run.
        counter SUCCESS = "filter_delegation_success",
        /// Filters that could not be.
        counter ERROR = "filter_delegation_error",
    }
}

/// Where `composite` leaves which action was taken.
const ACTIONS: &str = "envoy.extensions.filters.http.composite.matched_actions";

/// What a matcher leads to.
#[derive(Debug)]
enum Act {
    /// `SkipFilter`
    Skip,
    /// `ExecuteFilterAction`
    Run(Execute),
}

/// `ExecuteFilterAction`
#[derive(Debug)]
struct Execute {
    /// What logs call it.
    name: Box<str>,
    filter: Arc<dyn HttpFilter>,
    /// Only a part of the requests.
    sample: Option<RuntimeFraction>,
}

/// What is run where the matcher does not say.
#[derive(Debug)]
enum Kind {
    /// This filter.
    Delegate(Arc<dyn HttpFilter>),
    /// Nothing.
    Composite(Arc<Scope>),
}

/// A route's own matcher.
#[derive(Debug)]
struct RouteMatcher(Option<MatchTree<Act>>);

#[derive(Debug)]
struct Delegating {
    name: String,
    /// None: the filter is skipped.
    tree: Option<MatchTree<Act>>,
    kind: Kind,
    phases: Phases,
    slot: StateSlot<Chosen>,
    actions: StateSlot<Actions>,
}

/// Filters that were run for a stream, by the names of the filters that ran them.
#[derive(Debug, Default)]
struct Actions(BTreeMap<String, MetadataValue>);

/// What was chosen for a stream.
#[derive(Debug, Default)]
struct Chosen {
    /// The matcher has told.
    settled: bool,
    skip: bool,
    run: Option<Arc<dyn HttpFilter>>,
}

impl Delegating {
    /// Asks the matcher, unless it has told already; gives the filter to run.
    fn choose(&self, cx: &mut StreamCx) -> Option<Arc<dyn HttpFilter>> {
        let chosen = cx.state(&self.slot);
        if !chosen.settled {
            self.ask(cx);
        }
        let chosen = cx.state(&self.slot);
        match &self.kind {
            _ if chosen.skip => None,
            Kind::Delegate(filter) => Some(filter.clone()),
            Kind::Composite(_) => chosen.run.clone(),
        }
    }

    fn ask(&self, cx: &mut StreamCx) {
        let route = cx.configured_route();
        let own = route.as_ref().and_then(|route| route.filter_config::<RouteMatcher>(&self.name));
        let tree = own.map_or(self.tree.as_ref(), |own| own.0.as_ref());
        let Some(tree) = tree else {
            *cx.state(&self.slot) = Chosen { settled: true, skip: true, run: None };
            return;
        };
        let runtime = cx.worker.runtime.values();
        let outcome = tree.find(&Facts::of(cx, &runtime));
        let sampled = |execute: &Execute| execute.sample.as_ref().is_none_or(|sample| sample.holds(cx.worker.rng.next_u64(), &runtime));
        let (skip, run) = match outcome {
            Outcome::NotYet => return,
            Outcome::None => (false, None),
            Outcome::Match(Act::Skip) => (true, None),
            Outcome::Match(Act::Run(execute)) => (false, Some(execute).filter(|execute| sampled(execute))),
        };
        drop(runtime);
        if let (Some(execute), Kind::Composite(stats)) = (run, &self.kind) {
            stats.inc(cx.worker.lane, SUCCESS);
            self.note(cx, &execute.name);
        }
        *cx.state(&self.slot) = Chosen { settled: true, skip, run: run.map(|execute| execute.filter.clone()) };
    }

    /// Leaves which filter was run, beside what other filters of this kind have left.
    fn note(&self, cx: &mut StreamCx, run: &str) {
        if cx.find_state::<Actions>().is_none() {
            cx.state(&self.actions);
        }
        let mut text = Vec::new();
        if let Some(Actions(actions)) = cx.find_state() {
            actions.insert(self.name.clone(), MetadataValue::Text(run.to_owned()));
            MetadataValue::Struct(actions.clone()).write_json(&mut text);
        }
        cx.filter_state.set(StateObject { key: ACTIONS.into(), value: text, ..StateObject::default() });
    }

    /// The filter that was chosen, if it wants pieces of this kind.
    fn chosen(&self, cx: &mut StreamCx, phase: Phases) -> Option<Arc<dyn HttpFilter>> {
        let chosen = cx.held_state(&self.slot)?;
        let filter = match &self.kind {
            _ if chosen.skip => None,
            Kind::Delegate(filter) => Some(filter.clone()),
            Kind::Composite(_) => chosen.run.clone(),
        };
        filter.filter(|filter| filter.phases().has(phase))
    }
}

impl HttpFilter for Delegating {
    fn phases(&self) -> Phases {
        self.phases
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let filter = self.choose(cx).filter(|filter| filter.phases().has(Phases::REQUEST_HEADERS));
        filter.map_or(Step::Continue, |filter| filter.request_headers(cx, end))
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        self.chosen(cx, Phases::REQUEST_DATA).map_or(Step::Continue, |filter| filter.request_data(cx, data, end))
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        let filter = self.choose(cx).filter(|filter| filter.phases().has(Phases::REQUEST_TRAILERS));
        filter.map_or(Step::Continue, |filter| filter.request_trailers(cx))
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let filter = self.choose(cx).filter(|filter| filter.phases().has(Phases::RESPONSE_HEADERS));
        filter.map_or(Step::Continue, |filter| filter.response_headers(cx, end))
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        self.chosen(cx, Phases::RESPONSE_DATA).map_or(Step::Continue, |filter| filter.response_data(cx, data, end))
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        let filter = self.choose(cx).filter(|filter| filter.phases().has(Phases::RESPONSE_TRAILERS));
        filter.map_or(Step::Continue, |filter| filter.response_trailers(cx))
    }

    fn done(&self, cx: &mut StreamCx) {
        let chosen = cx.held_state(&self.slot).is_some_and(|chosen| !chosen.skip);
        let run = cx.held_state(&self.slot).and_then(|chosen| chosen.run.clone());
        match &self.kind {
            Kind::Delegate(filter) if chosen => filter.done(cx),
            Kind::Composite(_) => {
                if let Some(filter) = run {
                    filter.done(cx);
                }
            }
            Kind::Delegate(_) => {}
        }
    }
}
