//! Asking a running process through its admin interface: one request, one answer.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

/// Longest wait for the answer: a reload may have to look up new clusters first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the admin interface at `address` (`host:port`, or the path of a socket) for `target`, a path and perhaps a
/// query: whether it was done, and what it said.
///
/// # Errors
/// Nobody answers there, or not as a Nuncio does.
pub(crate) fn ask(address: &str, method: &str, target: &str) -> io::Result<(bool, String)> {
    let request = format!("{method} {target} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    if address.starts_with('/') {
        let stream = UnixStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        converse(stream, request.as_bytes())
    } else {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        converse(stream, request.as_bytes())
    }
}

fn converse(mut stream: impl Read + Write, request: &[u8]) -> io::Result<(bool, String)> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "it does not answer as an admin interface does");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(bad)?;
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    match head.split(' ').nth(1) {
        Some("200") => Ok((true, body)),
        Some("400") => Ok((false, body)),
        Some("404") => Err(io::Error::other("it does not know the question: is it a nuncio?")),
        Some(status) => Err(io::Error::other(format!("it answers {status}: {}", body.trim_end()))),
        None => Err(bad()),
    }
}

/// A body without its chunks' framing, as far as that can be read.
fn unchunked(mut framed: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = framed.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        body.push_str(chunk);
        framed = rest.get(size..).and_then(|rest| rest.strip_prefix("\r\n")).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An admin interface that always says the same.
    struct Says(&'static [u8]);

    impl Read for Says {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into)
        }
    }
    impl Write for Says {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn answers_are_read_with_and_without_chunks() {
        let asked = |answer: &'static [u8]| converse(Says(answer), b"").map_err(|error| error.to_string());
        assert_eq!(asked(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), Ok((true, "abcde".into())));
        assert_eq!(asked(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno"), Ok((false, "no".into())));
        assert!(asked(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().contains("is it a nuncio?"));
        assert!(asked(b"SSH-2.0").is_err() && asked(b"").is_err());
    }
}
