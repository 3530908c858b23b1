//! A JSON value and its two spellings: compact, and indented by one space as Envoy's admin prints it.

use std::fmt::Write as _;

/// A JSON value. Objects keep the order of their members.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, already as text.
    Number(String),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// A string.
    pub fn text(text: impl AsRef<str>) -> Json {
        Json::String(text.as_ref().to_owned())
    }

    /// An object of these members, in this order.
    pub fn object<K: Into<String>>(members: Vec<(K, Json)>) -> Json {
        Json::Object(members.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }

    /// Without any blanks.
    pub fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None);
        out
    }

    /// One member or item a line, each level indented by one more space, no line end at the end.
    pub fn indented(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Some(0));
        out
    }

    fn write(&self, out: &mut String, depth: Option<usize>) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(text) => out.push_str(text),
            Json::String(text) => quote(out, text),
            Json::List(items) => {
                let each = |out: &mut String, item: &Json, inner| item.write(out, inner);
                collection(out, depth, ['[', ']'], items, each);
            }
            Json::Object(members) => {
                let each =
                    |out: &mut String, (name, value): &(String, Json), inner: Option<usize>| {
                        quote(out, name);
                        out.push_str(if inner.is_some() { ": " } else { ":" });
                        value.write(out, inner);
                    };
                collection(out, depth, ['{', '}'], members, each);
            }
        }
    }
}

fn collection<T>(
    out: &mut String,
    depth: Option<usize>,
    brackets: [char; 2],
    items: &[T],
    each: impl Fn(&mut String, &T, Option<usize>),
) {
    out.push(brackets[0]);
    let inner = depth.map(|d| d + 1);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        line(out, inner);
        each(out, item, inner);
    }
    if !items.is_empty() {
        line(out, depth);
    }
    out.push(brackets[1]);
}

fn line(out: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', depth));
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<u64> for Json {
    /// As a number. protobuf prints 64-bit integers as strings: use [`Json::text`] for those.
    fn from(value: u64) -> Json {
        Json::Number(value.to_string())
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Json {
        Json::Number(value.to_string())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::text(text)
    }
}

impl From<f64> for Json {
    /// With 15 digits where those give the same float, else with 17, as protobuf prints it; not-a-numbers and infinities
    /// as strings.
    fn from(value: f64) -> Json {
        if value.is_nan() {
            return Json::text("NaN");
        }
        if value.is_infinite() {
            return Json::text(if value > 0.0 { "Infinity" } else { "-Infinity" });
        }
        let short = general(value, 15);
        let exact = short.parse() == Ok(value);
        Json::Number(if exact { short } else { general(value, 17) })
    }
}

impl From<f32> for Json {
    /// As for `f64`, with 6 or 9 digits.
    fn from(value: f32) -> Json {
        let wide = f64::from(value);
        if !value.is_finite() {
            return Json::from(wide);
        }
        let short = general(wide, 6);
        let exact = short.parse() == Ok(value);
        Json::Number(if exact { short } else { general(wide, 9) })
    }
}

/// C's `%.{digits}g`: plain digits for exponents from -5 up to the precision, else with an exponent; no trailing zeros.
fn general(value: f64, digits: usize) -> String {
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |m| ("-", m));
    let digits_of: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits_of.trim_end_matches('0');
    let significant = if significant.is_empty() {
        "0"
    } else {
        significant
    };
    let (first, rest) = significant.split_at(1);
    if exponent < -4 || exponent >= digits as i32 {
        let point = if rest.is_empty() { "" } else { "." };
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!(
            "{sign}{first}{point}{rest}e{direction}{:02}",
            exponent.abs()
        );
    }
    if exponent < 0 {
        return format!(
            "{sign}0.{}{significant}",
            "0".repeat((-exponent - 1) as usize)
        );
    }
    let whole = exponent as usize + 1;
    if significant.len() <= whole {
        return format!(
            "{sign}{significant}{}",
            "0".repeat(whole - significant.len())
        );
    }
    format!("{sign}{}.{}", &significant[..whole], &significant[whole..])
}

/// A string in quotes with protobuf's escapes, which keep the text safe inside HTML.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}'
            | '<'
            | '>'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{206a}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indentation_is_one_space_a_level_and_empties_stay_closed() {
        let value = Json::object(vec![
            ("a", Json::List(vec![Json::from(1u64), Json::List(vec![])])),
            ("b", Json::object::<&str>(vec![])),
        ]);
        assert_eq!(
            value.indented(),
            "{\n \"a\": [\n  1,\n  []\n ],\n \"b\": {}\n}"
        );
        assert_eq!(value.compact(), r#"{"a":[1,[]],"b":{}}"#);
    }

    #[test]
    fn floats_print_as_in_c() {
        let cases = [
            (0.1, "0.1"),
            (1.0, "1"),
            (1e22, "1e+22"),
            (100_000.0, "100000"),
            (1e-7, "1e-07"),
            (0.0001, "0.0001"),
            (123_456_789.123_456_79, "123456789.12345679"),
            (-0.0, "-0"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
        ];
        for (value, text) in cases {
            assert_eq!(Json::from(value).compact(), text);
        }
        assert_eq!(Json::from(0.1f32).compact(), "0.1");
        assert_eq!(Json::from(f32::MAX).compact(), "3.40282347e+38");
        assert_eq!(
            Json::from(9.223372036854776e18).compact(),
            "9.2233720368547758e+18"
        );
        assert_eq!(Json::from(f64::NEG_INFINITY).compact(), "\"-Infinity\"");
    }

    #[test]
    fn strings_are_escaped_as_protobuf_does() {
        assert_eq!(
            Json::text("<é\u{2028}\u{7f}\t\"").compact(),
            "\"\\u003cé\\u2028\\u007f\\t\\\"\""
        );
    }
}
