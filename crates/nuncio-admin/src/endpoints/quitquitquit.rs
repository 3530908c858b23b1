//! `/quitquitquit`: stop.

use super::Endpoint;
use crate::response::AdminResponse;

pub(super) const QUIT: Endpoint = Endpoint {
    path: "/quitquitquit",
    help: "exit the server",
    command: true,
    params: &[],
    answer: |_, _| AdminResponse {
        then_quit: true,
        ..AdminResponse::ok()
    },
};
