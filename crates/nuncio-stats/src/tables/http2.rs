//! `http2.` (downstream, for the whole process) and `cluster.<name>.http2.`: the HTTP/2 codec. They appear with the first codec.

use crate::stats_table;

stats_table! {
    /// The HTTP/2 codec.
    pub HTTP2: "http2" {
        group OPEN = "open",
        counter COOKIES_TOTAL_BYTES_TOO_LARGE = "cookies_total_bytes_too_large" [OPEN],
        counter DROPPED_HEADERS_WITH_UNDERSCORES = "dropped_headers_with_underscores" [OPEN],
        counter GOAWAY_SENT = "goaway_sent" [OPEN],
        counter HEADER_LIST_SIZE_TOO_LARGE = "header_list_size_too_large" [OPEN],
        counter HEADER_OVERFLOW = "header_overflow" [OPEN],
        counter HEADERS_CB_NO_STREAM = "headers_cb_no_stream" [OPEN],
        counter INBOUND_EMPTY_FRAMES_FLOOD = "inbound_empty_frames_flood" [OPEN],
        counter INBOUND_PRIORITY_FRAMES_FLOOD = "inbound_priority_frames_flood" [OPEN],
        counter INBOUND_WINDOW_UPDATE_FRAMES_FLOOD = "inbound_window_update_frames_flood" [OPEN],
        counter KEEPALIVE_TIMEOUT = "keepalive_timeout" [OPEN],
        counter METADATA_EMPTY_FRAMES = "metadata_empty_frames" [OPEN],
        counter NGHTTP2_DOWNSTREAM_CONNECTIONS = "nghttp2_downstream_connections" [OPEN],
        counter NGHTTP2_UPSTREAM_CONNECTIONS = "nghttp2_upstream_connections" [OPEN],
        counter OGHTTP2_DOWNSTREAM_CONNECTIONS = "oghttp2_downstream_connections" [OPEN],
        counter OGHTTP2_UPSTREAM_CONNECTIONS = "oghttp2_upstream_connections" [OPEN],
        counter OUTBOUND_CONTROL_FLOOD = "outbound_control_flood" [OPEN],
        counter OUTBOUND_FLOOD = "outbound_flood" [OPEN],
        counter REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS = "requests_rejected_with_underscores_in_headers" [OPEN],
        counter RX_MESSAGING_ERROR = "rx_messaging_error" [OPEN],
        counter RX_RESET = "rx_reset" [OPEN],
        counter STREAM_REFUSED_ERRORS = "stream_refused_errors" [OPEN],
        counter TRAILERS = "trailers" [OPEN],
        counter TX_FLUSH_TIMEOUT = "tx_flush_timeout" [OPEN],
        counter TX_RESET = "tx_reset" [OPEN],
        gauge DEFERRED_STREAM_CLOSE = "deferred_stream_close" [OPEN],
        gauge OUTBOUND_CONTROL_FRAMES_ACTIVE = "outbound_control_frames_active" [OPEN],
        gauge OUTBOUND_FRAMES_ACTIVE = "outbound_frames_active" [OPEN],
        gauge PENDING_SEND_BYTES = "pending_send_bytes" [OPEN],
        gauge STREAMS_ACTIVE = "streams_active" [OPEN],
        histogram COOKIE_COUNT(count) = "cookie_count" [OPEN],
        histogram COOKIE_SIZE(bytes) = "cookie_size" [OPEN],
        histogram HEADER_COUNT(count) = "header_count" [OPEN],
        histogram HEADER_LIST_SIZE(bytes) = "header_list_size" [OPEN],
    }
}
