//! What goes wrong, and what is counted.

use super::head::Flaw;
use std::fmt;

/// An error code of RST_STREAM and GOAWAY (RFC 9113, section 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ErrorCode(pub u32);

#[allow(missing_docs, reason = "the names are the RFC's")]
impl ErrorCode {
    pub const NO_ERROR: ErrorCode = ErrorCode(0);
    pub const PROTOCOL_ERROR: ErrorCode = ErrorCode(1);
    pub const INTERNAL_ERROR: ErrorCode = ErrorCode(2);
    pub const FLOW_CONTROL_ERROR: ErrorCode = ErrorCode(3);
    pub const STREAM_CLOSED: ErrorCode = ErrorCode(5);
    pub const FRAME_SIZE_ERROR: ErrorCode = ErrorCode(6);
    pub const REFUSED_STREAM: ErrorCode = ErrorCode(7);
    pub const CANCEL: ErrorCode = ErrorCode(8);
    pub const COMPRESSION_ERROR: ErrorCode = ErrorCode(9);
    pub const CONNECT_ERROR: ErrorCode = ErrorCode(10);
    pub const ENHANCE_YOUR_CALM: ErrorCode = ErrorCode(11);
}

/// Why a connection cannot go on. A GOAWAY with [`Fault::code`] is in the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The client did not begin as HTTP/2 does.
    BadPreface,
    /// A rule of RFC 9113 was broken.
    Protocol(&'static str),
    /// A frame had a size that it cannot have.
    FrameSize,
    /// More was sent, or granted, than a window can hold.
    FlowControl,
    /// A frame on a stream that was closed.
    StreamClosed,
    /// The same, if it was HEADERS.
    HeadersAfterEnd,
    /// A header block could not be decoded.
    Compression,
    /// A message was malformed, and the options say that its connection goes with it.
    Messaging {
        /// Its stream.
        stream: u32,
        /// What was wrong.
        flaw: Flaw,
    },
    /// `max_consecutive_inbound_frames_with_empty_payload` was exceeded.
    InboundEmptyFramesFlood,
    /// `max_inbound_priority_frames_per_stream` was exceeded.
    InboundPriorityFramesFlood,
    /// `max_inbound_window_update_frames_per_data_frame_sent` was exceeded.
    InboundWindowUpdateFramesFlood,
    /// `max_outbound_frames` was exceeded.
    OutboundFlood,
    /// `max_outbound_control_frames` was exceeded.
    OutboundControlFlood,
    /// A header block came in more frames than its largest size is worth.
    TooManyContinuations,
    /// A single SETTINGS frame had more parameters than make sense.
    TooManySettings,
}

impl Fault {
    /// What the peer is told.
    pub fn code(self) -> ErrorCode {
        match self {
            Fault::BadPreface | Fault::Protocol(_) | Fault::Messaging { .. } => ErrorCode::PROTOCOL_ERROR,
            Fault::FrameSize => ErrorCode::FRAME_SIZE_ERROR,
            Fault::FlowControl => ErrorCode::FLOW_CONTROL_ERROR,
            Fault::StreamClosed | Fault::HeadersAfterEnd => ErrorCode::STREAM_CLOSED,
            Fault::Compression => ErrorCode::COMPRESSION_ERROR,
            Fault::InboundEmptyFramesFlood
            | Fault::InboundPriorityFramesFlood
            | Fault::InboundWindowUpdateFramesFlood
            | Fault::OutboundFlood
            | Fault::OutboundControlFlood
            | Fault::TooManyContinuations
            | Fault::TooManySettings => ErrorCode::ENHANCE_YOUR_CALM,
        }
    }

    /// True if Envoy says so in a GOAWAY; for what else its peer did it closes the connection without a word.
    pub(super) fn is_told_by_envoy(self) -> bool {
        match self {
            Fault::FrameSize | Fault::StreamClosed | Fault::Compression | Fault::TooManySettings => true,
            Fault::Protocol(what) => ["DATA", "CONTINUATION", "unexpected frame", "SETTINGS expected"].iter().any(|begin| what.starts_with(begin)) || what.ends_with("padding"),
            _ => false,
        }
    }

