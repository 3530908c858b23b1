//! Header lines, of heads and of trailers: one pass that checks, lower-cases, classifies and records.
//!
//! The pass works on the map's own copy of the bytes. The common line (`name: value\r\n`) never leaves the
//! loop; folds and stray CRs go through [`untangle`].

use super::rules::{Strictness, UnderscoreAction};
use super::scan::{is_forbidden, text_len};
use super::violation::Violation;
use crate::headers::{HeaderMap, Known, MAX_NAME_LEN, TOKEN_LOWER, classify};

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

/// One value's place and where its line ends.
struct Value {
    at: usize,
    len: usize,
    next: usize,
    /// The bytes behind the name are exactly `: value\r\n`.
    plain: bool,
    /// A line end or a CR stands inside the value, or only white space behind a fold.
    folded: bool,
    /// A line end or a CR stands between two bytes of the value.
    torn: bool,
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
    loop {
        match bytes.get(at) {
            None => return Ok(None),
            Some(b'\n') => {
                seen.end = at + 1;
                return Ok(Some(seen));
            }
            Some(b'\r') => match bytes.get(at + 1) {
                None => return Ok(None),
                Some(b'\n') => {
                    seen.end = at + 2;
                    return Ok(Some(seen));
                }
                Some(_) => return Err(Violation::HeaderLine),
            },
            Some(_) => {}
        }
        if lines == rules.max_headers {
            return Err(Violation::TooManyHeaders);
        }
        lines += 1;
        let name_len = lower_name(&mut bytes[at..]);
        let colon = at + name_len;
        match bytes.get(colon) {
            None => return Ok(None),
            Some(b':') if name_len > 0 && name_len <= MAX_NAME_LEN => {}
            Some(_) => return Err(Violation::HeaderLine),
        }
        let Some(value) = find_value(bytes, colon + 1, rules.strictness)? else {
            return Ok(None);
        };
        record(bytes, map, (at, name_len), &value, rules, &mut seen)?;
        at = value.next;
    }
}

/// Lower-cases the token at the front and says how long it is.
#[inline]
fn lower_name(bytes: &mut [u8]) -> usize {
    let mut len = 0;
    for byte in bytes {
        let lower = TOKEN_LOWER[*byte as usize];
        if lower == 0 {
            break;
        }
        *byte = lower;
        len += 1;
    }
    len
}

#[inline]
fn find_value(
    bytes: &mut [u8],
    from: usize,
    strictness: Strictness,
) -> Result<Option<Value>, Violation> {
    let mut at = from;
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    let mut end = at;
    let next = loop {
        end += text_len(&bytes[end..]);
        match bytes.get(end) {
            None => return Ok(None),
            Some(b'\t') => end += 1,
            Some(b'\n') => break end + 1,
            Some(b'\r') => match bytes.get(end + 1) {
                None => return Ok(None),
                Some(b'\n') => break end + 2,
                Some(_) => return untangle(bytes, from, strictness),
            },
            Some(_) => return Err(Violation::Characters),
        }
    };
    match bytes.get(next) {
        None => return Ok(None),
        Some(b' ' | b'\t') => return untangle(bytes, from, strictness),
        Some(_) => {}
    }
    let mut len = end - at;
    while len > 0 && matches!(bytes[at + len - 1], b' ' | b'\t') {
        len -= 1;
    }
    let plain = at == from + 1 && bytes[from] == b' ' && at + len + 2 == next;
    Ok(Some(Value {
        at,
        len,
        next,
        plain,
        folded: false,
        torn: false,
    }))
}

/// A value with folds (rfc9112#5.2) or stray CRs in it. Envoy deletes every CR and LF inside; the friendly
/// way puts spaces for folds, as the RFC has it, and refuses stray CRs.
#[cold]
fn untangle(
    bytes: &mut [u8],
    from: usize,
    strictness: Strictness,
) -> Result<Option<Value>, Violation> {
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
    Ok(Some(Value {
        at: from + start,
        len: stop - start,
        next,
        plain: false,
        folded,
        torn,
    }))
}

#[inline]
fn record(
    bytes: &mut [u8],
    map: &mut HeaderMap,
    name: (usize, usize),
    value: &Value,
    rules: &FieldRules,
    seen: &mut Seen,
) -> Result<(), Violation> {
    let name_bytes = &bytes[name.0..name.0 + name.1];
    if rules.underscores != UnderscoreAction::Allow && name_bytes.contains(&b'_') {
        if rules.underscores == UnderscoreAction::Reject {
            return Err(Violation::Underscore);
        }
        seen.dropped += 1;
        return Ok(());
    }
    let known = classify(name_bytes);
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
        seen.joinable |= known != Known::Other && map.contains(known);
    }
    map.push_loaded(known, name, (value.at, value.len), value.plain);
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
