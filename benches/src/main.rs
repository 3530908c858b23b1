//! CPU per request of Nuncio beside other proxies, on one core each, over the loopback interface.
//!
//! `benches/run [rounds]`, `benches/run grpc [rounds]`, `benches/run floods [rounds]`; README.md says how to read the tables. Proxies take turns in every round, so that what else
//! the machine does meanwhile meets all of them alike.

mod backend;
mod floods;
mod frames;
mod grpc;
mod load;
mod proxies;

use load::{Load, SCENARIOS};
use proxies::Proxy;
use std::{env, fs, io, path::Path, process::Command, thread, time::Duration};

/// Core of the load generator and the backend.
const CORE: &str = "1";
/// Load before anything is counted: pools fill, threads settle.
const WARM_UP: Duration = Duration::from_secs(1);
/// The same when the proxy has had this load in an earlier round.
const WARM_AGAIN: Duration = Duration::from_millis(200);
/// What is counted.
const COUNTED: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;
const FLOOD_ROUNDS: usize = 3;

fn main() -> io::Result<()> {
    let mut words: Vec<String> = env::args().skip(1).collect();
    let what = words.iter().position(|word| word.parse::<usize>().is_err()).map(|at| words.remove(at));
    let rounds = words.first().and_then(|word| word.parse().ok());
    let folder = env::temp_dir().join(format!("nuncio-benches-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = pin().and_then(|()| match what.as_deref() {
        None => measure_all(&folder, rounds.unwrap_or(ROUNDS).max(1)),
        Some("grpc") => measure_grpc(&folder, rounds.unwrap_or(ROUNDS).max(1)),
        Some("floods") => floods::run(&folder, rounds.unwrap_or(FLOOD_ROUNDS).max(1)),
        Some(other) => Err(io::Error::other(format!("nothing is measured under the name {other}"))),
    });
    fs::remove_dir_all(&folder)?;
    result
}

/// Puts this process, and every thread it starts from here on, on its core.
fn pin() -> io::Result<()> {
    let pid = std::process::id().to_string();
    let done = Command::new("taskset").args(["-c", "-p", CORE, &pid]).output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("this takes two cores: {}", String::from_utf8_lossy(&done.stderr)))),
    }
}

fn measure_all(folder: &Path, rounds: usize) -> io::Result<()> {
    let backend = backend::start()?;
    let proxies = proxies::start_all(folder, &[backend])?;
    table(&proxies, rounds);
    for scenario in SCENARIOS {
        row(scenario.name, &proxies, rounds, |proxy| Load::start(scenario, proxy.address))?;
    }
    Ok(())
}

fn measure_grpc(folder: &Path, rounds: usize) -> io::Result<()> {
    let backend = grpc::serve()?;
    let proxies = proxies::start_http2(folder, &[backend])?;
    table(&proxies, rounds);
    row("gRPC, unary", &proxies, rounds, |proxy| Ok(grpc::load(proxy.address)))
}

fn table(proxies: &[Proxy], rounds: usize) {
    let header: String = proxies.iter().map(|proxy| format!("{:>18}", proxy.name)).collect();
    println!("CPU µs per request, median of {rounds} rounds; in brackets: times that of the first\n\n{:<18}{header}", "");
}

/// The proxies' medians in one scenario.
fn row(name: &str, proxies: &[Proxy], rounds: usize, load: impl Fn(&Proxy) -> io::Result<Load>) -> io::Result<()> {
    let mut figures = vec![Vec::new(); proxies.len()];
    for round in 0..rounds {
        for (proxy, figures) in proxies.iter().zip(&mut figures) {
            let warm_up = if round == 0 { WARM_UP } else { WARM_AGAIN };
            let figure = load(proxy).and_then(|load| measure(load, proxy, warm_up));
            figures.push(figure.map_err(|e| io::Error::other(format!("{name}, {}: {e}", proxy.name)))?);
        }
    }
    let medians: Vec<f64> = figures.into_iter().map(median).collect();
    let first = medians.first().copied().unwrap_or_default();
    let cells = medians.iter().enumerate().map(|(at, median)| match at {
        0 => format!("{median:>18.2}"),
        _ => format!("{median:>10.2} ({:>4.2}x)", median / first),
    });
    println!("{name:<18}{}", cells.collect::<String>());
    Ok(())
}

/// CPU per request in microseconds.
fn measure(load: Load, proxy: &Proxy, warm_up: Duration) -> io::Result<f64> {
    thread::sleep(warm_up);
    let (cpu, answers) = (proxy.cpu_ns(), load.answers());
    thread::sleep(COUNTED);
    let (cpu, answers) = (proxy.cpu_ns() - cpu, load.answers() - answers);
    load.stop()?;
    match answers {
        0 => Err(io::Error::other("no answers")),
        _ => Ok(cpu as f64 / 1000.0 / answers as f64),
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}
