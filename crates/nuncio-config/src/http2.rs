//! `core.v3.Http2ProtocolOptions`, of listeners and of clusters.

use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_codec::http2::Options;
use nuncio_core::Keepalive;
use std::time::Duration;

/// Takes over what is told about the codec; says what keeps connections alive. `cx` stands at the options.
pub(crate) fn options(cx: &mut CompileCx<'_>, from: &core::Http2ProtocolOptions, into: &mut Options) -> Option<Keepalive> {
    #[allow(deprecated)]
    let core::Http2ProtocolOptions {
        hpack_table_size,
        max_concurrent_streams,
        initial_stream_window_size,
        initial_connection_window_size,
        allow_connect,
        allow_metadata,
        max_outbound_frames,
        max_outbound_control_frames,
        max_consecutive_inbound_frames_with_empty_payload,
        max_inbound_priority_frames_per_stream,
        max_inbound_window_update_frames_per_data_frame_sent,
        stream_error_on_invalid_http_messaging,
        override_stream_error_on_invalid_http_message,
        custom_settings_parameters,
        connection_keepalive,
        // There is one codec.
        use_oghttp2_codec: _,
        max_metadata_size,
        enable_huffman_encoding,
        max_header_field_size_kb,
        disallow_obs_text,
        stream_reset_burst,
        stream_reset_rate,
    } = from;
    unbuilt!(
        cx,
        allow_metadata,
        custom_settings_parameters,
        max_metadata_size,
        enable_huffman_encoding,
        max_header_field_size_kb,
        disallow_obs_text,
        stream_reset_burst,
        stream_reset_rate,
    );
    let take = |from: &Option<u32>, into: &mut u32| *into = from.unwrap_or(*into);
    take(hpack_table_size, &mut into.hpack_table_size);
    take(max_concurrent_streams, &mut into.max_concurrent_streams);
    take(initial_stream_window_size, &mut into.initial_stream_window_size);
    take(initial_connection_window_size, &mut into.initial_connection_window_size);
    take(max_outbound_frames, &mut into.max_outbound_frames);
    take(max_outbound_control_frames, &mut into.max_outbound_control_frames);
    take(max_consecutive_inbound_frames_with_empty_payload, &mut into.max_consecutive_inbound_frames_with_empty_payload);
    take(max_inbound_priority_frames_per_stream, &mut into.max_inbound_priority_frames_per_stream);
    take(
        max_inbound_window_update_frames_per_data_frame_sent,
        &mut into.max_inbound_window_update_frames_per_data_frame_sent,
    );
    into.allow_connect = *allow_connect;
    into.stream_error_on_invalid_http_message = override_stream_error_on_invalid_http_message
        .unwrap_or(into.stream_error_on_invalid_http_message || *stream_error_on_invalid_http_messaging);
    let keepalive = connection_keepalive.as_ref()?;
    cx.at("connection_keepalive", |cx| keepalive_settings(cx, keepalive))
}

fn keepalive_settings(cx: &mut CompileCx<'_>, from: &core::KeepaliveSettings) -> Option<Keepalive> {
    let core::KeepaliveSettings { interval, timeout, interval_jitter, connection_idle_interval } = from;
    unbuilt!(cx, connection_idle_interval);
    let interval = cx.duration("interval", interval.as_ref()).unwrap_or_default();
    let timeout = cx.duration("timeout", timeout.as_ref()).unwrap_or(Duration::ZERO);
    // Fifteen percent is Envoy's default.
    let jitter = interval_jitter.as_ref().map_or(15.0, |percent| percent.value);
    (!interval.is_zero()).then_some(Keepalive { interval, timeout, jitter_percent: jitter as u32 })
}
