//! Upstream servers that speak HTTP/2: `{http2: {options}}` as the first rule, or the second behind `tls`.
//!
//! ```yaml
//! backends:
//!   b1:
//!   - {http2: {max_concurrent_streams: 1, initial_stream_window_size: 65535, allow_connect: true}}
//!   - {path: /x, status: 503, headers: {}, body: text, body_len: n, body_hex: 00ff, trailers: {}, informational: [103]}
//!   - {path: /r, rst: 8}                            # instead of an answer
//!   - {path: /f, frames: [{head: this, …}]}         # frames as they are, see frames.rs
//!   - {path: /g, goaway: true}                      # answers, and says goodbye
//!   - {path: /early, early: true}, {path: /never, hang: true}, {path: /e, echo: true}
//!   - {path: /p.S/M, grpc: envoy.service.accesslog.v3.StreamAccessLogsMessage}   # shows the messages, answers at the end
//!   - {path: /p.S/M, processor: {…}}               # answers each message, see processor.rs
//! ```
//!
//! CONNECT is answered at once.

use crate::{
    backend::Backend,
    frames,
    message::{Message, Stream, unhex},
    node::Node,
    processor::{Processor, Reply},
};
use nuncio_api::envoy::service::accesslog::v3::StreamAccessLogsMessage;
use nuncio_codec::headers::HeaderMap;
use nuncio_codec::http2::{Connection, ErrorCode, Event, Options, Role, StreamEnd};
use prost::Message as _;
use std::{
    collections::HashMap,
    io::{BufRead, Write},
    thread,
    time::Duration,
};

/// A request that is coming in.
#[derive(Default)]
struct Request {
    message: Message,
    rule: Node,
    answered: bool,
    /// Bytes of gRPC messages that are not complete.
    rest: Vec<u8>,
    processor: Processor,
}

/// One connection.
struct Session<'b> {
    backend: &'b Backend,
    codec: Connection,
    requests: HashMap<u32, Request>,
    /// Bodies that wait for windows.
    bodies: Vec<(u32, Vec<u8>, Option<HeaderMap>)>,
}

/// The options of a backend.
pub fn options(from: &Node) -> Options {
    let number = |key: &str, default: u32| from.number(key).map_or(default, |n| n as u32);
    let default = Options { stream_error_on_invalid_http_message: true, max_header_bytes: 1 << 20, max_headers: 1000, ..Options::default() };
    Options {
        max_concurrent_streams: number("max_concurrent_streams", 100),
        initial_stream_window_size: number("initial_stream_window_size", 1 << 20),
        allow_connect: from.flag("allow_connect"),
        ..default
    }
}

/// Serves a connection to its end.
pub fn serve(backend: &Backend, options: Options, stream: &mut Stream) -> std::io::Result<()> {
    let codec = Connection::new(Role::Server, options);
    let mut session = Session { backend, codec, requests: HashMap::new(), bodies: Vec::new() };
    loop {
        let input = stream.fill_buf()?.to_vec();
        if input.is_empty() {
            return Ok(());
        }
        let taken = session.take(&input, stream)?;
        stream.consume(taken);
        session.write(stream)?;
        if taken == 0 {
            // Not a whole frame yet: wait for more behind it.
            let mut more = vec![0; 65_536];
            let n = std::io::Read::read(stream.get_mut(), &mut more)?;
            if n == 0 {
                return Ok(());
            }
            let mut all = input;
            stream.consume(all.len());
            all.extend_from_slice(&more[..n]);
            let mut from = session.take(&all, stream)?;
            while from < all.len() {
                let n = std::io::Read::read(stream.get_mut(), &mut more)?;
                if n == 0 {
                    return Ok(());
                }
                all.extend_from_slice(&more[..n]);
                from += session.take(&all[from..].to_vec(), stream)?;
                session.write(stream)?;
            }
            session.write(stream)?;
        }
    }
}

