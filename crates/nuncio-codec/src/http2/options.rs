//! What a connection is told to allow.

use crate::http1::UnderscoreAction;

/// Options of one connection. Names and defaults are those of Envoy's `core.v3.Http2ProtocolOptions` and
/// `core.v3.HttpProtocolOptions`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// `hpack_table_size`, bytes.
    pub hpack_table_size: u32,
    /// `max_concurrent_streams`: those that the peer may have open, and the most that we open ourselves.
    pub max_concurrent_streams: u32,
    /// `initial_stream_window_size`, bytes.
    pub initial_stream_window_size: u32,
    /// `initial_connection_window_size`, bytes.
    pub initial_connection_window_size: u32,
    /// `allow_connect`: extended CONNECT (RFC 8441).
    pub allow_connect: bool,
    /// `max_outbound_frames`: frames of all kinds that may wait to be sent.
    pub max_outbound_frames: u32,
    /// `max_outbound_control_frames`: PING, SETTINGS and RST_STREAM frames that may wait to be sent.
    pub max_outbound_control_frames: u32,
    /// `max_consecutive_inbound_frames_with_empty_payload`.
    pub max_consecutive_inbound_frames_with_empty_payload: u32,
    /// `max_inbound_priority_frames_per_stream`.
    pub max_inbound_priority_frames_per_stream: u32,
    /// `max_inbound_window_update_frames_per_data_frame_sent`.
    pub max_inbound_window_update_frames_per_data_frame_sent: u32,
    /// `override_stream_error_on_invalid_http_message`: a malformed message costs its stream, not the connection.
    pub stream_error_on_invalid_http_message: bool,
    /// As Envoy where that is less strict or says less: connections that end for what their peer did do so without
    /// GOAWAY, frames of closed streams are ignored, bodies that nobody wants are reset at once, and a stream's window
    /// that overflows takes the connection with it.
    pub as_envoy: bool,
    /// `max_headers_count`: most fields of a head or of trailers.
    pub max_headers: usize,
    /// `max_request_headers_kb` or `max_response_headers_kb`, in bytes: names and values of a head or of trailers.
    pub max_header_bytes: usize,
    /// `headers_with_underscores_action`.
    pub underscores: UnderscoreAction,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            hpack_table_size: 4096,
            max_concurrent_streams: 1024,
            initial_stream_window_size: 16 << 20,
            initial_connection_window_size: 24 << 20,
            allow_connect: false,
            max_outbound_frames: 10_000,
            max_outbound_control_frames: 1000,
            max_consecutive_inbound_frames_with_empty_payload: 1,
            max_inbound_priority_frames_per_stream: 100,
            max_inbound_window_update_frames_per_data_frame_sent: 10,
            stream_error_on_invalid_http_message: false,
            as_envoy: false,
            max_headers: 100,
            max_header_bytes: 60 * 1024,
            underscores: UnderscoreAction::Allow,
        }
    }
}
