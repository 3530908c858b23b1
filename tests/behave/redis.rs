//! Scripted Redis servers.
//!
//! ```yaml
//! backends:
//!   r1:
//!   - redis: true
//!   - {say: GET a, with: "$1\r\n1\r\n"}        # the answer to commands that begin with this
//!   - {say: GET slow, delay_ms: 700}           # OK, late
//!   - {say: GET bye, close: true}              # the end of the connection instead of an answer
//! ```
//!
//! Whatever no rule is for is answered with OK. Commands are in the transcript, a line each.

use crate::{backend::Seen, node::Node};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, PoisonError},
    thread,
    time::Duration,
};

/// Starts a server on a port.
pub fn start(name: &str, rules: &[Node], port: u16, seen: &Seen) -> Result<(), String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| format!("backend {name}: {error}"))?;
    let (name, rules, seen) = (name.to_owned(), rules.to_vec(), Arc::clone(seen));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (name, rules, seen) = (name.clone(), rules.clone(), Arc::clone(&seen));
            // A connection that ends in an error has nobody left to tell.
            thread::spawn(move || drop(serve(&name, &rules, stream, &seen)));
        }
    });
    Ok(())
}

fn serve(name: &str, rules: &[Node], stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let command = read(&mut stream)?;
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{name} < {command}\n"));
        let rule = rules.iter().find(|rule| rule.string("say").is_some_and(|say| command.starts_with(&say)));
        if let Some(ms) = rule.and_then(|rule| rule.number("delay_ms")) {
            thread::sleep(Duration::from_millis(ms));
        }
        if rule.is_some_and(|rule| rule.flag("close")) {
            return Ok(());
        }
        let answer = rule.and_then(|rule| rule.string("with")).unwrap_or_else(|| "+OK\r\n".to_owned());
        stream.get_mut().write_all(answer.as_bytes())?;
    }
}

/// The words of a command, spaces between them.
fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut words = Vec::new();
    for _ in 0..number(stream)? {
        let mut word = vec![0; number(stream)? + 2];
        stream.read_exact(&mut word)?;
        words.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
    }
    Ok(words.join(" "))
}

/// The number behind the first byte of a line.
fn number(stream: &mut BufReader<TcpStream>) -> std::io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    line.trim_end().get(1..).and_then(|text| text.parse().ok()).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}
