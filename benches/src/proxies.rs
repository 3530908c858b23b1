//! The proxies: how each is found, configured for one worker thread, pinned to a core, watched and stopped.

use std::{
    env, fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Core of the proxies; the load generator and the backend have the other.
const CORE: &str = "0";
/// How long a proxy may take to start.
const START: Duration = Duration::from_secs(15);
/// How long it may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(3);

/// Where a proxy's configuration stands and which ports it uses.
struct Setting<'a> {
    folder: &'a Path,
    front: u16,
    /// Ports of the hosts.
    backends: &'a [u16],
    /// They speak HTTP/2.
    http2: bool,
}

impl Setting<'_> {
    /// A line for each host.
    fn hosts(&self, line: impl Fn(u16) -> String) -> String {
        self.backends.iter().map(|port| line(*port)).collect()
    }
}

/// A kind of proxy.
struct Kind {
    name: &'static str,
    /// Environment variable that names another binary.
    variable: &'static str,
    /// Binary on `PATH`, or relative to the repository's root when it has a slash.
    binary: &'static str,
    /// Name of its configuration file.
    file: &'static str,
    config: fn(&Setting) -> String,
    arguments: fn(&Setting, &Path) -> Vec<String>,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "nuncio",
        variable: "NUNCIO_BIN",
        binary: "target/release/nuncio",
        file: "nuncio.yaml",
        config: envoy_config,
        arguments: |_, file| words(&["-c", &text(file), "--concurrency", "1", "-l", "error"]),
    },
    Kind {
        name: "envoy",
        variable: "ENVOY_BIN",
        binary: "envoy",
        file: "envoy.yaml",
        config: envoy_config,
        arguments: |_, file| words(&["-c", &text(file), "--concurrency", "1", "-l", "error", "--disable-hot-restart"]),
    },
    Kind {
        name: "nginx",
        variable: "NGINX_BIN",
        binary: "nginx",
        file: "nginx.conf",
        config: nginx_config,
        arguments: |setting, file| {
            let log = setting.folder.join("nginx-errors.log");
            words(&["-p", &text(setting.folder), "-c", &text(file), "-e", &text(&log)])
        },
    },
    Kind {
        name: "haproxy",
        variable: "HAPROXY_BIN",
        binary: "haproxy",
        file: "haproxy.cfg",
        config: haproxy_config,
        arguments: |_, file| words(&["-db", "-f", &text(file)]),
    },
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A proxy that runs.
pub struct Proxy {
    /// Its name in the table.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

/// Starts every proxy that this machine has; says which it has not.
pub fn start_all(folder: &Path, backends: &[u16]) -> io::Result<Vec<Proxy>> {
    start_these(KINDS, folder, backends, false)
}

/// The same with hosts that speak HTTP/2: of those that can be told so.
pub fn start_http2(folder: &Path, backends: &[u16]) -> io::Result<Vec<Proxy>> {
    start_these(&KINDS[..2], folder, backends, true)
}

fn start_these(kinds: &[Kind], folder: &Path, backends: &[u16], http2: bool) -> io::Result<Vec<Proxy>> {
    let mut proxies = Vec::new();
    for kind in kinds {
        match find(kind) {
            Some(binary) => proxies.push(start(kind, &binary, folder, backends, http2)?),
            None => eprintln!("{}: not here ({} names one)", kind.name, kind.variable),
        }
    }
    Ok(proxies)
}

/// Starts the proxy of this name, if this machine has it.
pub fn start_one(name: &str, folder: &Path, backends: &[u16]) -> io::Result<Option<Proxy>> {
    let found = KINDS.iter().find(|kind| kind.name == name).and_then(|kind| Some((kind, find(kind)?)));
    found.map(|(kind, binary)| start(kind, &binary, folder, backends, false)).transpose()
}

fn find(kind: &Kind) -> Option<PathBuf> {
    if let Some(named) = env::var_os(kind.variable) {
        return Some(named.into());
    }
    if kind.binary.contains('/') {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        return Some(root.join(kind.binary)).filter(|path| path.exists());
    }
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(kind.binary)).find(|path| path.exists())
}

fn start(kind: &Kind, binary: &Path, folder: &Path, backends: &[u16], http2: bool) -> io::Result<Proxy> {
    // Free now; should another program take it before the proxy does, the proxy says so and we stop.
    let front = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let setting = Setting { folder, front: front.port(), backends, http2 };
    let file = folder.join(kind.file);
    fs::write(&file, (kind.config)(&setting))?;
    let log = fs::File::create(folder.join(format!("{}.log", kind.name)))?;
    let mut command = Command::new("taskset");
    command.args(["-c", CORE]).arg(binary).args((kind.arguments)(&setting, &file));
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    let mut proxy = Proxy { name: kind.name, address: front, child };
    let give_up = Instant::now() + START;
    while TcpStream::connect(front).is_err() {
        if proxy.child.try_wait()?.is_some() || Instant::now() > give_up {
            let said = fs::read_to_string(folder.join(format!("{}.log", kind.name)))?;
            return Err(io::Error::other(format!("{} does not start:\n{said}", kind.name)));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(proxy)
}

impl Proxy {
    /// CPU time of the proxy's threads and children so far, in nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.tree().iter().flat_map(|pid| tasks(*pid)).filter_map(|task| cpu_ns(&task)).sum()
    }

    /// Resident memory of its processes, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let of = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.tree().into_iter().filter_map(of).sum()
    }

    /// Its process and all below it.
    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = tree.get(next) {
            let children = tasks(*pid).into_iter().filter_map(|task| fs::read_to_string(task.join("children")).ok());
            let children: Vec<u32> =
                children.flat_map(|line| line.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<_>>()).collect();
            tree.extend(children);
            next += 1;
        }
        tree
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let tree = self.tree();
        signal("-TERM", &tree[..1]);
        let give_up = Instant::now() + STOP;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > give_up {
                signal("-KILL", &tree);
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn signal(signal: &str, processes: &[u32]) {
    let processes = processes.iter().map(u32::to_string);
    let _ = Command::new("kill").arg(signal).args(processes).stderr(Stdio::null()).status();
}

fn tasks(pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// First field of `schedstat`: time on a CPU in nanoseconds.
fn cpu_ns(task: &Path) -> Option<u64> {
    fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
}

const HTTP2_HOSTS: &str = r#"    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
"#;

fn envoy_config(setting: &Setting) -> String {
    let front = setting.front;
    let options = if setting.http2 { HTTP2_HOSTS } else { "" };
    let hosts = setting.hosts(|port| {
        format!("        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}\n")
    });
    format!(
        r#"static_resources:
  listeners:
  - name: front
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {front} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          use_remote_address: true
          route_config:
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: backend }} }}] }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: backend
    type: STATIC
{options}    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
{hosts}"#
    )
}

/// Keep-alive to the backend, and nothing written to disk.
fn nginx_config(setting: &Setting) -> String {
    let Setting { front, folder, .. } = setting;
    let folder = folder.display();
    let hosts = setting.hosts(|port| format!("server 127.0.0.1:{port}; "));
    format!(
        r#"daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_buffer_size 64k;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream backend {{ {hosts}keepalive 512; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{front};
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"#
    )
}

fn haproxy_config(setting: &Setting) -> String {
    let front = setting.front;
    let hosts = setting.hosts(|port| format!("  server host{port} 127.0.0.1:{port}\n"));
    format!(
        "global\n  nbthread 1\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         \x20 option forwardfor\n  http-reuse always\n\
         frontend front\n  bind 127.0.0.1:{front}\n  default_backend backend\n\
         backend backend\n{hosts}"
    )
}
