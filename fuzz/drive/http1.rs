//! Drives the HTTP/1 codec and checks what must hold for any input: nothing panics; the same bytes in
//! other pieces give the same messages; what is written again reads back the same and cannot be taken for
//! anything else.

use nuncio_codec::http1::*;
use nuncio_codec::{HeaderMap, Known};

/// A message as far as it was read.
#[derive(PartialEq, Debug, Default)]
struct Message {
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    framing: Option<Framing>,
    keep_alive: bool,
    body: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    complete: bool,
}

/// Either decoder, as far as the drive goes.
trait Decoder {
    /// Bytes taken, framing, keep-alive; `None`: more bytes are needed.
    fn head(
        &mut self,
        input: &[u8],
        map: &mut HeaderMap,
    ) -> Result<Option<(usize, Framing, bool)>, Violation>;
    fn body(&mut self, input: &mut [u8]) -> Result<Body, Violation>;
    fn trailers(&mut self, input: &[u8], map: &mut HeaderMap) -> Result<Option<usize>, Violation>;
}

impl Decoder for RequestDecoder {
    fn head(
        &mut self,
        input: &[u8],
        map: &mut HeaderMap,
    ) -> Result<Option<(usize, Framing, bool)>, Violation> {
        let head = self.decode_head(input, map)?;
        Ok(head.map(|head| (head.consumed, head.framing, head.keep_alive)))
    }
    fn body(&mut self, input: &mut [u8]) -> Result<Body, Violation> {
        self.decode_body(input)
    }
    fn trailers(&mut self, input: &[u8], map: &mut HeaderMap) -> Result<Option<usize>, Violation> {
        self.decode_trailers(input, map)
    }
}

impl Decoder for ResponseDecoder {
    fn head(
        &mut self,
        input: &[u8],
        map: &mut HeaderMap,
    ) -> Result<Option<(usize, Framing, bool)>, Violation> {
        let head = self.decode_head(input, map)?;
        Ok(head.map(|head| (head.consumed, head.framing, head.keep_alive)))
    }
    fn body(&mut self, input: &mut [u8]) -> Result<Body, Violation> {
        self.decode_body(input)
    }
    fn trailers(&mut self, input: &[u8], map: &mut HeaderMap) -> Result<Option<usize>, Violation> {
        self.decode_trailers(input, map)
    }
}

fn pairs(map: &HeaderMap) -> Vec<(Vec<u8>, Vec<u8>)> {
    map.iter()
        .map(|header| (header.name.to_vec(), header.value.to_vec()))
        .collect()
}

