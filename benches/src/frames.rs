//! HTTP/2 as bytes: just enough to be a client that means harm, or a simple one.

/// What a client says first, with empty SETTINGS.
pub fn hello() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat()
}

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A frame whose payload is a number.
pub fn number(kind: u8, stream: u32, number: u32) -> Vec<u8> {
    frame(kind, 0, stream, &number.to_be_bytes())
}

/// A field of a header block, not indexed.
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        out.extend(length(7, text.len()));
        out.extend_from_slice(text);
    }
    out
}

/// An integer of HPACK with a prefix of so many bits.
pub fn length(bits: u32, value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![value as u8];
    }
    let (mut out, mut rest) = (vec![most as u8], value - most);
    while rest >= 128 {
        out.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    out.push(rest as u8);
    out
}

/// The fields that every request has.
pub fn block() -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];
    fields.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect()
}

/// HEADERS of a request with more fields; `end` without a body.
pub fn head(stream: u32, more: &[u8], end: bool) -> Vec<u8> {
    frame(1, 4 | u8::from(end), stream, &[&block(), more].concat())
}
