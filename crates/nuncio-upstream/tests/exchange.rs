//! Requests over pooled connections, against a scripted server.

mod support;

use nuncio_stats::tables::cluster as stat;
use nuncio_upstream::{HeadOptions, ResetReason};
use std::sync::Arc;
use std::future::poll_fn;
use support::*;

#[test]
fn a_connection_is_reused_and_everything_is_counted() {
    run(async {
        let bench = Bench::new();
        let (server, seen) = serve(|_| ok("hello")).await;
        let cluster = bench.put(cluster("c", &[server])).await;
        for _ in 0..3 {
            let response = get(&cluster, "/x").await.expect("an answer");
            assert_eq!((response.status, response.body.as_slice()), (200, &b"hello"[..]));
        }
        assert_eq!(seen.0.borrow()[2], "GET /x HTTP/1.1\r\nhost: host.test\r\n\r\n");
        for (id, n) in [
            (stat::UPSTREAM_CX_TOTAL, 1),
            (stat::UPSTREAM_CX_HTTP1_TOTAL, 1),
            (stat::UPSTREAM_RQ_TOTAL, 3),
            (stat::UPSTREAM_RQ_PENDING_TOTAL, 1),
            (stat::UPSTREAM_CX_DESTROY, 0),
            (stat::UPSTREAM_CX_TX_BYTES_TOTAL, 3 * 36),
            (stat::UPSTREAM_CX_RX_BYTES_TOTAL, 3 * 43),
        ] {
            assert_eq!(bench.counter("c", id), n, "{}", bench.stats("c").table().defs[usize::from(id.0)].name);
        }
        assert_eq!(bench.gauge("c", stat::UPSTREAM_CX_ACTIVE), 1);
        assert_eq!(bench.gauge("c", stat::UPSTREAM_RQ_ACTIVE), 0);
        assert_eq!(bench.gauge("c", stat::UPSTREAM_RQ_PENDING_ACTIVE), 0);
    });
}

#[test]
fn chunked_bodies_and_interim_responses_arrive_unframed() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|head| match head.contains("/big") {
            true => {
                let chunk = format!("{:x}\r\n{}\r\n", 50_000, "z".repeat(50_000));
                format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(3))
            }
            false => "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n\
                      3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n"
                .to_owned(),
        })
        .await;
        let mut config = cluster("c", &[server]);
        Arc::make_mut(&mut config.http).enable_trailers = true;
        let cluster = bench.put(config).await;
        let response = get(&cluster, "/small").await.expect("an answer");
        assert_eq!((response.status, &response.interim[..], &response.body[..]), (201, &[103][..], &b"abcde"[..]));
        assert_eq!(response.trailers, [("x-t".to_owned(), "1".to_owned())]);
        let response = get(&cluster, "/big").await.expect("an answer");
        assert_eq!(response.body.len(), 150_000);
        assert!(response.body.iter().all(|b| *b == b'z'));
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_TOTAL), 1);
    });
}

#[test]
fn request_bodies_are_sent_with_the_framing_their_head_says() {
    run(async {
        let bench = Bench::new();
        // The body's end looks like a head to the server, which answers it: the first answer is the body's.
        let (server, seen) = serve(|head| if head.ends_with("0\r\n\r\n") { ok("") } else { String::new() }).await;
        let cluster = bench.put(cluster("c", &[server])).await;
        let mut conn = acquire(&pick(&cluster)).await.expect("a connection");
        conn.send_head(&request("POST", "/p"), HeadOptions { end: false }).expect("a good head");
        conn.send_data(buf(b"hello"), false);
        conn.send_data(buf(b""), true);
        assert!(conn.buffered() > 0);
        poll_fn(|cx| conn.poll_flush(cx)).await.expect("sent");
        assert_eq!(conn.buffered(), 0);
        assert_eq!(read_response(&mut conn).await.expect("an answer").status, 200);
        conn.finish();
        assert_eq!(seen.0.borrow()[0], "POST /p HTTP/1.1\r\nhost: host.test\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(seen.0.borrow()[1], "5\r\nhello\r\n0\r\n\r\n");
        let mut conn = acquire(&pick(&cluster)).await.expect("a connection");
        assert_eq!(exchange(&mut conn, &request("POST", "/q")).await.expect("an answer").status, 200);
        assert_eq!(seen.0.borrow()[2], "POST /q HTTP/1.1\r\nhost: host.test\r\ncontent-length: 0\r\n\r\n");
    });
}

#[test]
fn a_closing_server_is_counted_as_envoy_does() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|_| "HTTP/1.0 200 OK\r\n\r\nbody!close".to_owned()).await;
        let cluster = bench.put(cluster("c", &[server])).await;
        for _ in 0..2 {
            assert_eq!(get(&cluster, "/").await.expect("an answer").body, b"body");
        }
        for (id, n) in [
            (stat::UPSTREAM_CX_TOTAL, 2),
            (stat::UPSTREAM_CX_CLOSE_NOTIFY, 2),
            (stat::UPSTREAM_CX_DESTROY, 2),
            (stat::UPSTREAM_CX_DESTROY_REMOTE, 2),
            (stat::UPSTREAM_CX_DESTROY_LOCAL, 0),
            (stat::UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ, 0),
            (stat::UPSTREAM_RQ_PENDING_TOTAL, 2),
        ] {
            assert_eq!(bench.counter("c", id), n, "{}", bench.stats("c").table().defs[usize::from(id.0)].name);
        }
    });
}

#[test]
fn failures_have_envoys_reasons() {
    run(async {
        let bench = Bench::new();
        let (server, _) = serve(|head| match head.split(' ').nth(1) {
            Some("/part") => "HTTP/1.1 200 OK\r\nfoo!close".to_owned(),
            Some("/garbage") => "nonsense\r\n\r\n".to_owned(),
            Some("/partial") => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc!close".to_owned(),
            _ => "!close".to_owned(),
        })
        .await;
        let cluster_ = bench.put(cluster("c", &[server])).await;
        let reason = |result: Result<Response, nuncio_upstream::Reset>| result.expect_err("a reset").reason;
        assert_eq!(reason(get(&cluster_, "/close").await), ResetReason::ConnectionTermination);
        assert_eq!(reason(get(&cluster_, "/garbage").await), ResetReason::ProtocolError);
        assert_eq!(reason(get(&cluster_, "/partial").await), ResetReason::ProtocolError);
        assert_eq!(reason(get(&cluster_, "/part").await), ResetReason::ProtocolError);
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ), 4);
        assert_eq!(bench.counter("c", stat::UPSTREAM_CX_PROTOCOL_ERROR), 3);

        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.and_then(|l| l.local_addr()).expect("an address");
        let refused = bench.put(cluster("r", &[gone])).await;
        let failure = acquire(&pick(&refused)).await.expect_err("nobody listens");
        assert_eq!(
            failure.reset.code_details(),
            "remote_connection_failure|delayed_connect_error:_Connection_refused"
        );
        assert!(failure.host.is_some());
        for (id, n) in [
            (stat::UPSTREAM_CX_CONNECT_FAIL, 1),
            (stat::UPSTREAM_CX_DESTROY_REMOTE, 1),
            (stat::UPSTREAM_RQ_PENDING_FAILURE_EJECT, 1),
            (stat::UPSTREAM_RQ_TOTAL, 0),
        ] {
            assert_eq!(bench.counter("r", id), n, "{}", bench.stats("r").table().defs[usize::from(id.0)].name);
        }
    });
}
