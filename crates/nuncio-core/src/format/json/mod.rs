//! JSON formats: a tree whose texts are formats.
//!
//! A text that is exactly one command keeps that command's type: numbers stand bare, what is not known is
//! `null`. Properties are written in the order of their names. With `omit_empty`, nulls are left out, and so
//! are objects nothing is left of.

mod escape;

use super::{
    Format, FormatCx, FormatError, FormatWarning, Formatter, Piece,
    command::{Command, Written},
};
use crate::StreamCx;
use escape::quote_tail;
pub use escape::write_json_string;

/// A JSON format as configured.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonTemplate {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number; what is no integer is written as a text, as Envoy does.
    Number(f64),
    /// A format.
    String(String),
    /// A list.
    Array(Vec<JsonTemplate>),
    /// Properties, in any order.
    Object(Vec<(String, JsonTemplate)>),
}

#[derive(Debug)]
enum Node {
    /// Written as it stands.
    Fixed(Box<[u8]>),
    Null,
    /// One command, which keeps its type.
    Typed(Command),
    /// Text with commands in it.
    Text(Format),
    Array(Vec<Node>),
    /// Names are quoted already, colon included.
    Object(Vec<(Box<[u8]>, Node)>),
}

/// A value that depends on the exchange, and what is written before it in any case.
#[derive(Debug)]
struct Field {
    before: Box<[u8]>,
    value: FieldValue,
}

#[derive(Debug)]
enum FieldValue {
    Typed(Command),
    Text(Format),
}

/// How a format is written.
#[derive(Debug)]
enum Shape {
    /// Nothing is ever left out: values in a row, with fixed bytes between them and behind the last one.
    Row(Box<[Field]>, Box<[u8]>),
    /// What is left of a list or object is known when its values are.
    Tree(Node),
}

/// A compiled JSON format.
#[derive(Debug)]
pub struct JsonFormat {
    shape: Shape,
    omit_empty: bool,
}

/// A JSON format that cannot be compiled: where in the tree, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonFormatError {
    /// Path of the text at fault, `a.b[0]`.
    pub path: String,
    /// What is wrong with it.
    pub error: FormatError,
}

impl JsonFormat {
    /// Compiles a tree; warnings carry the path of their text.
    ///
    /// # Errors
    /// The first text in it that is no format.
    pub fn compile(
        template: &JsonTemplate,
        omit_empty: bool,
    ) -> Result<(JsonFormat, Vec<(String, FormatWarning)>), JsonFormatError> {
        JsonFormat::compile_with(template, omit_empty, &[])
    }

    /// The same with the commands that `formatters` add.
    ///
    /// # Errors
    /// The first text in it that is no format.
    pub fn compile_with(
        template: &JsonTemplate,
        omit_empty: bool,
        formatters: &[Formatter],
    ) -> Result<(JsonFormat, Vec<(String, FormatWarning)>), JsonFormatError> {
        let mut compiler = Compiler { omit_empty, formatters, path: String::new(), warnings: Vec::new() };
        let root = compiler.compile(template)?;
        let shape = if omit_empty { Shape::Tree(root) } else { Shape::row(root) };
        Ok((JsonFormat { shape, omit_empty }, compiler.warnings))
    }

    /// Appends the exchange as one JSON value without a line end, as of its end.
    pub fn write(&self, stream: &StreamCx, out: &mut Vec<u8>) {
        self.write_in(&FormatCx::from(stream), out);
    }

    /// Appends the exchange as one JSON value without a line end.
    pub fn write_in(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Row(fields, last) => {
                let typed = FormatCx { typed: true, ..*cx };
                for Field { before, value } in fields {
                    out.extend_from_slice(before);
                    match value {
                        FieldValue::Typed(command) if write_typed(command, &typed, out) => {}
                        FieldValue::Typed(_) => out.extend_from_slice(b"null"),
                        FieldValue::Text(format) => write_text(format, cx, out),
                    }
                }
                out.extend_from_slice(last);
            }
            Shape::Tree(root) => {
                if !self.node(root, cx, out) {
                    out.extend_from_slice(b"{}");
                }
            }
        }
    }

    /// Writes a value; false (and nothing written) if it is to be left out.
    fn node(&self, node: &Node, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> bool {
        match node {
            Node::Fixed(text) => out.extend_from_slice(text),
            Node::Null => return self.null(out),
            Node::Typed(command) => {
                if !write_typed(command, &FormatCx { typed: true, ..*cx }, out) {
                    return self.null(out);
                }
            }
            Node::Text(format) => write_text(format, cx, out),
            Node::Array(items) => {
                out.push(b'[');
                let from = out.len();
                for item in items {
                    self.item(from, b"", item, cx, out);
                }
                out.push(b']');
            }
            Node::Object(properties) => {
                out.push(b'{');
                let from = out.len();
                for (name, value) in properties {
                    self.item(from, name, value, cx, out);
                }
                if self.omit_empty && out.len() == from {
                    out.pop();
                    return false;
                }
                out.push(b'}');
            }
        }
        true
    }

    /// Writes one item of a list or object that began at `from`, comma and name included.
    fn item(&self, from: usize, name: &[u8], value: &Node, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        let before = out.len();
        if before > from {
            out.push(b',');
        }
        out.extend_from_slice(name);
        if !self.node(value, cx, out) {
            out.truncate(before);
        }
    }

    fn null(&self, out: &mut Vec<u8>) -> bool {
        if !self.omit_empty {
            out.extend_from_slice(b"null");
        }
        !self.omit_empty
    }
}

