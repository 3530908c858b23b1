//! What differs from run to run is masked before transcripts are compared.

use crate::ports::Ports;

/// Masks ports, dates, UUIDs, durations, the temporary directory and that of certificates.
pub fn mask(text: &str, ports: &Ports, directory: &str) -> String {
    // UUIDs first: their digits may look like a port.
    let mut text = ports.mask(&mask_uuids(text)).replace(directory, "TMPDIR").replace(crate::link::PKI, "PKIDIR");
    for address in machine_addresses() {
        for (before, after) in AROUND_MACHINE {
            text = text.replace(&format!("{before}{address}{after}"), &format!("{before}MACHINE{after}"));
        }
    }
    let mut out = String::new();
    let mut retried = false;
    for line in text.lines() {
        // Fields are sorted: the number of the attempt stands before the time that is left for it.
        let field = line.split_once(" <   ").map_or("", |(_, field)| field);
        match field.split_once(": ") {
            Some(("x-envoy-attempt-count", attempt)) => retried = attempt != "1",
            Some(("x-envoy-expected-rq-timeout-ms", _)) if retried => {
                out.push_str(line.trim_end_matches(|c: char| c.is_ascii_digit()));
                out.push_str("REST\n");
                continue;
            }
            Some(_) => {}
            None => retried = false,
        }
        out.push_str(&mask_line(line));
        out.push('\n');
    }
    out
}

/// What stands around an address of this machine: it is one of `x-forwarded-for`, in the header or before an id in a log.
const AROUND_MACHINE: [(&str, &str); 8] = [
    ("x-forwarded-for: ", ","),
    ("x-forwarded-for: ", "\n"),
    (", ", ","),
    (", ", "\n"),
    (",", ","),
    (",", "\n"),
    (",", " UUID"),
    (" ", " UUID"),
];

/// Addresses of this machine's interfaces: what Envoy gives upstreams for clients on the loopback interface.
fn machine_addresses() -> Vec<String> {
    let routes = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut found: Vec<String> = Vec::new();
    let mut last = "";
    for line in routes.lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            last = address;
        } else if line.contains("/32 host LOCAL") && !found.iter().any(|known| known == last) {
            found.push(last.to_owned());
        }
    }
    // Without another interface it is the loopback address itself.
    if found.iter().any(|address| !address.starts_with("127.")) {
        found.retain(|address| !address.starts_with("127."));
    }
    found
}

fn mask_line(line: &str) -> String {
    let mut line = line.to_owned();
    for (name, mask) in [("date: ", "DATE"), ("x-envoy-upstream-service-time: ", "MS")] {
        if let Some(at) = line.to_ascii_lowercase().find(name) {
            line.truncate(at + name.len());
            line.push_str(mask);
        }
    }
    // The port that the proxy speaks from.
    const PROXIED: &str = "PROXY TCP4 127.0.0.1 127.0.0.1 ";
    if let Some((before, after)) = line.split_once(PROXIED) {
        line = format!("{before}{PROXIED}PORT{}", after.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    line = mask_trace(&line);
    if let Some(masked) = mask_default_log(&line) {
        line = masked;
    }
    mask_client_ports(&mask_made_cookie(&line))
}

/// The trace that scripts send, which is not masked.
const SENT_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Puts `TRACE` and `SPAN` for the ids of traces and spans in lines that are about them.
fn mask_trace(line: &str) -> String {
    if !line.contains("traceparent: 00-") && !line.contains("trace=") {
        return line.to_owned();
    }
    let mask = |word: &str| match word {
        word if !word.bytes().all(|b| b.is_ascii_hexdigit()) || word == SENT_TRACE => word.to_owned(),
        word if word.len() == 32 => "TRACE".to_owned(),
        word if word.len() == 16 => "SPAN".to_owned(),
        word => word.to_owned(),
    };
    let word = |c: char| !c.is_ascii_alphanumeric();
    line.split_inclusive(word).map(|part| {
        let end = part.trim_end_matches(word).len();
        format!("{}{}", mask(&part[..end]), &part[end..])
    }).collect()
}

/// Puts `HASH` for the value of a cookie made of the connection's addresses.
fn mask_made_cookie(line: &str) -> String {
    let masked = line.split_once("set-cookie: ").and_then(|(before, cookie)| {
        let (name, rest) = cookie.split_once("=\"")?;
        let (value, rest) = rest.split_once('"')?;
        let hash = value.len() == 16 && value.bytes().all(|b| b.is_ascii_hexdigit());
        hash.then(|| format!("{before}set-cookie: {name}=\"HASH\"{rest}"))
    });
    masked.unwrap_or_else(|| line.to_owned())
}

/// Masks the time and the two durations of a line in the default access log format.
fn mask_default_log(line: &str) -> Option<String> {
    let (_, rest) = line.strip_prefix("log [20")?.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    let mut fields: Vec<&str> = rest.split(' ').collect();
    for field in fields.get_mut(4..6)?.iter_mut().filter(|field| **field != "-") {
        *field = "MS";
    }
    Some(format!("log [TIME] \"{request}\" {}", fields.join(" ")))
}

/// Puts `UUID` where 8-4-4-4-12 hexadecimal digits stand.
fn mask_uuids(line: &str) -> String {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let bytes = line.as_bytes();
    let is_uuid = |from: usize| {
        let mut at = from;
        GROUPS.iter().enumerate().all(|(index, len)| {
            let digits = bytes.get(at..at + len).is_some_and(|group| group.iter().all(u8::is_ascii_hexdigit));
            at += len;
            let dash = index == GROUPS.len() - 1 || bytes.get(at) == Some(&b'-');
            at += 1;
            digits && dash
        })
    };
    let mut out = String::new();
    let mut at = 0;
    while let Some(c) = line[at..].chars().next() {
        if c.is_ascii_hexdigit() && is_uuid(at) {
            out.push_str("UUID");
            at += 36;
        } else {
            out.push(c);
            at += c.len_utf8();
        }
    }
    out
}

/// Puts `PORT` where a loopback address has a port that no name stands for: the client's end.
fn mask_client_ports(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, after) = rest.split_at(at + "127.0.0.1:".len());
        out.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 {
            out.push_str("PORT");
        }
        rest = &after[digits..];
    }
    out + rest
}
