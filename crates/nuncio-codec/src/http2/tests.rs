//! Both ends of a connection against each other, and a server against bytes that nobody should send.

use super::frame::{FrameHead, HEAD_BYTES, flag, kind};
use super::*;
use crate::headers::HeaderMap;

/// Takes everything that an end has to say, and notes it as written.
fn output(from: &mut Connection) -> Vec<u8> {
    let bytes = std::mem::take(from.output());
    from.sent(bytes.len() as u64);
    bytes
}

/// Feeds bytes in pieces and notes what happens, one line each; bodies are joined and released.
fn feed(to: &mut Connection, bytes: &[u8], cut: impl Fn(usize) -> usize) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let (mut buffer, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let next = (at + cut(at).max(1)).min(bytes.len());
        buffer.extend_from_slice(&bytes[at..next]);
        at = next;
        loop {
            let (taken, event) = match to.receive(&buffer) {
                Ok(step) => step,
                Err(fault) => {
                    told.push(format!("fault {fault}"));
                    return told;
                }
            };
            let more = event.is_some();
            match event {
                Some(Event::Data { stream, payload, end }) => {
                    let text = format!("{}", buffer[payload.clone()].escape_ascii());
                    to.release(stream, payload.len());
                    match told.last_mut().filter(|last| last.starts_with(&format!("data {stream} ")) && !last.ends_with('.')) {
                        Some(last) => last.push_str(&text),
                        None => told.push(format!("data {stream} {text}")),
                    }
                    if end {
                        told.last_mut().unwrap().push('.');
                    }
                }
                Some(event @ (Event::Head { .. } | Event::Trailers { .. } | Event::Informational { .. })) => {
                    let mut map = HeaderMap::new();
                    to.take_head(&mut map);
                    told.push(format!("{event:?} {map:?}"));
                }
                Some(Event::Window { .. }) | None => {}
                Some(event) => told.push(format!("{event:?}")),
            }
            buffer.drain(..taken);
            if !more {
                break;
            }
        }
    }
    told
}

fn whole(to: &mut Connection, bytes: &[u8]) -> Vec<String> {
    feed(to, bytes, |_| usize::MAX)
}

fn get() -> HeaderMap {
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")].into_iter().collect()
}

fn pair() -> (Connection, Connection) {
    let mut client = Connection::new(Role::Client, Options::default());
    let mut server = Connection::new(Role::Server, Options::default());
    for _ in 0..2 {
        assert!(whole(&mut server, &output(&mut client)).is_empty());
        assert!(whole(&mut client, &output(&mut server)).is_empty());
    }
    (client, server)
}

fn send(from: &mut Connection, stream: u32, body: &[u8], end: bool) {
    assert!(from.capacity(stream) >= body.len());
    from.begin_data(stream, body.len(), end);
    from.output().extend_from_slice(body);
}

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    FrameHead { len: payload.len(), kind, flags, stream }.write(&mut out);
    out.extend_from_slice(payload);
    out
}

