//! `http2.` (downstream, for the whole process) and `cluster.<name>.http2.`: the HTTP/2 codec. They appear with the first codec.

use crate::stats_table;

stats_table! {
    /// The HTTP/2 codec.
    pub HTTP2: "http2" {
        /// Opened with the first codec.
        group OPEN = "open",
        /// Requests whose cookies together were too large.
        counter COOKIES_TOTAL_BYTES_TOO_LARGE = "cookies_total_bytes_too_large" [OPEN],
        /// Headers dropped for an underscore in their name.
        counter DROPPED_HEADERS_WITH_UNDERSCORES = "dropped_headers_with_underscores" [OPEN],
        /// GOAWAY frames sent.
        counter GOAWAY_SENT = "goaway_sent" [OPEN],
        /// Requests whose headers together were too large.
        counter HEADER_LIST_SIZE_TOO_LARGE = "header_list_size_too_large" [OPEN],
        /// Connections reset for headers that were too large.
        counter HEADER_OVERFLOW = "header_overflow" [OPEN],
        /// Header callbacks without a stream.
        counter HEADERS_CB_NO_STREAM = "headers_cb_no_stream" [OPEN],
        /// Connections closed for too many empty frames.
        counter INBOUND_EMPTY_FRAMES_FLOOD = "inbound_empty_frames_flood" [OPEN],
        /// Connections closed for too many PRIORITY frames.
        counter INBOUND_PRIORITY_FRAMES_FLOOD = "inbound_priority_frames_flood" [OPEN],
        /// Connections closed for too many WINDOW_UPDATE frames.
        counter INBOUND_WINDOW_UPDATE_FRAMES_FLOOD = "inbound_window_update_frames_flood" [OPEN],
        /// Connections closed because a PING was not answered.
        counter KEEPALIVE_TIMEOUT = "keepalive_timeout" [OPEN],
        /// METADATA frames without content.
        counter METADATA_EMPTY_FRAMES = "metadata_empty_frames" [OPEN],
        /// Downstream connections by nghttp2; always 0 here.
        counter NGHTTP2_DOWNSTREAM_CONNECTIONS = "nghttp2_downstream_connections" [OPEN],
        /// Upstream connections by nghttp2; always 0 here.
        counter NGHTTP2_UPSTREAM_CONNECTIONS = "nghttp2_upstream_connections" [OPEN],
        /// Downstream connections by oghttp2; always 0 here.
        counter OGHTTP2_DOWNSTREAM_CONNECTIONS = "oghttp2_downstream_connections" [OPEN],
        /// Upstream connections by oghttp2; always 0 here.
        counter OGHTTP2_UPSTREAM_CONNECTIONS = "oghttp2_upstream_connections" [OPEN],
        /// Connections closed for too many control frames that wait to be sent.
        counter OUTBOUND_CONTROL_FLOOD = "outbound_control_flood" [OPEN],
        /// Connections closed for too many frames that wait to be sent.
        counter OUTBOUND_FLOOD = "outbound_flood" [OPEN],
        /// Requests refused for an underscore in a header's name.
        counter REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS = "requests_rejected_with_underscores_in_headers" [OPEN],
        /// Messages that broke HTTP semantics.
        counter RX_MESSAGING_ERROR = "rx_messaging_error" [OPEN],
        /// Streams that the peer reset.
        counter RX_RESET = "rx_reset" [OPEN],
        /// Streams that the peer refused.
        counter STREAM_REFUSED_ERRORS = "stream_refused_errors" [OPEN],
        /// Trailers received.
        counter TRAILERS = "trailers" [OPEN],
        /// Streams reset because the peer did not read them to their end.
        counter TX_FLUSH_TIMEOUT = "tx_flush_timeout" [OPEN],
        /// Streams reset from this side.
        counter TX_RESET = "tx_reset" [OPEN],
        /// Streams that wait to be closed until their data is read.
        gauge DEFERRED_STREAM_CLOSE = "deferred_stream_close" [OPEN],
        /// Control frames that wait to be sent.
        gauge OUTBOUND_CONTROL_FRAMES_ACTIVE = "outbound_control_frames_active" [OPEN],
        /// Frames that wait to be sent.
        gauge OUTBOUND_FRAMES_ACTIVE = "outbound_frames_active" [OPEN],
        /// Body bytes that wait for flow control.
        gauge PENDING_SEND_BYTES = "pending_send_bytes" [OPEN],
        /// Streams open.
        gauge STREAMS_ACTIVE = "streams_active" [OPEN],
        /// Cookie lines of requests.
        histogram COOKIE_COUNT(count) = "cookie_count" [OPEN],
        /// Bytes of cookies of requests.
        histogram COOKIE_SIZE(bytes) = "cookie_size" [OPEN],
        /// Header lines of requests.
        histogram HEADER_COUNT(count) = "header_count" [OPEN],
        /// Bytes of headers of requests.
        histogram HEADER_LIST_SIZE(bytes) = "header_list_size" [OPEN],
    }
}
