//! `/hot_restart_version`: which hot restart protocol this process speaks.

use super::Endpoint;
use crate::response::AdminResponse;

pub(super) const HOT_RESTART_VERSION: Endpoint = Endpoint {
    path: "/hot_restart_version",
    help: "print the hot restart compatibility version",
    command: false,
    params: &[],
    answer: |_, cx| AdminResponse::text(cx.server_info().hot_restart_version),
};
