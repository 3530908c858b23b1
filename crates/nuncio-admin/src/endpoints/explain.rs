//! `/explain`: what would become of a request, and why. Envoy has no such endpoint; `nuncio explain --admin` asks it.

use super::Endpoint;
use crate::response::AdminResponse;

pub(super) const EXPLAIN: Endpoint = Endpoint {
    path: "/explain",
    help: "what would become of a request: method, url, header, random, listener, format",
    command: false,
    params: &[],
    answer: |request, cx| match cx.explain(&request.params) {
        Ok(text) => AdminResponse::text(text),
        Err(why) => AdminResponse::error(400, format!("{}\n", why.trim_end())),
    },
};
