//! The load generator: threads that each send one request on all their connections, then read all the answers.
//!
//! So the proxy always finds several connections ready, as it does under load, and the figure does not depend on how
//! fast this machine wakes a sleeping thread.

use crate::backend::Input;
use std::{
    fmt::Write as _,
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Threads of the load generator.
const THREADS: usize = 4;

/// A kind of exchange to measure.
pub struct Scenario {
    /// What the table calls it.
    pub name: &'static str,
    path: &'static str,
    headers: usize,
    body: usize,
    connections: usize,
}

const PLAIN: Scenario = Scenario { name: "small GET", path: "/", headers: 3, body: 0, connections: 32 };

/// All that are measured.
pub const SCENARIOS: &[Scenario] = &[
    PLAIN,
    Scenario { name: "20 headers", headers: 20, ..PLAIN },
    Scenario { name: "512 connections", connections: 512, ..PLAIN },
    Scenario { name: "16 KiB body", path: "/16k", ..PLAIN },
    Scenario { name: "1 MiB body", path: "/1m", connections: 8, ..PLAIN },
    Scenario { name: "16 KiB POST", path: "/post", body: 16 << 10, ..PLAIN },
];

impl Scenario {
    fn request(&self) -> Vec<u8> {
        let method = if self.body > 0 { "POST" } else { "GET" };
        let mut head = format!("{method} {} HTTP/1.1\r\nhost: bench.example.com\r\n", self.path);
        for n in 1..self.headers {
            let _ = write!(head, "x-header-number-{n}: a value of the usual length, {n}\r\n");
        }
        if self.body > 0 {
            let _ = write!(head, "content-length: {}\r\n", self.body);
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.resize(request.len() + self.body, b'a');
        request
    }
}

/// A load that runs until it is stopped.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// What the threads of a load share.
#[derive(Default)]
pub struct Shared {
    answers: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    /// Counts an answer.
    pub fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// True once the load is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Load {
    /// Opens the scenario's connections to `proxy` and begins.
    pub fn start(scenario: &Scenario, proxy: SocketAddr) -> io::Result<Load> {
        let shared = Arc::<Shared>::default();
        let request = Arc::new(scenario.request());
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let connections = (0..scenario.connections / THREADS).map(|_| connect(proxy)).collect::<io::Result<Vec<_>>>()?;
            let (shared, request) = (shared.clone(), request.clone());
            threads.push(thread::spawn(move || run(connections, &request, &shared)));
        }
        Ok(Load { shared, threads })
    }

    /// So many threads that do the same until it is stopped.
    pub fn spawn(threads: usize, work: impl Fn(&Shared) -> io::Result<()> + Clone + Send + 'static) -> Load {
        let shared = Arc::<Shared>::default();
        let threads = (0..threads).map(|_| {
            let (shared, work) = (shared.clone(), work.clone());
            thread::spawn(move || work(&shared))
        });
        Load { threads: threads.collect(), shared }
    }

    /// Answers so far.
    pub fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::Relaxed)
    }

    /// Ends it; says what went wrong, if anything did.
    pub fn stop(self) -> io::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut joined = self.threads.into_iter().map(JoinHandle::join);
        joined.try_for_each(|result| result.unwrap_or_else(|_| Err(io::Error::other("a thread has panicked"))))
    }
}

fn connect(proxy: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

fn run(mut connections: Vec<TcpStream>, request: &[u8], shared: &Shared) -> io::Result<()> {
    let mut input = Input::default();
    while !shared.is_stopped() {
        for stream in &mut connections {
            stream.write_all(request)?;
        }
        for stream in &mut connections {
            let head = input.head(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if !head.is_ok() {
                return Err(io::Error::other("an answer other than 200"));
            }
            input.skip(stream, head.content_length)?;
            shared.answered();
        }
    }
    Ok(())
}
