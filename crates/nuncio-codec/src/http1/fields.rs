//! Header lines, of heads and of trailers: one pass that checks, lower-cases, classifies and records.
//!
//! The pass works on the map's own copy of the bytes. The common line (`name: value\r\n`) never leaves the
//! loop; folds and stray CRs go through [`untangle`].

use super::rules::{Strictness, UnderscoreAction};
use super::scan::{is_forbidden, is_plain_name, lower_to_colon, text_len};
use super::violation::Violation;
use crate::headers::{HeaderMap, Known, MAX_NAME_LEN, classify, is_token_byte};

/// Which message part the lines belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Request,
    Response,
    Trailers,
}

/// What the lines are checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldRules {
    pub(super) part: Part,
    pub(super) max_headers: usize,
    pub(super) strictness: Strictness,
    pub(super) underscores: UnderscoreAction,
}

/// What the pass noticed on its way.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Seen {
    /// Where the part ends: behind the empty line.
    pub(super) end: usize,
    /// Several lines of a name that Envoy folds into one.
    pub(super) joinable: bool,
    /// Lines of `content-length` and of `transfer-encoding`.
    pub(super) content_lengths: u32,
    pub(super) transfer_encodings: u32,
    /// Headers dropped for an underscore.
    pub(super) dropped: u32,
}

/// One value's place.
struct Value {
    at: usize,
    len: usize,
    /// The bytes behind the name are exactly `: value\r\n`.
    plain: bool,
    /// It took several lines.
    folded: bool,
    /// A line end or a CR stands between two bytes of the value.
    torn: bool,
}

impl Value {
    #[inline]
    fn plain(at: usize, len: usize) -> Value {
        Value {
            at,
            len,
            plain: true,
            folded: false,
            torn: false,
        }
    }
}