/// Writes the value of a command with its type; false (and nothing written) if there is none.
#[inline]
fn write_typed(command: &Command, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> bool {
    if let Command::Number(write) = command {
        return write(cx, out) != Written::Absent;
    }
    let from = out.len();
    out.push(b'"');
    match command.write(cx, out) {
        Written::Text => quote_tail(out, from),
        Written::Plain => out.push(b'"'),
        Written::Number => drop(out.remove(from)),
        Written::Absent => out.truncate(from),
    }
    out.len() > from
}

fn write_text(format: &Format, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
    let from = out.len();
    out.push(b'"');
    format.write_in(cx, out);
    quote_tail(out, from);
}

impl Shape {
    fn row(root: Node) -> Shape {
        let (mut fields, mut before) = (Vec::new(), Vec::new());
        lay_out(root, &mut fields, &mut before);
        Shape::Row(fields.into(), before.into())
    }
}

/// Adds a node to a row; `before` is what stands since the last value.
fn lay_out(node: Node, fields: &mut Vec<Field>, before: &mut Vec<u8>) {
    let mut field = |before: &mut Vec<u8>, value| fields.push(Field { before: std::mem::take(before).into(), value });
    match node {
        Node::Fixed(text) => before.extend_from_slice(&text),
        Node::Null => before.extend_from_slice(b"null"),
        Node::Typed(command) => field(before, FieldValue::Typed(command)),
        Node::Text(format) => field(before, FieldValue::Text(format)),
        Node::Array(items) => {
            before.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                before.extend_from_slice(if index > 0 { b"," } else { b"" });
                lay_out(item, fields, before);
            }
            before.push(b']');
        }
        Node::Object(properties) => {
            before.push(b'{');
            for (index, (name, value)) in properties.into_iter().enumerate() {
                before.extend_from_slice(if index > 0 { b"," } else { b"" });
                before.extend_from_slice(&name);
                lay_out(value, fields, before);
            }
            before.push(b'}');
        }
    }
}

fn quoted(text: &str) -> Box<[u8]> {
    let mut out = [b"\"", text.as_bytes()].concat();
    quote_tail(&mut out, 0);
    out.into_boxed_slice()
}

/// What compiling a tree needs to know, and where it is.
struct Compiler<'a> {
    omit_empty: bool,
    formatters: &'a [Formatter],
    path: String,
    warnings: Vec<(String, FormatWarning)>,
}

impl Compiler<'_> {
    fn compile(&mut self, template: &JsonTemplate) -> Result<Node, JsonFormatError> {
        let path_len = self.path.len();
        Ok(match template {
            JsonTemplate::Null => Node::Null,
            JsonTemplate::Bool(value) => Node::Fixed(value.to_string().into_bytes().into()),
            JsonTemplate::Number(value) => number(*value),
            JsonTemplate::String(text) => self.string(text)?,
            JsonTemplate::Array(items) => {
                let mut nodes = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    self.path.push_str(&format!("[{index}]"));
                    nodes.push(self.compile(item)?);
                    self.path.truncate(path_len);
                }
                Node::Array(nodes)
            }
            JsonTemplate::Object(properties) => {
                let mut nodes = Vec::with_capacity(properties.len());
                let mut sorted: Vec<_> = properties.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                for (name, value) in sorted {
                    if !self.path.is_empty() {
                        self.path.push('.');
                    }
                    self.path.push_str(name);
                    let key = [&quoted(name)[..], b":"].concat().into_boxed_slice();
                    nodes.push((key, self.compile(value)?));
                    self.path.truncate(path_len);
                }
                Node::Object(nodes)
            }
        })
    }

    fn string(&mut self, text: &str) -> Result<Node, JsonFormatError> {
        let (mut format, found) = Format::compile_with(text, self.formatters)
            .map_err(|error| JsonFormatError { path: self.path.clone(), error })?;
        self.warnings.extend(found.into_iter().map(|warning| (self.path.clone(), warning)));
        format.omit_empty = self.omit_empty;
        Ok(match format.pieces.len() {
            0 => Node::Fixed(Box::from(&b"\"\""[..])),
            1 => match format.pieces.pop() {
                Some(Piece::Command(command)) => Node::Typed(command),
                Some(Piece::Text(text)) => Node::Fixed(quoted(&String::from_utf8_lossy(&text))),
                None => Node::Null,
            },
            _ => Node::Text(format),
        })
    }
}

/// Integers stand bare, other numbers as texts with six significant digits.
fn number(value: f64) -> Node {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Node::Fixed(format!("{value}").into_bytes().into());
    }
    Node::Fixed(quoted(&six_digits(value)))
}

/// As C's `%g` prints it.
fn six_digits(value: f64) -> String {
    let scientific = format!("{value:.5e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let Ok(exponent) = exponent.parse::<i32>() else { return scientific };
    let trim = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or_default();
        return trim(&format!("{value:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_envoy_prints_them() {
        for (value, want) in [(3.0, "3"), (-2.0, "-2"), (5.5, "\"5.5\""), (0.1, "\"0.1\""), (1e20, "\"1e+20\"")] {
            let Node::Fixed(text) = number(value) else { unreachable!("numbers are fixed") };
            assert_eq!(String::from_utf8_lossy(&text), want);
        }
    }
}
