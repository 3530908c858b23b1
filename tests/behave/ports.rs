//! Free ports by name: `PORT_b1` in a script is always the same number within one run; texts with them that are sealed.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Ports below the ones the system gives to outgoing connections.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// The ports of one run.
#[derive(Debug, Default)]
pub struct Ports {
    named: Vec<(String, u16)>,
}

impl Ports {
    /// The port of that name, found free when it is first asked for.
    pub fn get(&mut self, name: &str) -> u16 {
        if let Some((_, port)) = self.named.iter().find(|(known, _)| known == name) {
            return *port;
        }
        let port = free();
        self.named.push((name.to_owned(), port));
        port
    }

    /// Puts numbers in the place of the word `PORT_name`.
    pub fn fill(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("PORT_") {
            let name = &rest[at + 5..];
            if rest[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                out.push_str(&rest[..at + 5]);
                rest = name;
                continue;
            }
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            out.push_str(&rest[..at]);
            out.push_str(&self.get(&name[..end]).to_string());
            rest = &name[end..];
        }
        sealed(out + rest)
    }

    /// Puts names in the place of numbers.
    pub fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, port) in &self.named {
            for (word, seal) in SEALS {
                text = text.replace(&seal(&format!("127.0.0.1:{port}")), &format!("{word}(127.0.0.1:PORT_{name})"));
            }
            text = replace_number(&text, &port.to_string(), &format!("PORT_{name}"));
        }
        text
    }
}

/// Words that stand for a sealed text: `BASE64(127.0.0.1:PORT_b1)`, `SESSION64(…)` as in the cookies of stateful sessions.
const SEALS: [(&str, fn(&str) -> String); 2] = [
    ("SESSION64", |text| base64(&[&[0x0a, u8::try_from(text.len()).unwrap_or_default()], text.as_bytes()].concat())),
    ("BASE64", |text| base64(text.as_bytes())),
];

fn sealed(mut text: String) -> String {
    for (word, seal) in SEALS {
        let open = format!("{word}(");
        while let Some(at) = text.find(&open) {
            let from = at + open.len();
            let Some(len) = text[from..].find(')') else { break };
            let made = seal(&text[from..from + len]);
            text.replace_range(at..=from + len, &made);
        }
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0_u32, |bits, (index, byte)| bits | u32::from(*byte) << (16 - 8 * index));
        for digit in 0..4 {
            let there = digit <= group.len();
            out.push(if there { char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]) } else { '=' });
        }
    }
    out
}

fn free() -> u16 {
    // Processes that run at the same time begin at different places.
    let offset = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default().wrapping_mul(37);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + offset.wrapping_add(step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Puts a word for a number where that is not a part of a larger one.
fn replace_number(text: &str, number: &str, word: &str) -> String {
    let is_digit = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_digit());
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(number) {
        let end = at + number.len();
        let before = rest[..at].bytes().last().or_else(|| out.bytes().last());
        let inside = is_digit(before) || is_digit(rest[end..].bytes().next());
        out.push_str(&rest[..at]);
        out.push_str(if inside { number } else { word });
        rest = &rest[end..];
    }
    out + rest
}
