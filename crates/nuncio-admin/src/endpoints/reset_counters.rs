//! `/reset_counters`: counters begin at 0 again.

use super::Endpoint;
use crate::response::AdminResponse;

pub(super) const RESET_COUNTERS: Endpoint = Endpoint {
    path: "/reset_counters",
    help: "reset all counters to zero",
    command: true,
    params: &[],
    answer: |_, cx| {
        cx.stats().reset_counters();
        AdminResponse::ok()
    },
};
