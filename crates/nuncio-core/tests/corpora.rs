//! The fuzzers' corpora through the fuzzers' checks.

#[path = "../../../fuzz/drive/corpus.rs"]
mod corpus;

#[path = "../../../fuzz/drive/format.rs"]
mod format;

#[test]
fn expressions() {
    corpus::each("cel", 1, format::cel);
}

#[test]
fn formats() {
    corpus::each("format", 1, format::format);
}

#[test]
fn json() {
    corpus::each("json", 1, format::json);
}
