//! What the HTTP/2 codec counts, under the names of Envoy's `http2.` statistics.

use nuncio_codec::http2::{Connection, Stat};
use nuncio_stats::{CounterId, Lane, Scope, tables::http2 as table};

/// Moves a codec's counts into the scope of its connection.
pub fn count_http2(codec: &mut Connection, scope: &Scope, lane: Lane) {
    codec.take_counts(|stat, n| scope.add(lane, counter(stat), u64::from(n)));
}

fn counter(stat: Stat) -> CounterId {
    match stat {
        Stat::DroppedHeadersWithUnderscores => table::DROPPED_HEADERS_WITH_UNDERSCORES,
        Stat::GoawaySent => table::GOAWAY_SENT,
        Stat::HeaderListSizeTooLarge => table::HEADER_LIST_SIZE_TOO_LARGE,
        Stat::HeaderOverflow => table::HEADER_OVERFLOW,
        Stat::HeadersCbNoStream => table::HEADERS_CB_NO_STREAM,
        Stat::InboundEmptyFramesFlood => table::INBOUND_EMPTY_FRAMES_FLOOD,
        Stat::InboundPriorityFramesFlood => table::INBOUND_PRIORITY_FRAMES_FLOOD,
        Stat::InboundWindowUpdateFramesFlood => table::INBOUND_WINDOW_UPDATE_FRAMES_FLOOD,
        Stat::OutboundControlFlood => table::OUTBOUND_CONTROL_FLOOD,
        Stat::OutboundFlood => table::OUTBOUND_FLOOD,
        Stat::RequestsRejectedWithUnderscoresInHeaders => table::REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS,
        Stat::RxMessagingError => table::RX_MESSAGING_ERROR,
        Stat::RxReset => table::RX_RESET,
        Stat::StreamRefusedErrors => table::STREAM_REFUSED_ERRORS,
        Stat::Trailers => table::TRAILERS,
        Stat::TxReset => table::TX_RESET,
    }
}
