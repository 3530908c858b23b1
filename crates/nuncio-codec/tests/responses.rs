//! Every upstream response of `data/responses.tsv` is read as Envoy 1.40 read it, and the client gets what
//! Envoy's client got. The file holds Envoy's recorded answers; its head says how to read it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "table/mod.rs"]
#[allow(dead_code, reason = "the request tests use the other half")]
mod table;

use nuncio_codec::http1::*;
use nuncio_codec::{HeaderMap, Known};
use table::unescape;

struct Row {
    name: String,
    listener: String,
    request: Vec<u8>,
    input: Vec<u8>,
    closes: bool,
    reused: bool,
    details: String,
    got: Vec<u8>,
}

fn rows() -> Vec<Row> {
    let text = include_str!("data/responses.tsv");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(row)
        .collect()
}

fn row(line: &str) -> Row {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, listener, request, input, after, reused, log, got] = columns[..] else {
        panic!("{line}")
    };
    Row {
        name: name.into(),
        listener: listener.into(),
        request: unescape(request),
        input: unescape(input),
        closes: after == "close",
        reused: reused == "reused",
        details: log.split('|').nth(1).unwrap_or_default().into(),
        got: if got == "-" {
            Vec::new()
        } else {
            unescape(got)
        },
    }
}

/// A response as far as it could be read.
#[derive(Default)]
struct Outcome {
    head: Option<ResponseHead>,
    map: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    complete: bool,
    left_over: bool,
    violation: Option<Violation>,
}

fn read(row: &Row, strictness: Strictness, step: usize) -> Outcome {
    let rules = ResponseRules {
        strictness,
        enable_trailers: true,
        ..Default::default()
    };
    let mut decoder = ResponseDecoder::new(rules);
    decoder.begin(ResponseContext {
        to_head: row.request.starts_with(b"HEAD"),
        to_connect: false,
        to_upgrade: row.request.windows(8).any(|w| w == b"upgrade:"),
    });
    let mut outcome = Outcome::default();
    let mut buffer = Vec::new();
    for piece in row.input.chunks(step) {
        buffer.extend_from_slice(piece);
        while !outcome.complete && outcome.violation.is_none() {
            let before = (buffer.len(), outcome.head.is_some());
            if let Err(violation) = advance(&mut decoder, &mut buffer, &mut outcome) {
                outcome.violation = Some(violation);
            }
            if before == (buffer.len(), outcome.head.is_some()) {
                break;
            }
        }
    }
    outcome.left_over = !buffer.is_empty();
    if row.closes && !outcome.complete && outcome.head.is_some() {
        outcome.complete = decoder.eof() == Eof::Completes;
    }
    outcome
}

fn advance(
    decoder: &mut ResponseDecoder,
    buffer: &mut Vec<u8>,
    outcome: &mut Outcome,
) -> Result<(), Violation> {
    if outcome.head.is_none() {
        let Some(head) = decoder.decode_head(buffer, &mut outcome.map)? else {
            return Ok(());
        };
        buffer.drain(..head.consumed);
        if !head.is_interim() {
            outcome.complete = head.end_stream();
            outcome.head = Some(head);
        }
        return Ok(());
    }
    let body = decoder.decode_body(buffer)?;
    outcome
        .body
        .extend_from_slice(&buffer[body.payload.clone()]);
    buffer.drain(..body.consumed);
    match body.state {
        BodyState::More => {}
        BodyState::Done => outcome.complete = true,
        BodyState::Trailers => {
            if let Some(consumed) = decoder.decode_trailers(buffer, &mut outcome.trailers)? {
                buffer.drain(..consumed);
                outcome.complete = true;
            }
        }
    }
    Ok(())
}

