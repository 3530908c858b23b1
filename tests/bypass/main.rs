//! Ways round an access rule: spellings of requests against a policy that denies `/admin`, with and without the options
//! that clean requests up.
//!
//! `table.tsv` has a request per line, and what became of it under each set of options: the status, and for what passed
//! the path as an upstream would see it. The verdicts are Envoy's (`NUNCIO_BEHAVE_BIN=/path/to/envoy NUNCIO_BEHAVE_RECORD=1`
//! writes them). A request is a path, or a head with `|` between its lines.
//!
//! Two things are held to: every verdict is Envoy's, so that nothing passes that Envoy stops; and with the options for the
//! edge nothing passes that an upstream could take for `/admin`.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Sets of options of the connection manager, by the column of the table.
const OPTIONS: [(&str, &str); 9] = [
    ("plain", ""),
    ("normalize", r#", "normalize_path": true"#),
    ("merge", r#", "merge_slashes": true"#),
    ("reject", r#", "path_with_escaped_slashes_action": "REJECT_REQUEST""#),
    ("unescape", r#", "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD""#),
    ("redirect", r#", "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT", "normalize_path": true"#),
    ("strip_port", r#", "strip_any_host_port": true"#),
    ("underscores", r#", "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}"#),
    (
        "edge",
        r#", "normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
           "strip_any_host_port": true, "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}"#,
    ),
];

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bypass/table.tsv")
}

struct Proxy(Child, PathBuf);

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_file(&self.1);
    }
}

fn listener(port: u16, options: &str) -> String {
    let type_of = |name: &str| format!(r#""@type": "type.googleapis.com/envoy.extensions.filters.{name}""#);
    let rbac = format!(
        r#"{{"name": "rbac", "typed_config": {{{}, "rules": {{"action": "DENY", "policies": {{
            "admin": {{"permissions": [
                {{"url_path": {{"path": {{"prefix": "/admin", "ignore_case": true}}}}}},
                {{"header": {{"name": ":authority", "string_match": {{"exact": "admin.test"}}}}}},
                {{"header": {{"name": "x-role", "string_match": {{"exact": "evil"}}}}}}
            ], "principals": [{{"any": true}}]}}}}}}}}}}"#,
        type_of("http.rbac.v3.RBAC")
    );
    let router = format!(r#"{{"name": "router", "typed_config": {{{}}}}}"#, type_of("http.router.v3.Router"));
    let route = r#"{"match": {"prefix": "/"}, "direct_response": {"status": 200}, "response_headers_to_add": [{"header": {"key": "x-seen", "value": "%REQ(:PATH)%"}}]}"#;
    format!(
        r#"{{"name": "l{port}", "address": {{"socket_address": {{"address": "127.0.0.1", "port_value": {port}}}}}, "filter_chains": [{{"filters": [{{"name": "hcm", "typed_config": {{
            {}, "stat_prefix": "in", "http_filters": [{rbac}, {router}],
            "route_config": {{"virtual_hosts": [{{"name": "v", "domains": ["*"], "routes": [{route}]}}]}}{options}}}}}]}}]}}"#,
        type_of("network.http_connection_manager.v3.HttpConnectionManager")
    )
}

/// Starts the proxy; gives the port of each set of options.
fn start() -> (Proxy, Vec<u16>) {
    let held: Vec<TcpListener> = OPTIONS.iter().map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let ports: Vec<u16> = held.iter().map(|socket| socket.local_addr().expect("an address").port()).collect();
    drop(held);
    let listeners: Vec<String> = ports.iter().zip(OPTIONS).map(|(port, (_, options))| listener(*port, options)).collect();
    let file = env::temp_dir().join(format!("nuncio-bypass-{}.json", std::process::id()));
    fs::write(&file, format!(r#"{{"static_resources": {{"listeners": [{}]}}}}"#, listeners.join(","))).expect("a file");
    let binary = env::var_os("NUNCIO_BEHAVE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_nuncio").into());
    let mut command = Command::new(binary);
    command.arg("-c").arg(&file).args(["--disable-hot-restart", "--concurrency", "1", "-l", "error"]).env("NUNCIO_PARITY", "1");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the proxy");
    let proxy = Proxy(child, file);
    let since = Instant::now();
    while ports.iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
        assert!(since.elapsed() < Duration::from_secs(20), "the proxy does not start");
        thread::sleep(Duration::from_millis(20));
    }
    (proxy, ports)
}

/// What becomes of a request: its status, and the path that was seen where it passed.
fn verdict(port: u16, request: &str) -> String {
    let head = if request.contains('|') { request.replace('|', "\r\n") } else { format!("GET {request} HTTP/1.1\r\nhost: h") };
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    client.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    client.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).expect("sent");
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    // The head is enough: some connections stay open a while. A proxy that has had enough may reset the connection.
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match client.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(n) => answer.extend_from_slice(&piece[..n]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap_or("closed").to_owned();
    match answer.lines().find_map(|line| line.strip_prefix("x-seen: ")) {
        Some(seen) if status == "200" => format!("200 {seen}"),
        _ => status,
    }
}

/// The path that an upstream could take this for: escapes decoded, slashes of both kinds, dots resolved, in lower case.
fn meaning(path: &str) -> String {
    let bytes = path.split(['?', '#']).next().unwrap_or_default().as_bytes();
    let mut text = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                text.push(byte);
                at += 3;
            }
            None => {
                text.push(bytes[at]);
                at += 1;
            }
        }
    }
    let text = String::from_utf8_lossy(&text).replace('\\', "/").to_lowercase();
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[test]
fn nothing_goes_round_an_access_rule_that_envoy_stops() {
    let text = fs::read_to_string(table()).expect("the table");
    let (_proxy, ports) = start();
    let requests: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    let columns: Vec<Vec<String>> = thread::scope(|scope| {
        let asked: Vec<_> = ports.iter().map(|port| scope.spawn(|| requests.iter().map(|request| verdict(*port, request)).collect())).collect();
        asked.into_iter().map(|column| column.join().expect("a column")).collect()
    });
    let found: Vec<Vec<String>> = (0..requests.len()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect();
    if env::var_os("NUNCIO_BEHAVE_RECORD").is_some() {
        let names: Vec<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
        let mut out = format!("request\t{}\n", names.join("\t"));
        for (request, verdicts) in requests.iter().zip(&found) {
            out.push_str(&format!("{request}\t{}\n", verdicts.join("\t")));
        }
        fs::write(table(), out).expect("written");
        return;
    }
    let mut wrong = Vec::new();
    for (line, verdicts) in text.lines().skip(1).zip(&found) {
        let mut columns = line.split('\t');
        let request = columns.next().unwrap_or_default();
        for ((wanted, verdict), (options, _)) in columns.zip(verdicts).zip(OPTIONS) {
            if wanted != verdict {
                wrong.push(format!("{request} with {options}: {verdict}, Envoy: {wanted}"));
            }
            let seen = verdict.strip_prefix("200 ").map(meaning);
            if options == "edge" && seen.is_some_and(|seen| seen == "/admin" || seen.starts_with("/admin/")) {
                wrong.push(format!("{request} goes round the rule: {verdict}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(requests.len() > 64, "only {} requests", requests.len());
}
