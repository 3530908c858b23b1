//! Line patterns in spdlog's language, with Envoy's additions (`%_`, `%j`, `%*`).
//!
//! A conversion may have a width (`%8l`, `%-8l`, `%=8l`) and be cut to it (`%3!l`). Unknown conversions are printed as
//! they stand.

use nuncio_core::{
    format::{Civil, DateFormat},
    logging::Level,
};

/// Envoy's pattern where none is configured.
pub const DEFAULT: &str = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v";

/// One line to be.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// When.
    pub at: &'a Civil,
    /// How important.
    pub level: Level,
    /// Whose.
    pub component: &'a str,
    /// The thread's number.
    pub thread: u64,
    /// Source file.
    pub file: &'a str,
    /// Line in it.
    pub line: u32,
    /// What.
    pub message: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    /// Text stands at the right end.
    Right,
    Left,
    Center,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Width {
    align: Align,
    columns: usize,
    cut: bool,
}

#[derive(Debug)]
enum Part {
    Text(String),
    /// A calendar field, by its strftime format.
    Date(DateFormat),
    Field(char),
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    parts: Vec<(Part, Option<Width>)>,
    escape: bool,
}

impl Pattern {
    /// Compiles a pattern; every text is one. With `escape`, messages are written as by `%_`
    /// (`--log-format-escaped`).
    pub fn new(pattern: &str, escape: bool) -> Pattern {
        let mut parts: Vec<(Part, Option<Width>)> = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if c == '%' {
                let mut ahead = chars.clone();
                let width = width(&mut ahead);
                if let Some(part) = ahead.next().and_then(conversion) {
                    chars = ahead;
                    parts.push((part, width));
                    continue;
                }
            }
            match parts.last_mut() {
                Some((Part::Text(text), None)) => text.push(c),
                _ => parts.push((Part::Text(c.to_string()), None)),
            }
        }
        Pattern { parts, escape }
    }

    /// Appends a line, line end included.
    pub fn write(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        for (part, width) in &self.parts {
            let from = out.len();
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Date(format) => format.write(line.at, out),
                Part::Field(field) => self.field(*field, line, out),
            }
            if let Some(width) = width {
                fit(out, from, *width);
            }
        }
        out.push(b'\n');
    }

    fn field(&self, field: char, line: &Line<'_>, out: &mut Vec<u8>) {
        use std::io::Write;
        let name = line.file.rsplit('/').next().unwrap_or_default();
        // Writing to a Vec cannot fail.
        let _ = match field {
            'v' if self.escape => return escaped(line.message, out),
            '_' => return escaped(line.message, out),
            'j' => return json_escaped(line.message, out),
            'v' => write!(out, "{}", line.message),
            'l' => write!(out, "{}", line.level.name()),
            'L' => write!(out, "{}", initial(line.level)),
            'n' => write!(out, "{}", line.component),
            't' => write!(out, "{}", line.thread),
            'P' => write!(out, "{}", std::process::id()),
            'g' => write!(out, "{}", line.file),
            's' => write!(out, "{name}"),
            '#' => write!(out, "{}", line.line),
            '@' => write!(out, "{}:{}", line.file, line.line),
            '%' => write!(out, "%"),
            // Function names, colour marks, tags and times since the last line: nothing to say.
            _ => Ok(()),
        };
    }
}

/// `critical` is `C`, `warning` is `W`.
fn initial(level: Level) -> char {
    level.name().chars().next().unwrap_or_default().to_ascii_uppercase()
}

fn width(chars: &mut std::str::Chars<'_>) -> Option<Width> {
    let mut ahead = chars.clone();
    let align = match ahead.clone().next()? {
        '-' => Align::Left,
        '=' => Align::Center,
        _ => Align::Right,
    };
    if align != Align::Right {
        ahead.next();
    }
    let mut columns = 0;
    let mut any = false;
    while let Some(digit) = ahead.clone().next().and_then(|c| c.to_digit(10)) {
        // As spdlog, no field is wider than 64.
        columns = (columns * 10 + digit as usize).min(64);
        any = true;
        ahead.next();
    }
    if !any {
        return None;
    }
    let cut = ahead.clone().next() == Some('!');
    if cut {
        ahead.next();
    }
    *chars = ahead;
    Some(Width { align, columns, cut })
}

