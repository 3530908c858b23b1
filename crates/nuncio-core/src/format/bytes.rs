//! How many bytes went which way.

use super::{FormatCx, command::Written, write::decimal};

macro_rules! numbers {
    ($($name:ident = |$cx:ident| $value:expr;)*) => {
        $(pub(super) fn $name($cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
            decimal(out, $value)
        })*
    };
}

numbers! {
    received = |cx| cx.stream.info.bytes_received;
    sent = |cx| cx.stream.info.bytes_sent;
    request_headers = |cx| cx.stream.request.byte_size() as u64;
    response_headers = |cx| cx.stream.response.byte_size() as u64;
    response_trailers = |cx| cx.stream.response_trailers.byte_size() as u64;
    downstream_wire_received = |cx| cx.stream.info.downstream.received;
    downstream_wire_sent = |cx| cx.stream.info.downstream.sent;
    downstream_headers_received = |cx| cx.stream.info.downstream.headers_received;
    downstream_headers_sent = |cx| cx.stream.info.downstream.headers_sent;
    upstream_wire_received = |cx| cx.stream.info.upstream.bytes.received;
    upstream_wire_sent = |cx| cx.stream.info.upstream.bytes.sent;
    upstream_headers_received = |cx| cx.stream.info.upstream.bytes.headers_received;
    upstream_headers_sent = |cx| cx.stream.info.upstream.bytes.headers_sent;
}

/// Retransmissions: counted on QUIC connections only, so 0 on all others.
pub(super) fn never(_: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    decimal(out, 0)
}
