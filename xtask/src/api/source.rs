//! Where the .proto files come from: the `envoy-types` crate, found or downloaded by cargo itself.
//!
//! A scratch package under `target/` depends on it, so the product's `Cargo.lock` never hears of it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The crate that carries Envoy's .proto files, and the one version we generate from.
const CRATE: &str = "envoy-types";
const VERSION: &str = "0.7.7";

/// Import roots inside the crate's `proto` folder, in order of precedence.
const ROOTS: [&str; 8] = [
    "data-plane-api",
    "xds",
    "googleapis",
    "protoc-gen-validate",
    "cel-spec/proto",
    "opentelemetry-proto",
    "client_model",
    "ratelimit",
];

/// Absolute import roots; every file below them is compiled.
pub fn find() -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
    let scratch = crate::api::workspace().join("target/xtask-api-source");
    std::fs::create_dir_all(scratch.join("src"))?;
    std::fs::write(scratch.join("src/lib.rs"), "")?;
    std::fs::write(
        scratch.join("Cargo.toml"),
        format!(
            "[package]\nname = \"scratch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [dependencies]\n{CRATE} = \"={VERSION}\"\n"
        ),
    )?;
    let package = locate(&scratch, &["--offline"]).or_else(|_| locate(&scratch, &[]))?;
    let protos = package.join("proto");
    let roots: Vec<PathBuf> = ROOTS.iter().map(|r| protos.join(r)).collect();
    match roots.iter().find(|r| !r.is_dir()) {
        Some(missing) => Err(format!("{CRATE} {VERSION} has no {}", missing.display()).into()),
        None => Ok(roots),
    }
}

/// The unpacked crate's folder, as `cargo metadata` reports it.
fn locate(scratch: &Path, extra: &[&str]) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let answer = Command::new(cargo)
        .current_dir(scratch)
        .args(["metadata", "--format-version", "1"])
        .args(extra)
        .output()?;
    if !answer.status.success() {
        return Err(String::from_utf8_lossy(&answer.stderr).into_owned().into());
    }
    // One field of a large document: no JSON parser for that.
    let text = String::from_utf8(answer.stdout)?;
    let tail = format!("{CRATE}-{VERSION}/Cargo.toml\"");
    let end = text
        .find(&tail)
        .ok_or("cargo metadata does not list the crate")?;
    let start = text[..end]
        .rfind('"')
        .ok_or("cargo metadata is cut short")?;
    Ok(PathBuf::from(&text[start + 1..end]).join(format!("{CRATE}-{VERSION}")))
}
