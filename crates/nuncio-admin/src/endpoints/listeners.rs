//! `/listeners`: what listens where.

use super::{Choice, Endpoint, Param};
use crate::response::AdminResponse;
use crate::view::{Address, Listener};
use nuncio_api::Json;
use std::fmt::Write;

pub(super) const LISTENERS: Endpoint = Endpoint {
    path: "/listeners",
    help: "print listener info",
    command: false,
    params: &[Param {
        name: "format",
        help: "File format to use",
        choice: Choice::OneOf(&["text", "json"]),
    }],
    answer: |request, cx| {
        let listeners = cx.listeners();
        if request.params.get("format") == Some("json") {
            return AdminResponse::json(&json(&listeners));
        }
        let mut text = String::new();
        for listener in &listeners {
            for address in std::iter::once(&listener.address).chain(&listener.more_addresses) {
                let _ = writeln!(text, "{}::{}", listener.name, address.text());
            }
        }
        AdminResponse::text(text)
    },
};

/// `envoy.admin.v3.Listeners`.
fn json(listeners: &[Listener]) -> Json {
    let status = |listener: &Listener| {
        let mut members = vec![
            ("name", Json::text(&listener.name)),
            ("local_address", listener.address.json()),
        ];
        if !listener.more_addresses.is_empty() {
            let more = listener.more_addresses.iter().map(Address::json).collect();
            members.push(("additional_local_addresses", Json::List(more)));
        }
        Json::object(members)
    };
    let statuses: Vec<_> = listeners.iter().map(status).collect();
    let members = if statuses.is_empty() {
        vec![]
    } else {
        vec![("listener_statuses", Json::List(statuses))]
    };
    Json::object(members)
}
