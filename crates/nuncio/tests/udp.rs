//! Listeners for datagrams. The UDP proxy: sessions, hashing, what is dropped, and what is counted. The DNS filter: answers from its
//! table, of clusters and of resolvers. Numbers and bytes are Envoy's for the same datagrams.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(15);

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// A host that says its number before what it gets; it says nothing to `silent`.
fn host(number: u8) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut buf = [0; 65536];
        while let Ok((len, from)) = socket.recv_from(&mut buf) {
            if &buf[..len] != b"silent" {
                let _ = socket.send_to(&[&[number, b':'][..], &buf[..len]].concat(), from);
            }
        }
    });
    port
}

fn ask(client: &UdpSocket, port: u16, say: &[u8]) -> Vec<u8> {
    client.send_to(say, ("127.0.0.1", port)).expect("it is sent");
    let mut buf = [0; 65536];
    let len = client.recv(&mut buf).expect("an answer");
    buf[..len].to_vec()
}

fn stats(port: u16) -> String {
    let mut text = String::new();
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(b"GET /stats HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        stream.read_to_string(&mut text)
    });
    if asked.is_ok() { text } else { String::new() }
}

fn wait_for(port: u16, line: &str) {
    let begun = Instant::now();
    while !stats(port).lines().any(|said| said == line) {
        assert!(begun.elapsed() < PATIENCE, "no {line} in\n{}", stats(port).lines().filter(|said| said.contains("udp")).collect::<Vec<_>>().join("\n"));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn datagrams_go_to_the_host_of_their_session_and_back() {
    let hosts = [host(b'0'), host(b'1')];
    let [admin, plain, spread, hashed, nowhere] = [(); 5].map(|()| free_port());
    let log = env::temp_dir().join(format!("nuncio-udp-{}.log", std::process::id()));
    let listener = |name: &str, port: u16, rest: &str| {
        format!(
            "  - name: {name}
    address: {{socket_address: {{protocol: UDP, address: 127.0.0.1, port_value: {port}}}}}
    listener_filters: [{{name: u, typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig, stat_prefix: {name}, {rest}}}}}]
"
        )
    };
    let to = |cluster: &str| format!("matcher: {{on_no_match: {{action: {{name: r, typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route, cluster: {cluster}}}}}}}}}");
    let logged = format!("access_log: [{{name: f, typed_config: {{'@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: '{}', log_format: {{text_format_source: {{inline_string: \"%BYTES_RECEIVED% %BYTES_SENT% %DYNAMIC_METADATA(udp.proxy.session:datagrams_received)% %ACCESS_LOG_TYPE%\\n\"}}}}}}}}]", log.display());
    let endpoints = hosts.map(|port| format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}")).join(", ");
    let config = format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources:
  listeners:
{}{}{}{}  clusters:
  - {{name: c, type: STATIC, load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}}}
  - {{name: m, type: STATIC, lb_policy: MAGLEV, load_assignment: {{cluster_name: m, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}}}
  - {{name: none, type: STATIC}}
",
        listener("plain", plain, &format!("idle_timeout: 0.4s, {}, {logged}", to("c"))),
        listener("spread", spread, &format!("use_per_packet_load_balancing: true, {}", to("c"))),
        listener("hashed", hashed, &format!("hash_policies: [{{key: k}}], {}", to("m"))),
        listener("nowhere", nowhere, &to("none")),
    );
    let path = env::temp_dir().join(format!("nuncio-udp-{}.yaml", std::process::id()));
    fs::write(&path, config).expect("a file");
    let proxy = Command::new(env!("CARGO_BIN_EXE_nuncio")).arg("-c").arg(&path).args(["--concurrency", "2", "--file-flush-interval-msec", "50"]).stderr(Stdio::null()).spawn();
    let _proxy = Running(proxy.expect("the proxy starts"));
    wait_for(admin, "udp.plain.downstream_sess_total: 0");

    // One client, one session, one host; another has a session of its own. Too long a datagram is dropped, an empty one is not.
    let (one, two) = (socket(), socket());
    let first = ask(&one, plain, b"a");
    assert_eq!(ask(&one, plain, b"b")[0], first[0]);
    one.send_to(b"silent", ("127.0.0.1", plain)).expect("it is sent");
    one.send_to(&[b'x'; 1501], ("127.0.0.1", plain)).expect("it is sent");
    assert_eq!(ask(&one, plain, &[b'y'; 1400]).len(), 1402);
    assert_eq!(&ask(&two, plain, b"")[1..], b":");
    for line in ["downstream_sess_total: 2", "downstream_sess_rx_datagrams: 5", "downstream_sess_tx_datagrams: 4", "downstream_sess_rx_bytes: 1408"] {
        wait_for(admin, &format!("udp.plain.{line}"));
    }
    wait_for(admin, &format!("listener.127.0.0.1_{plain}.udp.downstream_rx_datagram_dropped: 1"));
    wait_for(admin, "udp.plain.idle_timeout: 2");
    wait_for(admin, "udp.plain.downstream_sess_active: 0");
    let begun = Instant::now();
    loop {
        let told = fs::read_to_string(&log).unwrap_or_default();
        let mut lines: Vec<&str> = told.lines().collect();
        lines.sort_unstable();
        if lines == ["0 2 1 UdpSessionEnd", "1408 1408 4 UdpSessionEnd"] {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the log has {lines:?}");
        thread::sleep(Duration::from_millis(50));
    }

    // Each datagram has a host of its own, in turn; then a client has as many sessions as hosts.
    let mut said: Vec<u8> = (0..4).map(|_| ask(&one, spread, b"z")[0]).collect();
    said.sort_unstable();
    assert_eq!(said, b"0011");
    wait_for(admin, "udp.spread.downstream_sess_total: 2");

    // The same key, the same host, whoever asks.
    let chosen = ask(&one, hashed, b"k")[0];
    assert!((0..10).all(|_| ask(&socket(), hashed, b"k")[0] == chosen));

    // Nowhere to go: no session.
    one.send_to(b"a", ("127.0.0.1", nowhere)).expect("it is sent");
    wait_for(admin, "cluster.none.upstream_cx_none_healthy: 1");
    wait_for(admin, "udp.nowhere.downstream_sess_total: 0");
    let _ = (fs::remove_file(path), fs::remove_file(log));
}

