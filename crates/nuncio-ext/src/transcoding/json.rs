//! JSON as it comes, in pieces: values, and where the text goes wrong.
//!
//! As lenient as Envoy's parser (single quotes, bare keys, a comma before `}`), with its messages. Depth and the number
//! of values are limited; a text is read once, however it is cut.

use super::MAX_DEPTH;

/// Values of one document, or of one message of a stream.
const MAX_VALUES: usize = 1 << 20;
/// Bytes of a number or a bare key that may wait for their end.
const MAX_TOKEN: usize = 4096;
/// Bytes shown before and behind what is wrong.
const CONTEXT: usize = 20;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Want {
    Value,
    Entry,
    EntryMid,
    ObjectMid,
    ArrayValue,
    ArrayMid,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Text,
    Number,
    True,
    False,
    Null,
    BeginObject,
    EndObject,
    BeginArray,
    EndArray,
    Colon,
    Comma,
    Key,
    Unknown,
}

enum Stop {
    /// The token's end has not come yet.
    More,
    Bad(String),
}

#[derive(Debug)]
enum Open {
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Reads one value, or (for a stream) the values of one list.
#[derive(Debug)]
pub(crate) struct Parser {
    stream: bool,
    want: Vec<Want>,
    open: Vec<(String, Open)>,
    key: String,
    /// The string that is being read, and the quote it began with.
    text: String,
    quote: Option<u8>,
    /// What is still to be read again with what follows.
    waiting: Vec<u8>,
    values: usize,
}

/// A piece of text at work.
struct Piece<'t> {
    text: &'t str,
    at: usize,
    last: bool,
}

impl<'t> Piece<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn bad(&self, message: &str) -> Stop {
        let mut from = self.at.saturating_sub(CONTEXT);
        let mut to = (self.at + CONTEXT).min(self.text.len());
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        while !self.text.is_char_boundary(to) {
            to -= 1;
        }
        Stop::Bad(format!("{message}\n{}\n{}^", &self.text[from..to], " ".repeat(self.at - from)))
    }

    /// What cannot be told apart yet, or is wrong.
    fn unknown(&self, message: &str) -> Stop {
        if !self.last {
            return Stop::More;
        }
        match self.rest().is_empty() {
            true => self.bad(&format!("Unexpected end of string. {message}")),
            false => self.bad(message),
        }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        let kept = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        self.at += rest.len() - kept.len();
    }

    fn token(&mut self) -> Token {
        self.skip_space();
        let rest = self.rest();
        let Some(first) = rest.bytes().next() else { return Token::Unknown };
        match first {
            b'"' | b'\'' => Token::Text,
            b'-' | b'0'..=b'9' => Token::Number,
            _ if rest.starts_with("true") => Token::True,
            _ if rest.starts_with("false") => Token::False,
            _ if rest.starts_with("null") => Token::Null,
            b'{' => Token::BeginObject,
            b'}' => Token::EndObject,
            b'[' => Token::BeginArray,
            b']' => Token::EndArray,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => Token::Key,
            _ => Token::Unknown,
        }
    }
}

impl Parser {
    /// Of one document; or of a `stream`: a list, each of whose values is given out when it is complete.
    pub(crate) fn new(stream: bool) -> Parser {
        Parser {
            stream,
            want: vec![Want::Value],
            open: Vec::new(),
            key: String::new(),
            text: String::new(),
            quote: None,
            waiting: Vec::new(),
            values: 0,
        }
    }

