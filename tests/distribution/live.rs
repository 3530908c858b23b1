//! Asks an Envoy: starts it with the cases' clusters and a route to each, sends the requests one after the other, and reads
//! from `/clusters` how many each host got.

use super::{Counts, REQUESTS, clusters, key, made, names, snapshot};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

/// Where the hosts of the cases are.
const BACKENDS: &str = "0.0.0.0:28480";
const ENTRY: &str = "127.0.0.1:28481";
const ADMIN: &str = "127.0.0.1:28482";
const WHAT: &str = "# How often Envoy 1.40 chose each host of cases.yaml. Recorded by\n\
    #   ENVOY=/path/to/envoy NUNCIO_DISTRIBUTION_RECORD=1 cargo test -p nuncio --test distribution -- --ignored\n";

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nothing else can be done about one that does not end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn counts(envoy: &OsStr) -> BTreeMap<String, Counts> {
    let backends = TcpListener::bind(BACKENDS).expect("port 28480 is free");
    thread::spawn(move || backends.incoming().flatten().for_each(|stream| _ = thread::spawn(move || answer(stream))));
    let names: Vec<String> = names(&snapshot()).iter().map(|name| name.to_string()).collect();
    let file = std::env::temp_dir().join(format!("nuncio-distribution-{}.yaml", std::process::id()));
    fs::write(&file, bootstrap(&names)).expect("a file");
    let command = Command::new(envoy)
        .args(["--disable-hot-restart", "--concurrency", "1", "-l", "error", "-c"])
        .arg(&file)
        .stderr(Stdio::inherit())
        .spawn();
    let _proxy = Proxy(command.expect("Envoy starts"));
    for name in &names {
        let mut client = connect(ENTRY);
        let mut input = BufReader::new(client.try_clone().expect("a socket"));
        for n in 0..REQUESTS {
            let request = format!("GET /{name} HTTP/1.1\r\nhost: h\r\nx-key: {}\r\n\r\n", key(n));
            client.write_all(request.as_bytes()).expect("a request goes out");
            let mut line = String::new();
            input.read_line(&mut line).expect("an answer");
            assert!(line.starts_with("HTTP/1.1 200"), "{name}: {line}");
            while line != "\r\n" {
                line.clear();
                input.read_line(&mut line).expect("a head");
            }
        }
    }
    let mut admin = connect(ADMIN);
    write!(admin, "GET /clusters HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("a request goes out");
    let mut text = String::new();
    admin.read_to_string(&mut text).expect("an answer");
    // Gone, or somebody else's.
    let _ = fs::remove_file(&file);
    let mut all: BTreeMap<String, Counts> = BTreeMap::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.trim().split("::").collect();
        if let [cluster, host, "rq_total", n] = parts[..]
            && let Ok(n @ 1..) = n.parse()
        {
            all.entry(cluster.to_owned()).or_default().insert(host.to_owned(), n);
        }
    }
    all
}

pub fn record(all: &BTreeMap<String, Counts>) {
    let mut text = WHAT.to_owned();
    for (name, counts) in all {
        text.push_str(name);
        counts.iter().for_each(|(host, n)| _ = write!(text, "\t{host}={n}"));
        text.push('\n');
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/distribution/envoy.tsv");
    fs::write(path, text).expect("the recorded counts");
}

fn connect(to: &str) -> TcpStream {
    for _ in 0..200 {
        if let Ok(stream) = TcpStream::connect(to) {
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            stream.set_nodelay(true).expect("an option");
            return stream;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody listens on {to}");
}

/// A host: answers everything alike.
fn answer(mut stream: TcpStream) {
    let (Ok(reader), Ok(())) = (stream.try_clone(), stream.set_nodelay(true)) else { return };
    let mut lines = BufReader::new(reader).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() && stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// The cases' clusters, and a route to each.
fn bootstrap(names: &[String]) -> String {
    let address = |at: &str| {
        let (host, port) = at.split_once(':').unwrap_or_default();
        format!("{{socket_address: {{address: {host}, port_value: {port}}}}}")
    };
    let made = made::all();
    let asked = |name: &str| made.iter().find(|case| case.name == name).map(made::Case::metadata_match).unwrap_or_default();
    let route = |name: &String| {
        let asked = asked(name);
        format!("{{match: {{path: /{name}}}, route: {{cluster: {name}, hash_policy: [{{header: {{header_name: x-key}}}}]{asked}}}}}, ")
    };
    let routes: String = names.iter().map(route).collect();
    let filters = "type.googleapis.com/envoy.extensions.filters";
    let manager = format!(
        "{{name: hcm, typed_config: {{'@type': {filters}.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: x, \
         route_config: {{virtual_hosts: [{{name: v, domains: ['*'], routes: [{routes}]}}]}}, \
         http_filters: [{{name: r, typed_config: {{'@type': {filters}.http.router.v3.Router}}}}]}}}}"
    );
    let listener = format!("{{name: l, address: {}, filter_chains: [{{filters: [{manager}]}}]}}", address(ENTRY));
    format!("admin: {{address: {}}}\n{}  listeners: [{listener}]\n", address(ADMIN), clusters())
}
