//! Every request of `data/requests.tsv` is judged as Envoy 1.40 judged it, and what is forwarded is what
//! Envoy forwarded. The file holds Envoy's recorded answers; its head says how to read it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod table;

use nuncio_codec::http1::*;
use nuncio_codec::{HeaderMap, Known};
use table::{Row, rows};

fn rules(listener: &str, strictness: Strictness) -> RequestRules {
    let mut rules = RequestRules {
        strictness,
        ..RequestRules::default()
    };
    match listener {
        "default" | "upgrade" => {}
        "http10" | "http10nohost" => rules.accept_http_10 = true,
        "trailers" => rules.enable_trailers = true,
        "chunkedlength" => rules.allow_chunked_length = true,
        "custom" => rules.allow_custom_methods = true,
        "noabs" => rules.allow_absolute_url = false,
        "reject_" => rules.underscores = UnderscoreAction::Reject,
        "drop_" => rules.underscores = UnderscoreAction::Drop,
        "small" => (rules.max_head_bytes, rules.max_headers) = (1024, 10),
        other => panic!("unknown listener {other}"),
    }
    rules
}

/// One request as far as the decoder got with it.
struct Decoded {
    head: RequestHead,
    map: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    complete: bool,
}

/// All requests in the bytes, the bytes arriving in pieces of `step`, and the violation that ended them.
fn decode(bytes: &[u8], rules: RequestRules, step: usize) -> (Vec<Decoded>, Option<Violation>) {
    let mut decoder = RequestDecoder::new(rules);
    let mut requests: Vec<Decoded> = Vec::new();
    let mut buffer: Vec<u8> = Vec::new();
    let mut in_body = false;
    for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            let before = (buffer.len(), in_body);
            if requests
                .last()
                .is_some_and(|request| request.complete && !request.head.keep_alive)
            {
                return (requests, None);
            }
            match advance(&mut decoder, &mut buffer, &mut requests, &mut in_body) {
                Err(violation) => return (requests, Some(violation)),
                Ok(()) if before == (buffer.len(), in_body) => break,
                Ok(()) => {}
            }
        }
    }
    (requests, None)
}

fn advance(
    decoder: &mut RequestDecoder,
    buffer: &mut Vec<u8>,
    requests: &mut Vec<Decoded>,
    in_body: &mut bool,
) -> Result<(), Violation> {
    if !*in_body {
        let mut map = HeaderMap::new();
        let Some(head) = decoder.decode_head(buffer, &mut map)? else {
            return Ok(());
        };
        buffer.drain(..head.consumed);
        let complete = head.end_stream();
        *in_body = !complete;
        requests.push(Decoded {
            head,
            map,
            body: Vec::new(),
            trailers: HeaderMap::new(),
            complete,
        });
        return Ok(());
    }
    let Some(request) = requests.last_mut() else {
        return Ok(());
    };
    let body = decoder.decode_body(buffer)?;
    request
        .body
        .extend_from_slice(&buffer[body.payload.clone()]);
    buffer.drain(..body.consumed);
    let done = match body.state {
        BodyState::More => false,
        BodyState::Done => true,
        BodyState::Trailers => match decoder.decode_trailers(buffer, &mut request.trailers)? {
            Some(consumed) => {
                buffer.drain(..consumed);
                true
            }
            None => false,
        },
    };
    request.complete = done;
    *in_body = !done;
    Ok(())
}

/// What the connection manager takes off before a request goes on; enough of it to compare.
fn forwarded(request: &Decoded) -> Vec<u8> {
    let mut map = request.map.clone();
    if !request.head.upgrade {
        map.remove(Known::Connection);
        map.remove(Known::Upgrade);
    }
    map.remove(Known::KeepAlive);
    map.remove(Known::ProxyConnection);
    if request.head.expect_continue {
        map.remove(Known::Expect);
    }
    if request.head.version == Version::Http10 && map.authority().is_none() {
        map.insert(Known::Authority, "default.example");
    }
    for untrusted in [
        Known::XForwardedClientCert,
        Known::XEnvoyInternal,
        Known::XEnvoyRetryOn,
        Known::XEnvoyMaxRetries,
        Known::XEnvoyIpTags,
        Known::XEnvoyUpstreamRqTimeoutMs,
        Known::XEnvoyRetriableHeaderNames,
    ] {
        map.remove(untrusted);
    }
    let mut out = Vec::new();
    let how = RequestEncoding {
        end_stream: request.complete && request.head.end_stream(),
        ..Default::default()
    };
    let encoding = encode_request_head(&map, how, &mut out).unwrap();
    match encoding {
        Encoding::Chunked => {
            chunk_prefix(request.body.len(), &mut out);
            out.extend_from_slice(&request.body);
            out.extend_from_slice(CHUNK_SUFFIX);
            encode_trailers(&request.trailers, NameCase::Lower, &mut out);
        }
        _ if request.head.framing == Framing::Tunnel => {}
        _ => out.extend_from_slice(&request.body),
    }
    out
}