#[test]
fn the_settings_are_envoys() {
    let mut server = Connection::new(Role::Server, Options::default());
    assert!(whole(&mut server, PREFACE).is_empty());
    let expected = "000018040000000000000100001000000800000000000300000400000401000000000004080000000000017f0001";
    assert_eq!(output(&mut server).iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
}

#[test]
fn a_request_and_its_response() {
    let (mut client, mut server) = pair();
    let id = client.request(&get(), false).unwrap();
    send(&mut client, id, b"hello", true);
    let seen = whole(&mut server, &output(&mut client));
    assert_eq!(seen, ["Head { stream: 1, end: false } [:authority: a, :path: /, :method: GET, :scheme: http]", "data 1 hello."]);
    let continued: HeaderMap = [(":status", "103"), ("link", "x")].into_iter().collect();
    let head: HeaderMap = [(":status", "200"), ("connection", "close"), ("server", "envoy")].into_iter().collect();
    let trailers: HeaderMap = [("grpc-status", "0")].into_iter().collect();
    server.respond(1, &continued, false);
    server.respond(1, &head, false);
    send(&mut server, 1, b"world", false);
    server.trailers(1, &trailers);
    let seen = whole(&mut client, &output(&mut server));
    assert_eq!(
        seen,
        [
            "Informational { stream: 1 } [:status: 103, link: x]",
            "Head { stream: 1, end: false } [:status: 200, server: envoy]",
            "data 1 world",
            "Trailers { stream: 1 } [grpc-status: 0]",
        ]
    );
    assert_eq!((client.streams(), server.streams()), (0, 0));
}

#[test]
fn any_split_of_the_same_bytes_tells_the_same() {
    let (mut client, _) = pair();
    let mut large = get();
    large.append("x-large", "y".repeat(40_000));
    let bytes = {
        let mut client = Connection::new(Role::Client, Options::default());
        let a = client.request(&get(), false).unwrap();
        let b = client.request(&large, false).unwrap();
        send(&mut client, a, &[b'a'; 300], false);
        client.output().extend(raw(kind::DATA, flag::PADDED | flag::END_STREAM, a, &[&[9][..], b"padded", &[0; 9]].concat()));
        send(&mut client, b, b"b", false);
        client.trailers(b, &[("t", "1")].into_iter().collect());
        client.output().extend(raw(77, 0, 1, b"unknown"));
        client.ping(b"12345678");
        let c = client.request(&get(), true).unwrap();
        client.reset(c, ErrorCode::CANCEL);
        output(&mut client)
    };
    let server = || Connection::new(Role::Server, Options::default());
    let expected = whole(&mut server(), &bytes);
    assert_eq!(expected.len(), 7);
    for size in [1, 2, 3, 7, 9, 10, 100, 1000, 16_384] {
        assert_eq!(feed(&mut server(), &bytes, |_| size), expected, "in pieces of {size}");
    }
    for seed in 0..50u64 {
        let cut = |at: usize| ((at as u64 + 1).wrapping_mul(seed * 2 + 0x9e37_79b9) >> 7) as usize % 97;
        assert_eq!(feed(&mut server(), &bytes, cut), expected, "seed {seed}");
    }
    assert_eq!(client.openings(), Ok(1024));
    client.goaway(ErrorCode::NO_ERROR);
    assert_eq!(client.openings(), Err(Refused::Spent));
}

/// A server that has been greeted, and the answer of its greeting taken.
fn greeted(options: Options) -> Connection {
    let mut server = Connection::new(Role::Server, options);
    assert!(whole(&mut server, &[&PREFACE[..], &raw(kind::SETTINGS, 0, 0, &[]), &raw(kind::SETTINGS, flag::ACK, 0, &[])].concat()).is_empty());
    output(&mut server);
    server
}

/// `GET / http a`, as a block of static indices and one literal.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];
const BOTH: u8 = flag::END_HEADERS | flag::END_STREAM;

#[test]
fn connections_end_for_what_no_peer_may_do() {
    let open = raw(kind::HEADERS, flag::END_HEADERS, 1, GET);
    let done = raw(kind::HEADERS, BOTH, 1, GET);
    let cases: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
        ("a frame too large", vec![0, 0x40, 1, 0, 0, 0, 0, 0, 1], ErrorCode::FRAME_SIZE_ERROR),
        ("DATA on stream 0", raw(kind::DATA, 0, 0, b"x"), ErrorCode::PROTOCOL_ERROR),
        ("DATA on an idle stream", raw(kind::DATA, 0, 1, b"x"), ErrorCode::PROTOCOL_ERROR),
        ("HEADERS on stream 0", raw(kind::HEADERS, BOTH, 0, GET), ErrorCode::PROTOCOL_ERROR),
        ("HEADERS on an even stream", raw(kind::HEADERS, BOTH, 2, GET), ErrorCode::PROTOCOL_ERROR),
        ("PRIORITY of four bytes", raw(kind::PRIORITY, 0, 1, &[0; 4]), ErrorCode::FRAME_SIZE_ERROR),
        ("PRIORITY on itself", raw(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), ErrorCode::PROTOCOL_ERROR),
        ("RST_STREAM on an idle stream", raw(kind::RST_STREAM, 0, 1, &[0; 4]), ErrorCode::PROTOCOL_ERROR),
        ("RST_STREAM of three bytes", raw(kind::RST_STREAM, 0, 1, &[0; 3]), ErrorCode::FRAME_SIZE_ERROR),
        ("SETTINGS on a stream", raw(kind::SETTINGS, 0, 1, &[]), ErrorCode::PROTOCOL_ERROR),
        ("SETTINGS of five bytes", raw(kind::SETTINGS, 0, 0, &[0; 5]), ErrorCode::FRAME_SIZE_ERROR),
        ("an acknowledgement with content", raw(kind::SETTINGS, flag::ACK, 0, &[0; 6]), ErrorCode::FRAME_SIZE_ERROR),
        ("a window too large", raw(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), ErrorCode::FLOW_CONTROL_ERROR),
        ("a frame size too small", raw(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]), ErrorCode::PROTOCOL_ERROR),
        ("ENABLE_PUSH of 2", raw(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), ErrorCode::PROTOCOL_ERROR),
        ("PUSH_PROMISE", raw(5, 0, 1, &[0; 4]), ErrorCode::PROTOCOL_ERROR),
        ("PING of seven bytes", raw(kind::PING, 0, 0, &[0; 7]), ErrorCode::FRAME_SIZE_ERROR),
        ("PING on a stream", raw(kind::PING, 0, 1, &[0; 8]), ErrorCode::PROTOCOL_ERROR),
        ("GOAWAY on a stream", raw(kind::GOAWAY, 0, 1, &[0; 8]), ErrorCode::PROTOCOL_ERROR),
        ("WINDOW_UPDATE of 0", raw(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), ErrorCode::PROTOCOL_ERROR),
        ("WINDOW_UPDATE beyond all bounds", raw(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]), ErrorCode::FLOW_CONTROL_ERROR),
        ("WINDOW_UPDATE on an idle stream", raw(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), ErrorCode::PROTOCOL_ERROR),
        ("a CONTINUATION of nothing", raw(kind::CONTINUATION, 4, 1, b""), ErrorCode::PROTOCOL_ERROR),
        ("no HPACK", raw(kind::HEADERS, BOTH, 1, &[0x80]), ErrorCode::COMPRESSION_ERROR),
        ("a malformed request", raw(kind::HEADERS, BOTH, 1, &[0x82]), ErrorCode::PROTOCOL_ERROR),
        ("a frame within a block", [raw(kind::HEADERS, 0, 1, GET), raw(kind::PING, 0, 0, &[0; 8])].concat(), ErrorCode::PROTOCOL_ERROR),
        ("DATA on a closed end", [done.clone(), raw(kind::DATA, 0, 1, b"x")].concat(), ErrorCode::STREAM_CLOSED),
        ("HEADERS on a closed end", [done, raw(kind::HEADERS, BOTH, 1, GET)].concat(), ErrorCode::STREAM_CLOSED),
        ("more padding than frame", [open.clone(), raw(kind::DATA, flag::PADDED, 1, &[5, 0])].concat(), ErrorCode::PROTOCOL_ERROR),
        ("trailers that do not end", [open, raw(kind::HEADERS, flag::END_HEADERS, 1, &[0x00, 1, b'a', 1, b'b'])].concat(), ErrorCode::PROTOCOL_ERROR),
    ];
    for (what, bytes, code) in cases {
        let mut server = greeted(Options::default());
        let seen = whole(&mut server, &bytes);
        assert!(seen.last().is_some_and(|last| last.starts_with("fault")), "{what}: {seen:?}");
        assert_eq!(server.fault.map(Fault::code), Some(code), "{what}");
        let said = output(&mut server);
        assert_eq!(FrameHead::read(&said[said.len() - 17..]).map(|head| head.kind), Some(kind::GOAWAY), "{what}");
    }
}

