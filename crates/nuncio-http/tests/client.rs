//! Requests of our own whose two directions go on together, over HTTP/2, asked from the main thread.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_codec::http2::{Connection, ErrorCode, Event, Options, Role, StreamEnd};
use nuncio_core::{ClientFailure, ClientStream, HttpClient, StreamPiece, StreamRequest, Worker};
use nuncio_rt::Address;
use nuncio_stats::{Lane, Store};
use nuncio_upstream::config::{Endpoint, EndpointAddress, LocalityEndpoints, UpstreamProtocol};
use nuncio_upstream::dns::StubResolvers;
use nuncio_upstream::{ClusterConfig, ClusterManager};
use std::{cell::RefCell, future::poll_fn, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the service has seen end.
type Ends = Rc<RefCell<Vec<String>>>;

fn run(test: impl Future<Output = ()> + 'static) {
    let done = async { tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs") };
    nuncio_rt::block_on_worker(done).unwrap();
}

/// A service that sends back what it gets, and trailers at the end; to `/stuck` it says nothing and takes no more.
async fn service() -> (SocketAddr, Ends) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, ends) = (listener.local_addr().unwrap(), Ends::default());
    let seen = ends.clone();
    nuncio_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            nuncio_rt::spawn(serve(stream, seen.clone()));
        }
    });
    (address, ends)
}

async fn serve(mut stream: TcpStream, ends: Ends) {
    let mut codec = Connection::new(Role::Server, Options { initial_stream_window_size: 65_535, ..Options::default() });
    let (mut input, mut stuck) = (Vec::new(), false);
    loop {
        while let Ok((taken, event)) = codec.receive(&input) {
            let Some(event) = event else {
                input.drain(..taken);
                break;
            };
            match event {
                Event::Head { stream, .. } => {
                    let mut head = HeaderMap::default();
                    codec.take_head(&mut head);
                    assert_eq!(head.get("x-envoy-internal"), Some(&b"true"[..]));
                    stuck = head.path() == Some(b"/stuck");
                    let mut answer = HeaderMap::default();
                    answer.set_status(200);
                    if !stuck {
                        codec.respond(stream, &answer, false);
                    }
                }
                Event::Data { stream, payload, end } if !stuck => {
                    let bytes = input[payload].to_vec();
                    codec.release(stream, bytes.len());
                    codec.begin_data(stream, bytes.len(), false);
                    codec.output().extend_from_slice(&bytes);
                    if end {
                        let mut trailers = HeaderMap::default();
                        trailers.insert(Known::GrpcStatus, "0");
                        codec.trailers(stream, &trailers);
                        ends.borrow_mut().push("complete".to_owned());
                    }
                }
                Event::End { how: StreamEnd::Reset(code), .. } => ends.borrow_mut().push(format!("reset {}", code.0)),
                _ => {}
            }
            input.drain(..taken);
        }
        let out = std::mem::take(codec.output());
        stream.write_all(&out).await.unwrap();
        codec.sent(out.len() as u64);
        if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

/// The main thread with one cluster, `service`.
async fn main_thread(address: SocketAddr) -> (Rc<Worker>, Rc<dyn HttpClient>, ClusterManager) {
    let store = Store::new(2);
    let manager = ClusterManager::new(store.clone(), StubResolvers::new(&store));
    let worker = Worker::new(usize::MAX, Lane::MAIN);
    nuncio_http::install_client_on_demand(&worker, &manager);
    let mut config = ClusterConfig::named("service");
    Arc::make_mut(&mut config.http).protocol = UpstreamProtocol::Http2;
    let endpoints = vec![Endpoint::at(EndpointAddress::Resolved(Address::Ip(address)))];
    Arc::make_mut(&mut config.assignment).localities.push(LocalityEndpoints { endpoints, ..LocalityEndpoints::default() });
    manager.put(config);
    manager.ready().await;
    let client = worker.http_client().unwrap();
    (worker, client, manager)
}

fn request(cluster: &str, path: &str) -> StreamRequest {
    let mut head = HeaderMap::default();
    for (name, value) in [(Known::Method, "POST"), (Known::Scheme, "http"), (Known::Authority, "a"), (Known::Path, path)] {
        head.insert(name, value);
    }
    StreamRequest { cluster: cluster.into(), head, ..StreamRequest::default() }
}

async fn piece(stream: &mut dyn ClientStream) -> String {
    match poll_fn(|task| stream.poll_piece(task)).await.unwrap() {
        StreamPiece::Head { head, end } => format!("{:?} {end}", head.status()),
        StreamPiece::Data { bytes, end } => format!("{} {end}", String::from_utf8_lossy(bytes.filled())),
        StreamPiece::Trailers(trailers) => format!("trailers {:?}", trailers.get_str(Known::GrpcStatus)),
        StreamPiece::Local(answer) => format!("local {:?} {}", answer.head.status(), String::from_utf8_lossy(&answer.body)),
    }
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn both_directions_go_on_together() {
    run(async {
        let (address, ends) = service().await;
        let (_worker, client, _manager) = main_thread(address).await;
        let mut stream = client.open(request("service", "/")).unwrap();
        stream.send(b"one", false);
        assert_eq!(piece(&mut *stream).await, "Some(200) false");
        assert_eq!(piece(&mut *stream).await, "one false");
        stream.send(b"two", false);
        assert_eq!(piece(&mut *stream).await, "two false");
        assert_eq!(stream.waiting(), 0);
        stream.send(b"three", true);
        assert_eq!(piece(&mut *stream).await, "three false");
        assert_eq!(piece(&mut *stream).await, "trailers Some(\"0\")");
        assert_eq!(*ends.borrow(), ["complete"]);
    });
}

#[test]
fn what_the_service_does_not_take_waits_and_dropping_cancels() {
    run(async {
        let (address, ends) = service().await;
        let (_worker, client, _manager) = main_thread(address).await;
        let mut stream = client.open(request("service", "/stuck")).unwrap();
        stream.send(&[b'a'; 100_000], false);
        let quiet = tokio::time::timeout(Duration::from_millis(100), piece(&mut *stream)).await;
        assert!(quiet.is_err(), "{quiet:?}");
        assert_eq!(stream.waiting(), 100_000 - 65_535);
        drop(stream);
        until(|| !ends.borrow().is_empty()).await;
        assert_eq!(*ends.borrow(), [format!("reset {}", ErrorCode::INTERNAL_ERROR.0)]);
    });
}

#[test]
fn an_answer_that_takes_too_long_and_a_service_that_is_not_there() {
    run(async {
        let (address, ends) = service().await;
        let (_worker, client, manager) = main_thread(address).await;
        assert!(matches!(client.open(request("other", "/")), Err(ClientFailure::NoCluster)));
        let mut stream = client.open(StreamRequest { timeout: Duration::from_millis(50), ..request("service", "/stuck") }).unwrap();
        stream.send(b"all", true);
        assert_eq!(piece(&mut *stream).await, "local Some(504) upstream request timeout");
        until(|| ends.borrow().len() == 1).await;
        manager.remove("service");
        until(|| client.stat_name("service").is_none()).await;
    });
}
