//! The chunked coding (rfc9112#7.1), decoding side.
//!
//! All payload of one read is moved together, so that the caller gets one piece per read; the first chunk
//! of a read stays where it is. Envoy lets some things pass that another reader would frame differently
//! (bytes between a chunk's data and its line end, control bytes in extensions); only parity does so here.

use super::rules::Strictness;
use super::violation::Violation;
use std::ops::Range;

/// Most bytes of chunk extensions in one message: nobody uses them, and they are work for nothing.
const MAX_EXTENSION_BYTES: u32 = 16 * 1024;
/// Most digits of a chunk size: those of 2^64 - 1.
const MAX_SIZE_DIGITS: u32 = 16;

/// What one call brought.
pub(super) struct Piece {
    pub(super) consumed: usize,
    pub(super) payload: Range<usize>,
    pub(super) end: ChunkEnd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ChunkEnd {
    More,
    Trailers,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In the digits of a size.
    Size,
    /// Behind the digits, before the line end.
    Extension { named: bool },
    /// Behind the CR of a size line.
    SizeLf,
    /// In a chunk's data; `left` says how much more.
    Data,
    /// Before the CR behind data.
    DataCr,
    /// Before the LF behind data.
    DataLf,
    /// In bytes behind data that Envoy skips.
    Stray,
    /// Behind the last size line: an empty line or trailers.
    Last,
    /// Behind the CR of the last line.
    LastLf,
}

#[derive(Debug)]
pub(super) struct ChunkDecoder {
    state: State,
    left: u64,
    digits: u32,
    extension_bytes: u32,
    parity: bool,
}

impl ChunkDecoder {
    pub(super) fn new(strictness: Strictness) -> ChunkDecoder {
        ChunkDecoder {
            state: State::Size,
            left: 0,
            digits: 0,
            extension_bytes: 0,
            parity: strictness.is_parity(),
        }
    }

    pub(super) fn decode(&mut self, input: &mut [u8]) -> Result<Piece, Violation> {
        let mut at = 0;
        let mut payload = 0..0;
        while let Some(&byte) = input.get(at) {
            match self.state {
                State::Data => {
                    let here = input.len() - at;
                    let len = usize::try_from(self.left).map_or(here, |left| left.min(here));
                    if payload.is_empty() {
                        payload = at..at + len;
                    } else {
                        input.copy_within(at..at + len, payload.end);
                        payload.end += len;
                    }
                    at += len;
                    self.left -= len as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                }
                State::Last if !matches!(byte, b'\r' | b'\n') => {
                    return Ok(Piece {
                        consumed: at,
                        payload,
                        end: ChunkEnd::Trailers,
                    });
                }
                State::Last | State::LastLf => {
                    at += 1;
                    match (self.state, byte) {
                        (_, b'\n') => {
                            return Ok(Piece {
                                consumed: at,
                                payload,
                                end: ChunkEnd::Done,
                            });
                        }
                        (State::Last, _) => self.state = State::LastLf,
                        _ => return Err(Violation::ChunkEnd),
                    }
                }
                _ => {
                    at += 1;
                    self.frame(byte)?;
                }
            }
        }
        Ok(Piece {
            consumed: at,
            payload,
            end: ChunkEnd::More,
        })
    }

    /// One byte of framing around data.
    fn frame(&mut self, byte: u8) -> Result<(), Violation> {
        self.state = match self.state {
            State::Size => return self.size(byte),
            State::Extension { named } => self.extension(byte, named)?,
            State::SizeLf => match byte {
                b'\n' if self.left == 0 => State::Last,
                b'\n' => State::Data,
                _ => return Err(Violation::ChunkExtension),
            },
            State::DataCr if byte == b'\r' => State::DataLf,
            State::DataLf if byte == b'\n' => self.next_size(),
            State::DataCr | State::DataLf | State::Stray if self.parity => match byte {
                b'\n' => self.next_size(),
                _ => State::Stray,
            },
            _ => return Err(Violation::ChunkEnd),
        };
        Ok(())
    }

    fn next_size(&mut self) -> State {
        self.left = 0;
        self.digits = 0;
        State::Size
    }

    fn size(&mut self, byte: u8) -> Result<(), Violation> {
        if let Some(digit) = (byte as char).to_digit(16) {
            self.digits += u32::from(self.digits <= MAX_SIZE_DIGITS);
            if self.left >> 60 != 0 || (self.digits > MAX_SIZE_DIGITS && !self.parity) {
                return Err(Violation::ChunkSize);
            }
            self.left = self.left << 4 | u64::from(digit);
            return Ok(());
        }
        self.state = match byte {
            _ if self.digits == 0 => return Err(Violation::ChunkSize),
            b'\r' => State::SizeLf,
            b' ' | b'\t' => State::Extension { named: false },
            b';' => State::Extension { named: true },
            b'\n' => return Err(Violation::ChunkExtension),
            _ => return Err(Violation::ChunkSize),
        };
        Ok(())
    }

    fn extension(&mut self, byte: u8, named: bool) -> Result<State, Violation> {
        if byte == b'\r' {
            return Ok(State::SizeLf);
        }
        if byte == b'\n' {
            return Err(Violation::ChunkExtension);
        }
        if self.parity {
            return Ok(State::Extension { named });
        }
        self.extension_bytes += 1;
        let blank = matches!(byte, b' ' | b'\t');
        let control = (byte < b' ' && !blank) || byte == 0x7f;
        if control
            || self.extension_bytes > MAX_EXTENSION_BYTES
            || !(named || blank || byte == b';')
        {
            return Err(Violation::ChunkExtension);
        }
        Ok(State::Extension {
            named: named || byte == b';',
        })
    }
}
