//! The client's side of a step: requests, raw bytes, connections that are kept.

use crate::{
    http2_client::Http2,
    link::{self, Link},
    message::{self, Kind, Message, Stream},
    node::Node,
    ports::Ports,
};
use std::{
    fmt::Write as _,
    io::{self, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

/// Longest a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which a raw exchange counts as over.
const QUIET: Duration = Duration::from_millis(250);

/// Connections kept by name.
#[derive(Default)]
pub struct Client {
    kept: Vec<(String, Stream)>,
    http2: Vec<(String, Http2)>,
}

pub fn connect(step: &Node, port: u16, out: &mut String) -> io::Result<Stream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let Some(tls) = step.get("tls") else { return Ok(BufReader::new(Link::Plain(stream))) };
    let link = link::client(stream, tls).map_err(|_| io::Error::other("refused by TLS"))?;
    if let Some(told) = link::told(&link) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "> ({told})");
    }
    Ok(BufReader::new(link))
}

impl Client {
    fn connection(&mut self, step: &Node, port: u16, out: &mut String) -> io::Result<Stream> {
        let name = step.string("conn");
        if let Some(at) = name.and_then(|name| self.kept.iter().position(|(known, _)| *known == name)) {
            return Ok(self.kept.swap_remove(at).1);
        }
        connect(step, port, out)
    }

    fn keep(&mut self, step: &Node, stream: Stream) {
        if let Some(name) = step.string("conn") {
            self.kept.push((name, stream));
        }
    }

    /// Closes a kept connection.
    pub fn close(&mut self, name: &str) {
        self.kept.retain(|(known, _)| known != name);
        self.http2.retain(|(known, _)| known != name);
    }

    /// Plays a step of HTTP/2.
    pub fn http2(&mut self, step: &Node, ports: &mut Ports, out: &mut String) -> Result<(), String> {
        let name = step.string("conn");
        let at = name.as_ref().and_then(|name| self.http2.iter().position(|(known, _)| known == name));
        let kept = at.map(|at| self.http2.swap_remove(at).1);
        if let (Some(left), Some(name)) = (Http2::step(kept, step, ports, out)?, name) {
            self.http2.push((name, left));
        }
        Ok(())
    }

