//! `/reopen_logs`: open access logs anew, after a rotation.

use super::Endpoint;
use crate::response::AdminResponse;

pub(super) const REOPEN_LOGS: Endpoint = Endpoint {
    path: "/reopen_logs",
    help: "reopen access logs",
    command: true,
    params: &[],
    answer: |_, cx| {
        cx.reopen_logs();
        AdminResponse::ok()
    },
};
