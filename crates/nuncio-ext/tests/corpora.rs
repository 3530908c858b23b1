//! The fuzzers' corpora through the fuzzers' checks.

#[path = "../../../fuzz/drive/corpus.rs"]
mod corpus;

#[test]
fn lua() {
    corpus::each("lua", 7, nuncio_ext::fuzz::lua);
}