    /// Reads what came; values that are complete go to `out`.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<Json>) -> Result<(), String> {
        let mut held = std::mem::take(&mut self.waiting);
        let chunk = match held.is_empty() {
            true => bytes,
            false => {
                held.extend_from_slice(bytes);
                &held
            }
        };
        let valid = match std::str::from_utf8(chunk) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&chunk[..error.valid_up_to()]).unwrap_or_default(),
        };
        let mut piece = Piece { text: valid, at: 0, last: false };
        match self.run(&mut piece, out) {
            Ok(()) | Err(Stop::More) => {}
            Err(Stop::Bad(message)) => return Err(message),
        }
        piece.skip_space();
        if self.want.is_empty() && !piece.rest().is_empty() {
            return Err(message(piece.bad("Parsing terminated before end of input.")));
        }
        self.waiting = chunk[piece.at..].to_vec();
        if self.waiting.len() > MAX_TOKEN && std::str::from_utf8(&self.waiting).is_ok() {
            return Err("Unable to parse number.".to_owned());
        }
        Ok(())
    }

    /// No more comes.
    pub(crate) fn finish(&mut self, out: &mut Vec<Json>) -> Result<(), String> {
        let held = std::mem::take(&mut self.waiting);
        if self.want.is_empty() && held.is_empty() {
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(&held) else {
            let shown = String::from_utf8_lossy(&held[..held.len().min(CONTEXT)]);
            return Err(format!("Encountered non UTF-8 code points.\n{shown}\n^"));
        };
        let mut piece = Piece { text, at: 0, last: true };
        self.run(&mut piece, out).map_err(message)?;
        piece.skip_space();
        match piece.rest().is_empty() {
            true => Ok(()),
            false => Err(message(piece.bad("Parsing terminated before end of input."))),
        }
    }

    fn run(&mut self, piece: &mut Piece<'_>, out: &mut Vec<Json>) -> Result<(), Stop> {
        while let Some(&want) = self.want.last() {
            let token = if self.quote.is_some() { Token::Text } else { piece.token() };
            self.want.pop();
            if let Err(stop) = self.step(want, token, piece, out) {
                if matches!(stop, Stop::More) {
                    self.want.push(want);
                }
                return Err(stop);
            }
        }
        Ok(())
    }

    fn step(&mut self, want: Want, token: Token, piece: &mut Piece<'_>, out: &mut Vec<Json>) -> Result<(), Stop> {
        match (want, token) {
            (Want::Value, _) => self.value(token, piece, out),
            (Want::Entry, Token::EndObject) | (Want::ObjectMid, Token::EndObject) | (Want::ArrayValue, Token::EndArray)
            | (Want::ArrayMid, Token::EndArray) => {
                piece.at += 1;
                self.end(out);
                Ok(())
            }
            (Want::Entry, _) => self.entry(token, piece),
            (Want::EntryMid, Token::Colon) => self.next(piece, Want::Value),
            (Want::ObjectMid, Token::Comma) => self.next(piece, Want::Entry),
            (Want::ArrayMid, Token::Comma) => self.next(piece, Want::ArrayValue),
            (Want::ArrayValue, Token::Unknown) => Err(piece.unknown("Expected a value or ] within an array.")),
            (Want::ArrayValue, _) => {
                self.want.push(Want::ArrayMid);
                let result = self.value(token, piece, out);
                if matches!(result, Err(Stop::More)) {
                    self.want.pop();
                }
                result
            }
            (Want::EntryMid, _) => Err(wrong(piece, token, "Expected : between key:value pair.")),
            (Want::ObjectMid, _) => Err(wrong(piece, token, "Expected , or } after key:value pair.")),
            (Want::ArrayMid, _) => Err(wrong(piece, token, "Expected , or ] after array value.")),
        }
    }

    fn next(&mut self, piece: &mut Piece<'_>, want: Want) -> Result<(), Stop> {
        piece.at += 1;
        self.want.push(want);
        Ok(())
    }

    fn value(&mut self, token: Token, piece: &mut Piece<'_>, out: &mut Vec<Json>) -> Result<(), Stop> {
        let value = match token {
            Token::BeginObject => return self.begin(piece, Open::Object(Vec::new()), Want::Entry),
            Token::BeginArray => return self.begin(piece, Open::List(Vec::new()), Want::ArrayValue),
            Token::Text => {
                self.string(piece)?;
                Json::Text(std::mem::take(&mut self.text))
            }
            Token::Number => number(piece)?,
            Token::True => word(piece, 4, Json::Bool(true)),
            Token::False => word(piece, 5, Json::Bool(false)),
            Token::Null => word(piece, 4, Json::Null),
            Token::Unknown => return Err(piece.unknown("Expected a value.")),
            _ if !piece.last && piece.rest().len() < 5 => return Err(Stop::More),
            _ => return Err(piece.bad("Unexpected token.")),
        };
        if self.stream && self.open.is_empty() {
            return Err(Stop::Bad("Expected an array instead of a scalar value.".to_owned()));
        }
        self.put(value, out)
    }

    fn begin(&mut self, piece: &mut Piece<'_>, open: Open, want: Want) -> Result<(), Stop> {
        piece.at += 1;
        let in_list = matches!(open, Open::List(_));
        if self.stream && self.open.is_empty() && !in_list {
            return Err(Stop::Bad("Expected an array instead of an object".to_owned()));
        }
        if self.open.len() >= MAX_DEPTH {
            let place = if in_list { "in array".to_owned() } else { format!("for key '{}'", self.key) };
            return Err(Stop::Bad(format!("Message too deep. Max recursion depth reached {place}")));
        }
        self.count()?;
        self.open.push((std::mem::take(&mut self.key), open));
        self.want.push(want);
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Json>) {
        let Some((key, open)) = self.open.pop() else { return };
        if self.stream && self.open.is_empty() {
            return;
        }
        let value = match open {
            Open::List(values) => Json::List(values),
            Open::Object(entries) => Json::Object(entries),
        };
        self.place(key, value, out);
    }

    fn put(&mut self, value: Json, out: &mut Vec<Json>) -> Result<(), Stop> {
        self.count()?;
        let key = std::mem::take(&mut self.key);
        self.place(key, value, out);
        Ok(())
    }

    fn place(&mut self, key: String, value: Json, out: &mut Vec<Json>) {
        let streamed = self.stream && self.open.len() == 1;
        match self.open.last_mut() {
            Some((_, Open::List(values))) if !streamed => values.push(value),
            Some((_, Open::Object(entries))) => entries.push((key, value)),
            _ => {
                self.values = 0;
                out.push(value);
            }
        }
    }

    fn count(&mut self) -> Result<(), Stop> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Stop::Bad("Message has too many values.".to_owned()));
        }
        Ok(())
    }

    fn entry(&mut self, token: Token, piece: &mut Piece<'_>) -> Result<(), Stop> {
        const MESSAGE: &str = "Expected an object key or }.";
        match token {
            Token::Unknown => return Err(piece.unknown(MESSAGE)),
            Token::Text => {
                self.string(piece)?;
                self.key = std::mem::take(&mut self.text);
            }
            Token::Key | Token::Null | Token::True | Token::False => {
                let rest = piece.rest();
                let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$')).count();
                if length == rest.len() && !piece.last {
                    return Err(Stop::More);
                }
                piece.at += length;
                self.key = rest[..length].to_owned();
                if matches!(self.key.as_str(), "null" | "true" | "false") {
                    return Err(piece.bad(MESSAGE));
                }
            }
            _ => return Err(piece.bad(MESSAGE)),
        }
        self.want.extend([Want::ObjectMid, Want::EntryMid]);
        Ok(())
    }

    /// Reads on in a string; what has been read of it is in `self.text`.
    fn string(&mut self, piece: &mut Piece<'_>) -> Result<(), Stop> {
        let quote = match self.quote {
            Some(quote) => quote,
            None => {
                let quote = piece.rest().as_bytes().first().copied().unwrap_or(b'"');
                self.quote = Some(quote);
                piece.at += 1;
                quote
            }
        };
        loop {
            let rest = piece.rest();
            let plain = rest.bytes().position(|b| b == b'\\' || b == quote);
            let Some(plain) = plain else {
                self.text.push_str(rest);
                piece.at = piece.text.len();
                return Err(if piece.last { piece.bad("Closing quote expected in string.") } else { Stop::More });
            };
            self.text.push_str(&rest[..plain]);
            piece.at += plain;
            if rest.as_bytes()[plain] == quote {
                piece.at += 1;
                self.quote = None;
                return Ok(());
            }
            let Some(escaped) = rest[plain + 1..].chars().next() else {
                return Err(if piece.last { piece.bad("Closing quote expected in string.") } else { Stop::More });
            };
            if escaped == 'u' {
                self.text.push(code_point(piece)?);
                continue;
            }
            self.text.push(match escaped {
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                other => other,
            });
            piece.at += 1 + escaped.len_utf8();
        }
    }
}

