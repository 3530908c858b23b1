//! The client's side of a step that speaks HTTP/2.
//!
//! ```yaml
//! {http2: [frames], to: listener, conn: name, tls: {alpn: [h2]}, quiet_ms: n,
//!  settings: {4: 0},        # of the client, on a new connection
//!  bare: true,              # neither preface nor SETTINGS, and none is acknowledged
//!  no_windows: true,        # takes no more than the windows that there are
//!  show: true}              # the proxy's SETTINGS and windows, too
//! ```
//!
//! What comes back is shown stream by stream: how frames of different streams mix is chance.

use crate::{
    client::connect,
    frames,
    message::{self, Message, Stream},
    node::Node,
    ports::Ports,
};
use nuncio_codec::http2::{PREFACE, hpack::Decoder};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{self, Read, Write},
    thread,
    time::Duration,
};

/// Silence after which what is still open stays so.
const QUIET: Duration = Duration::from_millis(600);
/// Silence after which nothing more is expected once every stream has ended.
const SETTLED: Duration = Duration::from_millis(120);

/// A connection.
pub struct Http2 {
    stream: Stream,
    decoder: Decoder,
    next: u32,
    open: BTreeSet<u32>,
}

/// What came on one stream.
#[derive(Default)]
struct Answer {
    informational: Vec<Message>,
    message: Option<Message>,
    end: Option<String>,
}

/// What came.
#[derive(Default)]
struct Came {
    notes: Vec<String>,
    streams: BTreeMap<u32, Answer>,
    end: &'static str,
}

impl Http2 {
    /// Plays a step; the connection is handed back if it is still there.
    pub fn step(kept: Option<Http2>, step: &Node, ports: &mut Ports, out: &mut String) -> Result<Option<Http2>, String> {
        let port = ports.get(&step.string("to").unwrap_or_else(|| "main".to_owned()));
        let mut this = match kept {
            Some(kept) => kept,
            None => Http2::connect(step, port, out).map_err(|error| error.to_string())?,
        };
        for frame in step.get("http2").map_or(&[][..], Node::items) {
            if let Some(ms) = frame.number("sleep_ms") {
                thread::sleep(Duration::from_millis(ms));
                continue;
            }
            let stream = frames::stream_of(frame).unwrap_or(this.next);
            if frame.has("get") || frame.has("head") {
                this.next = this.next.max(stream + 2);
                this.open.insert(stream);
            }
            if this.stream.get_mut().write_all(&frames::compose(frame, stream)).is_err() {
                break;
            }
        }
        let mut came = Came::default();
        this.read(step, &mut came).map_err(|error| error.to_string())?;
        came.show(&this.open, out);
        Ok((came.end == "open").then_some(this))
    }

    fn connect(step: &Node, port: u16, out: &mut String) -> io::Result<Http2> {
        let mut stream = connect(step, port, out)?;
        if !step.flag("bare") {
            let mut hello = PREFACE.to_vec();
            hello.extend(frames::settings_frame(step.get("settings").unwrap_or(&Node::Null)));
            stream.get_mut().write_all(&hello)?;
        }
        Ok(Http2 { stream, decoder: Decoder::new(4096), next: 1, open: BTreeSet::new() })
    }

