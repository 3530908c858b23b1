//! `nuncio demo`: a 90/10 canary in one process; and `nuncio reload`.

use crate::cli::{DemoArgs, Invocation, ReloadArgs, parse};
use nuncio_core::HttpFilterEntry;
use std::{fs, process::Command, process::ExitCode};

/// The configuration that the demo runs: shipped as an example, runs on Envoy too.
const CANARY: &str = include_str!("../../../examples/canary/envoy.yaml");

/// Runs the demo, or writes its file.
pub(crate) fn run(args: &DemoArgs, filters: &[HttpFilterEntry]) -> ExitCode {
    if let Some(folder) = &args.write {
        let file = folder.join("envoy.yaml");
        return match fs::create_dir_all(folder).and_then(|()| fs::write(&file, CANARY)) {
            Ok(()) => {
                println!("wrote {}; run it with: nuncio -c {0}", file.display());
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: cannot write {}: {error}", file.display());
                ExitCode::FAILURE
            }
        };
    }
    println!(
        "nuncio demo \"canary\": everything runs in this process, nothing leaves this machine\n\
         \x20 proxy     http://127.0.0.1:10000   90 % to backend_v1, 10 % to backend_v2\n\
         \x20 backends  http://127.0.0.1:8081  http://127.0.0.1:8082\n\
         \x20 admin     http://127.0.0.1:9901\n\
         Try:  for i in $(seq 300); do curl -s localhost:10000/api; done | sort | uniq -c\n\
         \x20     curl -s localhost:9901/clusters | head; curl -s localhost:9901/stats | grep cluster.backend_v1\n\
         \x20     nuncio demo --write ./canary     the same as a file you can edit\n\
         Ctrl-C ends it."
    );
    let words = ["--config-yaml", CANARY, "-l", "warning", "--drain-time-s", "5"].map(str::to_owned);
    match parse(&words, crate::parity()) {
        Ok(Invocation::Run(options)) => crate::start(*options, filters.to_vec()),
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Sends SIGHUP to a running process.
pub(crate) fn reload(args: &ReloadArgs) -> ExitCode {
    let pids = match args.pid {
        Some(pid) => vec![pid],
        None => running(),
    };
    match pids.as_slice() {
        [pid] => match Command::new("kill").args(["-HUP", &pid.to_string()]).status() {
            Ok(status) if status.success() => {
                println!("told process {pid} to reload; its log says what changed");
                ExitCode::SUCCESS
            }
            _ => {
                eprintln!("error: cannot signal process {pid}");
                ExitCode::FAILURE
            }
        },
        [] => {
            eprintln!("error: no other nuncio process found; name one with --pid");
            ExitCode::FAILURE
        }
        several => {
            eprintln!("error: several nuncio processes run ({several:?}); name one with --pid");
            ExitCode::FAILURE
        }
    }
}

/// Other processes of this program that have not become something else.
fn running() -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "nuncio"))
        .collect()
}
