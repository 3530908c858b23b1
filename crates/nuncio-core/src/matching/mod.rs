//! Conditions that routes, filters and access logs share: texts, headers, query parameters, cookies, metadata.
//!
//! Plain values without protobuf: whoever reads a configuration makes them. What is missing, several headers of one
//! name and the dialect of expressions are treated as Envoy treats them.

mod cidr;
mod condition;
mod metadata;
mod pattern;
mod re2;
mod single;
mod text;
pub mod tree;

pub use cidr::Cidr;
pub use condition::{CookieMatch, HeaderMatch, HeaderTest, QueryMatch, QueryTest, cookie, parameter};
pub use metadata::{MetadataMatcher, ValueMatch};
pub use pattern::{Pattern, Substitution};
pub use re2::PatternError;
pub use single::{Side, is_single};
pub use text::{Fold, TextMatch};
