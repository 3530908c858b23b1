//! `nuncio demo`: a 90/10 canary in one process.

use crate::cli::{DemoArgs, Invocation, parse};
use nuncio_core::HttpFilterEntry;
use std::{fs, process::ExitCode};

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
