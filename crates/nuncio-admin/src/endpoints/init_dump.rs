//! `/init_dump`: what start-up still waits for.

use super::{Choice, Endpoint, Param};
use crate::response::AdminResponse;
use nuncio_api::Json;

pub(super) const INIT_DUMP: Endpoint = Endpoint {
    path: "/init_dump",
    help: "dump current Envoy init manager information (experimental)",
    command: false,
    params: &[Param {
        name: "mask",
        help: "The desired component to dump unready targets. The mask is parsed as a Protobuf::FieldMask. For \
               example, get the unready targets of all listeners with /init_dump?mask=listener`",
        choice: Choice::Text,
    }],
    answer: |request, cx| {
        let mask = request.params.filled("mask");
        let wanted = cx
            .unready_targets()
            .into_iter()
            .filter(|unready| match mask {
                None => true,
                Some(mask) => mask == "listener" && unready.listener,
            });
        let dumps: Vec<_> = wanted
            .map(|unready| {
                let targets = unready.targets.iter().map(Json::text).collect();
                Json::object(vec![
                    ("name", Json::text(unready.name)),
                    ("target_names", Json::List(targets)),
                ])
            })
            .collect();
        let members = if dumps.is_empty() {
            vec![]
        } else {
            vec![("unready_targets_dumps", Json::List(dumps))]
        };
        AdminResponse::json(&Json::object(members))
    },
};
