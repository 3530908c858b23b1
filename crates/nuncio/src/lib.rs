//! Nuncio as a library: what its binary is made of. A vendor's binary calls [`main`] with its own filters beside ours.

mod admin_client;
pub mod cli;
mod demo;
mod explain;
mod load;
mod reload;
mod router_check;
pub mod logger;
mod server;
mod why;

use cli::Invocation;
use nuncio_core::HttpFilterEntry;
use std::{io::Write, process::ExitCode};

/// Runs the command line of this process with these filters.
pub fn main(filters: &[&'static [HttpFilterEntry]]) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<HttpFilterEntry> = filters.concat();
    match cli::parse(&words, parity()) {
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Ok(Invocation::Help(text) | Invocation::Version(text)) => say(&text),
        Ok(Invocation::ExplainCode(code)) => explain_code(&code),
        Ok(Invocation::Why(args)) => why::run(&args),
        Ok(Invocation::Explain(args)) => explain::run(&args, &filters),
        Ok(Invocation::RouterCheck(args)) => router_check::run(&args, &filters),
        Ok(Invocation::Check(args)) => load::check(&args, &filters),
        Ok(Invocation::Demo(args)) => demo::run(&args, &filters),
        Ok(Invocation::Reload(args)) => reload::reload(&args),
        Ok(Invocation::Run(options)) => start(*options, filters),
    }
}

/// Whether everything shall be as on Envoy, leniencies included: for comparisons.
pub(crate) fn parity() -> bool {
    std::env::var_os("NUNCIO_PARITY").is_some_and(|value| value == "1")
}

/// Loads the configuration and serves, or only judges it (`--mode validate`).
fn start(options: cli::Options, filters: Vec<HttpFilterEntry>) -> ExitCode {
    if let Err(error) = logger::start(&options) {
        eprintln!("error: cannot open the log file {}: {error}", options.log_path);
        return ExitCode::FAILURE;
    }
    match load::load(&options, &filters) {
        Err(code) => code,
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(loaded)) => server::run(options, loaded, filters),
    }
}

fn say(text: &str) -> ExitCode {
    // Nobody to tell if standard output is closed.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    ExitCode::SUCCESS
}

fn explain_code(code: &str) -> ExitCode {
    match nuncio_api::codes::explain(code).or_else(|| nuncio_config::codes::explain(code)) {
        Some(text) => say(&text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")),
        None => {
            eprintln!("error: no code {code}; codes look like NUN0103");
            ExitCode::FAILURE
        }
    }
}
