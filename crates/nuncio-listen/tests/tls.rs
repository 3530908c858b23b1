//! TLS listeners over real loopback sockets, with rustls as the client.

mod process;

use nuncio_core::{Connection, LocalFuture, Terminal, TerminalWorker, Worker};
use nuncio_listen::{
    ChainMatch, FilterChainConfig, Inspectors, ListenerConfig, Transport,
    tls::{Authorities, CertificateSource, Live, Made, PemSource, TlsConfig, TlsError, TlsParameters, TlsSettings, TlsVersion, ValidationSettings},
};
use nuncio_rt::OutQueue;
use process::{Process, connect, eventually, is_closed, listener, process};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    future::poll_fn,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

const SCOPE: &str = "listener.127.0.0.1_0.";

/// Sends everything back; at the end of input says the server name it was asked for and goodbye.
#[derive(Debug)]
struct Echo;

struct EchoWorker(Rc<Worker>);

impl Terminal for Echo {
    fn on_worker(self: Arc<Self>, worker: &Rc<Worker>) -> Rc<dyn TerminalWorker> {
        Rc::new(EchoWorker(worker.clone()))
    }
}

impl TerminalWorker for EchoWorker {
    fn serve(self: Rc<Self>, connection: Connection) -> LocalFuture<()> {
        Box::pin(async move {
            // An error is the client's end, nothing to report.
            let _ = self.echo(connection).await;
        })
    }
}

impl EchoWorker {
    async fn echo(&self, connection: Connection) -> io::Result<()> {
        let (mut io, info) = (connection.io, connection.info);
        assert!(info.tls);
        let mut out = OutQueue::new(self.0.bufs.clone());
        let mut written = 0;
        loop {
            poll_fn(|cx| io.poll_read_ready(cx)).await?;
            let mut buf = self.0.bufs.get();
            let end = poll_fn(|cx| io.poll_read(cx, &mut buf)).await? == 0;
            if end {
                out.copy(info.tls_facts.as_ref().and_then(|facts| facts.server_name.as_deref()).unwrap_or("nobody").as_bytes());
                assert_eq!(info.client_certificate.presented, info.client_certificate.validated);
                if info.client_certificate.presented {
                    out.copy(b" vouched for");
                }
            }
            // In two pieces, as a head and its body.
            out.copy(&buf.filled()[..buf.len() / 3]);
            buf.consume(buf.len() / 3);
            out.push(buf);
            poll_fn(|cx| out.poll_flush(cx, &mut io, &mut written)).await?;
            if end {
                return poll_fn(|cx| io.poll_shutdown(cx)).await;
            }
        }
    }
}

fn pem(name: &str) -> PemSource {
    PemSource::File(format!("{}/tests/pki/{name}", env!("CARGO_MANIFEST_DIR")).into())
}

fn certificate(name: &str) -> CertificateSource {
    CertificateSource { chain: pem(&format!("{name}.pem")), key: pem(&format!("{name}.key")), ocsp: None }
}

fn settings() -> TlsSettings {
    TlsSettings { certificates: vec![certificate("server")], ..TlsSettings::default() }
}

fn validation(trusted_ca: PemSource) -> Option<ValidationSettings> {
    Some(ValidationSettings { trusted_ca: Some(Authorities::Pem(trusted_ca)), ..ValidationSettings::default() })
}

fn requiring(trusted_ca: PemSource) -> TlsSettings {
    TlsSettings { validation: validation(trusted_ca), require_client_certificate: true, ..settings() }
}

fn tls_listener(settings: &TlsSettings) -> ListenerConfig {
    let mut config = listener("tls", b"");
    config.filter_chains = vec![Arc::new(FilterChainConfig {
        transport: Transport::Tls(Live::fixed(TlsConfig::build(settings).expect("good settings"), Vec::new())),
        ..FilterChainConfig::plain(Arc::new(Echo))
    })];
    config
}

fn serve(settings: &TlsSettings) -> (Process, SocketAddr) {
    let process = process(None);
    process.apply(vec![tls_listener(settings)]);
    let port = process.port("tls");
    (process, port)
}

fn read_pem(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/pki/{name}", env!("CARGO_MANIFEST_DIR"))).expect("test file")
}

fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(&read_pem(name)).collect::<Result<_, _>>().expect("PEM")
}

fn client_config(identity: Option<&str>, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    chain("ca.pem").into_iter().for_each(|ca| roots.add(ca).expect("CA"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_slice(&read_pem(&format!("{name}.key"))).expect("key");
            builder.with_client_auth_cert(chain(&format!("{name}.pem")), key).expect("identity")
        }
    }
}

