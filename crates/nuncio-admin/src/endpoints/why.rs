//! `/why`: the last requests that went wrong, and what that means. Envoy has no such endpoint; `nuncio why` asks it.

use super::Endpoint;
use crate::response::AdminResponse;

pub(super) const WHY: Endpoint = Endpoint {
    path: "/why",
    help: "the last requests that went wrong; with id, one of them explained",
    command: false,
    params: &[],
    answer: |request, cx| match cx.why(request.params.filled("id")) {
        Ok(text) => AdminResponse::text(text),
        Err(why) => AdminResponse::error(400, format!("{}\n", why.trim_end())),
    },
};
