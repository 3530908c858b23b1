//! Transparent interception, with the rules and the configuration of `examples/interception`, in a network namespace of its
//! own: `REDIRECT` in both directions, `TPROXY`, the hand-over between listeners, the catch-all.
//!
//! It needs root, `ip` and `iptables`; without them it says loudly that it skips. By itself:
//!
//! ```sh
//! cargo test -p nuncio --test interception -- --nocapture
//! NUNCIO_INTERCEPTION_BIN=/path/to/envoy cargo test -p nuncio --test interception     # the same of Envoy
//! ```

use std::{
    env,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Set where the test runs once more, inside of the namespace.
const INSIDE: &str = "NUNCIO_INSIDE_NAMESPACE";
/// The proxy's group, which the rules leave alone.
const GROUP: u32 = 1337;
const PATIENCE: Duration = Duration::from_secs(10);

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/interception")
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() { Ok(()) } else { Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr).trim())) }
}

/// A network namespace that goes with the test.
struct Namespace(String);

impl Namespace {
    fn new() -> Result<Namespace, String> {
        let namespace = Namespace(format!("nuncio-{}", std::process::id()));
        run("ip", &["netns", "add", &namespace.0])?;
        let rules = example().join("rules.sh");
        run("ip", &["netns", "exec", &namespace.0, "sh", &rules.to_string_lossy()])?;
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.0]);
    }
}

#[test]
fn connections_are_taken_on_their_way_and_go_on_to_where_they_wanted() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(why) => {
            eprintln!("\n*** SKIPPED: transparent interception needs root, ip and iptables: {why} ***\n");
            return;
        }
    };
    let again = env::current_exe().expect("this program");
    let name = "connections_are_taken_on_their_way_and_go_on_to_where_they_wanted";
    let done = Command::new("ip")
        .args(["netns", "exec", &namespace.0])
        .arg(again)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("it runs once more");
    let told = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&told));
}

/// A server that answers each connection with its name and what it was told, up to the end or a blank line.
fn server(name: &'static str, at: &str) {
    let listener = TcpListener::bind(at).expect("an address of the namespace");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut told, mut more) = (Vec::new(), [0; 4096]);
                let http = loop {
                    match stream.read(&mut more) {
                        Ok(n) if n > 0 => told.extend_from_slice(&more[..n]),
                        _ => break false,
                    }
                    if told.ends_with(b"\r\n\r\n") {
                        break true;
                    }
                };
                let answer = match http {
                    true => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{name}", name.len()),
                    false => format!("{name} heard {}", String::from_utf8_lossy(&told)),
                };
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
}

/// What comes back for these bytes; the client says that it has no more if `ends`.
fn ask(at: &str, bytes: &str, ends: bool) -> String {
    let mut stream = TcpStream::connect(at).expect("somebody takes it");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(bytes.as_bytes()).expect("sent");
    if ends {
        // Envoy drops whoever has ended while listener filters look.
        thread::sleep(Duration::from_millis(100));
        // It may be closed already.
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split_once("\r\n\r\n").map_or(answer.clone(), |(_, body)| body.to_owned())
}

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inside() {
    server("remote", "10.44.0.1:80");
    server("other", "10.44.0.1:9000");
    server("app", "127.0.0.1:8080");
    server("marked", "10.44.0.2:9000");
    let binary = env::var("NUNCIO_INTERCEPTION_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_nuncio").to_owned());
    let mut proxy = Command::new(binary)
        .args(["-c", &example().join("envoy.yaml").to_string_lossy(), "--concurrency", "2", "--disable-hot-restart", "-l", "error", "--file-flush-interval-msec", "100"])
        .gid(GROUP)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the proxy starts");
    let mut log = proxy.stdout.take().expect("piped");
    let proxy = Proxy(proxy);
    let begun = Instant::now();
    let ready = || TcpStream::connect("127.0.0.1:15000").is_ok() && ask("127.0.0.1:15000", "GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", false).contains("LIVE");
    while !ready() {
        assert!(begun.elapsed() < PATIENCE, "the proxy is not ready");
        thread::sleep(Duration::from_millis(50));
    }

    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    assert_eq!(ask("10.44.0.1:80", &get("/out", "remote"), false), "remote", "a listener for port 80 takes it");
    assert_eq!(ask("10.44.0.1:9000", "hello", true), "other heard hello", "nobody is there for port 9000: the catch-all");
    assert_eq!(ask("127.0.0.1:15001", "hello", true), "", "who asks for the listener itself gets nowhere");
    assert_eq!(ask("127.0.0.1:8080", &get("/in", "app"), false), "app", "the chain for HTTP on port 8080");
    assert_eq!(ask("127.0.0.1:8080", "\u{1}hello", true), "app heard \u{1}hello", "what is not HTTP");
    assert_eq!(ask("10.44.0.2:9000", "hello", true), "marked heard hello", "TPROXY");

    // Lines are written as connections end.
    thread::sleep(Duration::from_millis(1200));
    drop(proxy);
    let mut lines = String::new();
    log.read_to_string(&mut lines).expect("text");
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    let wanted = [
        "IN /in 200 127.0.0.1:8080 at 127.0.0.1:15006 to 127.0.0.1:8080",
        "IN TCP 127.0.0.1:8080 at 127.0.0.1:15006 to 127.0.0.1:8080 16",
        "OUT /out 200 10.44.0.1:80 at 127.0.0.1:15001 to 10.44.0.1:80",
        "PASS 10.44.0.1:9000 at 127.0.0.1:15001 to 10.44.0.1:9000 17",
        "TPROXY 10.44.0.2:9000 at 10.44.0.2:9000 to 10.44.0.2:9000 18",
    ];
    assert_eq!(lines, wanted);
}
