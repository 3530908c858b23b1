//! `/contention`: there is no mutex on the data path to trace.

use super::Endpoint;
use crate::response::AdminResponse;

pub(super) const CONTENTION: Endpoint = Endpoint {
    path: "/contention",
    help: "dump current Envoy mutex contention stats (if enabled)",
    command: false,
    params: &[],
    answer: |_, _| {
        AdminResponse::text(
            "Mutex contention tracing is not enabled. To enable, run Envoy with flag --enable-mutex-tracing.",
        )
    },
};
