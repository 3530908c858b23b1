//! `/reload`: reads the configuration again, as SIGHUP does, and says what came of it. Envoy has no such endpoint.

use super::Endpoint;
use crate::response::AdminResponse;

pub(super) const RELOAD: Endpoint = Endpoint {
    path: "/reload",
    help: "read the configuration again; says what changed, or why it was refused",
    command: true,
    params: &[],
    answer: |_, _| AdminResponse {
        then_reload: true,
        ..AdminResponse::ok()
    },
};

/// The answer: 200 and what changed, or 400 and why everything stays as it is.
pub(crate) fn outcome(outcome: Result<String, String>) -> AdminResponse {
    match outcome {
        Ok(changes) => AdminResponse::text(format!("{changes}\n")),
        Err(why) => AdminResponse::error(400, format!("{}\n", why.trim_end())),
    }
}
