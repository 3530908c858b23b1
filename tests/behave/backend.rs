//! Scripted upstream servers.
//!
//! A backend is a list of rules; the first that fits a request answers it:
//!
//! ```yaml
//! backends:
//!   b1:
//!   - {path: /slow, delay_ms: 300, times: 2}      # only the first two requests under /slow
//!   - {path: /x, status: 503, reason: Odd, headers: {x-a: 1}, body: text, body_len: 70000, chunked: true,
//!      trailers: {x-t: v}, informational: [103], close: true}
//!   - {path: /raw, raw: "HTTP/1.1 200 OK\r\n\r\n", close: true}
//!   - {path: /die, reset: true}                    # a reset instead of an answer
//!   - {path: /never, hang: true}                   # no answer at all
//!   - {path: /ws, raw: "HTTP/1.1 101 Switching Protocols\r\n\r\n", echo: true}   # then sends back what it gets
//!   - {path: /early, early: true}                  # answers before it reads the body
//!   - {path: /health, unseen: true}                # not in the transcript
//!   - {path: /pkg.Service/Method, unseen_body: true, body_hex: 0000000000}   # a body that is no text, either way
//!   b3: [{tls: {cert: server}}, rules]             # speaks TLS, see link.rs
//!   - {raw_echo: true}                            # no HTTP: sends back what comes until it ends, or ends with "bye"
//!   b4: [{http2: {}}, rules]                      # speaks HTTP/2, see http2_backend.rs
//!   r1: [{redis: true}, rules]                     # a Redis server, see redis.rs
//!   b2: refuse                                     # nobody listens
//!   d1: {dns: {a.test: 127.0.0.1}}                 # a DNS server, see names.rs
//! ```
//!
//! Without a rule that fits, the answer is 200 with the backend's name.

use crate::{
    http2_backend,
    link::{self, Link},
    names,
    message::{self, Kind, Message, Stream},
    node::Node,
    redis,
};
use nuncio_codec::http2::Options;
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// Longest a backend waits for the rest of a request.
const PATIENCE: Duration = Duration::from_secs(20);

/// Requests that backends saw, as transcript lines, in order of arrival.
pub type Seen = Arc<Mutex<Vec<String>>>;

pub struct Backend {
    pub name: String,
    rules: Vec<Node>,
    used: Mutex<Vec<u64>>,
    seen: Seen,
    tls: Option<Arc<rustls::ServerConfig>>,
    http2: Option<Options>,
}

/// Starts a backend on a port, unless it is one that refuses.
pub fn start(name: &str, rules: &Node, port: u16, seen: &Seen) -> Result<(), String> {
    if *rules == Node::from("refuse") {
        return Ok(());
    }
    if rules.get("dns").is_some() {
        return names::start(rules, port);
    }
    if rules.items().first().is_some_and(|first| first.flag("redis")) {
        return redis::start(name, &rules.items()[1..], port, seen);
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("backend {name}: {error}"))?;
    let mut rules = rules.items().to_vec();
    let tls = match rules.first().and_then(|first| first.get("tls")) {
        None => None,
        Some(tls) => Some(link::server_config(tls).map_err(|error| format!("backend {name}: {error}"))?),
    };
    if tls.is_some() {
        rules.remove(0);
    }
    let http2 = rules.first().and_then(|first| first.get("http2")).map(http2_backend::options);
    if http2.is_some() {
        rules.remove(0);
    }
    let used = Mutex::new(vec![0; rules.len()]);
    let backend = Arc::new(Backend { name: name.to_owned(), rules, used, seen: Arc::clone(seen), tls, http2 });
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let backend = Arc::clone(&backend);
            thread::spawn(move || backend.serve(stream));
        }
    });
    Ok(())
}

impl Backend {
    fn serve(&self, stream: TcpStream) {
        // A connection that ends in an error has nobody left to tell.
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.set_nodelay(true);
        let link = match &self.tls {
            None => Link::Plain(stream),
            Some(config) => {
                // Who is refused sees that for himself.
                let Ok((link, seen)) = link::server(stream, config) else { return };
                self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{} < {seen}\n", self.name));
                link
            }
        };
        let mut stream = BufReader::new(link);
        if self.rules.iter().any(|rule| rule.flag("raw_echo")) {
            let got = echo_until_bye(&mut stream).unwrap_or_default();
            let text = format!("{} < | {}\n", self.name, got.escape_ascii());
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            return;
        }
        if let Some(options) = self.http2 {
            // As above.
            let _ = http2_backend::serve(self, options, &mut stream);
            return;
        }
        while let Ok(true) = self.exchange(&mut stream) {}
    }

