//! `xtask api`: Envoy's v3 API as data for `nuncio-api`.
//!
//! Input: the .proto files that the `envoy-types` crate carries, plus the files under `xtask/overlay/` for what
//! Envoy 1.40 knows and that crate does not. Output, both committed: `descriptors.bin` (a serialized
//! `FileDescriptorSet`, option extensions kept) in `nuncio-api` and the prost messages in `nuncio-messages`.

mod messages;
mod names;
mod overlay;
mod schema;
mod source;

use crate::Outcome;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Generated files: path below the workspace, content.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Writes the generated files, or with `check` only compares them with what is committed.
pub fn run(check: bool) -> Outcome {
    let files = generate()?;
    let home = workspace();
    if check {
        return compare(&home, &files);
    }
    std::fs::remove_dir_all(home.join(messages::FOLDER)).or_else(ignore_missing)?;
    for (path, content) in &files {
        let path = home.join(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, content)?;
    }
    println!("{} files written below {}", files.len(), home.display());
    Ok(())
}

fn generate() -> Result<Files, Box<dyn std::error::Error>> {
    let protos = source::find()?;
    let schema = schema::compile(&protos, &workspace().join("xtask/overlay"))?;
    let mut files = messages::generate(schema.files)?;
    files.insert("crates/nuncio-api/descriptors.bin".into(), schema.encoded);
    Ok(files)
}

fn compare(home: &Path, files: &Files) -> Outcome {
    let stale: Vec<String> = files
        .iter()
        .filter(|(path, content)| std::fs::read(home.join(path)).ok().as_ref() != Some(content))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!(
        "not up to date, run `cargo run -p xtask -- api`: {}",
        stale.join(", ")
    )
    .into())
}

fn ignore_missing(e: std::io::Error) -> std::io::Result<()> {
    if e.kind() == std::io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(e)
    }
}

fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

#[cfg(test)]
mod tests {
    /// Needs the crate registry (or its local cache); without either there is nothing to compare with.
    #[test]
    fn committed_descriptors_and_messages_are_what_the_protos_give() {
        if let Err(why) = super::source::find() {
            eprintln!("skipped, the .proto files cannot be had here: {why}");
            return;
        }
        super::run(true).expect("generated files are up to date");
    }
}
