//! A scripted DNS server: `{dns: {a.test: 127.0.0.1, b.test: [127.0.0.1, 127.0.0.2], c.test: fail}, ttl: 60, delay_ms: 0}`.
//!
//! Names it does not know do not exist; `fail` is a server failure, `silent` no answer at all; questions for anything but
//! IPv4 addresses have no answer.

use crate::node::Node;
use std::{
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::Duration,
};

/// Starts one on a port.
pub fn start(rules: &Node, port: u16) -> Result<(), String> {
    let socket = UdpSocket::bind(("127.0.0.1", port)).map_err(|error| format!("DNS server: {error}"))?;
    let rules = rules.clone();
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            if let Some(delay) = rules.number("delay_ms") {
                thread::sleep(Duration::from_millis(delay));
            }
            if let Some(answer) = answer(&question[..length], &rules) {
                // Nobody waits for it any more if that fails.
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    Ok(())
}

fn answer(question: &[u8], rules: &Node) -> Option<Vec<u8>> {
    let (name, end) = name(question)?;
    let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
    let known = rules.get("dns").and_then(|names| names.get(&name));
    let (code, addresses) = match known.map(|known| (known, known.text())) {
        None => (3, Vec::new()),
        Some((_, text)) if text == "silent" => return None,
        Some((_, text)) if text == "fail" => (2, Vec::new()),
        Some(_) if kind != 1 => (0, Vec::new()),
        Some((Node::List(list), _)) => (0, list.iter().filter_map(|item| item.text().parse().ok()).collect()),
        Some((_, text)) => (0, text.parse::<Ipv4Addr>().into_iter().collect()),
    };
    let count = u8::try_from(addresses.len()).ok()?;
    let mut message = question.get(..2)?.to_vec();
    message.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    message.extend_from_slice(question.get(12..end + 4)?);
    let ttl = u32::try_from(rules.number("ttl").unwrap_or(60)).ok()?;
    for address in addresses {
        message.extend([0xc0, 12, 0, 1, 0, 1]);
        message.extend(ttl.to_be_bytes());
        message.extend([0, 4]);
        message.extend(address.octets());
    }
    Some(message)
}

/// The name of the first question, and where it ends.
fn name(message: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_lowercase());
        at += length;
    }
}
