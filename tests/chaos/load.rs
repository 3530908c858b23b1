//! Backends that can die, and clients that notice everything.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Time that a slow answer takes, and that half an answer has to arrive before the backend dies.
const SLOW: Duration = Duration::from_millis(500);
const HALF: Duration = Duration::from_millis(50);
/// Longest wait of a client.
const PATIENCE: Duration = Duration::from_secs(20);

/// A backend that answers with its name, or as the path says.
pub fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(thread::spawn(move || serve(name, stream)))));
    address
}

/// A backend that answers nothing but errors, and closes every tenth connection without an answer.
pub fn failing_backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fail = |number: usize, mut stream: TcpStream| -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while head(&mut reader)?.is_some() {
            if number % 10 == 0 {
                return Ok(());
            }
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")?;
        }
        Ok(())
    };
    thread::spawn(move || listener.incoming().flatten().enumerate().for_each(|(n, stream)| drop(thread::spawn(move || fail(n, stream)))));
    address
}

/// Serves a connection; an error is the other side's going.
fn serve(name: &str, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = head(&mut reader)? {
        let path = head.split(' ').nth(1).unwrap_or_default();
        if let Some(how) = path.strip_prefix("/half/") {
            let (framing, end) = how.split_once('/').unwrap_or_default();
            let half = "x".repeat(50);
            match framing {
                "length" => write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{half}")?,
                _ => write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\n{half}")?,
            }
            thread::sleep(HALF);
            if end == "reset" {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            }
            return Ok(());
        }
        if path == "/slow" {
            thread::sleep(SLOW);
        }
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len())?;
    }
    Ok(())
}

/// The next head with its empty line, unless the connection ends before it.
fn head(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = String::new();
    while reader.read_line(&mut head)? > 0 {
        if head.ends_with("\r\n\r\n") {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// An answer as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    /// The body came to its end.
    pub complete: bool,
    /// The connection closes with it.
    pub closes: bool,
}

/// One request on a connection of its own.
pub fn get(to: SocketAddr, path: &str) -> Result<Answer, String> {
    let mut stream = TcpStream::connect(to).map_err(|error| format!("connecting: {error}"))?;
    get_on(&mut stream, path)
}

/// One request on this connection.
pub fn get_on(stream: &mut TcpStream, path: &str) -> Result<Answer, String> {
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    stream.set_read_timeout(Some(PATIENCE)).map_err(said("timeout"))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: chaos\r\n\r\n").as_bytes()).map_err(said("sending"))?;
    let mut reader = BufReader::new(stream);
    let head = head(&mut reader).map_err(said("reading the head"))?.ok_or("closed without an answer")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
    let lower = head.to_ascii_lowercase();
    let closes = lower.contains("\r\nconnection: close\r\n");
    let (body, complete) = match lower.split_once("\r\ncontent-length: ") {
        Some((_, rest)) => {
            let length: usize = rest.split("\r\n").next().and_then(|n| n.parse().ok()).ok_or("no length")?;
            let mut body = Vec::new();
            reader.by_ref().take(length as u64).read_to_end(&mut body).map_err(said("reading the body"))?;
            let complete = body.len() == length;
            (body, complete)
        }
        None => chunks(&mut reader).map_err(said("reading chunks"))?,
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status, body, complete, closes: closes || !complete })
}

/// A chunked body, and whether its last chunk came.
fn chunks(reader: &mut impl BufRead) -> io::Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let Ok(size) = u64::from_str_radix(size.trim(), 16) else { return Ok((body, false)) };
        let before = body.len();
        reader.by_ref().take(size).read_to_end(&mut body)?;
        let mut end = String::new();
        reader.read_line(&mut end)?;
        if (body.len() - before) as u64 != size || end != "\r\n" {
            return Ok((body, false));
        }
        if size == 0 {
            return Ok((body, true));
        }
    }
}

/// Clients that send one request after the other: half of them keep their connection as long as they may, the others take
/// a new one each time.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(usize, Vec<String>)>>,
}

impl Clients {
    pub fn start(count: usize, to: SocketAddr, path: &'static str) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number: usize| {
            let stop = stop.clone();
            thread::spawn(move || run(to, path, number % 2 == 0, &stop))
        };
        let threads = (0..count).map(client).collect();
        Clients { stop, threads }
    }

    /// Requests sent, and what was wrong with those that failed.
    pub fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut sent, mut failures) = (0, Vec::new());
        for thread in self.threads {
            let (of_it, failed) = thread.join().unwrap();
            sent += of_it;
            failures.extend(failed);
        }
        (sent, failures)
    }
}

fn run(to: SocketAddr, path: &str, keep: bool, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut sent, mut failures, mut kept) = (0, Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        let mut stream = match kept.take().map_or_else(|| TcpStream::connect(to), Ok) {
            Ok(stream) => stream,
            Err(error) => {
                failures.push(format!("connecting: {error}"));
                continue;
            }
        };
        sent += 1;
        match get_on(&mut stream, path) {
            Ok(answer) if answer.status == 200 && answer.complete => kept = (keep && !answer.closes).then_some(stream),
            Ok(answer) => failures.push(format!("{answer:?}")),
            Err(error) => failures.push(error),
        }
    }
    (sent, failures)
}