    /// One request and its answer; false if the connection is over.
    fn exchange(&self, stream: &mut Stream) -> std::io::Result<bool> {
        let early = self.peeks_early(stream)?;
        if let Some(rule) = early {
            self.answer(stream, &rule, false)?;
            if rule.flag("close") {
                return Ok(false);
            }
        }
        let Some(request) = message::read(stream, Kind::Request)? else { return Ok(false) };
        let rule = self.rule(&request);
        if !rule.flag("unseen") {
            let body = if rule.flag("unseen_body") { Vec::new() } else { request.body.clone() };
            let mut text = String::new();
            Message { body, ..request.clone() }.show(&format!("{} <", self.name), &mut text);
            self.note(&text);
        }
        if request.broken.is_some() {
            return Ok(false);
        }
        if rule.flag("early") {
            return Ok(true);
        }
        if let Some(ms) = rule.number("delay_ms") {
            thread::sleep(Duration::from_millis(ms));
        }
        if rule.flag("reset") {
            let socket = socket2::SockRef::from(stream.get_ref().socket());
            socket.set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
        if rule.flag("hang") {
            // Until the proxy gives up.
            let _ = stream.fill_buf();
            return Ok(false);
        }
        self.answer(stream, &rule, request.start.starts_with("HEAD "))?;
        if rule.flag("echo") {
            return echo(stream);
        }
        Ok(!rule.flag("close"))
    }

    /// The rule of a request that is to be answered before its body is read: looks at the start line only.
    fn peeks_early(&self, stream: &mut Stream) -> std::io::Result<Option<Node>> {
        if !self.rules.iter().any(|rule| rule.flag("early")) {
            return Ok(None);
        }
        let start = String::from_utf8_lossy(stream.fill_buf()?).lines().next().unwrap_or_default().to_owned();
        Ok(self.rules.iter().find(|rule| rule.flag("early") && fits(rule, &start)).cloned())
    }

    /// Adds to the transcript.
    pub fn note(&self, text: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// The rule that answers a request.
    pub fn rule(&self, request: &Message) -> Node {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for (rule, used) in self.rules.iter().zip(used.iter_mut()) {
            if fits(rule, &request.start) && rule.number("times").is_none_or(|times| *used < times) {
                *used += 1;
                return rule.clone();
            }
        }
        Node::Map(Vec::new())
    }

    fn answer(&self, stream: &mut Stream, rule: &Node, head: bool) -> std::io::Result<()> {
        let out = stream.get_mut();
        if let Some(raw) = rule.get("raw") {
            for (index, piece) in raw.items().iter().enumerate() {
                if index > 0 {
                    thread::sleep(Duration::from_millis(rule.number("gap_ms").unwrap_or(20)));
                }
                out.write_all(piece.text().as_bytes())?;
            }
            return Ok(());
        }
        let mut text = String::new();
        for status in rule.get("informational").map_or(&[][..], Node::items) {
            // Writing to a String cannot fail.
            let _ = write!(text, "HTTP/1.1 {} Informational\r\nx-early: yes\r\n\r\n", status.text());
        }
        let status = rule.number("status").unwrap_or(200);
        let _ = write!(text, "HTTP/1.1 {status} {}\r\n", rule.string("reason").unwrap_or_else(|| "OK".to_owned()));
        for (name, value) in rule.get("headers").map_or(&[][..], Node::pairs) {
            for value in value.items() {
                let _ = write!(text, "{name}: {}\r\n", value.text());
            }
        }
        let hex = rule.string("body_hex").map(|hex| message::unhex(&hex));
        let body: Vec<u8> = match rule.number("body_len") {
            _ if hex.is_some() => hex.unwrap_or_default(),
            Some(length) => (0..length).map(|n| b'a' + (n % 23) as u8).collect(),
            None => rule.string("body").unwrap_or_else(|| self.name.clone()).into_bytes(),
        };
        let bodiless = status == 204 || status == 304;
        let chunked = rule.flag("chunked");
        if chunked {
            text.push_str("transfer-encoding: chunked\r\n");
        } else if !bodiless && !rule.flag("no_length") {
            let _ = write!(text, "content-length: {}\r\n", body.len());
        }
        text.push_str("\r\n");
        out.write_all(text.as_bytes())?;
        if head || bodiless {
            return Ok(());
        }
        if !chunked {
            return out.write_all(&body);
        }
        for piece in body.chunks(1000) {
            out.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            out.write_all(piece)?;
            out.write_all(b"\r\n")?;
        }
        out.write_all(b"0\r\n")?;
        for (name, value) in rule.get("trailers").map_or(&[][..], Node::pairs) {
            out.write_all(format!("{name}: {}\r\n", value.text()).as_bytes())?;
        }
        out.write_all(b"\r\n")
    }
}

/// Sends back what comes, until nothing more does.
fn echo(stream: &mut Stream) -> std::io::Result<bool> {
    loop {
        let piece = stream.fill_buf()?.to_vec();
        if piece.is_empty() {
            return Ok(false);
        }
        stream.consume(piece.len());
        stream.get_mut().write_all(&piece)?;
    }
}

/// Sends back what comes until it ends, or ends with "bye"; returns all of it.
fn echo_until_bye(stream: &mut Stream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let piece = stream.fill_buf()?.to_vec();
        stream.consume(piece.len());
        stream.get_mut().write_all(&piece)?;
        all.extend_from_slice(&piece);
        if piece.is_empty() || piece.ends_with(b"bye") {
            return Ok(all);
        }
    }
}

/// Whether a rule is for a request with this start line.
fn fits(rule: &Node, start: &str) -> bool {
    let path = start.split(' ').nth(1).unwrap_or_default();
    rule.string("path").is_none_or(|prefix| path.starts_with(&prefix))
}
