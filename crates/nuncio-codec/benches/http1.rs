//! What a head costs: `cargo bench -p nuncio-codec`. Prints nanoseconds per message.
//!
//! `cargo bench -p nuncio-codec -- NAME COUNT` runs one case COUNT times and prints nothing else: run it
//! twice under `valgrind --tool=callgrind` with different counts, and the difference is instructions.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use nuncio_codec::http1::*;
use nuncio_codec::{HeaderMap, Known};
use std::hint::black_box;
use std::time::Instant;

const SMALL: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/8.5.0\r\n\
    Accept: */*\r\nX-Request-Id: 4b7c1c1e-1d1f-4f0e-9d3a-2f1f1c1e1d1f\r\nConnection: keep-alive\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\
    Date: Sat, 21 Nov 2026 01:46:43 GMT\r\nServer: backend\r\nCache-Control: no-cache\r\n\r\n";

fn twenty_headers() -> Vec<u8> {
    let mut head = b"GET /shop/items/42?colour=blue HTTP/1.1\r\nhost: shop.example.com\r\n\
        user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36\r\n\
        accept: text/html,application/xhtml+xml,application/xml;q=0.9\r\naccept-language: en-GB,en;q=0.7\r\n\
        accept-encoding: gzip, deflate, br\r\nreferer: https://shop.example.com/items\r\n\
        cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nconnection: keep-alive\r\n"
        .to_vec();
    for n in 0..12 {
        head.extend_from_slice(format!("x-custom-header-{n}: value-of-header-{n}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// A request through a proxy: decode, the connection manager's edits, encode.
fn exchange_request(
    input: &[u8],
    decoder: &mut RequestDecoder,
    map: &mut HeaderMap,
    out: &mut Vec<u8>,
) {
    out.clear();
    let head = decoder.decode_head(input, map).unwrap().unwrap();
    map.remove(Known::Connection);
    map.insert(Known::XForwardedProto, "http");
    map.insert(Known::XEnvoyExpectedRqTimeoutMs, "15000");
    let how = RequestEncoding {
        end_stream: head.end_stream(),
        ..Default::default()
    };
    black_box(encode_request_head(map, how, out).unwrap());
}

fn exchange_response(
    input: &[u8],
    decoder: &mut ResponseDecoder,
    map: &mut HeaderMap,
    out: &mut Vec<u8>,
) {
    out.clear();
    decoder.begin(ResponseContext::default());
    let head = decoder.decode_head(input, map).unwrap().unwrap();
    map.set_with(Known::XEnvoyUpstreamServiceTime, |value| value.decimal(7));
    map.insert(Known::Server, "envoy");
    let how = ResponseEncoding {
        end_stream: head.end_stream(),
        ..Default::default()
    };
    black_box(encode_response_head(map, how, out).unwrap());
}

fn run(name: &str, count: u32) {
    let mut map = HeaderMap::new();
    let mut out = Vec::new();
    let twenty = twenty_headers();
    let mut requests = RequestDecoder::new(RequestRules::default());
    let mut responses = ResponseDecoder::new(ResponseRules::default());
    for _ in 0..count {
        match name {
            "request-5" => exchange_request(black_box(SMALL), &mut requests, &mut map, &mut out),
            "request-20" => exchange_request(black_box(&twenty), &mut requests, &mut map, &mut out),
            "response" => {
                exchange_response(black_box(RESPONSE), &mut responses, &mut map, &mut out)
            }
            "decode-5" => drop(black_box(requests.decode_head(black_box(SMALL), &mut map))),
            "decode-20" => drop(black_box(
                requests.decode_head(black_box(&twenty), &mut map),
            )),
            other => panic!("no case {other}"),
        }
        black_box(&out);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    if let [name, count] = &arguments[..] {
        run(name, count.parse().unwrap());
        return;
    }
    for name in [
        "request-5",
        "request-20",
        "response",
        "decode-5",
        "decode-20",
    ] {
        run(name, 100_000);
        let count = 1_000_000;
        let start = Instant::now();
        run(name, count);
        let per_message = start.elapsed().as_nanos() as f64 / f64::from(count);
        println!("{name:<12} {per_message:>8.1} ns");
    }
}
