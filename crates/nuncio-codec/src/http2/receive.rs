//! What comes in: frames in order, each checked against what may come now.

use super::connection::{Connection, Event, PREFACE, Role, StreamEnd};
use super::error::{ErrorCode, Fault, Stat};
use super::frame::{self, FrameHead, HEAD_BYTES, MAX_31, MAX_FRAME_BYTES, flag, kind, setting};
use super::head::{BlockKind, Flaw};
use crate::headers::Known;

/// Most parameters of one SETTINGS frame.
const MAX_SETTINGS: usize = 32;

/// CONTINUATION frames of one block; Envoy's number.
const CONTINUATIONS: usize = 512;

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// The client's preface, of which so many bytes have come.
    Preface(usize),
    /// A frame.
    Frame,
    /// The rest of a DATA frame.
    Data(OpenData),
    /// A CONTINUATION of this block.
    Block(OpenBlock),
    /// So many bytes of a frame that means nothing to us.
    Skip(usize),
}

/// A DATA frame that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenData {
    stream: u32,
    /// Bytes of body still to come, and of padding behind them.
    left: usize,
    padding: usize,
    end: bool,
    /// The stream is gone: nobody wants the bytes.
    unwanted: bool,
}

/// A header block that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenBlock {
    stream: u32,
    kind: BlockKind,
    end: bool,
    /// CONTINUATION frames so far.
    continuations: usize,
}

