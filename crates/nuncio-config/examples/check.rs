//! Judges configurations as `nuncio --mode validate -c FILE` does, with nothing built in but what this crate compiles:
//! `cargo run -p nuncio-config --example check -- -c FILE`. `NUNCIO_PARITY=1` judges exactly as Envoy.

use nuncio_api::Look;
use nuncio_config::{Identity, Input, Mode, Options, Purpose};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let parity = std::env::var_os("NUNCIO_PARITY").is_some_and(|v| v == "1");
    let mut options = Options::checking(Mode { strict: parity, parity, purpose: Purpose::Check });
    let mut inputs = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let Identity { id, cluster, zone } = &mut options.identity;
        match flag.as_str() {
            "--strict" => options.mode.strict = true,
            "--allow-unknown-static-fields" => options.allow_unknown = true,
            "-c" | "--config-path" => inputs.push(Input::file(Path::new(&arguments.next().unwrap_or_default()))),
            "--config-yaml" => inputs.push(Input::inline(&arguments.next().unwrap_or_default())),
            "--service-node" => *id = arguments.next().unwrap_or_default().into(),
            "--service-cluster" => *cluster = arguments.next().unwrap_or_default().into(),
            "--service-zone" => *zone = arguments.next().unwrap_or_default().into(),
            "--mode" | "-l" | "--log-level" => drop(arguments.next()),
            _ => {}
        }
    }
    let report = nuncio_config::load(&inputs, &options).report;
    print!("{}", report.text(Look::default()));
    if report.exit_code() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
