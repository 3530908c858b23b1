//! HTTP/2 frames as scripts write them, for both sides of the proxy.
//!
//! ```yaml
//! {get: /path, stream: 1, fields: ['x-a: 1']}       # HEADERS that end the stream, with all that a request takes
//! {head: 1, fields: [':method: GET', 'X-A: 1'], end: true, split: 10, open: true, pad: 3}   # exactly these fields; pieces
//!                                                   # of so many bytes; without END_HEADERS
//! {data: 1, text: hello, len: 70000, end: true, pad: 3}
//! {rst: 1, code: 8}  {window: 0, by: 100}  {ping: abcdefgh}  {goaway: 0, code: 0}  {priority: 1}
//! {settings: {4: 0}}                                # by number
//! {frame: 9, flags: 4, stream: 1, hex: 00ff}        # any frame
//! {bytes: text}                                     # no frame at all
//! {sleep_ms: n}
//! ```
//!
//! `repeat: n` sends a frame so often. `long: {x-a: 9000}` are fields of HEADERS with values of so many letters. `len` with
//! `hex` is the length of a payload that repeats those bytes.
//!
//! A stream that is left out is the one that is being answered, or the next of the client.

use crate::{message::unhex, node::Node};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// One frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A field of a header block: a literal with its name, not indexed.
pub fn field(name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    block.push(0);
    for text in [name, value] {
        let mut rest = text.len();
        if rest < 127 {
            block.push(rest as u8);
        } else {
            block.push(127);
            rest -= 127;
            while rest >= 128 {
                block.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            block.push(rest as u8);
        }
        block.extend_from_slice(text);
    }
}

/// Characters up to U+00FF stand for themselves.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c as u32).unwrap_or(b'?')).collect()
}

/// `name: value`; a pseudo header's name begins with the first colon.
fn split(line: &str) -> (Vec<u8>, Vec<u8>) {
    let from = usize::from(line.starts_with(':'));
    let at = line[from..].find(':').map_or(line.len(), |at| at + from);
    let value = line.get(at + 1..).unwrap_or_default();
    (bytes(&line[..at]), bytes(value.strip_prefix(' ').unwrap_or(value)))
}

/// HEADERS, and CONTINUATION behind it where the block is to come in pieces.
fn headers(step: &Node, stream: u32, fields: &[String]) -> Vec<u8> {
    let mut block = Vec::new();
    for line in fields {
        let (name, value) = split(line);
        field(&name, &value, &mut block);
    }
    for (name, length) in step.get("long").map_or(&[][..], Node::pairs) {
        field(&bytes(name), &b"v".repeat(length.text().parse().unwrap_or_default()), &mut block);
    }
    block.extend(step.string("hex").map(|hex| unhex(&hex)).unwrap_or_default());
    let size = step.number("split").map_or(16_000, |n| n as usize);
    let pieces: Vec<&[u8]> = if block.is_empty() { vec![&[]] } else { block.chunks(size).collect() };
    let mut out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let mut flags = if index == 0 && step.flag("end") { END_STREAM } else { 0 };
        if index + 1 == pieces.len() && !step.flag("open") {
            flags |= END_HEADERS;
        }
        let (flags, payload) = padded(step, flags, piece, index == 0);
        out.extend(frame(if index == 0 { 1 } else { 9 }, flags, stream, &payload));
    }
    out
}

fn padded(step: &Node, flags: u8, payload: &[u8], wanted: bool) -> (u8, Vec<u8>) {
    match step.number("pad").filter(|_| wanted) {
        None => (flags, payload.to_vec()),
        Some(n) => {
            let mut with = vec![n as u8];
            with.extend_from_slice(payload);
            with.resize(with.len() + n as usize, 0);
            (flags | PADDED, with)
        }
    }
}

/// What a frame of a script is about: its stream where it names one.
pub fn stream_of(step: &Node) -> Option<u32> {
    let keys = ["stream", "head", "data", "rst", "window", "goaway", "priority"];
    keys.iter().find_map(|key| step.number(key)).map(|n| n as u32)
}

/// A frame of a script, as often as it says; `stream` is the one it is on where it does not say.
pub fn compose(step: &Node, stream: u32) -> Vec<u8> {
    one(step, stream).repeat(step.number("repeat").map_or(1, |n| n as usize))
}

fn one(step: &Node, stream: u32) -> Vec<u8> {
    let stream = stream_of(step).unwrap_or(stream);
    let number = |key: &str| step.number(key).unwrap_or_default() as u32;
    let lines = || step.get("fields").map_or(&[][..], Node::items).iter().map(Node::text);
    if let Some(path) = step.string("get") {
        let mut all: Vec<String> = vec![":method: GET".into(), ":scheme: http".into(), ":authority: test".into(), format!(":path: {path}")];
        all.extend(lines());
        let mut step = step.clone();
        step.merge(&Node::pair("end", Node::Bool(true)));
        return headers(&step, stream, &all);
    }
    if step.has("head") {
        return headers(step, stream, &lines().collect::<Vec<_>>());
    }
    if step.has("data") {
        let text = step.string("text").map(|text| bytes(&text));
        let body = text.unwrap_or_else(|| (0..number("len")).map(|n| b'a' + (n % 23) as u8).collect());
        let mut out = Vec::new();
        let pieces: Vec<&[u8]> = if body.is_empty() { vec![&[]] } else { body.chunks(16_384 - 256).collect() };
        for (index, piece) in pieces.iter().enumerate() {
            let end = index + 1 == pieces.len() && step.flag("end");
            let (flags, payload) = padded(step, u8::from(end), piece, true);
            out.extend(frame(0, flags, stream, &payload));
        }
        return out;
    }
    if step.has("rst") {
        return frame(3, 0, stream, &number("code").to_be_bytes());
    }
    if step.has("window") {
        return frame(8, 0, stream, &number("by").to_be_bytes());
    }
    if let Some(text) = step.string("ping") {
        return frame(6, 0, 0, &bytes(&text));
    }
    if step.has("goaway") {
        let payload = [stream.to_be_bytes(), number("code").to_be_bytes()].concat();
        return frame(7, 0, 0, &payload);
    }
    if step.has("priority") {
        return frame(2, 0, stream, &[0, 0, 0, 0, 1]);
    }
    if let Some(settings) = step.get("settings") {
        return settings_frame(settings);
    }
    if step.has("frame") {
        let mut payload = step.string("hex").map(|hex| unhex(&hex)).unwrap_or_default();
        if step.has("len") {
            payload = payload.iter().copied().cycle().take(number("len") as usize).collect();
        }
        return frame(number("frame") as u8, number("flags") as u8, stream, &payload);
    }
    bytes(&step.string("bytes").unwrap_or_default())
}

/// SETTINGS by number.
pub fn settings_frame(settings: &Node) -> Vec<u8> {
    let mut payload = Vec::new();
    for (id, value) in settings.pairs() {
        payload.extend(id.parse::<u16>().unwrap_or_default().to_be_bytes());
        payload.extend(value.text().parse::<u32>().unwrap_or_default().to_be_bytes());
    }
    frame(4, 0, 0, &payload)
}

/// An error code by its name.
pub fn code(payload: &[u8]) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let number = number(payload);
    NAMES.get(number as usize).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// Four bytes as a number.
pub fn number(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}