impl Connection {
    /// Looks at input. Answers with the bytes it took from the front, and the first thing that has happened; with
    /// neither more input is needed. The body of [`Event::Data`] is among the bytes taken.
    ///
    /// # Errors
    /// [`Fault`] when the connection cannot go on; it says so to the peer (see [`Connection::output`]), and takes no
    /// more input.
    pub fn receive(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Fault> {
        let mut taken = 0;
        loop {
            if let Some(fault) = self.fault {
                return Err(fault);
            }
            let step = self.step(&input[taken..]);
            let flooded = self.outbound.check(self.options.max_outbound_frames, self.options.max_outbound_control_frames);
            match (step, flooded) {
                (Err(fault), _) | (_, Err(fault)) => return Err(self.fail(fault)),
                (Ok(Some((used, None))), _) => taken += used,
                (Ok(Some((used, Some(event)))), _) => {
                    let event = match event {
                        Event::Data { stream, payload, end } => {
                            Event::Data { stream, payload: payload.start + taken..payload.end + taken, end }
                        }
                        other => other,
                    };
                    return Ok((taken + used, Some(event)));
                }
                (Ok(None), _) => return Ok((taken, None)),
            }
        }
    }

    /// One step: bytes taken and what happened; `None` if more input is needed.
    fn step(&mut self, input: &[u8]) -> Result<Option<(usize, Option<Event>)>, Fault> {
        match self.reading {
            Reading::Preface(have) => {
                let expected = &PREFACE[have..];
                let common = expected.len().min(input.len());
                if input[..common] != expected[..common] {
                    return Err(Fault::BadPreface);
                }
                self.reading = Reading::Preface(have + common);
                if common == expected.len() {
                    self.reading = Reading::Frame;
                    self.introduce();
                }
                Ok((common > 0).then_some((common, None)))
            }
            Reading::Skip(left) => {
                let skipped = left.min(input.len());
                self.reading = if skipped == left { Reading::Frame } else { Reading::Skip(left - skipped) };
                Ok((skipped > 0 || left == 0).then_some((skipped, None)))
            }
            Reading::Data(open) => Ok(self.data(open, input)),
            Reading::Frame | Reading::Block(_) => self.frame(input),
        }
    }

    fn frame(&mut self, input: &[u8]) -> Result<Option<(usize, Option<Event>)>, Fault> {
        let Some(head) = FrameHead::read(input) else { return Ok(None) };
        self.at_fault = head.stream;
        if !self.peer.known && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Fault::Protocol("SETTINGS expected"));
        }
        if head.len > MAX_FRAME_BYTES {
            return Err(Fault::FrameSize);
        }
        if let Reading::Block(open) = self.reading
            && (head.kind != kind::CONTINUATION || head.stream != open.stream)
        {
            return Err(Fault::Protocol("unexpected frame in a header block"));
        }
        let body = &input[HEAD_BYTES..];
        if head.kind == kind::DATA {
            return self.data_begins(head, body);
        }
        if head.kind > kind::CONTINUATION {
            self.reading = Reading::Skip(head.len);
            return Ok(Some((HEAD_BYTES, None)));
        }
        let Some(payload) = body.get(..head.len) else { return Ok(None) };
        let padding = match head.kind == kind::HEADERS && head.has(flag::PADDED) {
            true => payload.first().map_or(0, |pad| usize::from(*pad) + 1),
            false => 0,
        };
        self.inbound.frame(head, padding, &self.options)?;
        let event = match head.kind {
            kind::HEADERS => self.headers(head, payload)?,
            kind::CONTINUATION => self.continuation(head, payload)?,
            kind::PRIORITY => self.priority(head, payload)?,
            kind::RST_STREAM => self.rst_stream(head, payload)?,
            kind::SETTINGS => self.settings(head, payload)?,
            kind::PING => self.ping_received(head, payload)?,
            kind::GOAWAY => self.goaway_received(head, payload)?,
            kind::WINDOW_UPDATE => self.window_update(head, payload)?,
            _ => return Err(Fault::Protocol("PUSH_PROMISE: push disabled")),
        };
        Ok(Some((HEAD_BYTES + head.len, event)))
    }

    // --- bodies ---------------------------------------------------------------------------------------

    fn data_begins(&mut self, head: FrameHead, body: &[u8]) -> Result<Option<(usize, Option<Event>)>, Fault> {
        let padded = usize::from(head.has(flag::PADDED));
        if body.len() < padded {
            return Ok(None);
        }
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Fault::Protocol("DATA: stream in idle"));
        }
        if self.streams.get(&head.stream).is_some_and(|stream| !stream.disregarded && !stream.remote_open) {
            return Err(Fault::StreamClosed);
        }
        if head.len < padded {
            return Err(Fault::Protocol("DATA: invalid padding"));
        }
        let padding = if padded == 1 { usize::from(body[0]) } else { 0 };
        let left = (head.len - padded).checked_sub(padding).ok_or(Fault::Protocol("DATA: invalid padding"))?;
        self.inbound.frame(head, padding + padded, &self.options)?;
        if !self.receive.receive(head.len) {
            return Err(Fault::FlowControl);
        }
        let end = head.has(flag::END_STREAM);
        let unwanted = match self.streams.get_mut(&head.stream) {
            None => true,
            Some(stream) if stream.disregarded => true,
            Some(stream) if !stream.head_received && !stream.informed => return Err(Fault::Protocol("DATA before HEADERS")),
            Some(stream) => {
                if !stream.receive.receive(head.len) {
                    return Err(Fault::FlowControl);
                }
                false
            }
        };
        if unwanted {
            self.unwanted_data(head.stream, left, end);
        }
        // The length is checked for the whole frame, so that it makes no difference how it arrives.
        let flaw = if unwanted { None } else { self.measure(head.stream, left, end).err() };
        let unwanted = unwanted || flaw.is_some();
        self.release(head.stream, padding + padded + if unwanted { left } else { 0 });
        self.reading = Reading::Data(OpenData { stream: head.stream, left, padding, end, unwanted });
        let event = flaw.map(|how| self.end_stream(head.stream, how, ErrorCode::PROTOCOL_ERROR));
        Ok(Some((HEAD_BYTES + padded, event)))
    }

    fn data(&mut self, mut open: OpenData, input: &[u8]) -> Option<(usize, Option<Event>)> {
        let whole = open.left == 0 && open.padding == 0;
        if input.is_empty() && !whole {
            return None;
        }
        let taken = open.left.min(input.len());
        open.left -= taken;
        let skipped = if open.left == 0 { open.padding.min(input.len() - taken) } else { 0 };
        open.padding -= skipped;
        let done = open.left == 0 && open.padding == 0;
        self.reading = if done { Reading::Frame } else { Reading::Data(open) };
        let end = open.end && done;
        // A stream may have been reset between two pieces of a frame.
        let known = self.streams.contains_key(&open.stream);
        if open.unwanted || !known {
            if !open.unwanted {
                self.release(open.stream, taken);
            }
            return Some((taken + skipped, None));
        }
        let event = (taken > 0 || end).then_some(Event::Data { stream: open.stream, payload: 0..taken, end });
        if end {
            self.remote_ends(open.stream);
        }
        Some((taken + skipped, event))
    }

    /// Checks a body against the length that was announced, and that its head was the last one.
    pub(super) fn measure(&mut self, stream: u32, bytes: usize, end: bool) -> Result<(), StreamEnd> {
        let Some(stream) = self.streams.get_mut(&stream) else { return Ok(()) };
        if !stream.head_received {
            return Err(StreamEnd::WrongLength);
        }
        stream.body += bytes as u64;
        if let Some(left) = &mut stream.expected {
            *left = left.checked_sub(bytes as u64).ok_or(StreamEnd::WrongLength)?;
            if end && *left > 0 {
                return Err(StreamEnd::WrongLength);
            }
        }
        Ok(())
    }

    fn remote_ends(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.remote_open = false;
            if !stream.local_open {
                self.close(id);
            }
        }
    }

    // --- heads ----------------------------------------------------------------------------------------

    fn headers(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        if head.stream == 0 {
            return Err(Fault::Protocol("HEADERS: stream_id == 0"));
        }
        let fragment = frame::fragment(head, payload)?;
        let kind = self.block_kind(head)?;
        let open = OpenBlock { stream: head.stream, kind, end: head.has(flag::END_STREAM), continuations: 0 };
        self.builder.begin(kind);
        self.block_piece(open, fragment, head.has(flag::END_HEADERS))
    }

    fn continuation(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let Reading::Block(mut open) = self.reading else {
            return Err(Fault::Protocol("CONTINUATION: unexpected"));
        };
        open.continuations += 1;
        if open.continuations > CONTINUATIONS {
            return Err(Fault::TooManyContinuations);
        }
        self.block_piece(open, payload, head.has(flag::END_HEADERS))
    }

    /// What a HEADERS frame begins, and whether it may.
    fn block_kind(&mut self, head: FrameHead) -> Result<BlockKind, Fault> {
        if let Some(stream) = self.streams.get(&head.stream) {
            return match (stream.remote_open, stream.head_received) {
                (false, _) => Err(Fault::HeadersAfterEnd),
                (true, false) => Ok(BlockKind::Response),
                (true, true) => Ok(BlockKind::Trailers),
            };
        }
        if !self.is_idle(head.stream) {
            self.unwanted_headers(head.stream)?;
            self.counts.add(Stat::HeadersCbNoStream);
            return Ok(BlockKind::Discarded);
        }
        if self.role == Role::Client || self.is_ours(head.stream) {
            return Err(Fault::Protocol("HEADERS: stream in idle"));
        }
        if self.has_parted() {
            return Ok(BlockKind::Discarded);
        }
        self.last_peer_stream = head.stream;
        if self.goaway_sent.is_some_and(|last| head.stream > last) {
            return Ok(BlockKind::Discarded);
        }
        if self.of_peer >= self.options.max_concurrent_streams {
            if self.acknowledged {
                return Err(Fault::Protocol("request HEADERS: max concurrent streams exceeded"));
            }
            self.counts.add(Stat::StreamRefusedErrors);
            self.rst_frame(head.stream, ErrorCode::REFUSED_STREAM);
            return Ok(BlockKind::Discarded);
        }
        self.open(head.stream, true, true);
        Ok(BlockKind::Request)
    }

    fn block_piece(&mut self, open: OpenBlock, fragment: &[u8], last: bool) -> Result<Option<Event>, Fault> {
        let Connection { decoder, builder, options, .. } = self;
        let decoded = decoder.decode(fragment, last, |field| builder.field(field, options));
        decoded.map_err(|_| Fault::Compression)?;
        if !last {
            self.reading = Reading::Block(open);
            return Ok(None);
        }
        self.reading = Reading::Frame;
        self.block_ends(open)
    }

    fn block_ends(&mut self, open: OpenBlock) -> Result<Option<Event>, Fault> {
        let OpenBlock { stream: id, kind, end, .. } = open;
        let ended = self.builder.end();
        for _ in 0..self.builder.underscores_dropped {
            self.counts.add(Stat::DroppedHeadersWithUnderscores);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(None) };
        if stream.disregarded {
            self.unwanted_trailers(id, ended.is_ok() && end);
            return Ok(None);
        }
        let facts = match ended {
            // Trailers end a message, and 1xx do not.
            Ok(facts) if kind == BlockKind::Trailers && !end || facts.informational && end => {
                return self.flawed(id, Flaw::Messaging).map(Some);
            }
            Ok(facts) => facts,
            Err(flaw) => return self.flawed(id, flaw).map(Some),
        };
        if facts.informational {
            stream.informed = true;
            return Ok(Some(Event::Informational { stream: id }));
        }
        let event = if kind == BlockKind::Trailers {
            if let Some(told) = facts.content_length {
                // A length may be told behind the body; not twice.
                if stream.told_length {
                    return self.flawed(id, Flaw::Field).map(Some);
                }
                stream.expected = told.checked_sub(stream.body);
                if stream.expected.is_none() {
                    return self.flawed(id, Flaw::Messaging).map(Some);
                }
            }
            if self.role == Role::Server {
                self.counts.add(Stat::Trailers);
            }
            Event::Trailers { stream: id }
        } else {
            stream.head_received = true;
            let status = self.builder.map.status();
            let bodiless = stream.bodiless || matches!(status, Some(204 | 304));
            let counts = !bodiless && !stream.connect && !self.builder.map.is_connect();
            stream.told_length = facts.content_length.is_some();
            stream.expected = if bodiless { Some(0) } else { facts.content_length.filter(|_| counts) };
            Event::Head { stream: id, end }
        };
        if end {
            if self.measure(id, 0, true).is_err() {
                return self.flawed(id, Flaw::Messaging).map(Some);
            }
            self.remote_ends(id);
        }
        Ok(Some(event))
    }

    /// A head or trailers cannot be passed on.
    fn flawed(&mut self, id: u32, flaw: Flaw) -> Result<Event, Fault> {
        let code = match flaw {
            Flaw::Field | Flaw::Messaging => {
                self.counts.add(Stat::RxMessagingError);
                if !self.options.stream_error_on_invalid_http_message {
                    return Err(Fault::Messaging { stream: id, flaw });
                }
                ErrorCode::PROTOCOL_ERROR
            }
            Flaw::TooMany | Flaw::TooLarge | Flaw::Underscore => {
                self.counts.add(match flaw {
                    Flaw::TooMany => Stat::HeaderOverflow,
                    Flaw::TooLarge => Stat::HeaderListSizeTooLarge,
                    _ => Stat::RequestsRejectedWithUnderscoresInHeaders,
                });
                ErrorCode::INTERNAL_ERROR
            }
        };
        Ok(self.end_stream(id, StreamEnd::Flawed(flaw), code))
    }

    /// Resets a stream for what its peer did.
    fn end_stream(&mut self, id: u32, how: StreamEnd, code: ErrorCode) -> Event {
        self.rst_frame(id, code);
        self.close(id);
        Event::End { stream: id, how }
    }

    // --- the other frames -----------------------------------------------------------------------------

    fn priority(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        if payload.len() != 5 {
            return Err(Fault::FrameSize);
        }
        if self.options.as_envoy {
            return Ok(None);
        }
        if head.stream == 0 {
            return Err(Fault::Protocol("PRIORITY: stream_id == 0"));
        }
        frame::check_dependency(head.stream, payload)?;
        Ok(None)
    }

    fn rst_stream(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let code = ErrorCode(frame::number(payload)?);
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Fault::Protocol("RST_STREAM: stream in idle"));
        }
        self.counts.add(Stat::RxReset);
        if !self.streams.contains_key(&head.stream) {
            return Ok(None);
        }
        self.close(head.stream);
        Ok(Some(Event::End { stream: head.stream, how: StreamEnd::Reset(code) }))
    }

    fn settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let ack = head.has(flag::ACK);
        let (parameters, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() || ack && !payload.is_empty() {
            return Err(Fault::FrameSize);
        }
        if parameters.len() > MAX_SETTINGS {
            return Err(Fault::TooManySettings);
        }
        if head.stream != 0 {
            return Err(Fault::Protocol("SETTINGS: stream_id != 0"));
        }
        if ack {
            // We say what we allow once.
            return match std::mem::replace(&mut self.acknowledged, true) {
                true => Err(Fault::Protocol("SETTINGS: unexpected ACK")),
                false => Ok(None),
            };
        }
        let mut opened = false;
        for [a, b, value @ ..] in parameters {
            opened |= self.setting(u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value))?;
        }
        self.peer.known = true;
        frame::write_settings_ack(&mut self.out);
        self.outbound.add(HEAD_BYTES, true);
        Ok(opened.then_some(Event::Window { stream: 0 }))
    }

    /// Takes one parameter; says whether more may be sent now.
    fn setting(&mut self, id: u16, value: u32) -> Result<bool, Fault> {
        match id {
            setting::HEADER_TABLE_SIZE => self.encoder.set_limit(value as usize),
            setting::ENABLE_PUSH if value > u32::from(self.role == Role::Server) => {
                return Err(Fault::Protocol("SETTINGS: invalid SETTINGS_ENABLE_PUSH"));
            }
            setting::MAX_CONCURRENT_STREAMS => {
                let more = value > self.peer.max_concurrent_streams;
                self.peer.max_concurrent_streams = value;
                return Ok(more);
            }
            setting::INITIAL_WINDOW_SIZE => {
                if value > MAX_31 {
                    return Err(Fault::FlowControl);
                }
                let grown = i64::from(value) - i64::from(self.peer.initial_window);
                self.peer.initial_window = value;
                if !self.streams.values_mut().all(|stream| stream.send.grow(grown)) {
                    return Err(Fault::FlowControl);
                }
                return Ok(grown > 0);
            }
            setting::MAX_FRAME_SIZE => {
                if !(MAX_FRAME_BYTES as u32..1 << 24).contains(&value) {
                    return Err(Fault::Protocol("SETTINGS: invalid SETTINGS_MAX_FRAME_SIZE"));
                }
                self.peer.max_frame = value as usize;
            }
            setting::ENABLE_CONNECT_PROTOCOL => {
                // What a client says of it means nothing.
                if value > 1 || value == 0 && self.peer.connect_protocol && self.role == Role::Client {
                    return Err(Fault::Protocol("SETTINGS: invalid SETTINGS_ENABLE_CONNECT_PROTOCOL"));
                }
                self.peer.connect_protocol = value == 1;
            }
            setting::NO_RFC7540_PRIORITIES => {
                let before = self.peer.no_priorities.replace(value);
                if value > 1 || before.is_some_and(|before| before != value) {
                    return Err(Fault::Protocol("SETTINGS: invalid SETTINGS_NO_RFC7540_PRIORITIES"));
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn ping_received(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let payload: &[u8; 8] = payload.try_into().map_err(|_| Fault::FrameSize)?;
        if head.stream != 0 {
            return Err(Fault::Protocol("PING: stream_id != 0"));
        }
        if head.has(flag::ACK) {
            return Ok(Some(Event::Pong));
        }
        if self.has_parted() {
            return Ok(None);
        }
        frame::write_ping(true, payload, &mut self.out);
        self.outbound.add(HEAD_BYTES + 8, true);
        Ok(None)
    }

    fn goaway_received(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        if head.stream != 0 {
            return Err(Fault::Protocol("GOAWAY: stream_id != 0"));
        }
        let (fixed, _) = payload.split_at_checked(8).ok_or(Fault::FrameSize)?;
        let last = frame::number(&fixed[..4])? & MAX_31;
        let code = ErrorCode(frame::number(&fixed[4..])?);
        let anothers = self.options.as_envoy && last > 0 && !self.is_ours(last);
        if anothers || self.goaway_received.is_some_and(|before| last > before) {
            return Err(Fault::Protocol("GOAWAY: invalid last_stream_id"));
        }
        self.goaway_received = Some(last);
        // What the peer does not look at has ended; nobody needs to be told.
        let unseen: Vec<u32> = self.streams.keys().copied().filter(|id| *id > last && self.is_ours(*id)).collect();
        unseen.into_iter().for_each(|id| self.close(id));
        Ok(Some(Event::Goaway { last, code }))
    }

    fn window_update(&mut self, head: FrameHead, payload: &[u8]) -> Result<Option<Event>, Fault> {
        let bytes = frame::number(payload)? & MAX_31;
        if head.stream > 0 && self.is_idle(head.stream) {
            return Err(Fault::Protocol("WINDOW_UPDATE to idle stream"));
        }
        let as_envoy = self.options.as_envoy;
        let stream = self.streams.get_mut(&head.stream);
        if bytes == 0 && (head.stream == 0 || stream.is_some()) {
            return Err(Fault::Protocol("WINDOW_UPDATE: window_size_increment == 0"));
        }
        if head.stream == 0 {
            return match self.send.grow(i64::from(bytes)) {
                true => Ok(Some(Event::Window { stream: 0 })),
                false => Err(Fault::FlowControl),
            };
        }
        let Some(stream) = stream else { return Ok(None) };
        match stream.send.grow(i64::from(bytes)) {
            true => Ok(Some(Event::Window { stream: head.stream })),
            false if as_envoy => Err(Fault::FlowControl),
            false => Ok(Some(self.end_stream(head.stream, StreamEnd::WindowOverflow, ErrorCode::FLOW_CONTROL_ERROR))),
        }
    }
}

/// Whether a request's head asks for nothing but a head (HEAD), or for a tunnel (CONNECT).
pub(super) fn nature(head: &crate::HeaderMap) -> (bool, bool) {
    let method = head.method_kind();
    (method.is_head(), method.is_connect() && !head.contains(Known::Protocol))
}