/// What the client gets, without what the connection manager adds.
fn written(row: &Row, outcome: &mut Outcome) -> Vec<u8> {
    for hop in [
        Known::Connection,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::Upgrade,
        Known::Server,
    ] {
        outcome.map.remove(hop);
    }
    let version = if row.request.windows(8).any(|w| w == b"HTTP/1.0") {
        Version::Http10
    } else {
        Version::Http11
    };
    let how = ResponseEncoding {
        end_stream: outcome.head.is_some_and(|head| head.end_stream()),
        version,
        to_head: row.request.starts_with(b"HEAD"),
        ..Default::default()
    };
    let mut out = Vec::new();
    let encoding = encode_response_head(&outcome.map, how, &mut out).unwrap();
    if encoding == Encoding::Chunked {
        if !outcome.body.is_empty() {
            chunk_prefix(outcome.body.len(), &mut out);
            out.extend_from_slice(&outcome.body);
            out.extend_from_slice(CHUNK_SUFFIX);
        }
        if outcome.complete && row.listener == "trailers" {
            encode_trailers(&outcome.trailers, NameCase::Lower, &mut out);
        } else if outcome.complete {
            chunk_end(&mut out);
        }
    } else {
        out.extend_from_slice(&outcome.body);
    }
    out
}

/// The recorded bytes without an interim response and without `connection`, which the connection manager sets.
fn expected(row: &Row) -> Vec<u8> {
    let got = row
        .got
        .strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        .unwrap_or(&row.got);
    let mut text = got.to_vec();
    for line in [&b"\r\nconnection: close"[..], b"\r\nconnection: keep-alive"] {
        if let Some(at) = text.windows(line.len()).position(|w| w == line) {
            text.drain(at..at + line.len());
        }
    }
    text
}

fn check(row: &Row, step: usize, failures: &mut Vec<String>) {
    let mut outcome = read(row, Strictness::Parity, step);
    let mut fail = |text: String| failures.push(format!("{} (by {step}): {text}", row.name));
    let broken = outcome.violation.is_some() || (row.closes && !outcome.complete);
    if row.details.starts_with("upstream_reset") != broken {
        return fail(format!(
            "Envoy says {}, we {:?} complete={}",
            row.details, outcome.violation, outcome.complete
        ));
    }
    if broken || outcome.head.is_none() || row.listener == "upgrade" {
        return;
    }
    let keep_alive = outcome.head.is_some_and(|head| head.keep_alive);
    // Envoy puts a connection back before it sees the rest of the bytes; which of the two wins is chance.
    if !row.closes && !outcome.left_over && row.reused != (keep_alive && outcome.complete) {
        fail(format!(
            "Envoy reuses the connection: {}, we: {keep_alive}",
            row.reused
        ));
    }
    let (want, have) = (expected(row), written(row, &mut outcome));
    if want != have {
        fail(format!(
            "Envoy's client gets\n  {}\nours\n  {}",
            want.escape_ascii(),
            have.escape_ascii()
        ));
    }
}

#[test]
fn responses_are_read_and_passed_on_as_envoy_does() {
    let mut failures = Vec::new();
    for row in rows() {
        let steps: &[usize] = if row.input.len() > 10_000 {
            &[usize::MAX, 4096]
        } else {
            &[usize::MAX, 1, 2, 7, 64]
        };
        for &step in steps {
            check(&row, step, &mut failures);
        }
    }
    assert!(
        failures.is_empty(),
        "{}\n{} differ",
        failures.join("\n"),
        failures.len()
    );
}

/// Where the friendly way refuses what Envoy lets pass: the whole list.
#[test]
fn friendly_refuses_more_than_envoy_only_where_framing_is_in_doubt() {
    let mut stricter = Vec::new();
    for row in rows() {
        let parity = read(&row, Strictness::Parity, usize::MAX).violation;
        let friendly = read(&row, Strictness::Friendly, usize::MAX).violation;
        match (parity, friendly) {
            (None, Some(violation)) => stricter.push(format!("{} {violation:?}", row.name)),
            (Some(_), None) => panic!("{} is refused by Envoy only", row.name),
            _ => {}
        }
    }
    let want: Vec<&str> = include_str!("data/stricter_responses.txt")
        .lines()
        .collect();
    assert_eq!(stricter, want, "{}", stricter.join("\n"));
}
