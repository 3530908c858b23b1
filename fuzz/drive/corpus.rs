//! The fuzzers' corpora as plain tests.

use std::path::{Path, PathBuf};

/// Runs `check` on every file of a corpus, and on what is left of it when it is cut off, at every `step`-th byte.
pub fn each(corpus: &str, step: usize, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(corpus);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let data = std::fs::read(&file).expect("a file");
        check(&data);
        (0..data.len()).step_by(step).for_each(|at| check(&data[..at]));
    }
}
