//! The fuzzers' corpora through the fuzzers' checks.

use std::path::{Path, PathBuf};

/// Runs `check` on every file of a corpus.
fn each(corpus: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(corpus);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let data = std::fs::read(&file).expect("a file");
        check(&data);
        // What is cut off is input, too.
        (0..data.len()).step_by(7).for_each(|at| check(&data[..at]));
    }
}

#[test]
fn lua() {
    each("lua", nuncio_ext::fuzz::lua);
}
