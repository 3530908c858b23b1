//! `/healthcheck/fail` and `/healthcheck/ok`: take the server out of a load balancer, and put it back.

use super::Endpoint;
use crate::response::AdminResponse;

pub(super) const FAIL: Endpoint = Endpoint {
    path: "/healthcheck/fail",
    help: "cause the server to fail health checks",
    command: true,
    params: &[],
    answer: |_, cx| {
        cx.fail_health_checks(true);
        AdminResponse::ok()
    },
};

pub(super) const OK: Endpoint = Endpoint {
    path: "/healthcheck/ok",
    help: "cause the server to pass health checks",
    command: true,
    params: &[],
    answer: |_, cx| {
        cx.fail_health_checks(false);
        AdminResponse::ok()
    },
};
