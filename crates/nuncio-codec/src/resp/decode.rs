//! Values out of bytes that come piece by piece.

use super::{MAX_ARRAY_LEN, MAX_BULK_BYTES, MAX_DEPTH, MAX_LINE_BYTES, Value, inline};
use std::fmt;

/// Whose bytes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A client's: commands in plain text are values, too.
    Client,
    /// A server's.
    Server,
}

/// The bytes are no RESP, or beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolError;

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the Redis protocol")
    }
}

impl std::error::Error for ProtocolError {}

/// What a line is the head of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Simple,
    Error,
    Integer,
    Bulk,
    BulkError,
    /// `=`: a string with three letters and a colon before it.
    Verbatim,
    Array,
    /// `%`: twice as many values as it says.
    Map,
    Null,
    Inline,
}

impl Kind {
    fn of(byte: u8, role: Role) -> Result<Kind, ProtocolError> {
        Ok(match byte {
            b'+' | b'#' | b',' | b'(' => Kind::Simple,
            b'-' => Kind::Error,
            b':' => Kind::Integer,
            b'$' => Kind::Bulk,
            b'!' => Kind::BulkError,
            b'=' => Kind::Verbatim,
            b'*' | b'~' | b'>' => Kind::Array,
            b'%' => Kind::Map,
            b'_' => Kind::Null,
            b'\r' | b'\t' | b' '..=b'~' if role == Role::Client => Kind::Inline,
            _ => return Err(ProtocolError),
        })
    }

    /// Whether its line is a number.
    fn counts(self) -> bool {
        !matches!(self, Kind::Simple | Kind::Error | Kind::Null | Kind::Inline)
    }
}

/// What comes next.
#[derive(Debug)]
enum State {
    /// A value.
    Begin,
    /// The rest of a line.
    Line(Kind),
    /// The rest of a string, and its line end.
    Bytes(Kind, usize),
}

/// An array that is not complete.
#[derive(Debug)]
struct Open {
    left: usize,
    values: Vec<Value>,
}

/// Makes values out of bytes.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    state: State,
    /// What has come of a line or string.
    held: Vec<u8>,
    open: Vec<Open>,
}

impl Decoder {
    /// For the bytes of clients, or of servers.
    pub fn new(role: Role) -> Decoder {
        Decoder { role, state: State::Begin, held: Vec::new(), open: Vec::new() }
    }

    /// Takes bytes from the front of `input` until a value is complete; `None`: more have to come.
    ///
    /// # Errors
    /// [`ProtocolError`]: the connection is of no use any more.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Value>, ProtocolError> {
        while let Some(&first) = input.first() {
            let value = match self.state {
                State::Begin => {
                    let kind = Kind::of(first, self.role)?;
                    if kind == Kind::Inline && !self.open.is_empty() {
                        return Err(ProtocolError);
                    }
                    if kind != Kind::Inline {
                        *input = &input[1..];
                    }
                    self.state = State::Line(kind);
                    None
                }
                State::Line(kind) => match self.line(kind, input)? {
                    true => self.end_of_line(kind)?,
                    false => return Ok(None),
                },
                State::Bytes(kind, len) => {
                    let missing = (len + 2).saturating_sub(self.held.len()).min(input.len());
                    let (now, later) = input.split_at(missing);
                    self.held.extend_from_slice(now);
                    *input = later;
                    if self.held.get(len).is_some_and(|byte| *byte != b'\r') {
                        return Err(ProtocolError);
                    }
                    if self.held.len() < len + 2 {
                        return Ok(None);
                    }
                    Some(self.end_of_bytes(kind, len)?)
                }
            };
            if let Some(value) = value
                && let Some(whole) = self.close(value)
            {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }

    /// Takes in what is there of a line; whether it is complete. It is held without its end.
    fn line(&mut self, kind: Kind, input: &mut &[u8]) -> Result<bool, ProtocolError> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let (now, later) = input.split_at(end.map_or(input.len(), |at| at + 1));
        if self.held.len() + now.len() > MAX_LINE_BYTES {
            return Err(ProtocolError);
        }
        self.held.extend_from_slice(now);
        *input = later;
        if end.is_none() {
            return Ok(false);
        }
        if self.held.ends_with(b"\r\n") {
            self.held.truncate(self.held.len() - 2);
            return Ok(true);
        }
        // In plain text a line goes on without it.
        if kind == Kind::Inline && input.is_empty() { Ok(false) } else { Err(ProtocolError) }
    }

    /// What a line comes to; `None`: it is the head of something.
    fn end_of_line(&mut self, kind: Kind) -> Result<Option<Value>, ProtocolError> {
        self.state = State::Begin;
        if !kind.counts() {
            let text = std::mem::take(&mut self.held);
            return Ok(Some(match kind {
                Kind::Error => Value::Error(text),
                Kind::Null => Value::Null,
                Kind::Inline => Value::Array(inline::words(&text)?.into_iter().map(Value::Bulk).collect()),
                _ => Value::Simple(text),
            }));
        }
        let number = number(&self.held)?;
        self.held.clear();
        if kind == Kind::Integer {
            return Ok(Some(Value::Integer(number)));
        }
        if number == -1 {
            return Ok(Some(Value::Null));
        }
        let len = usize::try_from(number).map_err(|_| ProtocolError)?;
        if matches!(kind, Kind::Array | Kind::Map) {
            return self.begin_array(if kind == Kind::Map { len.saturating_mul(2) } else { len });
        }
        if len > MAX_BULK_BYTES {
            return Err(ProtocolError);
        }
        self.state = State::Bytes(kind, len);
        Ok(None)
    }

    fn begin_array(&mut self, len: usize) -> Result<Option<Value>, ProtocolError> {
        if len > MAX_ARRAY_LEN || self.open.len() >= MAX_DEPTH {
            return Err(ProtocolError);
        }
        if len == 0 {
            return Ok(Some(Value::Array(Vec::new())));
        }
        self.open.push(Open { left: len, values: Vec::with_capacity(len.min(16)) });
        Ok(None)
    }

    fn end_of_bytes(&mut self, kind: Kind, len: usize) -> Result<Value, ProtocolError> {
        self.state = State::Begin;
        let mut bytes = std::mem::take(&mut self.held);
        if !bytes.ends_with(b"\r\n") {
            return Err(ProtocolError);
        }
        bytes.truncate(len);
        Ok(match kind {
            Kind::BulkError => Value::Error(bytes),
            Kind::Verbatim if bytes.get(3) == Some(&b':') => Value::Bulk(bytes.split_off(4)),
            _ => Value::Bulk(bytes),
        })
    }

    /// Puts a value where it belongs; the outermost one, when that is complete.
    fn close(&mut self, mut value: Value) -> Option<Value> {
        loop {
            let Some(array) = self.open.last_mut() else { return Some(value) };
            array.values.push(value);
            array.left -= 1;
            if array.left > 0 {
                return None;
            }
            value = Value::Array(self.open.pop()?.values);
        }
    }
}

/// A whole number: digits, and a minus before them if need be.
fn number(text: &[u8]) -> Result<i64, ProtocolError> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ProtocolError);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(ProtocolError)
}
