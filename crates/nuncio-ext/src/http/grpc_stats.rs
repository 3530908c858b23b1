//! `envoy.filters.http.grpc_stats`: counts calls and messages of gRPC, by cluster, and by method where that is wanted.
//!
//! With `stats_for_all_methods` clients choose names of statistics: of those, a worker keeps so many and no more.

use super::grpc_calls::{self, Calls, Frames, REQUEST_MESSAGE_COUNT, RESPONSE_MESSAGE_COUNT, UPSTREAM_RQ_TIME};
use crate::read;
use nuncio_api::envoy::extensions::filters::http::grpc_stats::v3 as proto;
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, Phases, Posture, StateSlot, Step, StreamCx, grpc,
};
use nuncio_rt::{Buf, Time};
use nuncio_stats::Scope;
use proto::filter_config::PerMethodStatSpecifier;
use std::collections::HashSet;
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.grpc_stats",
    message: "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route,
};

/// Which methods have statistics of their own.
#[derive(Debug)]
enum Methods {
    None,
    All,
    These(HashSet<(String, String)>),
}

#[derive(Debug)]
struct GrpcStats {
    methods: Methods,
    replace_dots: bool,
    times: bool,
    calls: Calls,
    state: StateSlot<Option<Call>>,
}

/// A call under way.
#[derive(Debug)]
struct Call {
    scope: Arc<Scope>,
    request: Frames,
    response: Frames,
    /// The response is gRPC's, too.
    answered: bool,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::FilterConfig { emit_filter_state, enable_upstream_stats, replace_dots_in_grpc_service_name, per_method_stat_specifier } =
        read::message(config)?;
    if emit_filter_state {
        cx.warnings.push(ConfigError::at("emit_filter_state", "is accepted without effect: it is not built yet"));
    }
    let methods = match per_method_stat_specifier {
        Some(PerMethodStatSpecifier::StatsForAllMethods(true)) => Methods::All,
        Some(PerMethodStatSpecifier::StatsForAllMethods(false)) | None => Methods::None,
        Some(PerMethodStatSpecifier::IndividualMethodStatsAllowlist(list)) => Methods::These(
            list.services.into_iter().flat_map(|service| service.method_names.into_iter().map(move |m| (service.name.clone(), m))).collect(),
        ),
    };
    Ok(Arc::new(GrpcStats {
        methods,
        replace_dots: replace_dots_in_grpc_service_name,
        times: enable_upstream_stats,
        calls: Calls::new(cx.stats, "grpc"),
        state: cx.state_slot(),
    }))
}

fn route(_: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Err(ConfigError::at("", "this filter has no settings for routes"))
}

impl GrpcStats {
    fn scope(&self, cx: &StreamCx) -> Option<Arc<Scope>> {
        let (service, method) = grpc_calls::names(&cx.request)?;
        let own = match &self.methods {
            Methods::None => false,
            Methods::All => true,
            Methods::These(set) => set.contains(&(service.to_owned(), method.to_owned())),
        };
        let service = if self.replace_dots && matches!(self.methods, Methods::All) { service.replace('.', "_") } else { service.to_owned() };
        self.calls.scope(cx, own.then_some((service.as_str(), method)))
    }

    fn ended(&self, cx: &mut StreamCx, in_trailers: bool) {
        let Some(Some(call)) = cx.held_state(&self.state) else { return };
        let scope = call.scope.clone();
        grpc_calls::count_end(cx, &scope, if in_trailers { &cx.response_trailers } else { &cx.response });
        if let (true, Some(began)) = (self.times, cx.info.timings.request_received) {
            scope.record(cx.worker.lane, UPSTREAM_RQ_TIME, Time::now().millis_since(began));
        }
    }
}

impl HttpFilter for GrpcStats {
    fn phases(&self) -> Phases {
        let request = Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA);
        request.and(Phases::RESPONSE_HEADERS).and(Phases::RESPONSE_DATA).and(Phases::RESPONSE_TRAILERS)
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        if grpc::is_grpc(&cx.request)
            && let Some(scope) = self.scope(cx)
        {
            *cx.state(&self.state) = Some(Call { scope, request: Frames::default(), response: Frames::default(), answered: false });
        }
        Step::Continue
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, _end: bool) -> Step {
        let lane = cx.worker.lane;
        if let Some(Some(call)) = cx.held_state(&self.state) {
            let begun = call.request.count(data.filled());
            if begun > 0 {
                call.scope.add(lane, REQUEST_MESSAGE_COUNT, begun);
            }
        }
        Step::Continue
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let answered = grpc::is_grpc(&cx.response);
        if let Some(Some(call)) = cx.held_state(&self.state) {
            call.answered = answered;
            if end {
                self.ended(cx, false);
            }
        }
        Step::Continue
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, _end: bool) -> Step {
        let lane = cx.worker.lane;
        if let Some(Some(call)) = cx.held_state(&self.state)
            && call.answered
        {
            let begun = call.response.count(data.filled());
            if begun > 0 {
                call.scope.add(lane, RESPONSE_MESSAGE_COUNT, begun);
            }
        }
        Step::Continue
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        self.ended(cx, true);
        Step::Continue
    }
}
