//! What floods of HTTP/2 cost: each proxy is started anew for each of them, and takes it while somebody else, the victim, sends
//! a small request every 5 ms.
//!
//! Counted are CPU time of the proxy, the growth of its memory (RSS) at its peak, and how long the victim waits. A flood ends
//! when all is sent, when the proxy closes, or after [`LONGEST`].

use crate::{
    backend, frames,
    proxies::{self, Proxy},
};
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// A flood is cut off then.
const LONGEST: Duration = Duration::from_secs(4);
/// And watched for so long afterwards.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// So many that all connections that a proxy may begin at once find room in their queues: a SYN that finds none is repeated after
/// a second, and the victim waits for that.
const HOSTS: usize = 16;
/// Pieces sent at a time.
const AT_ONCE: usize = 100;

/// A flood, in pieces.
struct Flood {
    name: &'static str,
    pieces: fn() -> Vec<Vec<u8>>,
}

/// The n-th stream of a client.
fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// A request on each of so many streams, and what follows it there.
fn each(streams: u32, end: bool, then: fn(u32) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..streams).map(|n| [frames::head(stream(n), &[], end), then(stream(n))].concat()).collect()
}

/// A beginning, and one piece so many times.
fn again(first: Vec<u8>, piece: Vec<u8>, times: usize) -> Vec<Vec<u8>> {
    std::iter::once(first).chain(std::iter::repeat_n(piece, times)).collect()
}

fn open() -> Vec<u8> {
    frames::head(1, &[], false)
}

const PRIORITY: &[u8] = &[0, 0, 0, 0, 1];

const FLOODS: &[Flood] = &[
    Flood { name: "rapid reset", pieces: || each(20_000, true, |id| frames::number(3, id, 8)) },
    Flood { name: "rapid reset, POST", pieces: || each(20_000, false, |id| frames::number(3, id, 8)) },
    Flood { name: "WINDOW_UPDATE of 0", pieces: || each(20_000, true, |id| frames::number(8, id, 0)) },
    Flood { name: "window overflow", pieces: || each(20_000, true, |id| frames::number(8, id, u32::MAX >> 1)) },
    Flood {
        name: "depends on itself",
        pieces: || each(20_000, true, |id| frames::frame(2, 0, id, &[&id.to_be_bytes()[..], &[1]].concat())),
    },
    Flood { name: "DATA behind the end", pieces: || each(20_000, true, |id| frames::frame(0, 1, id, b"x")) },
    Flood {
        name: "malformed heads",
        pieces: || (0..20_000).map(|n| frames::frame(1, 5, stream(n), &frames::field(b":method", b"GET"))).collect(),
    },
    Flood {
        name: "wrong lengths",
        pieces: || {
            let one = |n| [frames::head(stream(n), &frames::field(b"content-length", b"1"), false), frames::frame(0, 1, stream(n), b"xx")];
            (0..20_000).map(|n| one(n).concat()).collect()
        },
    },
    Flood {
        name: "endless CONTINUATION",
        pieces: || again(frames::frame(1, 1, 1, &frames::block()), frames::frame(9, 0, 1, &frames::field(b"x", &[b'v'; 1000])), 20_000),
    },
    Flood {
        name: "empty CONTINUATION",
        pieces: || again(frames::frame(1, 1, 1, &frames::block()), frames::frame(9, 0, 1, &[]), 50_000),
    },
    Flood { name: "PING", pieces: || again(Vec::new(), frames::frame(6, 0, 0, b"12345678").repeat(100), 1000) },
    Flood { name: "SETTINGS", pieces: || again(Vec::new(), frames::frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(100), 1000) },
    Flood {
        name: "windows up and down",
        pieces: || {
            let window = |n: u32| frames::frame(4, 0, 0, &[&[0, 4][..], &(1000 + n % 2).to_be_bytes()].concat());
            (0..100).map(|n| frames::head(stream(n), &[], false)).chain((0..50_000).map(window)).collect()
        },
    },
    Flood { name: "PRIORITY", pieces: || (0..50_000).map(|n| frames::frame(2, 0, stream(n), PRIORITY)).collect() },
    Flood { name: "WINDOW_UPDATE", pieces: || again(Vec::new(), frames::number(8, 0, 1), 50_000) },
    Flood { name: "empty DATA", pieces: || again(open(), frames::frame(0, 0, 1, &[]), 50_000) },
    Flood { name: "empty HEADERS", pieces: || again(Vec::new(), frames::frame(1, 0, 1, &[]), 50_000) },
    Flood { name: "RST_STREAM", pieces: || again(frames::head(1, &[], true), frames::number(3, 1, 8), 50_000) },
    Flood { name: "unknown frames", pieces: || again(Vec::new(), frames::frame(200, 0, 0, &[b'x'; 10]).repeat(50), 1000) },
    Flood {
        name: "padded DATA",
        pieces: || again(open(), frames::frame(0, 8, 1, &[&[255, b'a'][..], &[0; 255]].concat()), 20_000),
    },
    Flood { name: "DATA by bytes", pieces: || again(open(), frames::frame(0, 0, 1, b"a").repeat(20), 5000) },
    Flood {
        name: "large heads",
        pieces: || {
            let fields: Vec<u8> = (0..25).flat_map(|n| frames::field(format!("x-{n}").as_bytes(), &[b'v'; 600])).collect();
            (0..2000).map(|n| frames::head(stream(n), &fields, false)).collect()
        },
    },
    Flood { name: "HPACK bomb", pieces: hpack_bomb },
    Flood {
        name: "HPACK table sizes",
        pieces: || {
            let sizes = b"\x20\x3f\xe1\x1f".repeat(10);
            (0..5000).map(|n| frames::frame(1, 5, stream(n), &[&sizes[..], &frames::block()].concat())).collect()
        },
    },
    Flood { name: "GOAWAY", pieces: || again(Vec::new(), frames::frame(7, 0, 0, &[&[0; 8][..], &[b'x'; 1000]].concat()), 10_000) },
    Flood { name: "open streams", pieces: || each(20_000, false, |_| Vec::new()) },
];