/// Reads all messages; `cuts` says how long each piece is, in turn, and is empty for one piece.
fn read(decoder: &mut dyn Decoder, bytes: &[u8], cuts: &[u8]) -> (Vec<Message>, Option<Violation>) {
    let mut messages: Vec<Message> = Vec::new();
    let mut buffer = Vec::new();
    let mut rest = bytes;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let len = cuts
            .next()
            .map_or(rest.len(), |&cut| usize::from(cut).clamp(1, rest.len()));
        let (piece, later) = rest.split_at(len);
        rest = later;
        buffer.extend_from_slice(piece);
        loop {
            match step(decoder, &mut buffer, &mut messages) {
                Ok(true) => {}
                Ok(false) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
    }
    (messages, None)
}

/// One call of the decoder; says whether to call again.
fn step(
    decoder: &mut dyn Decoder,
    buffer: &mut Vec<u8>,
    messages: &mut Vec<Message>,
) -> Result<bool, Violation> {
    let mut map = HeaderMap::new();
    let Some(message) = messages.last_mut().filter(|message| !message.complete) else {
        let Some((consumed, framing, keep_alive)) = decoder.head(buffer, &mut map)? else {
            return Ok(false);
        };
        assert!(consumed > 0 && consumed <= buffer.len());
        buffer.drain(..consumed);
        let complete = framing == Framing::None;
        let headers = pairs(&map);
        messages.push(Message {
            headers,
            framing: Some(framing),
            keep_alive,
            complete,
            ..Message::default()
        });
        return Ok(true);
    };
    let body = decoder.body(buffer)?;
    assert!(body.payload.end <= body.consumed && body.consumed <= buffer.len());
    message.body.extend_from_slice(&buffer[body.payload]);
    buffer.drain(..body.consumed);
    match body.state {
        BodyState::More => return Ok(false),
        BodyState::Done => {}
        BodyState::Trailers => {
            let Some(consumed) = decoder.trailers(buffer, &mut map)? else {
                return Ok(false);
            };
            buffer.drain(..consumed);
            message.trailers = pairs(&map);
        }
    }
    message.complete = true;
    Ok(true)
}

/// Two readings of the same bytes agree. A reading that sees more at once may find what is wrong earlier,
/// or find control bytes behind it, which outrank other faults.
fn assert_same(whole: (Vec<Message>, Option<Violation>), cut: (Vec<Message>, Option<Violation>)) {
    if let (Some(a), Some(b)) = (whole.1, cut.1) {
        assert!(
            a == b || a == Violation::Characters || b == Violation::Characters,
            "{a:?} {b:?}"
        );
    }
    let failed = whole.1.is_some() || cut.1.is_some();
    assert!(whole.0.len() == cut.0.len() || failed);
    for (index, (a, b)) in whole.0.iter().zip(&cut.0).enumerate() {
        let last = index + 1 == whole.0.len().max(cut.0.len());
        if failed && last {
            // The body up to a violation may have been handed out in pieces, or not at all.
            assert_eq!((&a.headers, a.framing), (&b.headers, b.framing));
        } else {
            assert_eq!(a, b);
        }
    }
}

/// What leads the input: options in one byte, cuts in three.
fn split_options(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&options, rest) = data.split_first()?;
    let (cuts, bytes) = rest.split_at_checked(3)?;
    Some((options, cuts, bytes))
}

fn strictness(options: u8) -> Strictness {
    if options & 1 == 0 {
        Strictness::Friendly
    } else {
        Strictness::Parity
    }
}

/// Requests from a client.
pub fn http1_request(data: &[u8]) {
    let Some((options, cuts, bytes)) = split_options(data) else {
        return;
    };
    let rules = RequestRules {
        strictness: strictness(options),
        accept_http_10: options & 2 != 0,
        enable_trailers: options & 4 != 0,
        allow_chunked_length: options & 8 != 0,
        allow_custom_methods: options & 16 != 0,
        keep_spelling: options & 32 != 0,
        max_headers: 12,
        max_head_bytes: 512,
        underscores: [UnderscoreAction::Allow, UnderscoreAction::Drop]
            [usize::from(options >> 6 & 1)],
        ..RequestRules::default()
    };
    let whole = read(&mut RequestDecoder::new(rules), bytes, &[]);
    for message in &whole.0 {
        assert_request_round_trip(message);
    }
    assert_same(whole, read(&mut RequestDecoder::new(rules), bytes, cuts));
}

fn to_map(headers: &[(Vec<u8>, Vec<u8>)]) -> HeaderMap {
    // `:method` first, so that the map knows itself for a request.
    let method = headers.iter().filter(|(name, _)| name == b":method");
    let others = headers.iter().filter(|(name, _)| name != b":method");
    method
        .chain(others)
        .map(|(name, value)| (name, value))
        .collect()
}