#[test]
fn a_malformed_message_may_cost_its_stream_only() {
    let mut server = greeted(Options { stream_error_on_invalid_http_message: true, ..Options::default() });
    let seen = whole(&mut server, &[raw(kind::HEADERS, BOTH, 1, &[0x82]), raw(kind::HEADERS, BOTH, 3, GET)].concat());
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0], "End { stream: 1, how: Flawed(Messaging) }");
    assert!(seen[1].starts_with("Head { stream: 3, end: true }"));
}

#[test]
fn bodies_are_as_long_as_they_say() {
    for body in [&b"four"[..], b"sixsix"] {
        let mut server = greeted(Options::default());
        let head = [GET, &[0x0f, 0x0d, 1, b'5']].concat();
        let seen = whole(&mut server, &[raw(kind::HEADERS, flag::END_HEADERS, 1, &head), raw(kind::DATA, 1, 1, body)].concat());
        assert_eq!(seen.last().unwrap(), "End { stream: 1, how: WrongLength }");
        assert_eq!(&output(&mut server)[HEAD_BYTES..], [0, 0, 0, 1]);
    }
}

#[test]
fn floods_are_named_and_end_the_connection() {
    let open = raw(kind::HEADERS, flag::END_HEADERS, 1, GET);
    let flood = |frame: Vec<u8>, count: usize| [open.clone(), frame.repeat(count)].concat();
    let cases = [
        (flood(raw(kind::DATA, 0, 1, b""), 2), Fault::InboundEmptyFramesFlood),
        (flood(raw(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 0]), 201), Fault::InboundPriorityFramesFlood),
        (flood(raw(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), 8), Fault::InboundWindowUpdateFramesFlood),
        (flood(raw(kind::PING, 0, 0, &[0; 8]), 1001), Fault::OutboundControlFlood),
        (flood(raw(kind::SETTINGS, 0, 0, &[]), 1001), Fault::OutboundControlFlood),
        ([raw(kind::HEADERS, 0, 1, GET), raw(kind::CONTINUATION, 0, 1, b"").repeat(2)].concat(), Fault::InboundEmptyFramesFlood),
    ];
    for (bytes, fault) in cases {
        let mut server = greeted(Options::default());
        whole(&mut server, &bytes);
        assert_eq!(server.fault, Some(fault));
        let mut counted = Vec::new();
        server.take_counts(|stat, n| counted.push((stat, n)));
        assert!(counted.contains(&(fault.stat().unwrap(), 1)), "{counted:?}");
    }
}

