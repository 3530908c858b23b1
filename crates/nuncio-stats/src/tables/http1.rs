//! `http1.` (downstream, for the whole process) and `cluster.<name>.http1.`: the HTTP/1 codec. They appear with the first codec.

use crate::stats_table;

stats_table! {
    /// The HTTP/1 codec.
    pub HTTP1: "http1" {
        group OPEN = "open",
        counter DROPPED_HEADERS_WITH_UNDERSCORES = "dropped_headers_with_underscores" [OPEN],
        counter METADATA_NOT_SUPPORTED_ERROR = "metadata_not_supported_error" [OPEN],
        counter REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS = "requests_rejected_with_underscores_in_headers" [OPEN],
        counter RESPONSE_FLOOD = "response_flood" [OPEN],
    }
}
