//! Nuncio as a library: what its binary is made of.

pub mod cli;
pub mod logger;