/// A query for records of a type.
fn query(name: &str, kind: u16) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    [&b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0"[..], &labels.collect::<Vec<_>>(), &[0], &kind.to_be_bytes(), &[0, 1]].concat()
}

/// A server of names that has 10.8.0.1 for every one.
fn name_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut buf = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buf) {
            let mut answer = [&buf[..len], b"\xc0\x0c\0\x01\0\x01\0\0\0\x4d\0\x04\x0a\x08\0\x01"].concat();
            answer[2..4].copy_from_slice(b"\x81\x80");
            answer[7] = 1;
            let _ = socket.send_to(&answer, from);
        }
    });
    port
}

#[test]
fn names_are_answered_from_the_table_or_by_resolvers() {
    const A: u16 = 1;
    const AAAA: u16 = 28;
    const SRV: u16 = 33;
    const MX: u16 = 15;
    let [admin, table, forward] = [(); 3].map(|()| free_port());
    let server = name_server();
    let listener = |name: &str, port: u16, rest: &str| {
        format!(
            "  - name: {name}
    address: {{socket_address: {{protocol: UDP, address: 127.0.0.1, port_value: {port}}}}}
    udp_listener_config: {{downstream_socket_config: {{max_rx_datagram_size: 600}}}}
    listener_filters: [{{name: d, typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig, stat_prefix: {name}, {rest}}}}}]
"
        )
    };
    let names = "{name: www.one.test, answer_ttl: 40s, endpoint: {address_list: {address: [10.0.0.1, 'fd00::1']}}}, \
                 {name: '*.wild.test', endpoint: {address_list: {address: [10.0.2.1]}}}, \
                 {name: cl.one.test, endpoint: {cluster_name: c}}, \
                 {name: srv.one.test, endpoint: {service_list: {services: [{service_name: sip, protocol: {name: tcp}, ttl: 60s, \
                 targets: [{cluster_name: c, priority: 3, weight: 30}]}]}}}";
    let config = format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