/// A cookie of 4,000 bytes that is told once and then meant 14 times by each of 900 requests.
fn hpack_bomb() -> Vec<Vec<u8>> {
    let cookie = [&b"\x40\x06cookie"[..], &frames::length(7, 4000), &[b'a'; 4000]].concat();
    let first = frames::head(1, &cookie, false);
    std::iter::once(first).chain((1..900).map(|n| frames::head(stream(n), &[0xbe; 14], false))).collect()
}

/// What a flood came to.
struct Outcome {
    cpu_s: f64,
    grown_mib: f64,
    p50_ms: f64,
    p99_ms: f64,
    end: &'static str,
}

/// Prints the table: the median of `rounds` for each flood and proxy.
pub fn run(folder: &Path, rounds: usize) -> io::Result<()> {
    let backends = (0..HOSTS).map(|_| backend::start()).collect::<io::Result<Vec<u16>>>()?;
    println!("CPU s · memory grown, MiB · victim's p50 and p99, ms · how it ended; medians of {rounds} rounds\n");
    for flood in FLOODS {
        let pieces = (flood.pieces)();
        let mut told = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (name, told) in ["nuncio", "envoy"].iter().zip(&mut told) {
                if let Some(proxy) = proxies::start_one(name, folder, &backends)? {
                    told.push(take(&proxy, &pieces).map_err(|e| io::Error::other(format!("{}, {name}: {e}", flood.name)))?);
                }
            }
        }
        let cells: String = told.iter().map(|outcomes| cell(outcomes)).collect();
        println!("{:<22}{cells}", flood.name);
    }
    Ok(())
}

fn cell(outcomes: &[Outcome]) -> String {
    let Some(last) = outcomes.last() else { return String::new() };
    let median = |of: fn(&Outcome) -> f64| {
        let mut all: Vec<f64> = outcomes.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (cpu, grown) = (median(|o| o.cpu_s), median(|o| o.grown_mib));
    let (p50, p99) = (median(|o| o.p50_ms), median(|o| o.p99_ms));
    format!("  {cpu:>6.2} {grown:>6.1} {p50:>5.2} {p99:>6.2} {:<7}", last.end)
}

fn take(proxy: &Proxy, pieces: &[Vec<u8>]) -> io::Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    let victim = thread::spawn({
        let (stop, address) = (stop.clone(), proxy.address);
        move || victim(address, &stop)
    });
    thread::sleep(Duration::from_millis(200));
    let (cpu, memory) = (proxy.cpu_ns(), proxy.memory_kib());
    let mut peak = memory;
    let mut look = || peak = peak.max(proxy.memory_kib());
    let mut attacker = TcpStream::connect(proxy.address)?;
    let end = send(&mut attacker, pieces, &mut look)?;
    for _ in 0..5 {
        thread::sleep(AFTERWARDS / 5);
        look();
    }
    drop(attacker);
    stop.store(true, Relaxed);
    let mut waits = victim.join().unwrap_or_else(|_| Err(io::Error::other("the victim fell")))?;
    waits.sort_unstable();
    let wait = |part: f64| waits.get((waits.len() as f64 * part) as usize).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3);
    Ok(Outcome {
        cpu_s: (proxy.cpu_ns() - cpu) as f64 / 1e9,
        grown_mib: (peak - memory) as f64 / 1024.0,
        p50_ms: wait(0.5),
        p99_ms: wait(0.99),
        end,
    })
}

/// Sends the flood; says how it ended.
fn send(attacker: &mut TcpStream, pieces: &[Vec<u8>], look: &mut impl FnMut()) -> io::Result<&'static str> {
    let begun = Instant::now();
    attacker.set_write_timeout(Some(Duration::from_secs(1)))?;
    attacker.write_all(&frames::hello())?;
    for (at, pieces) in pieces.chunks(AT_ONCE).enumerate() {
        match attacker.write_all(&pieces.concat()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok("stalled"),
            Err(_) => return Ok("closed"),
        }
        if at % 10 == 0 {
            look();
        }
        if begun.elapsed() > LONGEST {
            return Ok("cut off");
        }
    }
    Ok("sent")
}

/// Small requests, one after the other; how long each took.
fn victim(address: SocketAddr, stop: &AtomicBool) -> io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONGEST))?;
    let mut input = backend::Input::default();
    let mut waits = Vec::new();
    while !stop.load(Relaxed) {
        let begun = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n")?;
        let answered = input.head(&mut stream).and_then(|head| {
            let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
            input.skip(&mut stream, head.content_length)
        });
        waits.push(begun.elapsed());
        if answered.is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(waits)
}
