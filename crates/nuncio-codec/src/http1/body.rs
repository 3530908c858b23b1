//! Bodies: one decoder for requests and responses, whatever delimits them.

use super::Framing;
use super::chunked::{ChunkDecoder, ChunkEnd};
use super::fields::{FieldRules, Part};
use super::head::{Lead, Progress, read_head};
use super::rules::{Strictness, UnderscoreAction};
use super::violation::Violation;
use crate::headers::{HeaderMap, Known};
use std::ops::Range;

/// One piece of a body. The caller hands `input[payload]` on and drops `consumed` bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body {
    /// Bytes of input that were used up, framing included.
    pub consumed: usize,
    /// Where the payload stands in the input now; may be empty.
    pub payload: Range<usize>,
    /// What comes next.
    pub state: BodyState,
}

/// What comes after a piece of body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyState {
    /// More body, once more bytes are read.
    More,
    /// Trailers: call `decode_trailers` with the rest of the input.
    Trailers,
    /// Nothing: the message is complete.
    Done,
}

/// What the end of the connection means for the message being read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eof {
    /// No message was under way.
    Idle,
    /// The end completes the message: its body ends with the connection, or it is a tunnel.
    Completes,
    /// The message is cut off.
    Truncated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Done,
    Length(u64),
    Chunked,
    Trailers,
    UntilClose,
}

#[derive(Debug)]
pub(super) struct BodyDecoder {
    state: State,
    chunks: ChunkDecoder,
    trailers: Progress,
    strictness: Strictness,
}

impl BodyDecoder {
    pub(super) fn new(strictness: Strictness) -> BodyDecoder {
        let chunks = ChunkDecoder::new(strictness);
        BodyDecoder {
            state: State::Done,
            chunks,
            trailers: Progress::default(),
            strictness,
        }
    }

    /// Gets ready for the body that a head announced.
    #[inline]
    pub(super) fn begin(&mut self, framing: Framing) {
        self.state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => {
                self.chunks = ChunkDecoder::new(self.strictness);
                State::Chunked
            }
            Framing::UntilClose | Framing::Tunnel => State::UntilClose,
        };
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    #[inline]
    pub(super) fn decode(&mut self, input: &mut [u8]) -> Result<Body, Violation> {
        let (len, state) = match &mut self.state {
            State::Done => (0, BodyState::Done),
            State::Trailers => (0, BodyState::Trailers),
            State::UntilClose => (input.len(), BodyState::More),
            State::Length(left) => {
                let len = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= len as u64;
                let done = *left == 0;
                if done {
                    self.state = State::Done;
                }
                (
                    len,
                    if done {
                        BodyState::Done
                    } else {
                        BodyState::More
                    },
                )
            }
            State::Chunked => return self.decode_chunks(input),
        };
        Ok(Body {
            consumed: len,
            payload: 0..len,
            state,
        })
    }

    fn decode_chunks(&mut self, input: &mut [u8]) -> Result<Body, Violation> {
        let piece = self.chunks.decode(input)?;
        let state = match piece.end {
            ChunkEnd::More => BodyState::More,
            ChunkEnd::Trailers => {
                self.state = State::Trailers;
                self.trailers = Progress::default();
                BodyState::Trailers
            }
            ChunkEnd::Done => {
                self.state = State::Done;
                BodyState::Done
            }
        };
        Ok(Body {
            consumed: piece.consumed,
            payload: piece.payload,
            state,
        })
    }

    /// Reads a trailer section; `limits` are bytes and lines. Without `enabled` it is checked and dropped,
    /// whatever its number of lines.
    pub(super) fn decode_trailers(
        &mut self,
        input: &[u8],
        map: &mut HeaderMap,
        limits: (usize, usize),
        enabled: bool,
    ) -> Result<Option<usize>, Violation> {
        let rules = FieldRules {
            part: Part::Trailers,
            max_headers: if enabled { limits.1 } else { usize::MAX },
            strictness: self.strictness,
            underscores: UnderscoreAction::Allow,
        };
        let found = read_head(
            &mut self.trailers,
            input,
            map,
            (limits.0, false),
            &rules,
            |_, _| {
                Ok(Some(Lead {
                    line: (),
                    next: 0,
                    is_all: false,
                }))
            },
        )?;
        let Some(((), seen)) = found else {
            return Ok(None);
        };
        if !enabled {
            map.clear();
        } else if !self.strictness.is_parity() {
            for known in NOT_IN_TRAILERS {
                map.remove(known);
            }
        }
        self.state = State::Done;
        Ok(Some(seen.end))
    }

    pub(super) fn eof(&mut self) -> Eof {
        match self.state {
            State::Done => Eof::Idle,
            State::UntilClose => {
                self.state = State::Done;
                Eof::Completes
            }
            State::Length(_) | State::Chunked | State::Trailers => Eof::Truncated,
        }
    }
}

/// Fields that frame, route, authenticate or describe a message have no meaning behind its body
/// (rfc9110#6.5.1).
const NOT_IN_TRAILERS: [Known; 16] = [
    Known::Authorization,
    Known::CacheControl,
    Known::Connection,
    Known::ContentEncoding,
    Known::ContentLength,
    Known::ContentRange,
    Known::ContentType,
    Known::Expect,
    Known::Host,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::SetCookie,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::Upgrade,
];
