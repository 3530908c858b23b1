//! JSON out: a small value type for hand-made answers, and any message in protobuf's JSON form as Envoy's admin prints it.

mod forms;
mod mask;
mod message;
mod value;

pub use mask::trim;
pub use message::{JsonOptions, to_json, to_json_value};
pub use value::Json;
