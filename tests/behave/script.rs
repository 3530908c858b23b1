//! What a script says, beside its configuration.
//!
//! ```yaml
//! doc: one sentence
//! workers: [1, 4]                # numbers of workers to play it with (default 1)
//! nuncio: true                   # about Nuncio only; not in parity mode
//! routes, virtual_hosts, hcm, listeners, clusters, bootstrap    see config.rs
//! files: {name: content}          files in TMPDIR before the start
//! backends: {b1: [rules]}        see backend.rs
//! log: 'format'                  # access log format
//! steps:                         see play.rs
//! stats: [names]                 # counters printed at the end
//! ```

use crate::{
    node::{self, Node},
    ports::Ports,
};
use std::{fs, path::Path};

/// A script with its ports filled in.
#[derive(Debug)]
pub struct Script {
    pub root: Node,
    pub ports: Ports,
}

/// Reads a script; `directory` stands for `TMPDIR`, the folder of certificates for `PKIDIR`.
pub fn load(path: &Path, directory: &str) -> Result<Script, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut ports = Ports::default();
    let text = ports.fill(&text.replace("TMPDIR", directory).replace("PKIDIR", crate::link::PKI));
    let root = node::read(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    const KEYS: [&str; 16] = [
        "doc",
        "workers",
        "nuncio",
        "routes",
        "virtual_hosts",
        "vhost",
        "hcm",
        "listeners",
        "clusters",
        "bootstrap",
        "backends",
        "files",
        "log",
        "steps",
        "stats",
        "args",
    ];
    for (key, _) in root.pairs() {
        if !KEYS.contains(&key.as_str()) {
            return Err(format!("{}: unknown key {key}", path.display()));
        }
    }
    Ok(Script { root, ports })
}

/// The numbers of workers a script is played with.
pub fn workers_of(path: &Path) -> Result<Vec<u32>, String> {
    let script = load(path, "/tmp")?;
    let workers: Vec<u32> = match script.root.get("workers") {
        None => vec![1],
        Some(list) => list.items().iter().filter_map(|n| n.text().parse().ok()).collect(),
    };
    Ok(workers)
}
