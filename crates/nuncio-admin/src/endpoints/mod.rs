//! The table of endpoints, one file each.

mod certs;
mod clusters;
mod config_dump;
mod contention;
mod drain_listeners;
mod explain;
mod healthcheck;
mod help;
mod home;
mod hot_restart_version;
mod init_dump;
mod listeners;
mod logging;
mod memory;
mod profilers;
mod quitquitquit;
mod ready;
mod recent_lookups;
pub(crate) mod reload;
mod reopen_logs;
mod reset_counters;
mod runtime;
mod server_info;
mod stats;
mod stats_html;
mod stats_prometheus;
mod why;

use crate::context::AdminContext;
use crate::request::AdminRequest;
use crate::response::AdminResponse;

/// What answers at one path.
#[derive(Debug)]
pub struct Endpoint {
    /// The path.
    pub path: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// It changes something, so it needs POST.
    pub command: bool,
    /// What it can be told.
    pub params: &'static [Param],
    /// Answers a request.
    pub answer: fn(&AdminRequest, &dyn AdminContext) -> AdminResponse,
}

/// A parameter of an endpoint.
#[derive(Debug)]
pub struct Param {
    /// Its name in the query.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What it takes.
    pub choice: Choice,
}

/// What a parameter takes.
#[derive(Debug)]
pub enum Choice {
    /// Nothing: it is there or not.
    Flag,
    /// Any text.
    Text,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// Every endpoint, in order of path.
pub static ENDPOINTS: &[Endpoint] = &[
    home::HOME,
    profilers::ALLOC_PROFILER,
    certs::CERTS,
    clusters::CLUSTERS,
    config_dump::CONFIG_DUMP,
    contention::CONTENTION,
    profilers::CPU_PROFILER,
    drain_listeners::DRAIN_LISTENERS,
    healthcheck::FAIL,
    healthcheck::OK,
    profilers::HEAP_DUMP,
    profilers::HEAP_PROFILER,
    help::HELP,
    hot_restart_version::HOT_RESTART_VERSION,
    init_dump::INIT_DUMP,
    listeners::LISTENERS,
    logging::LOGGING,
    memory::MEMORY,
    memory::TCMALLOC,
    stats_prometheus::METRICS,
    profilers::PEAK_HEAP_DUMP,
    quitquitquit::QUIT,
    ready::READY,
    reopen_logs::REOPEN_LOGS,
    reset_counters::RESET_COUNTERS,
    runtime::RUNTIME,
    runtime::RUNTIME_MODIFY,
    server_info::SERVER_INFO,
    stats::STATS,
    stats_prometheus::STATS_PROMETHEUS,
    recent_lookups::SHOW,
    recent_lookups::CLEAR,
    recent_lookups::DISABLE,
    recent_lookups::ENABLE,
];

/// Endpoints that Envoy does not have. They are not in `/help`, whose text is Envoy's.
pub static OWN_ENDPOINTS: &[Endpoint] = &[explain::EXPLAIN, reload::RELOAD, why::WHY];

/// Answers a request.
pub fn handle(request: &AdminRequest, cx: &dyn AdminContext) -> AdminResponse {
    if !cx.allows(&request.target) {
        return AdminResponse::error(403, format!("request to path {} not allowed", request.target));
    }
    match ENDPOINTS
        .iter()
        .chain(OWN_ENDPOINTS)
        .find(|endpoint| endpoint.path == request.path)
    {
        Some(endpoint) if endpoint.command && request.method != "POST" => AdminResponse::error(
            405,
            format!("Method {} not allowed, POST required.", request.method),
        ),
        Some(endpoint) => (endpoint.answer)(request, cx),
        None => AdminResponse::error(404, format!("invalid path. {}", help::text())),
    }
}