fn is_codec_detail(details: &str) -> bool {
    details.starts_with("http1.") || details == "http.invalid_authority" || details == "low_version"
}

fn check(row: &Row, step: usize, failures: &mut Vec<String>) {
    let (requests, violation) = decode(&row.input, rules(&row.listener, Strictness::Parity), step);
    let mut fail = |text: String| failures.push(format!("{} (by {step}): {text}", row.name));
    let refused = row
        .log
        .iter()
        .position(|entry| is_codec_detail(&entry.details));
    match (refused, violation) {
        (Some(index), None) => fail(format!(
            "Envoy refuses with {}, we do not",
            row.log[index].details
        )),
        // Envoy looks at fields when the head is complete; what is wrong already need not wait for that.
        (None, Some(_)) if row.log.is_empty() && !has_head_end(&row.input) => {}
        (None, Some(violation)) => fail(format!("we refuse with {violation:?}, Envoy does not")),
        (Some(index), Some(violation)) => {
            let want = (row.log[index].status, row.log[index].details.as_str());
            let got = (violation.status(), violation.details());
            // A refusal found before the rest of the head was there cannot know of control bytes behind it.
            let early =
                step < row.input.len() && want.1 == "http1.invalid_characters" && got.0 == 400;
            if want != got && !early {
                fail(format!(
                    "Envoy says {want:?}, we say {got:?} ({violation:?})"
                ));
            }
        }
        (None, None) => {}
    }
    for (entry, request) in row.log.iter().zip(&requests) {
        if is_codec_detail(&entry.details) || entry.method == "-" {
            continue;
        }
        let text = |value: Option<&[u8]>| {
            value.map_or("-".into(), |v| {
                v.iter().map(|&b| b as char).collect::<String>()
            })
        };
        let got = [
            text(request.map.method()),
            text(request.map.path()),
            text(request.map.authority()),
        ];
        let want = [
            entry.method.clone(),
            entry.path.clone(),
            entry.authority.clone(),
        ];
        let defaulted = request.head.version == Version::Http10 && got[2] == "-";
        let unrouted = entry.details == "missing_host_header";
        if got != want && !defaulted && !unrouted {
            fail(format!("Envoy reads {want:?}, we read {got:?}"));
        }
    }
    if let Some(wanted) = row.forwarded.as_ref().filter(|_| refused.is_none()) {
        if requests
            .iter()
            .any(|request| !request.complete && !request.head.upgrade)
        {
            return;
        }
        let served: Vec<u8> = requests
            .iter()
            .filter(|r| r.complete || r.head.upgrade)
            .flat_map(forwarded)
            .collect();
        if *wanted != served {
            fail(format!(
                "Envoy forwards\n  {:?}\nwe\n  {:?}",
                escape(wanted),
                escape(&served)
            ));
        }
    }
}

fn has_head_end(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|w| w == b"\r\n\r\n") || bytes.windows(2).any(|w| w == b"\n\n")
}

fn escape(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    if text.len() > 600 {
        format!("{}…", &text[..600])
    } else {
        text
    }
}

#[test]
fn requests_are_judged_and_forwarded_as_envoy_does() {
    let mut failures = Vec::new();
    for row in rows(include_str!("data/requests.tsv")) {
        check(&row, usize::MAX, &mut failures);
    }
    assert!(
        failures.is_empty(),
        "{}\n{} differ",
        failures.join("\n"),
        failures.len()
    );
}

#[test]
fn the_verdict_does_not_depend_on_how_the_bytes_arrive() {
    let mut failures = Vec::new();
    for row in rows(include_str!("data/requests.tsv")) {
        let steps: &[usize] = if row.input.len() > 10_000 {
            &[1000, 4096]
        } else {
            &[1, 2, 7, 64]
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
    for row in rows(include_str!("data/requests.tsv")) {
        let parity = decode(
            &row.input,
            rules(&row.listener, Strictness::Parity),
            usize::MAX,
        )
        .1;
        let friendly = decode(
            &row.input,
            rules(&row.listener, Strictness::Friendly),
            usize::MAX,
        )
        .1;
        match (parity, friendly) {
            (None, Some(violation)) => stricter.push(format!("{} {violation:?}", row.name)),
            (Some(_), None) => panic!("{} is refused by Envoy only", row.name),
            _ => {}
        }
    }
    let want: Vec<&str> = include_str!("data/stricter_requests.txt").lines().collect();
    assert_eq!(stricter, want, "{}", stricter.join("\n"));
}
