//! What the encoders write: name case, framing, and rewritten targets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use nuncio_codec::http1::*;
use nuncio_codec::{HeaderMap, Known};

fn request(path: &str, headers: &[(&str, &str)]) -> HeaderMap {
    let fixed = [
        (":method", "GET"),
        (":path", path),
        (":authority", "x.test"),
    ];
    fixed.into_iter().chain(headers.iter().copied()).collect()
}

fn written(map: &HeaderMap, how: RequestEncoding) -> String {
    let mut out = Vec::new();
    encode_request_head(map, how, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const ENDED: RequestEncoding = RequestEncoding {
    end_stream: true,
    case: NameCase::Lower,
    full_url: false,
};

#[test]
fn names_are_spelled_as_configured() {
    let rules = RequestRules {
        keep_spelling: true,
        ..Default::default()
    };
    let input =
        b"GET / HTTP/1.1\r\nHOST: a\r\nX-Custom_id: 1\r\nuser-AGENT: b\r\nx-dropped: c\r\n\r\n";
    let mut map = HeaderMap::new();
    RequestDecoder::new(rules)
        .decode_head(input, &mut map)
        .unwrap()
        .unwrap();
    map.insert(Known::UserAgent, "changed");
    map.remove("x-dropped");
    map.append("x-added-here", "d");
    let fields = |case| {
        written(&map, RequestEncoding { case, ..ENDED })
            .split_once("\r\n")
            .unwrap()
            .1
            .to_string()
    };
    assert_eq!(
        fields(NameCase::Lower),
        "host: a\r\nx-custom_id: 1\r\nuser-agent: changed\r\nx-added-here: d\r\n\r\n"
    );
    assert_eq!(
        fields(NameCase::Proper),
        "Host: a\r\nX-Custom_Id: 1\r\nUser-Agent: changed\r\nX-Added-Here: d\r\n\r\n"
    );
    assert_eq!(
        fields(NameCase::Preserve),
        "host: a\r\nX-Custom_id: 1\r\nuser-AGENT: changed\r\nx-added-here: d\r\n\r\n"
    );
}

#[test]
fn a_rewritten_target_cannot_end_the_request_line() {
    let map = request("/a b\t?x= HTTP/1.1", &[]);
    assert_eq!(
        written(&map, ENDED),
        "GET /a%20b%09?x=%20HTTP/1.1 HTTP/1.1\r\nhost: x.test\r\n\r\n"
    );
    let full = RequestEncoding {
        full_url: true,
        ..ENDED
    };
    assert_eq!(
        written(&request("/p", &[]), full),
        "GET http://x.test/p HTTP/1.1\r\nhost: x.test\r\n\r\n"
    );
}

#[test]
fn a_head_without_its_start_line_is_not_written() {
    let mut out = Vec::new();
    let mut map = request("/", &[]);
    map.remove(Known::Path);
    assert_eq!(
        encode_request_head(&map, ENDED, &mut out),
        Err(Unencodable(Known::Path))
    );
    map.insert(Known::Method, "GE T");
    assert_eq!(
        encode_request_head(&map, ENDED, &mut out),
        Err(Unencodable(Known::Method))
    );
    let map = HeaderMap::new();
    assert_eq!(
        encode_response_head(&map, Default::default(), &mut out),
        Err(Unencodable(Known::Status))
    );
}

#[test]
fn a_transfer_encoding_in_the_map_is_never_written() {
    let map = request(
        "/",
        &[("transfer-encoding", "gzip"), ("content-length", "3")],
    );
    let text = written(&map, RequestEncoding::default());
    assert!(
        text.ends_with("content-length: 3\r\n\r\n") && !text.contains("transfer-encoding"),
        "{text}"
    );
}

#[test]
fn framing_of_requests() {
    type Case<'a> = (&'a str, bool, &'a [(&'a str, &'a str)], &'a str, Encoding);
    let cases: [Case; 5] = [
        ("GET", true, &[], "", Encoding::None),
        ("POST", true, &[], "content-length: 0\r\n", Encoding::None),
        (
            "POST",
            false,
            &[],
            "transfer-encoding: chunked\r\n",
            Encoding::Chunked,
        ),
        (
            "POST",
            false,
            &[("content-length", "7")],
            "content-length: 7\r\n",
            Encoding::Raw,
        ),
        (
            "GET",
            false,
            &[("connection", "upgrade"), ("upgrade", "x")],
            "connection: upgrade\r\nupgrade: x\r\n",
            Encoding::Raw,
        ),
    ];
    for (method, end_stream, headers, tail, want) in cases {
        let mut map = request("/", headers);
        map.insert(Known::Method, method);
        let mut out = Vec::new();
        let how = RequestEncoding {
            end_stream,
            ..Default::default()
        };
        assert_eq!(encode_request_head(&map, how, &mut out), Ok(want));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{method} / HTTP/1.1\r\nhost: x.test\r\n{tail}\r\n")
        );
    }
}

#[test]
fn chunks_carry_their_size_in_hex() {
    for (len, want) in [
        (0, "0\r\n"),
        (9, "9\r\n"),
        (255, "ff\r\n"),
        (32_768, "8000\r\n"),
        (usize::MAX, "ffffffffffffffff\r\n"),
    ] {
        let mut out = Vec::new();
        chunk_prefix(len, &mut out);
        assert_eq!(out, want.as_bytes());
    }
    let trailers: HeaderMap = [("grpc-status", "0")].into_iter().collect();
    let mut out = Vec::new();
    encode_trailers(&trailers, NameCase::Lower, &mut out);
    assert_eq!(out, b"0\r\ngrpc-status: 0\r\n\r\n");
}
