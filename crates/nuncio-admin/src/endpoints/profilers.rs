//! Profilers and heap dumps that Envoy has built in. Nuncio has none: `perf` and `heaptrack` work on it as on any
//! program. The endpoints say so, with Envoy's statuses where a build of it lacks them.

use super::{Choice, Endpoint, Param};
use crate::request::AdminRequest;
use crate::response::AdminResponse;

pub(super) const CPU_PROFILER: Endpoint = Endpoint {
    path: "/cpuprofiler",
    help: "enable/disable the CPU profiler",
    command: true,
    params: &[Param {
        name: "enable",
        help: "enables the CPU profiler",
        choice: Choice::OneOf(&["y", "n"]),
    }],
    answer: |request, _| match enable(request) {
        Some(true) => AdminResponse::error(500, "failure to start the profiler"),
        Some(false) => AdminResponse::ok(),
        None => usage(),
    },
};

pub(super) const HEAP_PROFILER: Endpoint = Endpoint {
    path: "/heapprofiler",
    help: "enable/disable the heap profiler",
    command: true,
    params: &[Param {
        name: "enable",
        help: "enable/disable the heap profiler",
        choice: Choice::OneOf(&["y", "n"]),
    }],
    answer: |_, _| AdminResponse::error(501, "The current build does not support heap profiler"),
};

pub(super) const ALLOC_PROFILER: Endpoint = Endpoint {
    path: "/allocprofiler",
    help: "enable/disable the allocation profiler (if supported)",
    command: true,
    params: &[Param {
        name: "enable",
        help: "enable/disable the allocation profiler",
        choice: Choice::OneOf(&["y", "n"]),
    }],
    answer: |request, _| match enable(request) {
        Some(true) => AdminResponse::error(
            501,
            "The current build does not support allocation profiler",
        ),
        Some(false) => AdminResponse::error(400, "Allocation profiler is not started"),
        None => usage(),
    },
};

pub(super) const HEAP_DUMP: Endpoint = Endpoint {
    path: "/heap_dump",
    help: "dump current Envoy heap (if supported)",
    command: false,
    params: &[],
    answer: |_, _| AdminResponse::error(501, "Heap dump is not supported in current build"),
};

pub(super) const PEAK_HEAP_DUMP: Endpoint = Endpoint {
    path: "/peak_heap_dump",
    help: "dump peak Envoy heap (if supported)",
    command: false,
    params: &[],
    answer: |_, _| AdminResponse::error(501, "Heap dump is not supported in current build"),
};

fn enable(request: &AdminRequest) -> Option<bool> {
    match request.params.get("enable") {
        Some("y") => Some(true),
        Some("n") => Some(false),
        _ => None,
    }
}

fn usage() -> AdminResponse {
    AdminResponse::error(400, "?enable=<y|n>\n")
}
