//! `/drain_listeners`: stop accepting, at once or with a period of grace.

use super::{Choice, Endpoint, Param};
use crate::response::AdminResponse;
use crate::view::Drain;

pub(super) const DRAIN_LISTENERS: Endpoint = Endpoint {
    path: "/drain_listeners",
    help: "drain listeners",
    command: true,
    params: &[
        Param {
            name: "graceful",
            help: "When draining listeners, enter a graceful drain period prior to closing listeners. This behaviour \
                   and duration is configurable via server options or CLI",
            choice: Choice::Flag,
        },
        Param {
            name: "skip_exit",
            help: "When draining listeners, drain the connections but never stop the listeners. The graceful \
                   parameter has no effect when this is set, since the drain period only delays stopping the \
                   listeners",
            choice: Choice::Flag,
        },
        Param {
            name: "inboundonly",
            help: "Drains all inbound listeners. traffic_direction field in envoy_v3_api_msg_config.listener.v3.\
                   Listener is used to determine whether a listener is inbound or outbound.",
            choice: Choice::Flag,
        },
    ],
    answer: |request, cx| {
        cx.drain_listeners(Drain {
            graceful: request.params.has("graceful"),
            skip_exit: request.params.has("skip_exit"),
            inbound_only: request.params.has("inboundonly"),
        });
        AdminResponse::ok()
    },
};
