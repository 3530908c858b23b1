//! `/runtime` and `/runtime_modify`: runtime values, and overriding them.

use super::Endpoint;
use crate::response::AdminResponse;
use nuncio_api::Json;

pub(super) const RUNTIME: Endpoint = Endpoint {
    path: "/runtime",
    help: "print runtime values",
    command: false,
    params: &[],
    answer: |_, cx| {
        let runtime = cx.runtime();
        let texts = |values: &[String]| Json::List(values.iter().map(Json::text).collect());
        let entries = runtime.entries.iter().map(|entry| {
            let members = vec![
                ("layer_values", texts(&entry.layer_values)),
                ("final_value", Json::text(&entry.final_value)),
            ];
            (entry.key.clone(), Json::object(members))
        });
        AdminResponse::json(&Json::object(vec![
            ("layers", texts(&runtime.layers)),
            ("entries", Json::object(entries.collect())),
        ]))
    },
};

pub(super) const RUNTIME_MODIFY: Endpoint = Endpoint {
    path: "/runtime_modify",
    help: "Adds or modifies runtime values as passed in query parameters. To delete a previously added key, use an \
           empty string as the value. Note that deletion only applies to overrides added via this endpoint; values \
           loaded from disk can be modified via override but not deleted. E.g. ?key1=value1&key2=value2...",
    command: true,
    params: &[],
    answer: |request, cx| {
        let overrides: Vec<_> = request.params.iter().collect();
        if overrides.is_empty() {
            return AdminResponse::error(
                400,
                "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n       or send the parameters as form \
                 values\nuse an empty value to remove a previously added override",
            );
        }
        match cx.modify_runtime(&overrides) {
            Ok(()) => AdminResponse::ok(),
            Err(why) => AdminResponse::error(503, why),
        }
    },
};