/// Reads lines from `at` to the empty line; `None` if the bytes end before it.
pub(super) fn parse_fields(
    bytes: &mut [u8],
    map: &mut HeaderMap,
    mut at: usize,
    rules: &FieldRules,
) -> Result<Option<Seen>, Violation> {
    let mut seen = Seen::default();
    let mut lines = 0;
    let any_name = rules.underscores == UnderscoreAction::Allow;
    loop {
        let rest = &mut bytes[at..];
        if rest.first().is_none_or(|&b| b <= b'\r') {
            return Ok(empty_line(rest)?.map(|len| Seen {
                end: at + len,
                ..seen
            }));
        }
        if lines == rules.max_headers {
            return Err(Violation::TooManyHeaders);
        }
        lines += 1;
        let name_len = lower_to_colon(rest);
        let Some((name, [_, tail @ ..])) = rest.split_at_checked(name_len) else {
            let may_be_name = rest.iter().all(|&b| is_token_byte(b));
            return if may_be_name {
                Ok(None)
            } else {
                Err(Violation::HeaderLine)
            };
        };
        let known = classify(name);
        if known == Known::Other && !is_name(name) {
            return Err(Violation::HeaderLine);
        }
        let value_at = at + name_len + 2;
        let plain = plain_value_len(tail);
        if let Some(len) = plain
            && any_name
            && !is_special(known)
        {
            seen.joinable |= map.push_loaded(known, (at, name_len), (value_at, len), true);
            at = value_at + len + 2;
            continue;
        }
        let (value, next) = match plain {
            Some(len) => (Value::plain(value_at, len), value_at + len + 2),
            None => match find_value(bytes, value_at - 1, rules.strictness)? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        if any_name || !bytes[at..at + name_len].contains(&b'_') {
            record(map, (known, at, name_len), &value, rules, &mut seen)?;
        } else if rules.underscores == UnderscoreAction::Drop {
            seen.dropped += 1;
        } else {
            return Err(Violation::Underscore);
        }
        at = next;
    }
}

/// Length of the empty line at the front; `None` if it is cut short, an error if it is none.
fn empty_line(rest: &[u8]) -> Result<Option<usize>, Violation> {
    match rest {
        [] | [b'\r'] => Ok(None),
        [b'\n', ..] => Ok(Some(1)),
        [b'\r', b'\n', ..] => Ok(Some(2)),
        _ => Err(Violation::HeaderLine),
    }
}

/// Names that mean something to the reading of the message itself.
#[inline]
fn is_special(known: Known) -> bool {
    matches!(
        known,
        Known::Host | Known::ContentLength | Known::TransferEncoding
    )
}

/// Length of the value if what stands behind the colon is exactly ` value\r\n` and another line that does
/// not continue this one: nearly always.
#[inline]
fn plain_value_len(tail: &[u8]) -> Option<usize> {
    let [b' ', value @ ..] = tail else {
        return None;
    };
    let len = text_len(value);
    let [b'\r', b'\n', after, ..] = value[len..] else {
        return None;
    };
    let (Some(&first), Some(&last)) = (value[..len].first(), value[..len].last()) else {
        return None;
    };
    (first > b' ' && last > b' ' && (after > b' ' || after == b'\r')).then_some(len)
}

#[inline]
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The value that begins at `from`, and where its line ends, whatever the line looks like.
#[cold]
fn find_value(
    bytes: &mut [u8],
    from: usize,
    strictness: Strictness,
) -> Result<Option<(Value, usize)>, Violation> {
    let mut end = from;
    let next = loop {
        end += text_len(&bytes[end..]);
        match &bytes[end..] {
            [] | [b'\r'] => return Ok(None),
            [b'\t', ..] => end += 1,
            [b'\n', ..] => break end + 1,
            [b'\r', b'\n', ..] => break end + 2,
            [b'\r', ..] => return untangle(bytes, from, strictness),
            _ => return Err(Violation::Characters),
        }
    };
    match bytes.get(next) {
        None => return Ok(None),
        Some(b' ' | b'\t') => return untangle(bytes, from, strictness),
        Some(_) => {}
    }
    let text = &bytes[from..end];
    let start = text
        .iter()
        .position(|&b| !is_blank(b))
        .unwrap_or(text.len());
    let stop = text
        .iter()
        .rposition(|&b| !is_blank(b))
        .map_or(start, |last| last + 1);
    let plain = start == 1 && text[0] == b' ' && from + stop + 2 == next;
    Ok(Some((
        Value {
            at: from + start,
            len: stop - start,
            plain,
            folded: false,
            torn: false,
        },
        next,
    )))
}

/// Whether a name without a number is a token of bearable length. Kept out of line: inlined, its vector
/// constants would be loaded for every header.
#[inline(never)]
fn is_name(name: &[u8]) -> bool {
    let len = name.len();
    len > 0
        && len <= MAX_NAME_LEN
        && (is_plain_name(name) || name.iter().all(|&b| is_token_byte(b)))
}

/// A value with folds (rfc9112#5.2) or stray CRs in it. Envoy deletes every CR and LF inside; the friendly
/// way puts spaces for folds, as the RFC has it, and refuses stray CRs.
#[cold]
fn untangle(
    bytes: &mut [u8],
    from: usize,
    strictness: Strictness,
) -> Result<Option<(Value, usize)>, Violation> {
    let mut next = from;
    let mut folded = false;
    loop {
        let Some(offset) = bytes[next..].iter().position(|&b| b == b'\n') else {
            return Ok(None);
        };
        next += offset + 1;
        match bytes.get(next) {
            None => return Ok(None),
            Some(b' ' | b'\t') => folded = true,
            Some(_) => break,
        }
    }
    let value = &mut bytes[from..next];
    if value.iter().any(|&b| is_forbidden(b)) {
        return Err(Violation::Characters);
    }
    let bare_cr =
        (0..value.len()).any(|at| value[at] == b'\r' && value.get(at + 1) != Some(&b'\n'));
    if bare_cr && !strictness.is_parity() {
        return Err(Violation::BareCr);
    }
    let is_end = |b: u8| b == b'\r' || b == b'\n';
    let torn = value.trim_ascii().iter().any(|&b| is_end(b));
    let mut len = value.len();
    if strictness.is_parity() {
        len = 0;
        for index in 0..value.len() {
            if !is_end(value[index]) {
                value[len] = value[index];
                len += 1;
            }
        }
    } else {
        for byte in value.iter_mut().filter(|b| is_end(**b)) {
            *byte = b' ';
        }
    }
    let kept = &value[..len];
    let start = kept
        .iter()
        .position(|b| !matches!(b, b' ' | b'\t'))
        .unwrap_or(len);
    let stop = kept
        .iter()
        .rposition(|b| !matches!(b, b' ' | b'\t'))
        .map_or(start, |last| last + 1);
    let value = Value {
        at: from + start,
        len: stop - start,
        plain: false,
        folded,
        torn,
    };
    Ok(Some((value, next)))
}

#[inline]
fn record(
    map: &mut HeaderMap,
    (known, name_at, name_len): (Known, usize, usize),
    value: &Value,
    rules: &FieldRules,
    seen: &mut Seen,
) -> Result<(), Violation> {
    if rules.part != Part::Trailers {
        match known {
            Known::Host if rules.part == Part::Request => {
                return record_host(map, value, rules.strictness, seen);
            }
            Known::ContentLength => seen.content_lengths += 1,
            Known::TransferEncoding => seen.transfer_encodings += 1,
            _ => {}
        }
        if (value.folded || value.torn)
            && matches!(known, Known::ContentLength | Known::TransferEncoding)
        {
            frames_in_one_line(known, value, rules.strictness, seen)?;
        }
    }
    let repeated = map.push_loaded(
        known,
        (name_at, name_len),
        (value.at, value.len),
        value.plain,
    );
    seen.joinable |= repeated;
    Ok(())
}

/// A header that frames the message must not need untangling; Envoy bears blank folds.
#[cold]
fn frames_in_one_line(
    known: Known,
    value: &Value,
    strictness: Strictness,
    seen: &mut Seen,
) -> Result<(), Violation> {
    if !strictness.is_parity() {
        return Err(Violation::Folded);
    }
    if value.torn {
        // A second line of the name is as invalid as a torn one, and its complaint comes in Envoy's order.
        match known {
            Known::ContentLength => seen.content_lengths += 1,
            _ => seen.transfer_encodings += 1,
        }
    }
    Ok(())
}

/// `host` of a request becomes `:authority`. Envoy joins several with `,`.
fn record_host(
    map: &mut HeaderMap,
    value: &Value,
    strictness: Strictness,
    seen: &mut Seen,
) -> Result<(), Violation> {
    if map.contains(Known::Authority) {
        if !strictness.is_parity() {
            return Err(Violation::DuplicateHost);
        }
        // Joined once the map has its bytes back.
        map.push_loaded(Known::Host, (0, "host".len()), (value.at, value.len), false);
        seen.joinable = true;
        return Ok(());
    }
    if value.folded && !strictness.is_parity() {
        return Err(Violation::Folded);
    }
    map.set_pseudo_loaded(Known::Authority, value.at, value.len);
    Ok(())
}
