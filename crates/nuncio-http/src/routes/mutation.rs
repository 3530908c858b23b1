//! Headers that a configuration adds and removes (`request_headers_to_add` and its three siblings).
//!
//! The rules within one level are Envoy's: removals first; values of all additions are worked out before any of
//! them is made; then what overwrites, at the end of the headers, then what is added. An empty value adds nothing
//! unless `keep_empty_value` says so. A value added to a header of which there is one entry joins it.

use nuncio_codec::headers::{HeaderMap, HeaderName, Name as _};
use nuncio_core::StreamCx;
use nuncio_core::matching::{Side, TextMatch, is_single};
use nuncio_core::format::{Format, FormatCx, JsonFormat};
use std::{cell::Cell, fmt, sync::Arc};

/// A header's value in the configuration.
#[derive(Clone)]
pub enum Value {
    /// The same for every request.
    Literal(Box<[u8]>),
    /// Made from the exchange (`%REQ(:path)%`).
    Formatted(Arc<dyn FormatValue>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Literal(text) => write!(f, "Literal(\"{}\")", text.escape_ascii()),
            Value::Formatted(format) => write!(f, "Formatted({format:?})"),
        }
    }
}

impl Value {
    /// A text that is the same for every request.
    pub fn literal(text: impl Into<Box<[u8]>>) -> Value {
        Value::Literal(text.into())
    }

    /// A text made from the exchange.
    pub fn formatted(format: Format) -> Value {
        Value::Formatted(Arc::new(format))
    }

    /// Appends the value for one exchange.
    pub fn write(&self, cx: &StreamCx, out: &mut Vec<u8>) {
        self.write_in(&FormatCx::from(cx), out);
    }

    /// Appends the value for one moment of an exchange.
    pub fn write_in(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        match self {
            Value::Literal(text) => out.extend_from_slice(text),
            Value::Formatted(format) => format.write(cx, out),
        }
    }
}

/// Makes a text from an exchange.
pub trait FormatValue: Send + Sync + fmt::Debug {
    /// Appends the text.
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>);
}

impl FormatValue for Format {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        self.write_in(cx, out);
    }
}

/// One line of JSON, as Envoy writes bodies in a JSON format.
impl FormatValue for JsonFormat {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        self.write_in(cx, out);
        out.push(b'\n');
    }
}

/// What to do with values that a header already has (`HeaderAppendAction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppendAction {
    /// Keep them and add one more.
    #[default]
    AppendIfExistsOrAdd,
    /// Add only where there is none.
    AddIfAbsent,
    /// Replace them, or add.
    OverwriteIfExistsOrAdd,
    /// Replace them; do nothing where there is none.
    OverwriteIfExists,
}

/// One `HeaderValueOption`.
#[derive(Debug, Clone)]
pub struct HeaderAddition {
    /// The header's name.
    pub name: HeaderName,
    /// Its value.
    pub value: Value,
    /// What becomes of values it already has.
    pub action: AppendAction,
    /// Adds the header even when the value came out empty.
    pub keep_empty_value: bool,
}

/// Additions and removals of one level for one direction.
#[derive(Debug, Clone, Default)]
pub struct HeaderMutations {
    /// Names to remove, before anything is added.
    pub remove: Box<[HeaderName]>,
    /// Names to remove by what they look like (`remove_on_match`). Never the request line's parts (`:path`): without them it
    /// is no request.
    pub remove_matching: Box<[TextMatch]>,
    /// What to add.
    pub add: Box<[HeaderAddition]>,
}

/// Additions and removals of one level (route, virtual host, route configuration, weighted cluster).
#[derive(Debug, Clone, Default)]
pub struct HeaderRules {
    /// On the way to the upstream.
    pub request: HeaderMutations,
    /// On the way to the client.
    pub response: HeaderMutations,
}

impl HeaderRules {
    /// `None` when there is nothing to do, which is what most levels hold.
    pub fn boxed(self) -> Option<Box<HeaderRules>> {
        let idle = self.request.is_empty() && self.response.is_empty();
        (!idle).then(|| Box::new(self))
    }
}


fn head(cx: &mut StreamCx, side: Side) -> &mut HeaderMap {
    match side {
        Side::Request => &mut cx.request,
        Side::Response => &mut cx.response,
    }
}

/// Values of one level, worked out before any is added: kept per thread so that steady traffic allocates nothing.
#[derive(Default)]
struct Scratch {
    text: Vec<u8>,
    /// Index of the addition, and where its value stands in `text`.
    planned: Vec<(usize, usize, usize)>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl HeaderMutations {
    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.remove_matching.is_empty() && self.add.is_empty()
    }

    /// Changes one of the exchange's heads.
    pub fn apply(&self, cx: &mut StreamCx, side: Side) {
        for name in &self.remove {
            head(cx, side).remove(name);
        }
        for matcher in &self.remove_matching {
            head(cx, side).remove_where(|name, _| matcher.matches(name));
        }
        if self.add.is_empty() {
            return;
        }
        let mut scratch = SCRATCH.take().unwrap_or_default();
        self.plan(cx, side, &mut scratch);
        let headers = head(cx, side);
        for overwriting in [true, false] {
            for &(index, from, to) in &scratch.planned {
                let addition = &self.add[index];
                if addition.action.overwrites() != overwriting {
                    continue;
                }
                let value = match &addition.value {
                    Value::Literal(text) => text,
                    Value::Formatted(_) => &scratch.text[from..to],
                };
                if overwriting {
                    headers.remove(&addition.name);
                }
                match headers.get(&addition.name) {
                    Some(old) if is_single(addition.name.known(), side) => join(headers, &addition.name, old.is_empty(), value),
                    _ => headers.append(&addition.name, value),
                }
            }
        }
        scratch.text.clear();
        scratch.planned.clear();
        SCRATCH.set(Some(scratch));
    }

    /// Decides what is added, and with which value, by the headers as they are now.
    fn plan(&self, cx: &mut StreamCx, side: Side, scratch: &mut Scratch) {
        for (index, addition) in self.add.iter().enumerate() {
            let from = scratch.text.len();
            let empty = match &addition.value {
                Value::Literal(text) => text.is_empty(),
                Value::Formatted(format) => {
                    format.write(&FormatCx::from(&*cx), &mut scratch.text);
                    scratch.text.len() == from
                }
            };
            let wanted = match addition.action {
                AppendAction::AppendIfExistsOrAdd | AppendAction::OverwriteIfExistsOrAdd => true,
                AppendAction::AddIfAbsent => !head(cx, side).contains(&addition.name),
                AppendAction::OverwriteIfExists => head(cx, side).contains(&addition.name),
            };
            if wanted && (!empty || addition.keep_empty_value) {
                scratch.planned.push((index, from, scratch.text.len()));
            }
        }
    }
}

/// Adds to the one value of a header; nothing is no value.
fn join(headers: &mut HeaderMap, name: &HeaderName, was_empty: bool, value: &[u8]) {
    match (was_empty, value.is_empty()) {
        (_, true) => {}
        (true, false) => headers.insert(name, value),
        (false, false) => headers.append_joined(name, ",", value),
    }
}

impl AppendAction {
    fn overwrites(self) -> bool {
        matches!(self, AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists)
    }
}