    /// True if the peer does not read: there is no telling it anything.
    pub(super) fn is_deaf(self) -> bool {
        matches!(self, Fault::OutboundFlood | Fault::OutboundControlFlood)
    }

    /// True if the peer was flooding us.
    pub fn is_flood(self) -> bool {
        self.code() == ErrorCode::ENHANCE_YOUR_CALM
    }

    /// The statistic that counts it.
    pub fn stat(self) -> Option<Stat> {
        Some(match self {
            Fault::InboundEmptyFramesFlood => Stat::InboundEmptyFramesFlood,
            Fault::InboundPriorityFramesFlood => Stat::InboundPriorityFramesFlood,
            Fault::InboundWindowUpdateFramesFlood => Stat::InboundWindowUpdateFramesFlood,
            Fault::OutboundFlood => Stat::OutboundFlood,
            Fault::OutboundControlFlood => Stat::OutboundControlFlood,
            _ => return None,
        })
    }

    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Fault::BadPreface => "bad client preface",
            Fault::Protocol(what) => what,
            Fault::FrameSize => "frame of an invalid size",
            Fault::FlowControl => "flow control window exceeded",
            Fault::StreamClosed | Fault::HeadersAfterEnd => "frame on a closed stream",
            Fault::Compression => "header block could not be decoded",
            Fault::Messaging { flaw, .. } => flaw.details(),
            Fault::InboundEmptyFramesFlood => "Too many consecutive frames with an empty payload",
            Fault::InboundPriorityFramesFlood => "Too many PRIORITY frames",
            Fault::InboundWindowUpdateFramesFlood => "Too many WINDOW_UPDATE frames",
            Fault::OutboundFlood => "Too many frames in the outbound queue.",
            Fault::OutboundControlFlood => "Too many control frames in the outbound queue.",
            Fault::TooManyContinuations => "Too many CONTINUATION frames following a HEADER frame",
            Fault::TooManySettings => "too many settings in a frame",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What the codec counts; the names are those of Envoy's `http2.` statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are Envoy's")]
pub enum Stat {
    DroppedHeadersWithUnderscores,
    GoawaySent,
    HeaderListSizeTooLarge,
    HeaderOverflow,
    HeadersCbNoStream,
    InboundEmptyFramesFlood,
    InboundPriorityFramesFlood,
    InboundWindowUpdateFramesFlood,
    OutboundControlFlood,
    OutboundFlood,
    RequestsRejectedWithUnderscoresInHeaders,
    RxMessagingError,
    RxReset,
    StreamRefusedErrors,
    Trailers,
    TxReset,
}

impl Stat {
    /// Every one of them.
    pub const ALL: [Stat; 16] = [
        Stat::DroppedHeadersWithUnderscores,
        Stat::GoawaySent,
        Stat::HeaderListSizeTooLarge,
        Stat::HeaderOverflow,
        Stat::HeadersCbNoStream,
        Stat::InboundEmptyFramesFlood,
        Stat::InboundPriorityFramesFlood,
        Stat::InboundWindowUpdateFramesFlood,
        Stat::OutboundControlFlood,
        Stat::OutboundFlood,
        Stat::RequestsRejectedWithUnderscoresInHeaders,
        Stat::RxMessagingError,
        Stat::RxReset,
        Stat::StreamRefusedErrors,
        Stat::Trailers,
        Stat::TxReset,
    ];
}

/// Counts since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Counts {
    counts: [u32; Stat::ALL.len()],
    any: bool,
}

impl Counts {
    pub(super) fn add(&mut self, stat: Stat) {
        self.counts[stat as usize] += 1;
        self.any = true;
    }

    pub(super) fn take(&mut self, mut each: impl FnMut(Stat, u32)) {
        if !std::mem::take(&mut self.any) {
            return;
        }
        for (stat, count) in Stat::ALL.iter().zip(&mut self.counts) {
            if *count > 0 {
                each(*stat, std::mem::take(count));
            }
        }
    }
}