    /// Sends a request and shows the answer.
    pub fn request(&mut self, step: &Node, ports: &mut Ports, out: &mut String) -> Result<(), String> {
        let line = step.string("req").unwrap_or_default();
        let port = ports.get(&step.string("to").unwrap_or_else(|| "main".to_owned()));
        match self.exchange(step, &line, port, out) {
            Ok((Some(messages), stream)) => {
                messages.iter().for_each(|message| message.show(">", out));
                self.keep(step, stream);
            }
            Ok((None, _)) => out.push_str("> closed without an answer\n"),
            // Whether an alert or the end comes first is chance.
            Err(error) if step.has("tls") && message::describe(&error) != "silence" => out.push_str("> refused by TLS\n"),
            Err(error) => {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "> {}", message::describe(&error));
            }
        }
        Ok(())
    }

    fn exchange(&mut self, step: &Node, line: &str, port: u16, out: &mut String) -> io::Result<(Option<Vec<Message>>, Stream)> {
        let mut stream = self.connection(step, port, out)?;
        let (head, body) = compose(step, line);
        stream.get_mut().write_all(head.as_bytes())?;
        let mut messages = Vec::new();
        let kind = if line.starts_with("HEAD ") { Kind::Bodiless } else { Kind::Response };
        if step.flag("wait_100") {
            match message::read(&mut stream, kind)? {
                Some(first) if first.status() == 100 => messages.push(first),
                other => return Ok((other.map(|message| vec![message]), stream)),
            }
        }
        // A proxy that answers early may close before it has read everything.
        let sent = stream.get_mut().write_all(&body);
        if step.flag("abort") {
            thread::sleep(Duration::from_millis(step.number("after_ms").unwrap_or(50)));
            return Err(io::Error::other("gone"));
        }
        loop {
            match message::read(&mut stream, kind)? {
                None if messages.is_empty() => {
                    sent?;
                    return Ok((None, stream));
                }
                None => return Ok((Some(messages), stream)),
                Some(message) => {
                    let last = message.status() >= 200 || message.status() == 101 || message.status() == 0;
                    messages.push(message);
                    if last {
                        return Ok((Some(messages), stream));
                    }
                }
            }
        }
    }

    /// Sends bytes as they are and shows all that comes back until the connection ends or is quiet.
    pub fn raw(&mut self, step: &Node, ports: &mut Ports, out: &mut String) -> Result<(), String> {
        let port = ports.get(&step.string("to").unwrap_or_else(|| "main".to_owned()));
        let mut stream = self.connection(step, port, out).map_err(|error| error.to_string())?;
        let pieces = step.get("raw").map_or(&[][..], Node::items);
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                thread::sleep(Duration::from_millis(step.number("gap_ms").unwrap_or(30)));
            }
            if stream.get_mut().write_all(&bytes(&piece.text())).is_err() {
                break;
            }
        }
        if step.flag("shutdown") {
            // The peer may be gone already.
            let _ = stream.get_ref().socket().shutdown(Shutdown::Write);
        }
        let quiet = step.number("quiet_ms").map_or(QUIET, Duration::from_millis);
        stream.get_ref().socket().set_read_timeout(Some(quiet)).map_err(|error| error.to_string())?;
        let mut got = Vec::new();
        let end = match stream.read_to_end(&mut got) {
            Ok(_) => "closed".to_owned(),
            Err(error) if message::describe(&error) == "silence" => "open".to_owned(),
            Err(error) => message::describe(&error),
        };
        let mut rest = &got[..];
        if step.flag("plain") {
            // No HTTP: line by line as it is.
            for line in rest.split_inclusive(|byte| *byte == b'\n') {
                let _ = writeln!(out, "> | {}", line.escape_ascii());
            }
            rest = &[];
        }
        while let Ok(Some(message)) = message::read(&mut rest, Kind::Response) {
            message.show(">", out);
            if message.status() == 101 {
                break;
            }
        }
        if !rest.is_empty() {
            let _ = writeln!(out, "> | {}", rest.escape_ascii());
        }
        // Whoever says that it closes may still wait for the client to do so first.
        let head = String::from_utf8_lossy(&got).to_ascii_lowercase();
        let closing =
            head.contains("\r\nconnection: close\r\n") && (end == "open" || end == "closed" || end == "reset");
        let _ = writeln!(out, "> ({})", if closing { "closing" } else { &end });
        if end == "open" {
            stream.get_ref().socket().set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
            self.keep(step, stream);
        }
        Ok(())
    }
}

/// A request's head and body as bytes.
fn compose(step: &Node, line: &str) -> (String, Vec<u8>) {
    let version = step.string("http").unwrap_or_else(|| "1.1".to_owned());
    let mut head = format!("{line} HTTP/{version}\r\n");
    if !step.has("host") {
        head.push_str("host: test\r\n");
    } else if let Some(host) = step.string("host") {
        let _ = write!(head, "host: {host}\r\n");
    }
    for (name, value) in step.get("headers").map_or(&[][..], Node::pairs) {
        for value in value.items() {
            let _ = write!(head, "{name}: {}\r\n", value.text());
        }
    }
    let body = match (step.number("body_len"), step.string("body")) {
        _ if step.has("body_hex") => message::unhex(&step.string("body_hex").unwrap_or_default()),
        (Some(length), _) => (0..length).map(|n| b'a' + (n % 23) as u8).collect(),
        (None, Some(text)) => text.into_bytes(),
        (None, None) => Vec::new(),
    };
    if !step.flag("chunked") {
        if step.has("body") || step.has("body_hex") || step.has("body_len") {
            let _ = write!(head, "content-length: {}\r\n", body.len());
        }
        return (head + "\r\n", body);
    }
    head.push_str("transfer-encoding: chunked\r\n\r\n");
    let mut framed = Vec::new();
    for piece in body.chunks(700) {
        framed.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n");
    for (name, value) in step.get("trailers").map_or(&[][..], Node::pairs) {
        framed.extend_from_slice(format!("{name}: {}\r\n", value.text()).as_bytes());
    }
    framed.extend_from_slice(b"\r\n");
    (head, framed)
}

/// The bytes of a raw text: characters up to U+00FF stand for themselves.
fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|c| match u8::try_from(c as u32) {
            Ok(byte) => vec![byte],
            Err(_) => c.to_string().into_bytes(),
        })
        .collect()
}