impl Session<'_> {
    fn take(&mut self, input: &[u8], stream: &mut Stream) -> std::io::Result<usize> {
        let mut from = 0;
        loop {
            let rest = &input[from..];
            match self.codec.receive(rest) {
                Err(fault) => {
                    self.backend.note(&format!("{} < | {fault}\n", self.backend.name));
                    self.write(stream)?;
                    return Err(std::io::Error::other("fault"));
                }
                Ok((taken, event)) => {
                    from += taken;
                    let Some(event) = event else { return Ok(from) };
                    self.event(event, rest, stream)?;
                }
            }
        }
    }

    fn event(&mut self, event: Event, input: &[u8], stream: &mut Stream) -> std::io::Result<()> {
        match event {
            Event::Head { stream: id, end } => {
                let mut head = HeaderMap::default();
                self.codec.take_head(&mut head);
                let message = request(&head);
                let rule = self.backend.rule(&message);
                let early = rule.flag("early") || rule.has("grpc") || rule.has("processor") || message.start.starts_with("CONNECT ");
                self.requests.insert(id, Request { message, rule, ..Request::default() });
                if early && !end {
                    self.answer(id, stream)?;
                }
                if end {
                    self.complete(id, stream)?;
                }
            }
            Event::Data { stream: id, payload, end } => {
                let bytes = input[payload].to_vec();
                self.codec.release(id, bytes.len());
                self.data(id, &bytes);
                if end {
                    self.complete(id, stream)?;
                }
            }
            Event::Trailers { stream: id } => {
                let mut trailers = HeaderMap::default();
                self.codec.take_head(&mut trailers);
                if let Some(request) = self.requests.get_mut(&id) {
                    request.message.trailers = fields(&trailers);
                }
                self.complete(id, stream)?;
            }
            Event::End { stream: id, how } => {
                if let Some(mut request) = self.requests.remove(&id) {
                    request.message.broken = Some(match how {
                        StreamEnd::Reset(code) => format!("reset {}", frames::code(&code.0.to_be_bytes())),
                        other => format!("{other:?}"),
                    });
                    self.show(&request);
                }
                self.bodies.retain(|(of, ..)| *of != id);
            }
            Event::Goaway { code, .. } if code != ErrorCode::NO_ERROR => {
                self.backend.note(&format!("{} < goaway {}\n", self.backend.name, frames::code(&code.0.to_be_bytes())));
            }
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, id: u32, bytes: &[u8]) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        if let Some(rules) = request.rule.get("processor").cloned() {
            request.rest.extend_from_slice(bytes);
            while let Some((prefix, rest)) = request.rest.split_first_chunk::<5>()
                && let Some(message) = rest.get(..frames::number(&prefix[1..]) as usize)
            {
                let (shown, replies) = request.processor.take(message, &rules);
                self.backend.note(&format!("{} < {shown}", self.backend.name));
                let used = 5 + message.len();
                request.rest.drain(..used);
                for reply in replies {
                    match reply {
                        Reply::Message(bytes) => self.bodies.push((id, bytes, None)),
                        Reply::End(code) => {
                            let mut trailers = HeaderMap::default();
                            trailers.append("grpc-status", code);
                            self.bodies.push((id, Vec::new(), Some(trailers)));
                        }
                    }
                }
            }
            return;
        }
        let Some(name) = request.rule.string("grpc") else {
            request.message.body.extend_from_slice(bytes);
            if request.rule.flag("echo") && request.answered {
                self.bodies.push((id, bytes.to_vec(), None));
            }
            return;
        };
        request.rest.extend_from_slice(bytes);
        while let Some((prefix, rest)) = request.rest.split_first_chunk::<5>()
            && let Some(message) = rest.get(..frames::number(&prefix[1..]) as usize)
        {
            self.backend.note(&format!("{} < gRPC message\n{}", self.backend.name, told(&name, message)));
            let used = 5 + message.len();
            request.rest.drain(..used);
        }
    }

    /// The request has come whole.
    fn complete(&mut self, id: u32, stream: &mut Stream) -> std::io::Result<()> {
        let Some(request) = self.requests.get(&id) else { return Ok(()) };
        self.show(request);
        let answered = request.answered;
        if !answered {
            self.answer(id, stream)?;
        } else if request.rule.has("processor") {
            let mut trailers = HeaderMap::default();
            trailers.append("grpc-status", "0");
            self.bodies.push((id, Vec::new(), Some(trailers)));
        } else if request.rule.has("grpc") {
            // An empty message, and a good status.
            let mut trailers = HeaderMap::default();
            trailers.append("grpc-status", "0");
            self.bodies.push((id, vec![0; 5], Some(trailers)));
        } else if request.rule.flag("echo") {
            self.bodies.push((id, Vec::new(), Some(HeaderMap::default())));
        }
        self.requests.remove(&id);
        Ok(())
    }

    fn show(&self, request: &Request) {
        if !request.rule.flag("unseen") && !request.rule.has("grpc") && !request.rule.has("processor") {
            let mut text = String::new();
            request.message.show(&format!("{} <", self.backend.name), &mut text);
            self.backend.note(&text);
        }
    }

    fn answer(&mut self, id: u32, stream: &mut Stream) -> std::io::Result<()> {
        let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
        request.answered = true;
        let rule = request.rule.clone();
        let is_head = request.message.start.starts_with("HEAD ");
        if let Some(ms) = rule.number("delay_ms") {
            self.write(stream)?;
            thread::sleep(Duration::from_millis(ms));
        }
        if rule.flag("hang") {
            return Ok(());
        }
        if let Some(code) = rule.number("rst") {
            self.codec.reset(id, ErrorCode(code as u32));
            return Ok(());
        }
        if let Some(list) = rule.get("frames") {
            self.write(stream)?;
            for frame in list.items() {
                match frame.number("sleep_ms") {
                    Some(ms) => thread::sleep(Duration::from_millis(ms)),
                    None => stream.get_mut().write_all(&frames::compose(frame, id))?,
                }
            }
            return Ok(());
        }
        for status in rule.get("informational").map_or(&[][..], Node::items) {
            let mut head = HeaderMap::default();
            head.set_status(status.text().parse().unwrap_or_default());
            head.append("x-early", "yes");
            self.codec.respond(id, &head, false);
        }
        let mut head = HeaderMap::default();
        head.set_status(rule.number("status").unwrap_or(200) as u16);
        map(rule.get("headers"), &mut head);
        let open = rule.flag("echo") || rule.has("grpc") || rule.has("processor");
        let body: Vec<u8> = match rule.number("body_len") {
            _ if open || is_head => Vec::new(),
            Some(length) => (0..length).map(|n| b'a' + (n % 23) as u8).collect(),
            None if rule.has("body_hex") => unhex(&rule.string("body_hex").unwrap_or_default()),
            None => rule.string("body").unwrap_or_else(|| self.backend.name.clone()).into_bytes(),
        };
        let mut trailers = HeaderMap::default();
        map(rule.get("trailers"), &mut trailers);
        let end = !open && body.is_empty() && trailers.is_empty();
        self.codec.respond(id, &head, end);
        if !end && !open {
            self.bodies.push((id, body, Some(trailers)));
        } else if open && !self.requests[&id].message.body.is_empty() {
            self.bodies.push((id, self.requests[&id].message.body.clone(), None));
        }
        if rule.flag("goaway") {
            self.codec.goaway(ErrorCode::NO_ERROR);
        }
        Ok(())
    }

    /// Writes what there is, bodies as far as windows allow.
    fn write(&mut self, stream: &mut Stream) -> std::io::Result<()> {
        let mut waiting = Vec::new();
        for (id, body, trailers) in std::mem::take(&mut self.bodies) {
            let mut body = &body[..];
            while !body.is_empty() {
                let n = self.codec.capacity(id).min(body.len()).min(16_384);
                if n == 0 {
                    break;
                }
                let (now, later) = body.split_at(n);
                let end = later.is_empty() && trailers.as_ref().is_some_and(|trailers| trailers.is_empty());
                self.codec.begin_data(id, n, end);
                self.codec.output().extend_from_slice(now);
                body = later;
            }
            match trailers {
                trailers if !body.is_empty() => waiting.push((id, body.to_vec(), trailers)),
                Some(trailers) if !trailers.is_empty() => self.codec.trailers(id, &trailers),
                Some(_) if self.codec.can_send(id) => self.codec.begin_data(id, 0, true),
                _ => {}
            }
        }
        self.bodies = waiting;
        let out = std::mem::take(self.codec.output());
        stream.get_mut().write_all(&out)?;
        self.codec.sent(out.len() as u64);
        Ok(())
    }
}

