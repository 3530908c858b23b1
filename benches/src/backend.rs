//! The backend: fixed answers by path over HTTP/1 keep-alive, one thread for each connection of a proxy.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// Bytes of a stack; a proxy may open a connection for each of its clients.
const STACK_BYTES: usize = 128 * 1024;

/// Starts it on a free port of the loopback address and returns the port.
pub fn start() -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let answers = Arc::new([answer(100), answer(16 << 10), answer(1 << 20)]);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answers = answers.clone();
            // A connection that ends, for whatever reason, is the proxy's affair.
            let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || serve(stream, &answers));
        }
    });
    Ok(port)
}

fn answer(body: usize) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {body}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + body, b'a');
    answer
}

fn serve(mut stream: TcpStream, answers: &[Vec<u8>; 3]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Input::default();
    while let Some(head) = input.head(&mut stream)? {
        let answer = match head.path_is(b"/1m") {
            true => &answers[2],
            false if head.path_is(b"/16k") => &answers[1],
            false => &answers[0],
        };
        let body = head.content_length;
        input.skip(&mut stream, body)?;
        stream.write_all(answer)?;
    }
    Ok(())
}

/// What a head says that matters here.
pub struct Head {
    first_line: Vec<u8>,
    /// Bytes of the body.
    pub content_length: usize,
}

impl Head {
    fn path_is(&self, path: &[u8]) -> bool {
        self.first_line.split(|byte| *byte == b' ').nth(1) == Some(path)
    }

    /// True for a response of status 200.
    pub fn is_ok(&self) -> bool {
        self.first_line.starts_with(b"HTTP/1.1 200 ")
    }
}

/// Bytes read and not yet used. Serves the load generator too.
pub struct Input {
    block: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for Input {
    fn default() -> Self {
        Input { block: vec![0; 32 * 1024].into(), start: 0, end: 0 }
    }
}

impl Input {
    /// The next head; `None` when the peer has closed between messages.
    pub fn head(&mut self, stream: &mut TcpStream) -> io::Result<Option<Head>> {
        loop {
            let filled = &self.block[self.start..self.end];
            if let Some(len) = filled.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = parse(&filled[..len])?;
                self.start += len + 4;
                return Ok(Some(head));
            }
            self.block.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match stream.read(&mut self.block[self.end..])? {
                0 if self.end == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => self.end += more,
            }
        }
    }

    /// Reads and drops a body.
    pub fn skip(&mut self, stream: &mut TcpStream, mut bytes: usize) -> io::Result<()> {
        loop {
            let used = bytes.min(self.end - self.start);
            (self.start, bytes) = (self.start + used, bytes - used);
            if bytes == 0 {
                return Ok(());
            }
            self.start = 0;
            self.end = stream.read(&mut self.block)?;
            if self.end == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Reads a head. A chunked body is refused: nothing here sends one, so a proxy that does changes the measurement.
fn parse(head: &[u8]) -> io::Result<Head> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut parsed = Head { first_line: lines.next().unwrap_or_default().to_vec(), content_length: 0 };
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(io::Error::other("a chunked message"));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            parsed.content_length = number.ok_or_else(|| io::Error::other("a bad content-length"))?;
        }
    }
    Ok(parsed)
}