fn assert_request_round_trip(message: &Message) {
    let mut map = to_map(&message.headers);
    if message.framing == Some(Framing::Tunnel) || map.authority().is_none() {
        return;
    }
    map.remove(Known::Connection);
    let end_stream = message.framing == Some(Framing::None);
    let mut out = Vec::new();
    let Ok(encoding) = encode_request_head(
        &map,
        RequestEncoding {
            end_stream,
            ..Default::default()
        },
        &mut out,
    ) else {
        // An empty path of an absolute form under parity.
        return;
    };
    put_body(encoding, message, &mut out);
    assert_unmistakable(&out);
    let rules = RequestRules {
        enable_trailers: true,
        allow_custom_methods: true,
        ..RequestRules::default()
    };
    let (again, violation) = read(&mut RequestDecoder::new(rules), &out, &[]);
    // Envoy's leniencies let some hosts and paths through that are not written the same.
    if violation.is_none() {
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].complete, message.complete);
        assert_eq!(again[0].body, message.body);
    } else {
        assert!(again.is_empty(), "{violation:?}");
    }
}

fn put_body(encoding: Encoding, message: &Message, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Chunked => {
            if !message.body.is_empty() {
                chunk_prefix(message.body.len(), out);
                out.extend_from_slice(&message.body);
                out.extend_from_slice(CHUNK_SUFFIX);
            }
            if message.complete {
                chunk_end(out);
            }
        }
        Encoding::Raw | Encoding::UntilClose => out.extend_from_slice(&message.body),
        Encoding::None => {}
    }
}

/// No reader can disagree about where this message ends: one host, one length, no control bytes.
fn assert_unmistakable(message: &[u8]) {
    let end = message
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head ends")
        + 2;
    let mut counts = [0; 3];
    for line in message[..end].split_inclusive(|&b| b == b'\n') {
        let line = line
            .strip_suffix(b"\r\n")
            .expect("every line ends with CRLF");
        assert!(
            !line.iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f),
            "{}",
            line.escape_ascii()
        );
        for (count, name) in
            counts
                .iter_mut()
                .zip([&b"host:"[..], b"content-length:", b"transfer-encoding:"])
        {
            *count += usize::from(line.starts_with(name));
        }
    }
    assert!(
        counts[0] <= 1 && counts[1] + counts[2] <= 1,
        "{}",
        message.escape_ascii()
    );
}

/// Responses of an upstream.
pub fn http1_response(data: &[u8]) {
    let Some((options, cuts, bytes)) = split_options(data) else {
        return;
    };
    let rules = ResponseRules {
        strictness: strictness(options),
        enable_trailers: options & 4 != 0,
        allow_chunked_length: options & 8 != 0,
        max_headers: 12,
        max_head_bytes: 512,
        ..ResponseRules::default()
    };
    let context = ResponseContext {
        to_head: options & 2 != 0,
        to_upgrade: options & 16 != 0,
        to_connect: options & 32 != 0,
    };
    let decoder = || {
        let mut decoder = ResponseDecoder::new(rules);
        decoder.begin(context);
        decoder
    };
    let whole = read(&mut decoder(), bytes, &[]);
    for message in &whole.0 {
        assert_response_is_writable(message);
    }
    assert_same(whole, read(&mut decoder(), bytes, cuts));
}

fn assert_response_is_writable(message: &Message) {
    let map = to_map(&message.headers);
    let end_stream = message.framing == Some(Framing::None);
    let mut out = Vec::new();
    encode_response_head(
        &map,
        ResponseEncoding {
            end_stream,
            ..Default::default()
        },
        &mut out,
    )
    .expect("what was read can be written");
    let end = out
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head ends");
    assert_eq!(end + 4, out.len());
}

/// A chunked body behind a fixed head.
pub fn chunked(data: &[u8]) {
    let Some((options, cuts, bytes)) = split_options(data) else {
        return;
    };
    let rules = RequestRules {
        strictness: strictness(options),
        enable_trailers: options & 4 != 0,
        ..Default::default()
    };
    let message = [
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        bytes,
    ]
    .concat();
    let whole = read(&mut RequestDecoder::new(rules), &message, &[]);
    for message in &whole.0 {
        assert_request_round_trip(message);
    }
    assert_same(whole, read(&mut RequestDecoder::new(rules), &message, cuts));
}
