//! Envoy's v3 API as descriptors: what messages exist, their fields, their rules.
//!
//! The bytes are a `FileDescriptorSet` compiled in from `descriptors.bin`. Names are indexed on first use (under a
//! millisecond); a message's descriptor is parsed when it is first asked for, and then lives for ever. No reflection
//! library is involved: this module reads the few descriptor fields that the decoder, the rules and the JSON writer use.

mod enumeration;
mod message;
mod pool;
mod rules;
mod wire;

pub use enumeration::{Enum, EnumValue};
pub(crate) use message::Encoding;
pub use message::{Field, Kind, Label, Message, Oneof, WellKnown};
pub use pool::{enumeration, message, message_names, successor, type_name};
pub use rules::{HeaderPart, Limit, Rules, Text};
pub use wire::{Reader, Wire, WireError};
