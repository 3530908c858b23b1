//! Nuncio as a process: its configuration, its signals, its admin interface.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// `--drain-time-s`.
pub const DRAIN_TIME: Duration = Duration::from_secs(20);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Gauges that are zero when nothing is going on.
const IDLE_GAUGES: [&str; 4] =
    ["http.main.downstream_rq_active", "http.main.downstream_cx_active", "cluster.one.upstream_rq_active", "cluster.two.upstream_rq_active"];

/// A running Nuncio; killed when dropped.
pub struct Proxy {
    child: Child,
    folder: PathBuf,
    backends: [SocketAddr; 2],
    admin: SocketAddr,
    pub front: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself; what is left behind is in the temporary directory.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Proxy {
    /// Starts it with four workers in front of two backends, of which number `chosen` takes the requests.
    pub fn start(name: &str, backends: &[SocketAddr; 2], chosen: usize) -> Proxy {
        Proxy::start_with(name, backends, |front| configuration(front, backends, chosen))
    }

    /// Starts it with a configuration of one's own, for a listener at that address.
    pub fn start_with(name: &str, backends: &[SocketAddr; 2], configuration: impl Fn(SocketAddr) -> String) -> Proxy {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("nuncio-chaos-{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let front = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (config, admin_file) = (folder.join("envoy.json"), folder.join("admin"));
        fs::write(&config, configuration(front)).unwrap();
        let other = env::var_os("NUNCIO_CHAOS_BIN");
        let mut command = Command::new(other.as_deref().unwrap_or(env!("CARGO_BIN_EXE_nuncio").as_ref()));
        if other.is_some() {
            command.arg("--disable-hot-restart");
        }
        command.arg("-c").arg(&config).args(["--concurrency", "4", "-l", "error", "--admin-address-path"]).arg(&admin_file);
        command.args(["--drain-time-s", &DRAIN_TIME.as_secs().to_string()]).env_remove("NUNCIO_PARITY");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut proxy = Proxy { child, folder, backends: *backends, admin: front, front };
        proxy.admin = wait_for("the admin interface", || fs::read_to_string(&admin_file).ok()?.trim().parse().ok());
        wait_for("the listener", || TcpStream::connect(front).ok());
        proxy
    }

    /// Writes the configuration that sends requests to backend number `chosen`.
    pub fn write(&self, chosen: usize) {
        // In one step: a reload never sees half a file.
        let new = self.folder.join("new.json");
        fs::write(&new, configuration(self.front, &self.backends, chosen)).unwrap();
        fs::rename(new, self.folder.join("envoy.json")).unwrap();
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// The whole answer of the admin interface.
    pub fn admin(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Counters and gauges of that name, or beginning with it.
    pub fn stats(&self, name: &str) -> Vec<(String, u64)> {
        let answer = self.admin("GET", &format!("/stats?filter=^{name}"));
        let value = |line: &str| line.split_once(": ").and_then(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)));
        answer.lines().filter(|line| line.starts_with(name)).filter_map(value).collect()
    }

    pub fn wait_for_gauge(&self, name: &str, value: u64) {
        wait_for(name, || self.stats(name).contains(&(name.to_owned(), value)).then_some(()));
    }

    pub fn gauges_return_to_zero(&self) {
        for gauge in IDLE_GAUGES {
            // A cluster that is gone has no gauges.
            wait_for(gauge, || self.stats(gauge).iter().all(|(_, value)| *value == 0).then_some(()));
        }
    }

    /// Memory that it has, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How it ended.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.child.try_wait().unwrap())
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The clusters come and go with the choice, so that a reload changes listeners and clusters.
fn configuration(front: SocketAddr, backends: &[SocketAddr; 2], chosen: usize) -> String {
    let name = ["one", "two"][chosen];
    let address = |of: SocketAddr| format!(r#"{{"socket_address": {{"address": "127.0.0.1", "port_value": {}}}}}"#, of.port());
    let to = address(backends[chosen]);
    let front = address(front);
    format!(
        r#"{{
  "admin": {{"address": {{"socket_address": {{"address": "127.0.0.1", "port_value": 0}}}}}},
  "static_resources": {{
    "clusters": [{{"name": "{name}", "load_assignment": {{"cluster_name": "{name}", "endpoints": [{{"lb_endpoints": [
      {{"endpoint": {{"address": {to}}}}}]}}]}}}}],
    "listeners": [{{"name": "front", "address": {front}, "filter_chains": [{{"filters": [{{
      "name": "envoy.filters.network.http_connection_manager",
      "typed_config": {{
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "main",
        "delayed_close_timeout": "0.05s",
        "route_config": {{"virtual_hosts": [{{"name": "all", "domains": ["*"], "routes": [
          {{"match": {{"prefix": "/"}}, "route": {{"cluster": "{name}"}}}}]}}]}},
        "http_filters": [{{
          "name": "envoy.filters.http.router",
          "typed_config": {{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}}}]
      }}}}]}}]}}]
  }}
}}"#
    )
}
