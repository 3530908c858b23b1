//! Development tasks: `cargo run -p xtask -- <task>`.
//!
//! Nothing here is part of the product; its dependencies never reach it.

mod api;

use std::process::ExitCode;

/// What every task gives back; the text is for a person.
type Outcome = Result<(), Box<dyn std::error::Error>>;

const USAGE: &str = "usage: cargo run -p xtask -- <task>

tasks:
  api    regenerate crates/nuncio-api's descriptors and messages from Envoy's .proto files
         (--check: change nothing, fail when they are not up to date)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.first().map(String::as_str) {
        Some("api") => api::run(args.iter().any(|a| a == "--check")),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
