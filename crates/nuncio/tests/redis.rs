//! The Redis proxy in front of two real servers. It needs `redis-server`; without it, it says loudly that it skips.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

fn redis(port: u16) -> Option<Running> {
    let port = port.to_string();
    let args = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", "up"];
    Command::new("redis-server").args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok().map(Running)
}

fn connect(port: u16) -> BufReader<TcpStream> {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                return BufReader::new(stream);
            }
            Err(error) => assert!(begun.elapsed() < PATIENCE, "port {port}: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn send(stream: &mut BufReader<TcpStream>, commands: &[&str]) {
    let mut out = String::new();
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        out += &format!("*{}\r\n", words.len());
        words.iter().for_each(|word| out += &format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.get_mut().write_all(out.as_bytes()).expect("it is sent");
}

/// One answer, as a text.
fn answer(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("an answer");
    let line = line.trim_end().to_owned();
    match line.split_at(1) {
        ("$", "-1") => "nil".to_owned(),
        ("$", len) => {
            let mut bytes = vec![0; len.parse::<usize>().expect("a length") + 2];
            stream.read_exact(&mut bytes).expect("a string");
            String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned()
        }
        ("*", len) => {
            let parts: Vec<String> = (0..len.parse::<usize>().expect("a length")).map(|_| answer(stream)).collect();
            format!("[{}]", parts.join(" "))
        }
        _ => line,
    }
}

fn ask(stream: &mut BufReader<TcpStream>, commands: &[&str]) -> Vec<String> {
    send(stream, commands);
    commands.iter().map(|_| answer(stream)).collect()
}

#[test]
fn two_servers_are_one() {
    let ports = [free_port(), free_port()];
    let servers: Vec<Running> = ports.iter().filter_map(|port| redis(*port)).collect();
    if servers.len() < 2 {
        eprintln!("\n*** SKIPPED: the Redis proxy's test needs redis-server ***\n");
        return;
    }
    let port = free_port();
    let hosts = ports.map(|port| format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}")).join(", ");
    let config = format!(
        "static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: redis
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy
          stat_prefix: r
          settings: {{op_timeout: 10s, enable_hashtagging: true}}
          prefix_routes: {{catch_all_route: {{cluster: c}}}}
          downstream_auth_passwords: [{{inline_string: down}}]
  clusters:
  - name: c
    type: STATIC
    lb_policy: MAGLEV
    load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{hosts}]}}]}}
    typed_extension_protocol_options:
      envoy.filters.network.redis_proxy:
        '@type': type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProtocolOptions
        auth_password: {{inline_string: up}}
"
    );
    let path = env::temp_dir().join(format!("nuncio-redis-{}.yaml", std::process::id()));
    fs::write(&path, config).expect("a file");
    ports.iter().for_each(|port| drop(connect(*port)));
    let proxy = Command::new(env!("CARGO_BIN_EXE_nuncio")).arg("-c").arg(&path).args(["--concurrency", "2"]).stderr(Stdio::null()).spawn();
    let _proxy = Running(proxy.expect("the proxy starts"));

    let mut client = connect(port);
    assert_eq!(ask(&mut client, &["get a", "auth no", "auth down"]), ["-NOAUTH Authentication required.", "-ERR invalid password", "+OK"]);

    // Many keys: they are on both servers, and are put together again.
    let pairs: Vec<String> = (0..200).map(|n| format!("key{n} value{n}")).collect();
    assert_eq!(ask(&mut client, &[&format!("mset {}", pairs.join(" "))]), ["+OK"]);
    let keys: Vec<String> = (0..200).map(|n| format!("key{n}")).collect();
    let wanted: Vec<String> = (0..200).map(|n| format!("value{n}")).collect();
    assert_eq!(ask(&mut client, &[&format!("mget {}", keys.join(" "))]), [format!("[{}]", wanted.join(" "))]);
    let sizes = ports.map(|port| ask(&mut connect(port), &["auth up", "dbsize"])[1].clone());
    assert!(sizes.iter().all(|size| size != ":0") && sizes != [":200", ":200"], "{sizes:?}");
    assert_eq!(ask(&mut client, &[&format!("exists {}", keys.join(" ")), "del key0 key1 nokey"]), [":200", ":2"]);

    // Keys with the same tag are on one server, so that a transaction may have them.
    let said = ask(&mut client, &["multi", "set {t}a 1", "incr {t}a", "set {t}b x", "exec", "get {t}a"]);
    assert_eq!(said, ["+OK", "+QUEUED", "+QUEUED", "+QUEUED", "[+OK :2 +OK]", "2"]);
    let mut other = connect(port);
    assert_eq!(ask(&mut other, &["auth down", "watch {t}a", "multi"]), ["+OK", "+OK", "+OK"]);
    assert_eq!(ask(&mut client, &["set {t}a 9"]), ["+OK"]);
    assert_eq!(ask(&mut other, &["set {t}a 0", "exec", "get {t}a"]), ["+QUEUED", "nil", "9"]);

    // A thousand commands at once, answered in their order; a long value; a script.
    let commands: Vec<String> = (0..1000).map(|n| if n % 2 == 0 { format!("set p{n} {n}") } else { format!("get p{}", n - 1) }).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    for (n, said) in ask(&mut client, &commands).into_iter().enumerate() {
        assert_eq!(said, if n % 2 == 0 { "+OK".to_owned() } else { (n - 1).to_string() });
    }
    let long = "x".repeat(3_000_000);
    assert_eq!(ask(&mut client, &[&format!("set long {long}"), "strlen long", "get long"]), ["+OK", ":3000000", &long]);
    assert_eq!(ask(&mut client, &["eval return{KEYS[1],ARGV[1]} 1 k v", "lpush l a b", "lrange l 0 -1"]), ["[k v]", ":2", "[b a]"]);

    // A server that ends is told of, and used again when it is back.
    drop(servers);
    assert!(ask(&mut client, &["get p0"])[0].starts_with("-upstream failure"));
    let _again: Vec<Running> = ports.iter().filter_map(|port| redis(*port)).collect();
    ports.iter().for_each(|port| drop(connect(*port)));
    let begun = Instant::now();
    while ask(&mut client, &["set back 1"]) != ["+OK"] {
        assert!(begun.elapsed() < PATIENCE, "the servers are not used again");
        thread::sleep(Duration::from_millis(50));
    }
    let _ = fs::remove_file(path);
}
