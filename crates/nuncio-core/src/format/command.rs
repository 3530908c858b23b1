//! What a command is: something that writes one fact of an exchange, or nothing.

use super::FormatCx;
use std::fmt;

/// What a command has appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing: the fact is not known (`-`, `null`).
    Absent,
    /// Text, which may be empty.
    Text,
    /// Text of which nothing has to be escaped, neither in JSON nor elsewhere.
    Plain,
    /// A number, or another value as JSON: bare in JSON.
    Number,
}

impl Written {
    /// `Text` if there was something to write.
    pub(super) fn text_if(some: bool) -> Written {
        if some { Written::Text } else { Written::Absent }
    }
}

/// A command without parameters.
pub(super) type Plain = fn(&FormatCx<'_>, &mut Vec<u8>) -> Written;

/// A command made from its parameters.
pub(super) trait Parametric: Send + Sync + fmt::Debug {
    /// Appends the fact.
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written;
}

/// A compiled command.
#[derive(Debug)]
pub(super) enum Command {
    /// Without parameters.
    Plain(Plain),
    /// Without parameters, and a number where there is anything.
    Number(Plain),
    /// With parameters.
    Parametric(Box<dyn Parametric>),
    /// Prints nothing, today or ever.
    Absent,
}

impl Command {
    /// Boxes a command with parameters.
    pub(super) fn with(command: impl Parametric + 'static) -> Command {
        Command::Parametric(Box::new(command))
    }

    /// Appends the fact to `out`; leaves `out` as it was where it is absent.
    #[inline]
    pub(super) fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        match self {
            Command::Plain(write) | Command::Number(write) => write(cx, out),
            Command::Parametric(command) => command.write(cx, out),
            Command::Absent => Written::Absent,
        }
    }
}

/// A command's name and parameters as written in a format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Args<'a> {
    /// `REQ` of `%REQ(:path):5%`.
    pub(super) name: &'a str,
    /// `:path`; empty if there were none.
    pub(super) params: &'a str,
    /// 5.
    pub(super) length: Option<usize>,
}

/// Cuts what was appended to `out` since `from` to `length` bytes.
pub(super) fn cut(out: &mut Vec<u8>, from: usize, length: Option<usize>) {
    if let Some(length) = length {
        out.truncate(from.saturating_add(length).min(out.len()));
    }
}