fn message(stop: Stop) -> String {
    match stop {
        Stop::Bad(message) => message,
        Stop::More => "Unexpected end of string.".to_owned(),
    }
}

fn wrong(piece: &Piece<'_>, token: Token, message: &str) -> Stop {
    if token == Token::Unknown { piece.unknown(message) } else { piece.bad(message) }
}

fn word(piece: &mut Piece<'_>, length: usize, value: Json) -> Json {
    piece.at += length;
    value
}

/// `\uXXXX`, or two of them.
fn code_point(piece: &mut Piece<'_>) -> Result<char, Stop> {
    const LENGTH: usize = 6;
    let rest = piece.rest().as_bytes();
    let short = |message: &str| if piece.last { piece.bad(message) } else { Stop::More };
    if rest.len() < LENGTH {
        return Err(short("Illegal hex string."));
    }
    let hex = |from: usize| {
        let digits = rest.get(from + 2..from + LENGTH).unwrap_or_default();
        let valid = digits.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(digits).ok().filter(|_| valid);
        text.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or_else(|| piece.bad("Invalid escape sequence."))
    };
    let mut code = hex(0)?;
    let mut used = LENGTH;
    if (0xd800..0xdc00).contains(&code) {
        if rest.len() < 2 * LENGTH {
            return Err(short("Missing low surrogate."));
        }
        if &rest[LENGTH..LENGTH + 2] != b"\\u" {
            return Err(piece.bad("Missing low surrogate."));
        }
        let low = hex(LENGTH)?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(piece.bad("Invalid low surrogate."));
        }
        code = 0x10000 + ((code & 0x3ff) << 10 | low & 0x3ff);
        used += LENGTH;
    }
    let made = char::from_u32(code).ok_or_else(|| piece.bad("Invalid unicode code point."))?;
    piece.at += used;
    Ok(made)
}

fn number(piece: &mut Piece<'_>) -> Result<Json, Stop> {
    let rest = piece.rest();
    let length = rest.bytes().take_while(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-' | b'x')).count();
    if length == rest.len() && !piece.last {
        return Err(Stop::More);
    }
    let text = &rest[..length];
    let digits = text.strip_prefix('-').unwrap_or(text);
    let floating = text.contains(['.', 'e', 'E']);
    if !floating && digits.len() > 1 && digits.starts_with('0') {
        return Err(piece.bad("Octal/hex numbers are not valid JSON values."));
    }
    let whole = match () {
        () if floating || digits.starts_with('+') => None,
        () if text.starts_with('-') => text.parse().ok().map(Json::Int),
        () => text.parse().ok().map(Json::Uint),
    };
    let value = match whole {
        Some(value) => value,
        None => {
            let double: f64 = text.parse().map_err(|_| piece.bad("Unable to parse number."))?;
            if !double.is_finite() {
                return Err(piece.bad("Number exceeds the range of double."));
            }
            Json::Double(double)
        }
    };
    piece.at += length;
    Ok(value)
}