#[test]
fn a_header_block_has_an_end() {
    let piece = raw(kind::CONTINUATION, 0, 1, &[0x00, 1, b'a', 1, b'b']);
    let mut server = greeted(Options::default());
    let mut fitting = greeted(Options::default());
    whole(&mut fitting, &[raw(kind::HEADERS, 0, 1, GET), piece.repeat(512)].concat());
    assert_eq!((fitting.fault, fitting.unfinished_head()), (None, Some(1)));
    whole(&mut server, &[raw(kind::HEADERS, 0, 1, GET), piece.repeat(513)].concat());
    assert_eq!(server.fault, Some(Fault::TooManyContinuations));
}

#[test]
fn windows_hold_back_both_ends() {
    let mut small = Connection::new(Role::Server, Options { initial_stream_window_size: 65_535, initial_connection_window_size: 65_535, ..Options::default() });
    let mut client = Connection::new(Role::Client, Options::default());
    whole(&mut small, &output(&mut client));
    whole(&mut client, &output(&mut small));
    let id = client.request(&get(), false).unwrap();
    let mut sent = 0;
    while client.capacity(id) > 0 {
        let bytes = vec![b'x'; client.capacity(id)];
        send(&mut client, id, &bytes, false);
        sent += bytes.len();
    }
    assert_eq!(sent, 65_535);
    let bytes = output(&mut client);
    let mut left = &bytes[..];
    loop {
        let (taken, event) = small.receive(left).unwrap();
        left = &left[taken..];
        if event.is_none() {
            break;
        }
    }
    assert!(output(&mut small).len() < 20, "nothing is granted before it is released");
    small.release(id, 65_535);
    whole(&mut client, &output(&mut small));
    assert!(client.capacity(id) > 0);
    let beyond = raw(kind::DATA, 0, id, &[0; 16_000]).repeat(5);
    let mut left = &beyond[..];
    let fault = loop {
        match small.receive(left) {
            Ok((taken, _)) => left = &left[taken..],
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault, Fault::FlowControl);
}

#[test]
fn too_many_streams_are_refused_before_and_fatal_after_the_settings_are_known() {
    let options = Options { max_concurrent_streams: 1, ..Options::default() };
    let two = [raw(kind::HEADERS, BOTH, 1, GET), raw(kind::HEADERS, BOTH, 3, GET)].concat();
    let mut server = Connection::new(Role::Server, options);
    let seen = whole(&mut server, &[&PREFACE[..], &raw(kind::SETTINGS, 0, 0, &[]), &two].concat());
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(server.streams(), 1);
    let seen = whole(&mut greeted(options), &two);
    assert_eq!(seen.last().unwrap(), "fault request HEADERS: max concurrent streams exceeded");
}

#[test]
fn goodbye_is_said_twice() {
    let (mut client, mut server) = pair();
    let first = client.request(&get(), true).unwrap();
    server.announce_goaway();
    let seen = whole(&mut client, &output(&mut server));
    assert_eq!(seen, [format!("Goaway {{ last: {}, code: ErrorCode(0) }}", 0x7fff_ffff)]);
    whole(&mut server, &output(&mut client));
    server.goaway(ErrorCode::NO_ERROR);
    let seen = whole(&mut client, &output(&mut server));
    assert_eq!(seen, ["Goaway { last: 1, code: ErrorCode(0) }"]);
    let head: HeaderMap = [(":status", "204")].into_iter().collect();
    server.respond(first, &head, true);
    assert_eq!(whole(&mut client, &output(&mut server)).len(), 1);
    let late = raw(kind::HEADERS, BOTH, 3, GET);
    assert!(whole(&mut server, &late).is_empty(), "a stream after goodbye is not looked at");
}

/// The frames that an end has to say: kind, stream, and the number that a frame of four bytes carries.
fn said(by: &mut Connection) -> Vec<(u8, u32, Option<u32>)> {
    let bytes = output(by);
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while let Some(head) = FrameHead::read(rest) {
        let payload = &rest[HEAD_BYTES..HEAD_BYTES + head.len];
        frames.push((head.kind, head.stream, payload.try_into().ok().map(u32::from_be_bytes)));
        rest = &rest[HEAD_BYTES + head.len..];
    }
    frames
}

/// A server that has answered stream 1, of which `ended` says whether the peer has ended it.
fn answered(options: Options, ended: bool) -> Connection {
    let mut server = greeted(options);
    let flags = if ended { BOTH } else { flag::END_HEADERS };
    whole(&mut server, &raw(kind::HEADERS, flags, 1, GET));
    server.respond(1, &[(":status", "200")].into_iter().collect(), true);
    said(&mut server);
    server
}

#[test]
fn frames_of_a_stream_that_its_peer_has_ended_are_mistakes() {
    let mut server = answered(Options::default(), true);
    assert!(whole(&mut server, &raw(kind::DATA, 0, 1, b"late")).is_empty());
    assert_eq!(said(&mut server), [(kind::RST_STREAM, 1, Some(ErrorCode::STREAM_CLOSED.0))]);
    // It has not heard of the reset yet.
    assert!(whole(&mut server, &raw(kind::DATA, 0, 1, b"late")).is_empty() && said(&mut server).is_empty());

    let mut server = answered(Options::default(), true);
    whole(&mut server, &raw(kind::HEADERS, BOTH, 1, GET));
    assert_eq!(server.fault, Some(Fault::HeadersAfterEnd));

    let mut server = answered(Options { as_envoy: true, ..Options::default() }, true);
    whole(&mut server, &[raw(kind::DATA, 0, 1, b"late"), raw(kind::HEADERS, BOTH, 1, GET)].concat());
    assert!(server.fault.is_none() && said(&mut server).is_empty());
}

#[test]
fn frames_of_a_stream_that_was_reset_are_ignored() {
    let mut server = greeted(Options::default());
    whole(&mut server, &raw(kind::HEADERS, flag::END_HEADERS, 1, GET));
    server.reset(1, ErrorCode::INTERNAL_ERROR);
    said(&mut server);
    whole(&mut server, &[raw(kind::DATA, 0, 1, b"late"), raw(kind::HEADERS, BOTH, 1, &[0x00, 1, b'a', 1, b'b'])].concat());
    assert!(server.fault.is_none() && said(&mut server).is_empty());
}

#[test]
fn a_body_that_nobody_wants_is_reset_once_it_goes_on_for_long() {
    let much = raw(kind::DATA, 0, 1, &[b'x'; 16_000]).repeat(3);
    let cases: [(&[u8], &[(u8, u32, Option<u32>)]); 4] = [
        (&raw(kind::DATA, flag::END_STREAM, 1, b"all"), &[]),
        (&[raw(kind::DATA, 0, 1, b"some"), raw(kind::DATA, flag::END_STREAM, 1, b"more")].concat(), &[]),
        (&much, &[(kind::RST_STREAM, 1, Some(0))]),
        (&raw(kind::HEADERS, BOTH, 1, &[0x00, 1, b'a', 1, b'b']), &[]),
    ];
    for (bytes, answer) in cases {
        let mut server = answered(Options::default(), false);
        server.disregard(1);
        assert_eq!((server.streams(), said(&mut server).len()), (0, 0));
        assert!(whole(&mut server, bytes).is_empty());
        assert_eq!(said(&mut server), answer);
        assert!(server.fault.is_none() && !server.can_receive(1));
    }
    let mut server = answered(Options { as_envoy: true, ..Options::default() }, false);
    server.disregard(1);
    assert_eq!(said(&mut server), [(kind::RST_STREAM, 1, Some(0))]);
}

#[test]
fn a_stream_window_that_overflows_costs_the_stream() {
    let mut server = greeted(Options::default());
    let grow = raw(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 255, 255, 255]);
    let seen = whole(&mut server, &[raw(kind::HEADERS, flag::END_HEADERS, 1, GET), grow].concat());
    assert_eq!(seen.last().unwrap(), "End { stream: 1, how: WindowOverflow }");
    assert_eq!(said(&mut server).last(), Some(&(kind::RST_STREAM, 1, Some(ErrorCode::FLOW_CONTROL_ERROR.0))));
}