/// Makes what was appended since `from` as wide as asked.
fn fit(out: &mut Vec<u8>, from: usize, width: Width) {
    let text = String::from_utf8_lossy(&out[from..]);
    let len = text.chars().count();
    if len >= width.columns {
        if width.cut {
            let bytes = text.chars().take(width.columns).map(char::len_utf8).sum::<usize>();
            out.truncate(from + bytes);
        }
        return;
    }
    let missing = width.columns - len;
    let before = match width.align {
        Align::Right => missing,
        Align::Left => 0,
        Align::Center => missing / 2,
    };
    out.extend(std::iter::repeat_n(b' ', missing));
    out[from..].rotate_right(before);
}

fn conversion(c: char) -> Option<Part> {
    let date = |format: &str| Some(Part::Date(DateFormat::new(format)));
    match c {
        'Y' | 'm' | 'd' | 'H' | 'M' | 'S' | 'T' | 'X' | 'R' | 'r' | 'p' | 'I' | 'a' | 'A' | 'b' | 'B' | 'c' | 'D' => {
            date(&format!("%{c}"))
        }
        'h' => date("%b"),
        'x' => date("%D"),
        'C' => date("%y"),
        'e' => date("%3f"),
        'f' => date("%6f"),
        'F' => date("%9f"),
        'E' => date("%s"),
        'z' => date("%Ez"),
        'v' | 'l' | 'L' | 'n' | 't' | 'P' | 'g' | 's' | '#' | '@' | '!' | '^' | '$' | '*' | '_' | 'j' | '%' | 'i'
        | 'u' | 'o' | 'O' => Some(Part::Field(c)),
        _ => None,
    }
}

/// Line ends and control characters as in C.
fn escaped(message: &str, out: &mut Vec<u8>) {
    for c in message.chars() {
        match c {
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\'' => out.extend_from_slice(b"\\'"),
            '"' => out.extend_from_slice(b"\\\""),
            c if c.is_ascii_control() => {
                let code = c as u32;
                out.extend_from_slice(format!("\\{code:03o}").as_bytes());
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// As the inside of a JSON text.
fn json_escaped(message: &str, out: &mut Vec<u8>) {
    for c in message.chars() {
        match c {
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            c if c < ' ' => out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn written(pattern: &str, message: &str) -> String {
        let at = Civil::utc(SystemTime::UNIX_EPOCH + Duration::new(1_795_236_336, 495_094_000));
        let line = Line {
            at: &at,
            level: Level::Info,
            component: "main",
            thread: 42,
            file: "crates/nuncio/src/serve.rs",
            line: 463,
            message,
        };
        let mut out = Vec::new();
        Pattern::new(pattern, false).write(&line, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Dates recorded from Envoy 1.40.
    #[test]
    fn patterns_print_as_in_envoy() {
        for (pattern, want) in [
            (DEFAULT, "[2026-11-21 04:45:36.495][42][info][main] [crates/nuncio/src/serve.rs:463] hello"),
            ("[%8l][%-8l][%=8l]", "[    info][info    ][  info  ]"),
            ("%L %s %@ %3!l|%%", "I serve.rs crates/nuncio/src/serve.rs:463 inf|%"),
            ("%E|%z|%F|%f|%k", "1795236336|+00:00|495094000|495094|%k"),
            ("%^%l%$ %v", "info hello"),
            (
                "%Y/%C/%I/%p/%r/%R/%X/%D/%x/%c/%a/%A/%b/%B",
                "2026/26/04/AM/04:45:36 AM/04:45/04:45:36/11/21/26/11/21/26/Sat Nov 21 04:45:36 2026/Sat/Saturday/Nov/November",
            ),
            ("%Q 5% %", "%Q 5% %"),
        ] {
            assert_eq!(written(pattern, "hello"), format!("{want}\n"), "{pattern}");
        }
    }

    #[test]
    fn messages_can_be_escaped() {
        assert_eq!(written("%_", "a\n\"b\"\u{1}"), "a\\n\\\"b\\\"\\001\n");
        assert_eq!(written("{\"m\":\"%j\"}", "a\n\"é\"\u{1}"), "{\"m\":\"a\\n\\\"é\\\"\\u0001\"}\n");
    }
}
