//! The grammar of formats: text, `%%`, and `%NAME(params):length%`.
//!
//! Parameters may hold anything but a line feed, also `)` and `%`: they end at the first `)` after which
//! the command ends too.

use super::{
    FormatError, FormatWarning, Formatter, Piece,
    command::{Args, Command},
    table,
};

/// Compiles a format into its pieces.
pub(super) fn compile(
    format: &str,
    formatters: &[Formatter],
    warnings: &mut Vec<FormatWarning>,
) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut at = 0;
    while let Some(&byte) = format.as_bytes().get(at) {
        if byte != b'%' {
            text.push(byte);
            at += 1;
        } else if format.as_bytes().get(at + 1) == Some(&b'%') {
            text.push(b'%');
            at += 2;
        } else {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text).into_boxed_slice()));
            }
            let Some((args, len)) = split_command(&format[at..]) else {
                let message =
                    format!("Incorrect configuration: {format}. Couldn't find valid command at position {at}");
                return Err(FormatError { at, message });
            };
            pieces.push(Piece::Command(command(args, at, formatters, warnings)?));
            at += len;
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into_boxed_slice()));
    }
    Ok(pieces)
}

/// Compiles one command, which begins at byte `at` of its format.
pub(super) fn command(
    args: Args<'_>,
    at: usize,
    formatters: &[Formatter],
    warnings: &mut Vec<FormatWarning>,
) -> Result<Command, FormatError> {
    let error = |message| FormatError { at, message };
    let added = || formatters.iter().find_map(|formatter| formatter.find(args.name));
    let Some(entry) = table::find(args.name).or_else(added) else {
        return Err(error(format!("Not supported field in StreamInfo: {}", args.name)));
    };
    let (command, reason) = entry.compile(args).map_err(error)?;
    warnings.extend(reason.map(|reason| FormatWarning { at, command: entry.name, reason }));
    Ok(command)
}

/// Splits a command off the start of `rest`, which begins with `%`: its parts and its length in bytes.
fn split_command(rest: &str) -> Option<(Args<'_>, usize)> {
    let bytes = rest.as_bytes();
    let name_end = 1 + bytes[1..].iter().position(|b| !(b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_'))?;
    if name_end == 1 {
        return None;
    }
    let args = |params, length| Args { name: &rest[1..name_end], params, length };
    if bytes[name_end] != b'(' {
        let (length, end) = split_end(rest, name_end)?;
        return Some((args("", length), end));
    }
    let from = name_end + 1;
    for (offset, byte) in bytes[from..].iter().enumerate() {
        match byte {
            b'\n' => return None,
            b')' => {
                if let Some((length, end)) = split_end(rest, from + offset + 1) {
                    return Some((args(&rest[from..from + offset], length), end));
                }
            }
            _ => {}
        }
    }
    None
}

/// Reads `%` or `:123%` at byte `at`: the length and where the command ends.
fn split_end(rest: &str, at: usize) -> Option<(Option<usize>, usize)> {
    let tail = &rest[at..];
    if tail.starts_with('%') {
        return Some((None, at + 1));
    }
    let digits = tail.strip_prefix(':')?;
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    if !digits[end..].starts_with('%') {
        return None;
    }
    Some((Some(digits[..end].parse().ok()?), at + 1 + end + 1))
}
