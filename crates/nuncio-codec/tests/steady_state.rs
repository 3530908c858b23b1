//! Nothing is allocated once maps and buffers have grown to their working size.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use nuncio_codec::http1::*;
use nuncio_codec::{HeaderMap, Known};

const GET: &[u8] = b"GET /index.html?x=1 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: curl/8.5.0\r\n\
    Accept: */*\r\nX-Request-Id: 4b7c1c1e-1d1f-4f0e-9d3a-2f1f1c1e1d1f\r\nConnection: keep-alive\r\n\r\n";
const POST: &[u8] =
    b"POST /form HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
    Date: Sat, 21 Nov 2026 01:46:43 GMT\r\nServer: backend\r\n\r\nhello";

/// The memory of one connection pair.
struct Exchange {
    requests: RequestDecoder,
    responses: ResponseDecoder,
    map: HeaderMap,
    input: Vec<u8>,
    out: Vec<u8>,
}

impl Exchange {
    fn request(&mut self, bytes: &[u8]) {
        self.input.clear();
        self.input.extend_from_slice(bytes);
        self.out.clear();
        let head = self
            .requests
            .decode_head(&self.input, &mut self.map)
            .unwrap()
            .unwrap();
        let map = &mut self.map;
        map.remove(Known::Connection);
        map.remove(Known::TransferEncoding);
        map.remove_prefix(b"x-envoy-");
        map.append_joined(Known::XForwardedFor, ",", "10.0.0.1");
        map.set_with(Known::XEnvoyExpectedRqTimeoutMs, |value| {
            value.decimal(15_000)
        });
        map.insert(Known::Path, "/rewritten");
        map.add_if_absent("x-custom", "1");
        let how = RequestEncoding {
            end_stream: head.end_stream(),
            ..Default::default()
        };
        let encoding = encode_request_head(map, how, &mut self.out).unwrap();
        if head.end_stream() {
            return;
        }
        let body = self
            .requests
            .decode_body(&mut self.input[head.consumed..])
            .unwrap();
        assert_eq!((body.state, encoding), (BodyState::Done, Encoding::Chunked));
        chunk_prefix(body.payload.len(), &mut self.out);
        let payload = head.consumed + body.payload.start..head.consumed + body.payload.end;
        self.out.extend_from_slice(&self.input[payload]);
        self.out.extend_from_slice(CHUNK_SUFFIX);
        chunk_end(&mut self.out);
    }

    fn response(&mut self) {
        self.input.clear();
        self.input.extend_from_slice(RESPONSE);
        self.out.clear();
        self.responses.begin(ResponseContext::default());
        let head = self
            .responses
            .decode_head(&self.input, &mut self.map)
            .unwrap()
            .unwrap();
        self.map
            .set_with(Known::XEnvoyUpstreamServiceTime, |value| value.decimal(3));
        self.map.insert(Known::Server, "envoy");
        let how = ResponseEncoding {
            end_stream: head.end_stream(),
            ..Default::default()
        };
        encode_response_head(&self.map, how, &mut self.out).unwrap();
        let body = self
            .responses
            .decode_body(&mut self.input[head.consumed..])
            .unwrap();
        assert_eq!(body.state, BodyState::Done);
        self.out
            .extend_from_slice(&self.input[head.consumed..][body.payload]);
    }
}

#[test]
fn an_exchange_on_a_warm_connection_allocates_nothing() {
    let mut exchange = Exchange {
        requests: RequestDecoder::new(RequestRules::default()),
        responses: ResponseDecoder::new(ResponseRules::default()),
        map: HeaderMap::new(),
        input: Vec::with_capacity(32 * 1024),
        out: Vec::with_capacity(32 * 1024),
    };
    let mut run = || {
        exchange.request(GET);
        exchange.response();
        exchange.request(POST);
        exchange.response();
    };
    run();
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| run()));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_head_that_trickles_in_costs_linear_time() {
    let head = [
        b"GET / HTTP/1.1\r\nhost: a\r\nx: ",
        &[b'a'; 50_000][..],
        b"\r\n\r\n",
    ]
    .concat();
    let mut decoder = RequestDecoder::new(RequestRules::default());
    let mut map = HeaderMap::new();
    let mut attempts = 0;
    for len in 1..=head.len() {
        let done = decoder
            .decode_head(&head[..len], &mut map)
            .unwrap()
            .is_some();
        assert_eq!(done, len == head.len());
        // A parse leaves what it read in the map; a mere look does not touch it.
        attempts += usize::from(!map.is_empty());
        map.clear();
    }
    assert!(attempts < 5, "parsed {attempts} times");
}

#[test]
fn the_end_of_the_connection_is_judged_by_what_came_before() {
    let mut map = HeaderMap::new();
    let mut decoder = ResponseDecoder::new(ResponseRules::default());
    let mut after = |bytes: &[u8]| {
        decoder.begin(ResponseContext::default());
        if let Some(head) = decoder.decode_head(bytes, &mut map).unwrap() {
            decoder
                .decode_body(&mut bytes[head.consumed..].to_vec())
                .unwrap();
        }
        decoder.eof()
    };
    assert_eq!(after(b""), Eof::Idle);
    assert_eq!(after(b"HTTP/1.1 200 OK\r\ncontent-"), Eof::Truncated);
    assert_eq!(
        after(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"),
        Eof::Truncated
    );
    assert_eq!(
        after(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"),
        Eof::Idle
    );
    assert_eq!(
        after(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        Eof::Truncated
    );
    assert_eq!(after(b"HTTP/1.1 200 OK\r\n\r\nabc"), Eof::Completes);
}