    fn read(&mut self, step: &Node, came: &mut Came) -> io::Result<()> {
        let quiet = step.number("quiet_ms").map(Duration::from_millis);
        let mut block: Option<(u32, bool, Vec<u8>)> = None;
        loop {
            let wait = if self.open.is_empty() { quiet.unwrap_or(SETTLED) } else { quiet.unwrap_or(QUIET) };
            self.stream.get_ref().socket().set_read_timeout(Some(wait))?;
            let mut head = [0; 9];
            if let Err(error) = self.stream.read_exact(&mut head) {
                came.end = match message::describe(&error).as_str() {
                    "silence" => "open",
                    "cut off" => "closed",
                    // Whether what was on its way to the proxy has come to nobody is chance.
                    _ => "closed",
                };
                return Ok(());
            }
            let [a, b, c, kind, flags, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            if self.stream.read_exact(&mut payload).is_err() {
                came.end = "cut off";
                return Ok(());
            }
            self.frame(step, came, &mut block, (kind, flags, u32::from_be_bytes(id)), &payload)?;
        }
    }

    fn frame(
        &mut self,
        step: &Node,
        came: &mut Came,
        block: &mut Option<(u32, bool, Vec<u8>)>,
        (kind, flags, id): (u8, u8, u32),
        payload: &[u8],
    ) -> io::Result<()> {
        let end = flags & 1 != 0;
        let mut answers = Vec::new();
        match kind {
            0 => {
                came.streams.entry(id).or_default().body(payload, end);
                if !step.flag("no_windows") && !payload.is_empty() {
                    let by = (payload.len() as u32).to_be_bytes();
                    answers.extend(frames::frame(8, 0, 0, &by));
                    if !end {
                        answers.extend(frames::frame(8, 0, id, &by));
                    }
                }
                self.ended(id, end);
            }
            1 | 9 => {
                let (id, end, mut bytes) = block.take().unwrap_or((id, end, Vec::new()));
                bytes.extend_from_slice(payload);
                if flags & 4 == 0 {
                    *block = Some((id, end, bytes));
                    return Ok(());
                }
                let mut fields = Vec::new();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let decoded = self.decoder.decode(&bytes, true, |field| fields.push((text(field.name), text(field.value))));
                decoded.map_err(|error| io::Error::other(format!("{error:?}")))?;
                came.streams.entry(id).or_default().head(fields, end);
                self.ended(id, end);
            }
            3 => {
                came.streams.entry(id).or_default().end = Some(format!("reset {}", frames::code(payload)));
                self.ended(id, true);
            }
            4 if end => {}
            4 => {
                if step.flag("show") {
                    let settings = payload.chunks(6).filter_map(|pair| Some((pair.get(1)?, frames::number(pair.get(2..)?))));
                    let text: Vec<String> = settings.map(|(id, value)| format!("{id}={value}")).collect();
                    came.notes.push(format!("settings {}", text.join(" ")));
                }
                if !step.flag("bare") {
                    answers.extend(frames::frame(4, 1, 0, &[]));
                }
            }
            6 if end => came.notes.push(format!("pong {}", String::from_utf8_lossy(payload))),
            6 => {
                came.notes.push("ping".to_owned());
                if !step.flag("no_pong") {
                    answers.extend(frames::frame(6, 1, 0, payload));
                }
            }
            7 => {
                let (last, code) = payload.split_at(4);
                let last = frames::number(last);
                let last = if last == u32::MAX >> 1 { "all".to_owned() } else { last.to_string() };
                came.notes.push(format!("goaway {last} {}", frames::code(code)));
            }
            8 if step.flag("show") => came.notes.push(format!("window {id} {}", frames::number(payload))),
            8 => {}
            other => came.notes.push(format!("frame {other} on {id}")),
        }
        // The peer may be gone already.
        let _ = self.stream.get_mut().write_all(&answers);
        Ok(())
    }

    fn ended(&mut self, id: u32, end: bool) {
        if end {
            self.open.remove(&id);
        }
    }
}

impl Answer {
    fn head(&mut self, fields: Vec<(String, String)>, end: bool) {
        match &mut self.message {
            Some(message) => message.trailers = fields,
            None => {
                let status = fields.iter().find(|(name, _)| name == ":status").map(|(_, value)| value.clone()).unwrap_or_default();
                let headers = fields.into_iter().filter(|(name, _)| name != ":status").collect();
                let message = Message { start: status.clone(), headers, ..Message::default() };
                if status.starts_with('1') { self.informational.push(message) } else { self.message = Some(message) }
            }
        }
        self.finish(end);
    }

    fn body(&mut self, payload: &[u8], end: bool) {
        self.message.get_or_insert_default().body.extend_from_slice(payload);
        self.finish(end);
    }

    fn finish(&mut self, end: bool) {
        if end {
            self.end = Some("end".to_owned());
        }
    }
}

impl Came {
    /// `open`: streams that wait for more.
    fn show(mut self: &mut Came, open: &BTreeSet<u32>, out: &mut String) {
        let this = &mut self;
        for id in open {
            this.streams.entry(*id).or_default();
        }
        // Which of the two comes first is chance.
        this.notes.sort_by_key(|note| note.starts_with("pong"));
        // Writing to a String cannot fail.
        for note in &this.notes {
            let _ = writeln!(out, "> {note}");
        }
        for (id, answer) in &this.streams {
            let _ = writeln!(out, "> stream {id}: {}", answer.end.as_deref().unwrap_or("open"));
            for message in answer.informational.iter().chain(&answer.message) {
                message.show(">  ", out);
            }
        }
        let _ = writeln!(out, "> ({})", this.end);
    }
}