type Client = StreamOwned<ClientConnection, TcpStream>;

fn client(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Client {
    let session = ClientConnection::new(config.clone(), name.to_owned().try_into().expect("name")).expect("client");
    StreamOwned::new(session, connect(to))
}

fn both() -> Arc<ClientConfig> {
    Arc::new(client_config(None, rustls::ALL_VERSIONS))
}

/// Sends `sent`, says goodbye, reads to the end.
fn exchange(client: &mut Client, sent: &[u8]) -> io::Result<Vec<u8>> {
    client.conn.complete_io(&mut client.sock)?;
    client.write_all(sent)?;
    client.conn.send_close_notify();
    client.flush()?;
    let mut got = Vec::new();
    client.read_to_end(&mut got)?;
    Ok(got)
}

#[test]
fn bytes_pass_both_ways_in_both_versions_and_both_sides_say_goodbye() {
    let (process, port) = serve(&settings());
    for version in rustls::ALL_VERSIONS {
        let config = Arc::new(client_config(None, &[version]));
        let mut client = client(port, "x.wild.test", &config);
        // `read_to_end` fails unless the server says goodbye.
        assert_eq!(exchange(&mut client, b"hello, ").expect("exchange"), b"hello, x.wild.test");
    }
    assert_eq!(process.stat(&format!("{SCOPE}ssl.handshake")), 2);
    assert_eq!(process.stat(&format!("{SCOPE}ssl.no_certificate")), 2);
    for name in ["versions.TLSv1.2", "versions.TLSv1.3", "ciphers.TLS_AES_256_GCM_SHA384", "ciphers.ECDHE-ECDSA-AES128-GCM-SHA256"]
    {
        assert_eq!(process.stat(&format!("{SCOPE}ssl.{name}")), 1, "{name}");
    }
    assert_eq!(process.stat(&format!("{SCOPE}ssl.curves.X25519")), 2);
}

#[test]
fn a_mebibyte_comes_back_whole() {
    let (_process, port) = serve(&settings());
    let mut stream = client(port, "a.test", &both());
    let sent: Vec<u8> = (0..1_048_576_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    let mut got = vec![0; 16 * 1024];
    for part in sent.chunks(got.len()) {
        stream.write_all(part).expect("write");
        stream.read_exact(&mut got).expect("read");
        assert!(got == part);
    }
}

#[test]
fn a_client_that_does_not_read_is_waited_for_and_loses_nothing() {
    let (_process, port) = serve(&settings());
    let mut session = ClientConnection::new(both(), "a.test".try_into().expect("name")).expect("client");
    let mut socket = connect(port);
    session.complete_io(&mut socket).expect("handshake");
    let sent: Vec<u8> = (0..8_u32 << 20).map(|n| (n % 251) as u8).collect();
    let writer = {
        let mut stream = StreamOwned::new(session, socket);
        let sent = sent.clone();
        std::thread::spawn(move || {
            let mut got = Vec::new();
            let mut rest = &sent[..];
            // Far more than sockets hold: the server must stop reading while we only write.
            stream.sock.set_write_timeout(Some(Duration::from_millis(200))).expect("timeout");
            while !rest.is_empty() {
                match stream.write(&rest[..rest.len().min(65536)]) {
                    Ok(n) => rest = &rest[n..],
                    Err(_) => break,
                }
            }
            let written = sent.len() - rest.len();
            let mut block = vec![0; 65536];
            while got.len() < written {
                let n = stream.read(&mut block).expect("echo");
                got.extend_from_slice(&block[..n]);
            }
            got
        })
    };
    let got = writer.join().expect("client");
    assert!(got.len() > 1 << 16 && sent.starts_with(&got));
}

#[test]
fn clients_get_the_certificate_of_the_name_they_ask_for() {
    let both_names = TlsSettings { certificates: vec![certificate("server"), certificate("server-rsa")], ..settings() };
    let (_process, port) = serve(&both_names);
    for (name, expected) in [("a.test", "server.pem"), ("x.wild.test", "server.pem"), ("b.test", "server-rsa.pem")] {
        let mut client = client(port, name, &both());
        exchange(&mut client, b"").expect("trusted for that name");
        assert_eq!(client.conn.peer_certificates().expect("one").first(), chain(expected).first());
    }
}

#[test]
fn protocols_are_agreed_on_in_the_servers_order() {
    let (_process, port) = serve(&TlsSettings { alpn: vec!["h2".into(), "http/1.1".into()], ..settings() });
    let mut config = client_config(None, rustls::ALL_VERSIONS);
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let mut client = client(port, "a.test", &Arc::new(config));
    exchange(&mut client, b"").expect("exchange");
    assert_eq!(client.conn.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn clients_without_a_trusted_certificate_stay_outside_where_one_is_required() {
    let (process, port) = serve(&requiring(pem("ca.pem")));
    let as_who = |identity| Arc::new(client_config(identity, rustls::ALL_VERSIONS));
    assert_eq!(exchange(&mut client(port, "a.test", &as_who(Some("client"))), b"").expect("trusted"), b"a.test vouched for");
    exchange(&mut client(port, "a.test", &as_who(None)), b"x").expect_err("no certificate");
    exchange(&mut client(port, "a.test", &as_who(Some("stranger"))), b"x").expect_err("not ours");
    eventually("counted", || process.stat(&format!("{SCOPE}ssl.fail_verify_no_cert")) == 1);
    eventually("counted", || process.stat(&format!("{SCOPE}ssl.fail_verify_error")) == 1);
    assert_eq!(process.stat(&format!("{SCOPE}ssl.no_certificate")), 0);
    assert_eq!(process.stat(&format!("{SCOPE}ssl.connection_error")), 0);
}

#[test]
fn where_a_certificate_is_optional_a_bad_one_is_still_refused() {
    let validation = validation(pem("ca.pem"));
    let (_process, port) = serve(&TlsSettings { validation, ..settings() });
    let as_who = |identity| Arc::new(client_config(identity, rustls::ALL_VERSIONS));
    assert_eq!(exchange(&mut client(port, "a.test", &as_who(None)), b"").expect("none is fine"), b"a.test");
    assert_eq!(exchange(&mut client(port, "a.test", &as_who(Some("client"))), b"").expect("trusted"), b"a.test vouched for");
    exchange(&mut client(port, "a.test", &as_who(Some("stranger"))), b"x").expect_err("not ours");
}

#[test]
fn sessions_are_resumed_unless_that_is_switched_off() {
    let kinds = |settings: &TlsSettings| {
        let (process, port) = serve(settings);
        let config = both();
        let kind = || {
            let mut client = client(port, "a.test", &config);
            exchange(&mut client, b"x").expect("exchange");
            client.conn.handshake_kind()
        };
        let kinds = [kind(), kind()];
        (kinds, process.stat(&format!("{SCOPE}ssl.session_reused")))
    };
    let off = TlsSettings { stateless_resumption: false, stateful_resumption: false, ..settings() };
    assert_eq!(kinds(&off), ([Some(HandshakeKind::Full), Some(HandshakeKind::Full)], 0));
    for on in [
        settings(),
        TlsSettings { stateless_resumption: false, ..settings() },
        TlsSettings { stateful_resumption: false, ..settings() },
    ] {
        assert_eq!(kinds(&on), ([Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], 1));
    }
}

#[test]
fn whoever_speaks_no_tls_is_closed_and_counted() {
    let (process, port) = serve(&settings());
    let mut plain = connect(port);
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("write");
    let mut rest = Vec::new();
    // The alert may arrive before the end does.
    let _ = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"GET"));
    eventually("counted", || process.stat(&format!("{SCOPE}ssl.connection_error")) == 1);
    eventually("closed", || process.stat(&format!("{SCOPE}downstream_cx_destroy")) == 1);
}

#[test]
fn a_client_that_never_greets_is_closed_in_time() {
    let process = process(None);
    let mut config = tls_listener(&settings());
    let chain = (*config.filter_chains[0]).clone();
    config.filter_chains =
        vec![Arc::new(FilterChainConfig { transport_timeout: Some(Duration::from_millis(30)), ..chain })];
    process.apply(vec![config]);
    assert!(is_closed(&mut connect(process.port("tls"))));
    let timed_out = format!("{SCOPE}downstream_cx_transport_socket_connect_timeout");
    eventually("counted", || process.stat(&timed_out) == 1);
}

#[test]
fn clients_must_name_a_server_where_that_is_required() {
    let (_process, port) = serve(&TlsSettings { require_sni: true, ..settings() });
    exchange(&mut client(port, "a.test", &both()), b"").expect("named");
    let mut quiet = client_config(None, rustls::ALL_VERSIONS);
    quiet.enable_sni = false;
    exchange(&mut client(port, "a.test", &Arc::new(quiet)), b"x").expect_err("not named");
}

#[test]
fn the_oldest_version_is_kept_to() {
    let (_process, port) = serve(&TlsSettings { parameters: TlsParameters { min_version: TlsVersion::Tls13, ..TlsParameters::default() }, ..settings() });
    let old = Arc::new(client_config(None, &[&rustls::version::TLS12]));
    exchange(&mut client(port, "a.test", &old), b"x").expect_err("too old");
}

#[test]
fn errors_are_told_in_envoys_words() {
    let told = |settings: TlsSettings| TlsConfig::build(&settings).expect_err("bad settings").to_string();
    let with = |chain, key| TlsSettings { certificates: vec![CertificateSource { chain, key, ocsp: None }], ..TlsSettings::default() };
    assert_eq!(told(TlsSettings::default()), "No TLS certificates found for server context");
    let nowhere = PemSource::File("/nope.pem".into());
    assert_eq!(told(with(nowhere, pem("server.key"))), "Invalid path: /nope.pem");
    let inline = PemSource::Inline(b"nonsense".to_vec());
    assert_eq!(told(with(inline.clone(), pem("server.key"))), "Failed to load certificate chain from <inline>");
    let error = TlsConfig::build(&with(pem("server.pem"), pem("client.key"))).expect_err("not its key");
    assert!(matches!(error, TlsError::BadKey { .. }), "{error}");
    assert_eq!(told(requiring(inline)), "Failed to load trusted CA certificates from <inline>");
    assert_eq!(
        told(TlsSettings {
            parameters: TlsParameters { min_version: TlsVersion::Tls13, max_version: TlsVersion::Tls12, ..TlsParameters::default() },
            ..settings()
        }),
        "The TLS minimum version is above the maximum version"
    );
}

#[test]
fn spoilt_greetings_and_records_never_panic() {
    let (process, port) = serve(&requiring(pem("ca.pem")));
    let config = Arc::new(client_config(Some("client"), rustls::ALL_VERSIONS));
    let random = nuncio_rt::Rng::seeded(1, 2);
    for round in 0..300 {
        let mut session = ClientConnection::new(config.clone(), "a.test".try_into().expect("name")).expect("client");
        let mut socket = connect(port);
        // Spoil the greeting, the flight that ends the handshake, or what follows it.
        for flight in 0..3 {
            let mut records = Vec::new();
            if flight == 2 {
                session.writer().write_all(&[7; 100]).expect("write");
            }
            while session.wants_write() {
                session.write_tls(&mut records).expect("to memory");
            }
            if flight == round % 3 && !records.is_empty() {
                let at = random.below(records.len() as u64) as usize;
                records[at] ^= 1 << random.below(8);
                if random.below(4) == 0 {
                    records.truncate(at);
                }
            }
            let sent = socket.write_all(&records);
            if flight == round % 3 {
                // Or the server might wait for what the spoilt bytes promise.
                let _ = socket.shutdown(std::net::Shutdown::Write);
            }
            let answered = flight == 2 || session.read_tls(&mut socket).is_ok_and(|n| n > 0);
            if sent.is_err() || !answered || session.process_new_packets().is_err() {
                break;
            }
        }
    }
    eventually("all closed", || {
        let count = |name| process.stat(&format!("{SCOPE}{name}"));
        count("downstream_cx_total") == 300 && count("downstream_cx_destroy") == 300
    });
    assert_eq!(process.stat(&format!("{SCOPE}downstream_cx_panic")), 0);
}

fn chain_for(matches: ChainMatch, transport: Transport, answer: &'static [u8]) -> Arc<FilterChainConfig> {
    Arc::new(FilterChainConfig { matches, transport, ..FilterChainConfig::plain(Arc::new(process::Named(answer))) })
}

fn tls(certificate_name: &str) -> Transport {
    let settings = TlsSettings { certificates: vec![certificate(certificate_name)], ..TlsSettings::default() };
    Transport::Tls(Live::fixed(TlsConfig::build(&settings).expect("good settings"), Vec::new()))
}

#[test]
fn chains_are_chosen_by_what_the_first_bytes_say() {
    let process = process(None);
    let mut config = listener("sni", b"");
    config.inspectors = Inspectors { tls: true, http: true, ..Inspectors::default() };
    let named = |name: &str| ChainMatch { server_names: vec![name.to_owned()], ..ChainMatch::default() };
    let http = ChainMatch {
        transport_protocol: "raw_buffer".into(),
        application_protocols: vec!["http/1.1".into()],
        ..ChainMatch::default()
    };
    config.filter_chains = vec![
        chain_for(named("a.test"), tls("server"), b"aa"),
        chain_for(named("*.wild.test"), tls("server"), b"ww"),
        chain_for(named("b.test"), tls("server-rsa"), b"bb"),
        chain_for(http, Transport::Plain, b"hh"),
    ];
    process.apply(vec![config]);
    let port = process.port("sni");
    for (name, expected) in [("a.test", b"aa"), ("x.wild.test", b"ww"), ("b.test", b"bb")] {
        let mut client = client(port, name, &both());
        client.write_all(b".").expect("write");
        let mut answer = [0; 2];
        client.read_exact(&mut answer).expect("answer");
        assert_eq!(&answer, expected, "{name}");
    }
    exchange(&mut client(port, "unknown.test", &both()), b"x").expect_err("no chain");
    let mut plain = connect(port);
    plain.write_all(b"GET / HTTP/1.1\r\n").expect("write");
    let mut answer = [0; 2];
    plain.read_exact(&mut answer).expect("what was looked at is not lost");
    assert_eq!(&answer, b"hh");
    let mut other = connect(port);
    other.write_all(b"EHLO\r\n").expect("write");
    assert!(is_closed(&mut other));
    for (name, count) in [
        ("tls_inspector.tls_found", 4),
        ("tls_inspector.sni_found", 4),
        ("tls_inspector.alpn_not_found", 4),
        ("tls_inspector.tls_not_found", 2),
        ("http_inspector.http11_found", 1),
        ("http_inspector.http_not_found", 1),
        ("listener.127.0.0.1_0.no_filter_chain_match", 2),
    ] {
        assert_eq!(process.stat(name), count, "{name}");
    }
}

#[test]
fn who_says_nothing_is_closed_in_time_or_goes_on_unseen() {
    let process = process(None);
    let mut config = listener("quiet", b"qq");
    config.inspectors = Inspectors { tls: true, ..Inspectors::default() };
    config.listener_filters_timeout = Some(Duration::from_millis(30));
    process.apply(vec![config.clone()]);
    assert!(is_closed(&mut connect(process.port("quiet"))));
    assert_eq!(process.stat(&format!("{SCOPE}downstream_pre_cx_timeout")), 1);
    drop(connect(process.port("quiet")));
    eventually("counted", || process.stat(&format!("{SCOPE}downstream_listener_filter_remote_close")) == 1);
    config.continue_on_listener_filters_timeout = true;
    process.apply(vec![config]);
    eventually("it goes on", || {
        let mut client = connect(process.port("quiet"));
        std::thread::sleep(Duration::from_millis(40));
        client.write_all(b"x").is_ok() && client.read_exact(&mut [0; 2]).is_ok()
    });
}

#[test]
fn certificates_rotate_under_load_and_nobody_is_refused() {
    let directory = std::env::temp_dir().join(format!("nuncio-rotate-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let (chosen, new) = (directory.join("name"), directory.join("new"));
    let choose = |name: &str| {
        std::fs::write(&new, name).expect("written");
        std::fs::rename(&new, &chosen).expect("moved");
    };
    choose("server");
    let read = chosen.clone();
    let make = move || Made {
        context: std::fs::read_to_string(&read).map_err(|error| error.to_string()).and_then(|name| {
            // Those of the test clients are always among them.
            let settings = TlsSettings { certificates: name.split(' ').map(certificate).collect(), ..TlsSettings::default() };
            TlsConfig::build(&settings).map_err(|error| error.to_string())
        }),
        files: vec![read.clone()],
    };
    let live = Live::of_files(vec!["secret".into()], Vec::new(), Box::new(make));
    let mut config = listener("tls", b"");
    let chain = FilterChainConfig { transport: Transport::Tls(live.clone()), ..FilterChainConfig::plain(Arc::new(Echo)) };
    config.filter_chains = vec![Arc::new(chain)];
    let process = process(None);
    process.apply(vec![config]);
    let port = process.port("tls");
    let mut kept = client(port, "a.test", &both());
    let say = |kept: &mut Client| {
        kept.write_all(b"still").expect("an old connection goes on");
        let mut answer = [0; 5];
        kept.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"still");
    };
    say(&mut kept);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut greeted = 0;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let mut client = client(port, "a.test", &both());
                        client.write_all(b"hello").expect("greeted");
                        let mut answer = [0; 5];
                        client.read_exact(&mut answer).expect("an answer");
                        greeted += 1;
                    }
                    greeted
                })
            })
            .collect();
        for round in 0..40 {
            choose(if round % 2 == 0 { "server-rsa server" } else { "server" });
            assert_eq!(live.refresh(), Some(Ok(())));
            say(&mut kept);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let greeted: i32 = clients.into_iter().map(|client| client.join().expect("no handshake fails")).sum();
        assert!(greeted > 0);
    });
    std::fs::remove_dir_all(directory).expect("removed");
}
