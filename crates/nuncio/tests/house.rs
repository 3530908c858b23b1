//! The house's rules that a compiler does not check: who may use whom, and how big a file may grow.

use std::{collections::BTreeMap, fs, path::Path};

/// Which of our crates each crate may use (ARCHITECTURE.md, "Crates"). Dependencies for tests do not count.
const MAY_USE: &[(&str, &[&str])] = &[
    ("nuncio-rt", &[]),
    ("nuncio-codec", &[]),
    ("nuncio-stats", &[]),
    ("nuncio-messages", &[]),
    ("nuncio-api", &["nuncio-messages"]),
    ("nuncio-core", &["nuncio-rt", "nuncio-codec", "nuncio-stats"]),
    ("nuncio-tls", &["nuncio-core", "nuncio-rt", "nuncio-stats"]),
    ("nuncio-upstream", &["nuncio-tls", "nuncio-core", "nuncio-rt", "nuncio-codec", "nuncio-stats"]),
    ("nuncio-http", &["nuncio-upstream", "nuncio-core", "nuncio-rt", "nuncio-codec", "nuncio-stats"]),
    ("nuncio-listen", &["nuncio-upstream", "nuncio-tls", "nuncio-core", "nuncio-rt", "nuncio-codec", "nuncio-stats"]),
    ("nuncio-redis", &["nuncio-upstream", "nuncio-core", "nuncio-rt", "nuncio-codec", "nuncio-stats"]),
    ("nuncio-ext", &["nuncio-core", "nuncio-api", "nuncio-codec", "nuncio-stats", "nuncio-rt"]),
    (
        "nuncio-config",
        &["nuncio-http", "nuncio-listen", "nuncio-redis", "nuncio-upstream", "nuncio-tls", "nuncio-ext", "nuncio-api", "nuncio-core", "nuncio-rt", "nuncio-codec", "nuncio-stats"],
    ),
    ("nuncio-admin", &["nuncio-api", "nuncio-stats", "nuncio-codec"]),
    (
        "nuncio",
        &[
            "nuncio-admin", "nuncio-config", "nuncio-ext", "nuncio-http", "nuncio-listen", "nuncio-upstream", "nuncio-api",
            "nuncio-core", "nuncio-rt", "nuncio-codec", "nuncio-stats", "nuncio-tls",
        ],
    ),
];

/// Longest source file; one beyond it is two ideas. Generated code is not counted.
const MAX_LINES: usize = 650;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Our crates that a manifest names under `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.split("\n[").find(|s| s.trim_start_matches('[').starts_with("dependencies]"));
    let lines = section.unwrap_or_default().lines();
    lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| name.starts_with("nuncio"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("the crates folder") {
        let folder = entry.expect("an entry").path();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let Some(may) = allowed.get(name.as_str()) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for used in dependencies(&manifest) {
            if !may.contains(&used.as_str()) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_small_and_say_what_they_are() {
    let mut wrong = Vec::new();
    visit(&root().join("crates"), &mut |path, text| {
        let generated = path.components().any(|c| c.as_os_str() == "gen");
        let lines = text.lines().count();
        if !generated && lines > MAX_LINES {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
        let tests = path.file_name().is_some_and(|name| name == "tests.rs");
        if !generated && !tests && !text.starts_with("//!") {
            wrong.push(format!("{}: does not open with //!", path.display()));
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn visit(folder: &Path, file: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            visit(&path, file);
        } else if path.extension().is_some_and(|e| e == "rs") && path.components().any(|c| c.as_os_str() == "src") {
            file(&path, &fs::read_to_string(&path).expect("text"));
        }
    }
}
