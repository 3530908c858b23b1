//! `%XFCC_VALUE(key)%`: a part of `x-forwarded-client-cert`.
//!
//! The header is elements with commas between, an element is `key=value` with semicolons between; a value may be quoted, and
//! then has any character, quotes after a backslash. The first element that has the key counts.

use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written},
};
use nuncio_codec::headers::Known;

/// Which part.
#[derive(Debug)]
struct Value(Box<[u8]>);

impl Parametric for Value {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let mut all = cx.stream.request.get_all(Known::XForwardedClientCert).peekable();
        let Some(first) = all.next() else { return Written::Absent };
        let found = match all.peek() {
            None => find(first, &self.0),
            Some(_) => find(&std::iter::once(first).chain(all).collect::<Vec<_>>().join(&b','), &self.0),
        };
        match found {
            Some(value) => {
                out.extend_from_slice(&value);
                Written::Text
            }
            None => Written::Absent,
        }
    }
}

pub(super) fn value(args: Args<'_>) -> Result<Command, String> {
    const KEYS: [&str; 7] = ["by", "hash", "cert", "chain", "subject", "uri", "dns"];
    if args.params.is_empty() {
        return Err("XFCC_VALUE command requires a subcommand".to_owned());
    }
    if !KEYS.iter().any(|key| key.eq_ignore_ascii_case(args.params)) {
        return Err(format!("XFCC_VALUE command does not support subcommand: {}", args.params));
    }
    Ok(Command::with(Value(args.params.to_ascii_lowercase().into_bytes().into())))
}

/// The value of the first `key`; none at all where a quote is left open.
fn find(header: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    let mut rest = header;
    while !rest.is_empty() {
        let (pair, after) = pair(rest)?;
        if found.is_none()
            && let Some(at) = pair.iter().position(|b| *b == b'=')
            && pair[..at].trim_ascii().eq_ignore_ascii_case(key)
        {
            found = Some(unquoted(pair[at + 1..].trim_ascii()));
        }
        rest = after;
    }
    found
}

/// What stands before the next `;` or `,` outside quotes, and what comes behind that.
fn pair(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' | b',' if !quoted => return Some((&bytes[..at], &bytes[at + 1..])),
            _ => {}
        }
    }
    (!quoted).then_some((bytes, &[]))
}

fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else { return value.to_vec() };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => out.extend(bytes.next()),
            other => out.push(*other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    fn find(header: &str, key: &str) -> Option<String> {
        super::find(header.as_bytes(), key.as_bytes()).map(|value| String::from_utf8(value).expect("text"))
    }

    #[test]
    fn the_first_element_with_the_key_counts() {
        assert_eq!(find("By=a;Hash=1,By=b;URI=u", "uri").as_deref(), Some("u"));
        assert_eq!(find("By=a,By=b", "by").as_deref(), Some("a"));
        assert_eq!(find("URI=a=b;;,", "uri").as_deref(), Some("a=b"));
        assert_eq!(find("nonsense", "uri"), None);
    }

    #[test]
    fn quotes_hide_separators_and_must_be_closed() {
        assert_eq!(find(r#"Subject="a \"q\" ;,= b";URI=u"#, "subject").as_deref(), Some(r#"a "q" ;,= b"#));
        assert_eq!(find(r#"URI=a;Subject="open"#, "uri"), None);
        assert_eq!(find(r#"Subject="""#, "subject").as_deref(), Some(""));
    }
}
