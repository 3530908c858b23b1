//! `/stats/prometheus`, and `/metrics`: the same with a `# HELP` line per family.

use super::stats::{Buckets, FILTER, INVERT_FILTER, USED_ONLY, Wanted};
use super::{Choice, Endpoint, Param};
use crate::context::AdminContext;
use crate::request::AdminRequest;
use crate::response::AdminResponse;
use nuncio_stats::output::{BucketMode, PrometheusOptions, write_prometheus};

const PARAMS: &[Param] = &[
    USED_ONLY,
    Param {
        name: "text_readouts",
        help: "Render text_readouts as new gaugues with value 0 (increases Prometheus data size)",
        choice: Choice::Flag,
    },
    FILTER,
    INVERT_FILTER,
    Param {
        name: "histogram_buckets",
        help: "Histogram bucket display mode",
        choice: Choice::OneOf(&["cumulative", "summary"]),
    },
];

pub(super) const STATS_PROMETHEUS: Endpoint = Endpoint {
    path: "/stats/prometheus",
    help: "print server stats in prometheus format",
    command: false,
    params: PARAMS,
    answer: |request, cx| answer(request, cx, false),
};

pub(super) const METRICS: Endpoint = Endpoint {
    path: "/metrics",
    help: "print server stats in prometheus format, with help texts",
    command: false,
    params: PARAMS,
    answer: |request, cx| answer(request, cx, true),
};

fn answer(request: &AdminRequest, cx: &dyn AdminContext, help: bool) -> AdminResponse {
    match Wanted::parse(&request.params, cx) {
        Ok(wanted) => answer_wanted(request, cx, &wanted.every_type(), help),
        Err(refusal) => refusal,
    }
}

/// Answers with what the parameters of `/stats` ask for.
pub(super) fn answer_wanted(
    request: &AdminRequest,
    cx: &dyn AdminContext,
    wanted: &Wanted,
    help: bool,
) -> AdminResponse {
    let summaries = match wanted.buckets {
        Buckets::Mode(BucketMode::Unset | BucketMode::Cumulative) => false,
        Buckets::Mode(BucketMode::Summary) => true,
        _ => return AdminResponse::error(400, "unsupported prometheus histogram bucket mode"),
    };
    let options = PrometheusOptions {
        text_readouts: request.params.has("text_readouts"),
        summaries,
        help,
    };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_prometheus(&mut out, &wanted.snapshot(cx), cx.stats_output(), options);
    AdminResponse::text(out)
}
