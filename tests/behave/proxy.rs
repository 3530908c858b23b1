//! The proxy under test as a process.

use crate::{
    message::{self, Kind},
    node::Node,
};
use std::{
    env, fs,
    io::{BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Longest a start may take.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What is tested.
#[derive(Debug, Clone)]
pub struct Binary {
    path: PathBuf,
    /// It is Nuncio.
    pub ours: bool,
}

impl Binary {
    /// `NUNCIO_BEHAVE_BIN`, else the binary cargo has just built.
    pub fn from_env() -> Binary {
        match env::var_os("NUNCIO_BEHAVE_BIN") {
            Some(path) => {
                let path = PathBuf::from(path);
                let ours = path.file_name().is_some_and(|name| name == "nuncio");
                Binary { path, ours }
            }
            None => Binary { path: env!("CARGO_BIN_EXE_nuncio").into(), ours: true },
        }
    }
}

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    stderr: PathBuf,
    admin: u16,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Starts the proxy and waits until it serves.
    pub fn start(
        binary: &Binary,
        config: &str,
        workers: u32,
        script: &Node,
        admin: u16,
        directory: &Path,
    ) -> Result<Proxy, String> {
        let file = directory.join("config.json");
        let stderr = directory.join("stderr");
        fs::write(&file, config).map_err(|error| error.to_string())?;
        let output = || fs::File::create(&stderr).map_err(|error| error.to_string());
        let mut command = Command::new(&binary.path);
        command
            .arg("-c")
            .arg(&file)
            .args(["--concurrency", &workers.to_string()])
            .args(["--disable-hot-restart", "-l", "warning", "--file-flush-interval-msec", "10"])
            .args(["--drain-time-s", "1"])
            .args(script.get("args").map_or(&[][..], Node::items).iter().map(Node::text))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output()?);
        if script.flag("nuncio") {
            command.env_remove("NUNCIO_PARITY");
        } else {
            command.env("NUNCIO_PARITY", "1");
        }
        let child = command.spawn().map_err(|error| format!("{}: {error}", binary.path.display()))?;
        let mut proxy = Proxy { child, stderr, admin };
        proxy.wait_ready()?;
        Ok(proxy)
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("the proxy did not start ({status}):\n{}", self.said()));
            }
            if self.admin("GET", "/ready").is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            if start.elapsed() > START_LIMIT {
                return Err(format!("the proxy is not ready after {START_LIMIT:?}:\n{}", self.said()));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it wrote to standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Sends it a signal (`TERM`, `HUP`, `USR1`).
    pub fn signal(&self, name: &str) -> Result<(), String> {
        let done = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        done.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Waits for it to end.
    pub fn wait_end(&mut self, limit: Duration) -> Result<String, String> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if start.elapsed() > limit {
                return Err(format!("it still runs after {limit:?}"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks an admin endpoint: status and body.
    pub fn admin(&self, method: &str, path: &str) -> Result<(u16, String), String> {
        let ask = || -> std::io::Result<(u16, String)> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.admin))?;
            stream.set_read_timeout(Some(START_LIMIT))?;
            let request =
                format!("{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let answer =
                message::read(&mut BufReader::new(stream), Kind::Response)?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
            Ok((answer.status(), String::from_utf8_lossy(&answer.body).into_owned()))
        };
        ask().map_err(|error| format!("admin {path}: {error}"))
    }
}
