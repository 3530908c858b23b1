//! Reading and showing HTTP/1 messages, for both sides of the proxy.

use crate::link::Link;
use std::{
    fmt::Write,
    io::{self, BufRead, BufReader, Read},
};

/// Longest body shown in full, in bytes.
const SHOWN_BODY: usize = 300;

/// A message as it came: its start line, its fields in order, its body without framing.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Why it is not whole, where it is not.
    pub broken: Option<String>,
}

/// How a message's body is delimited besides its own framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    /// To a request that gets no body: `HEAD`.
    Bodiless,
}

pub type Stream = BufReader<Link>;

impl Message {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// The message as lines with `prefix` in front. Fields are sorted by name: their order means nothing.
    pub fn show(&self, prefix: &str, out: &mut String) {
        let mut line = |text: &str| {
            let text: String = text
                .chars()
                .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
                .collect();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", format!("{prefix} {text}").trim_end());
        };
        line(&self.start);
        let mut headers = self.headers.clone();
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in &headers {
            line(&format!("  {name}: {value}"));
        }
        let plain = self.decompressed();
        let body = plain.as_ref().unwrap_or(&self.body);
        if plain.is_some() {
            line("  | decompressed:");
        }
        if !body.is_empty() {
            let text = String::from_utf8_lossy(body);
            if body.len() > SHOWN_BODY {
                line(&format!("  | {} bytes, checksum {:08x}", body.len(), checksum(body)));
            } else {
                text.split('\n').for_each(|text| line(&format!("  | {text}")));
            }
        }
        let mut trailers = self.trailers.clone();
        trailers.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in &trailers {
            line(&format!("  trailer {name}: {value}"));
        }
        if let Some(why) = &self.broken {
            line(&format!("  ! {why}"));
        }
    }
}

impl Message {
    /// The body behind its `content-encoding`: how well it is compressed is not the transcript's business.
    fn decompressed(&self) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        match self.header("content-encoding")? {
            "gzip" => flate2::read::GzDecoder::new(&*self.body).read_to_end(&mut plain).ok()?,
            "br" => brotli::Decompressor::new(&*self.body, 4096).read_to_end(&mut plain).ok()?,
            "zstd" => zstd::Decoder::new(&*self.body).ok()?.read_to_end(&mut plain).ok()?,
            _ => return None,
        };
        Some(plain)
    }
}

/// The bytes that hexadecimal digits stand for.
pub fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

/// FNV-1a, enough to see that bytes differ.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Reads one message; `None` at the end of the stream. What breaks off is noted in it.
pub fn read(stream: &mut impl BufRead, kind: Kind) -> io::Result<Option<Message>> {
    let mut message = Message::default();
    let Some(start) = read_line(stream)? else { return Ok(None) };
    message.start = start;
    if let Err(error) = read_rest(stream, kind, &mut message) {
        message.broken = Some(describe(&error));
    }
    Ok(Some(message))
}

/// What an I/O error is called in transcripts: the same on every machine.
pub fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "cut off".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "silence".to_owned(),
        _ => error.to_string(),
    }
}

fn read_rest(stream: &mut impl BufRead, kind: Kind, message: &mut Message) -> io::Result<()> {
    message.headers = read_fields(stream)?;
    let status = message.status();
    let bodiless =
        kind == Kind::Bodiless || (kind == Kind::Response && (status < 200 || status == 204 || status == 304));
    if bodiless {
        return Ok(());
    }
    if message.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
        return read_chunked(stream, message);
    }
    match message.header("content-length").and_then(|text| text.parse::<u64>().ok()) {
        Some(length) => {
            let read = stream.by_ref().take(length).read_to_end(&mut message.body)?;
            if (read as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        }
        None if kind == Kind::Response => stream.read_to_end(&mut message.body).map(|_| ()),
        None => Ok(()),
    }
}

fn read_chunked(stream: &mut impl BufRead, message: &mut Message) -> io::Result<()> {
    loop {
        let line = read_line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| io::Error::other(format!("bad chunk size {line:?}")))?;
        if size == 0 {
            message.trailers = read_fields(stream)?;
            return Ok(());
        }
        let read = stream.by_ref().take(size).read_to_end(&mut message.body)?;
        if (read as u64) < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read_line(stream)?;
    }
}

fn read_fields(stream: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, "(no colon)"));
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// A line without its end; `None` at the end of the stream.
fn read_line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    while matches!(line.last(), Some(b'\r' | b'\n')) {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