fn map(from: Option<&Node>, head: &mut HeaderMap) {
    for (name, value) in from.map_or(&[][..], Node::pairs) {
        for value in value.items() {
            head.append(name.as_str(), value.text());
        }
    }
}

fn fields(head: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.iter().map(|field| (text(field.name), text(field.value))).collect()
}

/// A request as one of HTTP/1 is shown, but that what has no place there is among its fields.
fn request(head: &HeaderMap) -> Message {
    let mut headers = fields(head);
    let mut take = |name: &str| {
        let at = headers.iter().position(|(known, _)| known == name)?;
        Some(headers.remove(at).1)
    };
    let method = take(":method").unwrap_or_default();
    let path = take(":path").unwrap_or_else(|| "-".to_owned());
    Message { start: format!("{method} {path} HTTP/2"), headers, ..Message::default() }
}

/// A message in protobuf's JSON form, without what differs from run to run or from proxy to proxy.
fn told(name: &str, bytes: &[u8]) -> String {
    let mut bytes = bytes.to_vec();
    if name == "envoy.service.accesslog.v3.StreamAccessLogsMessage"
        && let Ok(mut message) = StreamAccessLogsMessage::decode(&*bytes)
    {
        if let Some(node) = message.identifier.as_mut().and_then(|identifier| identifier.node.as_mut()) {
            node.extensions.clear();
            node.user_agent_version_type = None;
        }
        bytes = message.encode_to_vec();
    }
    let text = nuncio_api::to_json(name, &bytes, Default::default());
    let mask = |line: &str| {
        let differs = ["_time\"", "\"time_to_", "\"duration\"", "time_unix_nano\"", "\"timeUnixNano\"", "\"port_value\""].iter().any(|word| line.contains(word));
        match line.split_once(": ").filter(|_| differs) {
            Some((key, value)) => format!("    {key}: MASKED{}\n", if value.ends_with(',') { "," } else { "" }),
            None => format!("    {line}\n"),
        }
    };
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        out.push_str(&mask(line));
        if line.ends_with("{") && ["custom_tags\"", "_headers\"", "_trailers\""].iter().any(|name| line.contains(name)) {
            sort_map(&mut lines, &mut out);
        }
    }
    out
}

/// A map's entries come in any order.
fn sort_map<'l>(lines: &mut impl Iterator<Item = &'l str>, out: &mut String) {
    let mut entries = Vec::new();
    let mut end = "";
    for line in lines {
        if line.trim_start().starts_with('}') {
            end = line;
            break;
        }
        entries.push(line.trim_end_matches(','));
    }
    entries.sort_unstable();
    out.push_str(&format!("    {}\n    {end}\n", entries.join(",\n    ")));
}
