//! The response's way: messages into JSON, or into bytes as they are; statuses of gRPC into those of HTTP.

use super::config::{Called, Transcoding};
use crate::transcoding::{decode, frames::Frames, wire};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_codec::path::percent_decode;
use nuncio_core::grpc;

/// A response's body while it is being read.
#[derive(Debug, Default)]
pub(super) struct Answer {
    frames: Frames,
    /// JSON that waits for the end.
    pub(super) made: Vec<u8>,
    /// A message of a stream has been written, or the one message there is.
    begun: bool,
    /// The last has been.
    finished: bool,
    /// The content type of what is raw.
    pub(super) content_type: Option<String>,
}

impl Answer {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.frames.len() + self.made.len()
    }

    /// Adds what came.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// Writes the messages that are complete; at the end also what closes the list of a stream.
    pub(super) fn write(&mut self, of: &Transcoding, called: &Called, end: bool) -> Result<(), String> {
        let streaming = called.server_streaming;
        let listed = streaming && !of.newline_delimited && !of.sse_delimited;
        while !self.finished {
            if let Some(flag) = self.frames.flag().filter(|flag| *flag != 0) {
                return Err(format!("Unsupported gRPC frame flag: {flag}"));
            }
            let Some((_, message)) = self.frames.next() else { break };
            let json = decode::decode(&of.pool, called.output, message, of.print)?;
            let (before, behind) = match () {
                () if !streaming => ("", ""),
                () if of.sse_delimited => ("data: ", "\n\n"),
                () if of.newline_delimited => ("", "\n"),
                () if self.begun => (",", ""),
                () => ("[", ""),
            };
            self.begun = true;
            self.finished = !streaming;
            [before, &json, behind].iter().for_each(|text| self.made.extend_from_slice(text.as_bytes()));
        }
        if end && !self.finished {
            if let Some(message) = self.frames.unfinished() {
                return Err(message);
            }
            if listed {
                self.made.extend_from_slice(if self.begun { b"]" } else { b"[]" });
            }
            self.finished = true;
        }
        Ok(())
    }

    /// Takes the bytes out of `google.api.HttpBody`s; `None` if one of them is broken.
    pub(super) fn unwrap(&mut self, called: &Called, path: &[u32]) -> Option<()> {
        while let Some((_, message)) = self.frames.next() {
            if message.is_empty() || self.begun && !called.server_streaming {
                continue;
            }
            let mut body = HttpBody::default();
            body.find(message, path)?;
            if self.content_type.is_none() {
                self.content_type = Some(std::str::from_utf8(body.content_type).ok()?.to_owned());
            }
            self.made.extend_from_slice(body.data);
            self.begun = true;
        }
        Some(())
    }
}

/// The parts of a `google.api.HttpBody` that matter here.
#[derive(Debug, Default)]
struct HttpBody<'b> {
    content_type: &'b [u8],
    data: &'b [u8],
}

impl<'b> HttpBody<'b> {
    fn find(&mut self, mut bytes: &'b [u8], path: &[u32]) -> Option<()> {
        while !bytes.is_empty() {
            let tag = wire::take_varint(&mut bytes)?;
            let (number, wire_type) = ((tag >> 3) as u32, tag & 7);
            let value = match wire_type {
                0 => {
                    wire::take_varint(&mut bytes)?;
                    continue;
                }
                1 => {
                    wire::take(&mut bytes, 8)?;
                    continue;
                }
                5 => {
                    wire::take(&mut bytes, 4)?;
                    continue;
                }
                2 => wire::take_delimited(&mut bytes)?,
                _ => return None,
            };
            match path.split_first() {
                Some((first, rest)) if *first == number => self.find(value, rest)?,
                Some(_) => {}
                None if number == 1 => self.content_type = value,
                None if number == 2 => self.data = value,
                None => {}
            }
        }
        Some(())
    }
}

/// The status that headers or trailers tell; the inner `None` is one that is no number.
#[allow(clippy::option_option, reason = "no status and no number are different things")]
pub(super) fn status(map: &HeaderMap) -> Option<Option<u64>> {
    Some(map.get_str(Known::GrpcStatus)?.parse().ok())
}

/// The error that headers or trailers tell, as a `google.rpc.Status` on the wire.
pub(super) fn details(map: &HeaderMap, status: u64) -> Vec<u8> {
    grpc::status_details(map).unwrap_or_else(|| {
        let mut message = Vec::new();
        wire::tag(&mut message, 1, 0);
        wire::varint(&mut message, status);
        if let Some(text) = map.get(Known::GrpcMessage).filter(|text| !text.is_empty()) {
            let text = percent_decode(text);
            wire::bytes(&mut message, 2, String::from_utf8_lossy(&text).as_bytes());
        }
        message
    })
}
