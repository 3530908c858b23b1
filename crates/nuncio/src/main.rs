//! The Nuncio binary.
fn main() {}
