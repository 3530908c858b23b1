//! What may be done to a request's `:path` before it is matched.
//!
//! The connection manager's options, in Envoy's order: escaped slashes, normalisation, merging of slashes;
//! the query is never touched. Pure functions that leave a path that needs nothing alone. `data/paths.tsv`
//! of the tests holds Envoy's answers.

mod escapes;
mod normalize;
mod query;

pub use normalize::normalize;
pub use escapes::{decode_pair, percent_decode, percent_encode};
pub use query::{query_pairs, split_query};

use std::borrow::Cow;

/// `path_with_escaped_slashes_action`: what to do about `%2F` and `%5C`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EscapedSlashes {
    /// `KEEP_UNCHANGED`
    #[default]
    Keep,
    /// `REJECT_REQUEST`: 400.
    Reject,
    /// `UNESCAPE_AND_REDIRECT`: 307 to the path with slashes in the clear.
    UnescapeAndRedirect,
    /// `UNESCAPE_AND_FORWARD`
    UnescapeAndForward,
}

/// What is to be done; the default is nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cleaning {
    /// `normalize_path`
    pub normalize: bool,
    /// `merge_slashes`
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`
    pub escaped_slashes: EscapedSlashes,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cleaned {
    /// Nothing had to be done; nothing was allocated.
    Unchanged,
    /// The new path and query.
    Changed(Vec<u8>),
    /// Answer 307 with this path and query as `location`; details `path_normalization_failed`.
    Redirect(Vec<u8>),
    /// Answer 400; details `path_normalization_failed`.
    Refused,
}

/// Cleans a `:path` (path and query). A fragment is refused in any case: it belongs to user agents and
/// could hide the path's end from a matcher.
pub fn clean(target: &[u8], rules: Cleaning) -> Cleaned {
    if target.contains(&b'#') {
        return Cleaned::Refused;
    }
    if rules == Cleaning::default() || target.first() != Some(&b'/') {
        return Cleaned::Unchanged;
    }
    let query_at = target
        .iter()
        .position(|&b| b == b'?')
        .unwrap_or(target.len());
    let (path, query) = target.split_at(query_at);
    if is_clean(path) {
        return Cleaned::Unchanged;
    }
    let mut clear = Cow::Borrowed(path);
    if rules.escaped_slashes != EscapedSlashes::Keep {
        clear = unescape_slashes(path);
    }
    let unescaped = matches!(clear, Cow::Owned(_));
    if unescaped && rules.escaped_slashes == EscapedSlashes::Reject {
        return Cleaned::Refused;
    }
    let mut new = Vec::with_capacity(target.len());
    if !rules.normalize {
        new.extend_from_slice(&clear);
    } else if !normalize(&clear, &mut new) {
        return Cleaned::Refused;
    }
    if rules.merge_slashes {
        merge_slashes(&mut new);
    }
    let changed = new != path;
    new.extend_from_slice(query);
    match changed {
        _ if unescaped && rules.escaped_slashes == EscapedSlashes::UnescapeAndRedirect => {
            Cleaned::Redirect(new)
        }
        true => Cleaned::Changed(new),
        false => Cleaned::Unchanged,
    }
}

/// Whether no rule finds anything to do: letters, digits and harmless punctuation, no dot or slash behind a
/// slash. Nearly every path is like that.
fn is_clean(path: &[u8]) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~!$&'()*+,;=:@".contains(&b);
    path.iter().all(|&b| is_plain(b)) && !path.windows(2).any(|pair| matches!(pair, b"/." | b"//"))
}

/// The path with `%2F` as `/` and `%5C` as `\`; borrowed if there is neither.
pub fn unescape_slashes(path: &[u8]) -> Cow<'_, [u8]> {
    let is_escape =
        |code: &[u8]| matches!(code, [b'%', b'2', b'f' | b'F'] | [b'%', b'5', b'c' | b'C']);
    if !path.windows(3).any(is_escape) {
        return Cow::Borrowed(path);
    }
    let mut clear = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let escape = rest.get(..3).filter(|code| is_escape(code));
        clear.push(escape.map_or(*first, |code| if code[1] == b'2' { b'/' } else { b'\\' }));
        rest = if escape.is_some() { &rest[3..] } else { after };
    }
    Cow::Owned(clear)
}

/// Makes one slash of each run of slashes, in place. A path of nothing but slashes becomes `//`, as in Envoy.
pub fn merge_slashes(path: &mut Vec<u8>) {
    if !path.windows(2).any(|pair| pair == b"//") {
        return;
    }
    if path.iter().all(|&b| b == b'/') {
        return path.truncate(2);
    }
    let mut last = 0;
    path.retain(|&byte| {
        let keep = byte != b'/' || last != b'/';
        last = byte;
        keep
    });
}
