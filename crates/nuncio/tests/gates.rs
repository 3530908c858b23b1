//! Gates on what an exchange costs, as far as that can be counted without noise.
//!
//! System calls are counted by `strace`, if there is one that may trace; instructions by `valgrind`, if `NUNCIO_GATES=1`
//! asks for them (best with `NUNCIO_BIN` naming a release build). A gate that cannot be checked says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Connections that send at once.
const CONNECTIONS: usize = 16;
/// Rounds over all connections until pools and buffers have their size.
const WARM_UP: usize = 4;
/// Rounds that are counted.
const COUNTED: usize = 20;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// A read and a write on either side; the slack is for timers. Waits (`epoll_wait`) are left out: how many sockets are
/// ready at one wake-up is a matter of timing.
const MAX_CALLS: f64 = 4.2;
/// Of a release build; a tenth above what it was when this was written.
const MAX_INSTRUCTIONS: u64 = 21_000;

#[test]
fn an_exchange_costs_two_reads_and_two_writes() {
    if !works("strace", &["-f", "-o", "/dev/null", "true"]) {
        eprintln!("SKIPPED: system calls per exchange are not checked: no strace here, or it may not trace");
        return;
    }
    let folder = folder("calls");
    let log = folder.join("strace.log");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-s", "64", "-o"]).arg(&log).arg(binary());
    let mut proxy = Proxy::start(strace, &folder);
    proxy.rounds(WARM_UP);
    proxy.exchange("/count-begins");
    proxy.rounds(COUNTED);
    proxy.exchange("/count-ends");
    drop(proxy);

    let log = fs::read_to_string(&log).unwrap();
    let counted = log.rsplit_once("/count-begins").and_then(|(_, after)| after.split_once("/count-ends")).unwrap().0;
    let lines = counted.lines().skip(1).filter(|line| !line.contains(" resumed>"));
    let (waits, calls): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains(" epoll_"));
    let exchanges = (COUNTED * CONNECTIONS) as f64;
    let per_exchange = calls.len() as f64 / exchanges;
    eprintln!("{per_exchange:.2} system calls per exchange and {:.2} waits", waits.len() as f64 / exchanges);
    assert!(per_exchange <= MAX_CALLS, "{per_exchange} calls per exchange, the last of them:\n{}", tail(&calls));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_exchange_costs_few_instructions() {
    if env::var_os("NUNCIO_GATES").is_none() || !works("valgrind", &["--version"]) {
        eprintln!("SKIPPED: instructions per exchange are not checked: that takes NUNCIO_GATES=1 and valgrind");
        return;
    }
    let few = instructions(COUNTED);
    let many = instructions(2 * COUNTED);
    let per_exchange = (many - few) / (COUNTED * CONNECTIONS) as u64;
    eprintln!("{per_exchange} instructions per exchange");
    if cfg!(debug_assertions) && env::var_os("NUNCIO_BIN").is_none() {
        eprintln!("SKIPPED: the limit on instructions is for release builds; name one by NUNCIO_BIN");
        return;
    }
    assert!(per_exchange <= MAX_INSTRUCTIONS, "{per_exchange} instructions per exchange");
}

/// Instructions of a whole run with this many rounds.
fn instructions(rounds: usize) -> u64 {
    let folder = folder("instructions");
    let log = folder.join("valgrind.log");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]);
    valgrind.arg(format!("--log-file={}", log.display())).arg(binary());
    let mut proxy = Proxy::start(valgrind, &folder);
    proxy.rounds(WARM_UP + rounds);
    drop(proxy);
    let log = fs::read_to_string(&log).unwrap();
    fs::remove_dir_all(folder).unwrap();
    let refs = log.split_once(" refs:").and_then(|(_, after)| after.lines().next()).unwrap().replace(',', "");
    refs.trim().parse().unwrap()
}

/// A running Nuncio, a backend behind it and connections to it.
struct Proxy {
    child: Child,
    admin: SocketAddr,
    connections: Vec<TcpStream>,
}

