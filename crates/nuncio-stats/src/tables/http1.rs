//! `http1.` (downstream, for the whole process) and `cluster.<name>.http1.`: the HTTP/1 codec. They appear with the first codec.

use crate::stats_table;

stats_table! {
    /// The HTTP/1 codec.
    pub HTTP1: "http1" {
        /// Opened with the first codec.
        group OPEN = "open",
        /// Headers dropped for an underscore in their name.
        counter DROPPED_HEADERS_WITH_UNDERSCORES = "dropped_headers_with_underscores" [OPEN],
        /// Times metadata was to be sent, which HTTP/1 cannot.
        counter METADATA_NOT_SUPPORTED_ERROR = "metadata_not_supported_error" [OPEN],
        /// Requests refused for an underscore in a header's name.
        counter REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS = "requests_rejected_with_underscores_in_headers" [OPEN],
        /// Connections closed for too many answers that the client does not read.
        counter RESPONSE_FLOOD = "response_flood" [OPEN],
    }
}
