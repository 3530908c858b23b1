//! HTTP filters, one file or folder each; `registry` lists them.

pub mod header_mutation;
