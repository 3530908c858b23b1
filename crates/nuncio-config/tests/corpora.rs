//! What is worth keeping of the fuzzers' inputs for configurations, through the fuzzers' checks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../fuzz/drive/config.rs"]
mod config;

use std::path::PathBuf;

/// Runs every file of a target's corpus.
fn run(target: &str, drive: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        drive(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "no corpus in {}", folder.display());
}

#[test]
fn the_corpus_of_configurations_holds() {
    run("config_text", config::config_text);
}

#[test]
fn the_corpus_of_encoded_configurations_holds() {
    run("config_message", config::config_message);
}
