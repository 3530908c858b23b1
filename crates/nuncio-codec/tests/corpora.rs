//! What the fuzzers found worth keeping, and everything recorded from Envoy, through the fuzzers' checks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../../fuzz/drive/header_map.rs"]
mod header_map;
#[path = "../../../fuzz/drive/http1.rs"]
mod http1;
#[path = "../../../fuzz/drive/http2.rs"]
mod http2;
#[path = "../../../fuzz/drive/path.rs"]
mod path;
#[path = "../../../fuzz/drive/resp.rs"]
mod resp;
#[allow(dead_code, reason = "only the escapes are needed here")]
mod table;

use std::path::PathBuf;

/// Runs every file of a target's corpus; says how many.
fn run(target: &str, drive: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        drive(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "no corpus in {}", folder.display());
}

#[test]
fn the_corpus_of_requests_holds() {
    run("http1_request", http1::http1_request);
}

#[test]
fn the_corpus_of_responses_holds() {
    run("http1_response", http1::http1_response);
}

#[test]
fn the_corpus_of_chunked_bodies_holds() {
    run("chunked", http1::chunked);
}

#[test]
fn the_corpus_of_frames_holds() {
    run("http2", http2::http2);
}

#[test]
fn the_corpus_of_resp_holds() {
    run("resp", resp::resp);
}

#[test]
fn the_corpus_of_header_edits_holds() {
    run("header_map", header_map::header_map);
}

/// The recorded bytes under every set of options and some cuts.
fn drive_recorded(text: &str, column: usize, drive: fn(&[u8])) {
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let bytes = table::unescape(line.split('\t').nth(column).unwrap());
        for options in (0..128).step_by(9) {
            let cuts = [1 + options % 5, options, 3];
            drive(&[&[options][..], &cuts, &bytes[..bytes.len().min(2000)]].concat());
        }
    }
}

#[test]
fn recorded_requests_hold_under_all_options() {
    drive_recorded(include_str!("data/requests.tsv"), 2, http1::http1_request);
}

#[test]
fn recorded_responses_hold_under_all_options() {
    drive_recorded(include_str!("data/responses.tsv"), 3, http1::http1_response);
}

#[test]
fn the_corpus_of_paths_holds() {
    run("path", path::path);
}
