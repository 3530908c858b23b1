//! Frames: their nine-byte heads, and the small payloads (RFC 9113, sections 4 and 6).

use super::error::{ErrorCode, Fault};

/// Bytes of a frame's head.
pub(super) const HEAD_BYTES: usize = 9;
/// Largest payload before anybody says otherwise; we never announce more.
pub(super) const MAX_FRAME_BYTES: usize = 16_384;
/// Largest window and largest stream number.
pub(super) const MAX_31: u32 = 0x7fff_ffff;

/// Frame types.
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Frame flags.
pub(super) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Parameters of SETTINGS.
pub(super) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
    pub(crate) const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// A frame's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrameHead {
    pub(super) len: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    /// The head that the bytes begin with; `None` if they are too few.
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Option<FrameHead> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        Some(FrameHead {
            len: usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]),
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & MAX_31,
        })
    }

    #[inline]
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let [_, len @ ..] = (self.len as u32).to_be_bytes();
        let id = self.stream.to_be_bytes();
        out.extend_from_slice(&[len[0], len[1], len[2], self.kind, self.flags, id[0], id[1], id[2], id[3]]);
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// A four-byte number.
pub(super) fn number(bytes: &[u8]) -> Result<u32, Fault> {
    match bytes {
        [a, b, c, d] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(Fault::FrameSize),
    }
}

/// The header block fragment of a HEADERS frame: without padding and priority.
pub(super) fn fragment(head: FrameHead, mut payload: &[u8]) -> Result<&[u8], Fault> {
    if head.has(flag::PADDED) {
        let (pad, rest) = payload.split_first().ok_or(Fault::Protocol("HEADERS: invalid padding"))?;
        let keep = rest.len().checked_sub(usize::from(*pad)).ok_or(Fault::Protocol("HEADERS: invalid padding"))?;
        payload = &rest[..keep];
    }
    if head.has(flag::PRIORITY) {
        let (priority, rest) = payload.split_at_checked(5).ok_or(Fault::FrameSize)?;
        check_dependency(head.stream, priority)?;
        payload = rest;
    }
    Ok(payload)
}

/// A stream cannot depend on itself.
pub(super) fn check_dependency(stream: u32, priority: &[u8]) -> Result<(), Fault> {
    if number(&priority[..4])? & MAX_31 == stream {
        return Err(Fault::Protocol("depend on itself"));
    }
    Ok(())
}

/// A frame with a four-byte payload.
pub(super) fn write_number(kind: u8, stream: u32, number: u32, out: &mut Vec<u8>) {
    FrameHead { len: 4, kind, flags: 0, stream }.write(out);
    out.extend_from_slice(&number.to_be_bytes());
}

pub(super) fn write_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    FrameHead { len: settings.len() * 6, kind: kind::SETTINGS, flags: 0, stream: 0 }.write(out);
    for (id, value) in settings {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

pub(super) fn write_settings_ack(out: &mut Vec<u8>) {
    FrameHead { len: 0, kind: kind::SETTINGS, flags: flag::ACK, stream: 0 }.write(out);
}

pub(super) fn write_ping(ack: bool, payload: &[u8; 8], out: &mut Vec<u8>) {
    let flags = if ack { flag::ACK } else { 0 };
    FrameHead { len: 8, kind: kind::PING, flags, stream: 0 }.write(out);
    out.extend_from_slice(payload);
}

pub(super) fn write_goaway(last: u32, code: ErrorCode, out: &mut Vec<u8>) {
    FrameHead { len: 8, kind: kind::GOAWAY, flags: 0, stream: 0 }.write(out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_written() {
        let head = FrameHead { len: 0x01_02_03, kind: kind::CONTINUATION, flags: 4, stream: MAX_31 };
        let mut out = Vec::new();
        head.write(&mut out);
        assert_eq!(FrameHead::read(&out), Some(head));
        assert_eq!(FrameHead::read(&out[..8]), None);
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let head = |flags| FrameHead { len: 0, kind: kind::HEADERS, flags, stream: 7 };
        assert_eq!(fragment(head(flag::PADDED), &[2, b'a', b'b', 0, 0]), Ok(&b"ab"[..]));
        assert_eq!(fragment(head(flag::PADDED | flag::PRIORITY), &[1, 0, 0, 0, 5, 16, b'a', 0]), Ok(&b"a"[..]));
        assert!(fragment(head(flag::PADDED), &[3, b'a', b'b']).is_err());
        assert!(fragment(head(flag::PRIORITY), &[0, 0, 0, 7, 16]).is_err(), "depends on itself");
    }
}
