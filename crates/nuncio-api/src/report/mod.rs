//! Findings for people and for programs: text with carets, JSON lines, repairs applied.

mod fix;
mod json;
mod text;

pub use fix::apply_fixes;
pub use json::json_line;
pub use text::{Look, render, tally};
