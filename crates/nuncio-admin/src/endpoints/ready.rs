//! `/ready`: whether the server takes traffic, for load balancers.

use super::Endpoint;
use crate::response::AdminResponse;
use crate::view::State;

pub(super) const READY: Endpoint = Endpoint {
    path: "/ready",
    help: "print server state, return 200 if LIVE, otherwise return 503",
    command: false,
    params: &[],
    answer: |_, cx| {
        let state = cx.state();
        let status = if state == State::Live { 200 } else { 503 };
        AdminResponse::error(status, format!("{}\n", state.as_str()))
    },
};