static_resources:
  listeners:
{}{}  clusters:
  - {{name: c, type: STATIC, load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 10.7.0.1, port_value: 81}}}}}}}}]}}]}}}}
",
        listener("table", table, &format!("server_config: {{inline_dns_table: {{virtual_domains: [{names}]}}}}")),
        listener("forward", forward, &format!("server_config: {{external_dns_table: {{inline_string: 'virtual_domains: [{{name: www.one.test, endpoint: {{address_list: {{address: [10.0.0.1]}}}}}}]'}}}}, client_config: {{max_pending_lookups: 9, resolver_timeout: 5s, typed_dns_resolver_config: {{name: c, typed_config: {{'@type': type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, resolvers: [{{socket_address: {{address: 127.0.0.1, port_value: {server}}}}}], dns_resolver_options: {{no_default_search_domain: true}}}}}}}}")),
    );
    let path = env::temp_dir().join(format!("nuncio-dns-{}.yaml", std::process::id()));
    fs::write(&path, config).expect("a file");
    let proxy = Command::new(env!("CARGO_BIN_EXE_nuncio")).arg("-c").arg(&path).args(["--concurrency", "2"]).stderr(Stdio::null()).spawn();
    let _proxy = Running(proxy.expect("the proxy starts"));
    wait_for(admin, "dns_filter.forward.downstream_rx_queries: 0");

    let client = socket();
    // Bytes 2 and 3 say how it went; an address is the end of a response.
    let said = |port: u16, name: &str, kind: u16| {
        let answer = ask(&client, port, &query(name, kind));
        (u16::from_be_bytes([answer[2], answer[3]]), answer)
    };
    let (code, answer) = said(table, "www.one.test", A);
    assert_eq!((code, &answer[30..]), (0x8100, &b"\x03www\x03one\x04test\0\0\x01\0\x01\0\0\0\x28\0\x04\x0a\0\0\x01"[..]));
    assert_eq!(said(table, "www.one.test", AAAA).1.last(), Some(&1));
    assert!(said(table, "a.b.wild.test", A).1.ends_with(b"\x0a\0\x02\x01"));
    assert!(said(table, "cl.one.test", A).1.ends_with(b"\x0a\x07\0\x01"));
    let (code, service) = said(table, "_sip._tcp.srv.one.test", SRV);
    assert_eq!((code, &service[6..12]), (0x8100, &b"\0\x01\0\0\0\x01"[..]));
    assert!(service.ends_with(b"\x0a\x07\0\x01"));
    // No such name, no such record of a name; what is not asked for so; no query.
    assert_eq!([said(table, "no.one.test", A).0, said(table, "WWW.one.test", A).0, said(table, "cl.one.test", AAAA).0], [0x8103; 3]);
    assert_eq!(ask(&client, table, b"\x12\x34\x01"), b"\x12\x34\x80\x01\0\0\0\0\0\0\0\0");
    // What is too long is dropped, and the next query is answered.
    let long = [query("www.one.test", A), vec![0; 600]].concat();
    client.send_to(&long, ("127.0.0.1", table)).expect("it is sent");
    assert_eq!(said(table, "www.one.test", MX).0, 0x8104);
    for line in ["downstream_rx_queries: 10", "known_domain_queries: 9", "unanswered_queries: 4", "query_buffer_underflow: 1", "cluster_srv_record_answers: 1"] {
        wait_for(admin, &format!("dns_filter.table.{line}"));
    }
    wait_for(admin, &format!("listener.127.0.0.1_{table}.udp.downstream_rx_datagram_dropped: 1"));

    // Names that are not in the table are asked for; those that are have what the table says.
    let (code, answer) = said(forward, "other.example", A);
    assert_eq!((code, &answer[answer.len() - 10..]), (0x8180, &b"\0\0\x01\x2c\0\x04\x0a\x08\0\x01"[..]));
    assert_eq!([said(forward, "www.one.test", AAAA).0, said(forward, "other.example", MX).0], [0x8183, 0x8184]);
    for line in ["externally_resolved_queries: 2", "external_a_record_answers: 1", "external_unsupported_queries: 1", "downstream_tx_responses: 3"] {
        wait_for(admin, &format!("dns_filter.forward.{line}"));
    }
    let _ = fs::remove_file(path);
}
