//! `nuncio reload`: has a running process read its configuration again.

use crate::cli::ReloadArgs;
use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Command, ExitCode},
    time::Duration,
};

/// Longest wait for the outcome: new clusters may have to be looked up first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has a running process reload: through its admin interface, which answers, or by SIGHUP, which does not.
pub(crate) fn reload(args: &ReloadArgs) -> ExitCode {
    if let Some(address) = &args.admin {
        return match ask(address) {
            Ok((true, outcome)) => {
                print!("{outcome}");
                ExitCode::SUCCESS
            }
            Ok((false, why)) => {
                eprintln!("error: refused; the running configuration stays\n{}", why.trim_end());
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("error: cannot ask the admin interface at {address}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let pids = match args.pid {
        Some(pid) => vec![pid],
        None => running(),
    };
    match pids.as_slice() {
        [pid] => match Command::new("kill").args(["-HUP", &pid.to_string()]).status() {
            Ok(status) if status.success() => {
                println!("told process {pid} to reload; its log says what changed (--admin ADDRESS asks and waits for the answer)");
                ExitCode::SUCCESS
            }
            _ => {
                eprintln!("error: cannot signal process {pid}");
                ExitCode::FAILURE
            }
        },
        [] => {
            eprintln!("error: no other nuncio process found; name one with --pid");
            ExitCode::FAILURE
        }
        several => {
            eprintln!("error: several nuncio processes run ({several:?}); name one with --pid");
            ExitCode::FAILURE
        }
    }
}

/// Other processes of this program that have not become something else.
fn running() -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "nuncio"))
        .collect()
}

/// Asks the admin interface at `address` (`host:port`, or the path of a socket): whether it was done, and what it said.
fn ask(address: &str) -> io::Result<(bool, String)> {
    const REQUEST: &[u8] = b"POST /reload HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    if address.starts_with('/') {
        let stream = UnixStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        converse(stream, REQUEST)
    } else {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        converse(stream, REQUEST)
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
        Some("404") => Err(io::Error::other("it has no /reload: is it a nuncio?")),
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
