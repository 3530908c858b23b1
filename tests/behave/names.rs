//! A scripted DNS server: `{dns: {a.test: 127.0.0.1, b.test: [127.0.0.1, 127.0.0.2], c.test: fail}, ttl: 60, delay_ms: 0}`.
//!
//! Names it does not know do not exist; `fail` is a server failure, `silent` no answer at all. A list of lists are servers of
//! a service: `_http._tcp.a.test: [[priority, weight, port, target]]`. Questions for anything but IPv4 addresses and services
//! have no answer.

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
    let (code, records) = match known.map(|known| (known, known.text())) {
        None => (3, Vec::new()),
        Some((_, text)) if text == "silent" => return None,
        Some((_, text)) if text == "fail" => (2, Vec::new()),
        Some((Node::List(list), _)) => (0, list.iter().filter_map(|item| record(kind, item)).collect()),
        Some((one, _)) => (0, record(kind, one).into_iter().collect()),
    };
    let count = u8::try_from(records.len()).ok()?;
    let mut message = question.get(..2)?.to_vec();
    message.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    message.extend_from_slice(question.get(12..end + 4)?);
    let ttl = u32::try_from(rules.number("ttl").unwrap_or(60)).ok()?;
    for record in records {
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message.extend(ttl.to_be_bytes());
        message.extend(u16::try_from(record.len()).ok()?.to_be_bytes());
        message.extend(record);
    }
    Some(message)
}

/// The data of a record, if it is of the kind that is asked for.
fn record(kind: u16, item: &Node) -> Option<Vec<u8>> {
    match (kind, item) {
        (1, Node::List(_)) => None,
        (1, address) => address.text().parse().ok().map(|address: Ipv4Addr| address.octets().to_vec()),
        (33, Node::List(service)) => {
            let [numbers @ .., target] = service.as_slice() else { return None };
            let mut data = Vec::new();
            for number in numbers {
                data.extend(number.text().parse::<u16>().ok()?.to_be_bytes());
            }
            for label in target.text().split('.') {
                data.push(u8::try_from(label.len()).ok()?);
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            Some(data)
        }
        _ => None,
    }
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
