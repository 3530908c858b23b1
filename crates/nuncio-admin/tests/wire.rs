//! The admin interface on the wire: headers, keep-alive, pipelining, bodies.

mod process;

use nuncio_admin::{AdminRequest, AdminResponse, Exchange, Next, Server, handle};
use process::Process;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// 2026-11-21 05:00:00 UTC.
const NOW: u64 = 1_795_237_200;

/// Sends `input` in pieces of `step` bytes; the answers, and what comes next.
fn send(
    input: &str,
    step: usize,
    answer: impl Fn(AdminRequest) -> AdminResponse,
) -> (String, Next) {
    let (mut exchange, mut buffer, mut out) = (Exchange::default(), Vec::new(), Vec::new());
    let mut next = Next::Read;
    for piece in input.as_bytes().chunks(step) {
        buffer.extend_from_slice(piece);
        next = exchange.advance(&mut buffer, &mut out, NOW, &answer);
        assert_ne!(next, Next::Write, "small answers fit");
        if next == Next::Close {
            break;
        }
    }
    (String::from_utf8(out).expect("text"), next)
}

fn ready(request: AdminRequest) -> AdminResponse {
    handle(&request, &Process::new())
}

#[test]
fn an_answer_has_envoys_headers() {
    let (found, next) = send("GET /ready HTTP/1.1\r\nhost: a\r\n\r\n", 1000, ready);
    assert_eq!(
        found,
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=UTF-8\r\ncache-control: no-cache, max-age=0\r\n\
         x-content-type-options: nosniff\r\ndate: Sat, 21 Nov 2026 05:00:00 GMT\r\nserver: envoy\r\n\
         transfer-encoding: chunked\r\n\r\n5\r\nLIVE\n\r\n0\r\n\r\n"
    );
    assert_eq!(next, Next::Read);
}

#[test]
fn any_split_gives_the_same_answers() {
    let input = "POST /runtime_modify HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                 content-length: 7\r\n\r\na=1&b=2GET /ready HTTP/1.1\r\nhost: a\r\n\r\n\
                 POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                 GET /y HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let echo = |request: AdminRequest| {
        AdminResponse::text(format!(
            "{} {} {:?}",
            request.method, request.path, request.params
        ))
    };
    let whole = send(input, input.len(), echo);
    assert_eq!(whole.1, Next::Close);
    for part in [
        "POST /runtime_modify Params([(\"a\", \"1\"), (\"b\", \"2\")])",
        "GET /ready",
        "POST /x",
        "GET /y",
    ] {
        assert!(whole.0.contains(part), "{part}");
    }
    for step in 1..40 {
        assert_eq!(send(input, step, echo), whole, "{step}");
    }
}

#[test]
fn a_head_gets_no_body_and_nonsense_gets_400() {
    let (found, _) = send("HEAD /ready HTTP/1.1\r\nhost: a\r\n\r\n", 1000, ready);
    assert!(
        found.starts_with("HTTP/1.1 200 OK\r\n")
            && found.ends_with("transfer-encoding: chunked\r\n\r\n")
    );
    let (found, next) = send("nonsense\r\n\r\n", 1000, ready);
    assert!(found.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{found}");
    assert_eq!(next, Next::Close);
}

#[tokio::test(flavor = "current_thread")]
async fn a_served_connection_counts_and_quits_after_the_answer() {
    let process = Rc::new(Process::new());
    let tasks = tokio::task::LocalSet::new();
    let served = Rc::clone(&process);
    tasks
        .run_until(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let server = Server::new(Rc::clone(&served));
            tokio::task::spawn_local(async move { server.serve_tcp(listener).await });
            let mut client = tokio::net::TcpStream::connect(address).await.expect("a connection");
            let requests = "GET /stats?filter=http.admin.downstream_(rq_active|cx_total) HTTP/1.1\r\nhost: a\r\n\r\n\
                            POST /quitquitquit HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            client.write_all(requests.as_bytes()).await.expect("sent");
            let mut answers = String::new();
            client.read_to_string(&mut answers).await.expect("answers");
            assert!(answers.contains("http.admin.downstream_cx_total: 1\nhttp.admin.downstream_rq_active: 1\n"));
            assert!(answers.ends_with("3\r\nOK\n\r\n0\r\n\r\n"), "{answers}");
        })
        .await;
    assert_eq!(process.quits.get(), 1);
}

#[test]
fn many_large_answers_are_written_one_by_one() {
    let (mut exchange, mut out) = (Exchange::default(), Vec::new());
    let mut input = "GET /x HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3).into_bytes();
    let large = |_| AdminResponse::text("x".repeat(1 << 20));
    for expected in [Next::Write, Next::Write, Next::Write, Next::Read] {
        assert_eq!(exchange.advance(&mut input, &mut out, NOW, large), expected);
        assert!(out.len() < 2 << 20);
        out.clear();
    }
}