impl Proxy {
    /// Starts `command` (Nuncio, or a tool that runs it) and waits until it listens.
    fn start(mut command: Command, folder: &Path) -> Proxy {
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = folder.join("proxy.json");
        fs::write(&config, configuration(backend.local_addr().unwrap().port())).unwrap();
        thread::spawn(move || backend.incoming().for_each(|stream| drop(thread::spawn(|| serve(stream.unwrap())))));
        let admin_file = folder.join("admin");
        command.arg("-c").arg(&config).args(["--concurrency", "1", "--admin-address-path"]).arg(&admin_file);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let admin = wait_for(|| fs::read_to_string(&admin_file).ok()?.trim().parse().ok());
        let front: SocketAddr = wait_for(|| {
            let listeners = ask(admin, "GET /listeners")?;
            listeners.split_once("front::")?.1.lines().next()?.trim().parse().ok()
        });
        let connections = (0..CONNECTIONS).map(|_| TcpStream::connect(front).unwrap()).collect();
        Proxy { child, admin, connections }
    }

    /// So many requests on each connection, sent on all before any answer is read.
    fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.connections.iter_mut().for_each(|stream| send(stream, "/"));
            self.connections.iter_mut().for_each(receive);
        }
    }

    /// One request on one connection.
    fn exchange(&mut self, path: &str) {
        send(&mut self.connections[0], path);
        receive(&mut self.connections[0]);
    }
}

impl Drop for Proxy {
    /// Lets the proxy end by itself, and the tool around it write what it has found; after a failed test too.
    fn drop(&mut self) {
        if ask(self.admin, "POST /quitquitquit").is_some() {
            let _ = self.child.wait();
        }
    }
}

fn configuration(backend: u16) -> String {
    let types = "type.googleapis.com/envoy.extensions.filters";
    let address = |port: u16| format!(r#"{{"socket_address": {{"address": "127.0.0.1", "port_value": {port}}}}}"#);
    let (any, backend) = (address(0), address(backend));
    format!(
        r#"{{"admin": {{"address": {any}}}, "static_resources": {{
        "listeners": [{{"name": "front", "address": {any}, "filter_chains": [{{"filters": [{{
            "name": "hcm", "typed_config": {{
                "@type": "{types}.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "front", "use_remote_address": true,
                "route_config": {{"virtual_hosts": [{{"name": "all", "domains": ["*"],
                    "routes": [{{"match": {{"prefix": "/"}}, "route": {{"cluster": "backend"}}}}]}}]}},
                "http_filters": [{{"name": "envoy.filters.http.router",
                    "typed_config": {{"@type": "{types}.http.router.v3.Router"}}}}]}}}}]}}]}}],
        "clusters": [{{"name": "backend", "type": "STATIC", "load_assignment": {{"cluster_name": "backend",
            "endpoints": [{{"lb_endpoints": [{{"endpoint": {{"address": {backend}}}}}]}}]}}}}]}}}}"#
    )
}

fn send(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: example.com\r\n\r\n").as_bytes()).unwrap();
}

fn receive(stream: &mut TcpStream) {
    assert!(read_until(stream, b"\r\n\r\nhello"), "the proxy has closed");
}

/// The backend's side of one connection.
fn serve(mut stream: TcpStream) {
    while read_until(&mut stream, b"\r\n\r\n") {
        if stream.write_all(RESPONSE).is_err() {
            return;
        }
    }
}

/// Reads until what came ends in `end`; false when the peer has closed instead.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> bool {
    let (mut block, mut len) = ([0; 8192], 0);
    while !block[..len].ends_with(end) {
        match stream.read(&mut block[len..]) {
            Ok(0) | Err(_) => return false,
            Ok(more) => len += more,
        }
    }
    true
}

/// One request to the admin interface.
fn ask(admin: SocketAddr, what: &str) -> Option<String> {
    let mut stream = TcpStream::connect(admin).ok()?;
    write!(stream, "{what} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Asks again until there is an answer; a proxy under a tool may take its time to start.
fn wait_for<T>(mut answer: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < give_up, "the proxy does not start");
        thread::sleep(Duration::from_millis(10));
    }
}

fn binary() -> PathBuf {
    env::var_os("NUNCIO_BIN").map_or_else(|| env!("CARGO_BIN_EXE_nuncio").into(), PathBuf::from)
}

fn works(tool: &str, args: &[&str]) -> bool {
    let status = Command::new(tool).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A fresh folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("nuncio-gates-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn tail(lines: &[&str]) -> String {
    lines[lines.len().saturating_sub(40)..].join("\n")
}
