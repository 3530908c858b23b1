//! Patterns over the words of a name: `cluster.$.**`.

use std::ops::Range;

/// A pattern of words: `*` stands for one word, `$` for the one that becomes the tag, `**` for any
/// number of words, but at the end for one at least.
#[derive(Debug)]
pub(super) struct Tokens(&'static str);

impl Tokens {
    pub(super) fn new(pattern: &'static str) -> Tokens {
        Tokens(pattern)
    }

    /// The word the pattern begins with, unless a wildcard.
    pub(super) fn first_word(&self) -> Option<&'static str> {
        self.0
            .split('.')
            .next()
            .filter(|word| !matches!(*word, "*" | "**" | "$"))
    }

    /// Where the tag is in `name`, with its dot, and its value.
    pub(super) fn find<'a>(&self, name: &'a str) -> Option<(Range<usize>, &'a str)> {
        let value = matched(Some(self.0), Some(name), 0)??;
        let cut = if value.end < name.len() {
            value.start..value.end + 1
        } else {
            value.start.saturating_sub(1)..value.end
        };
        Some((cut, &name[value]))
    }
}

/// Whether `name`, which begins at `at`, matches `pattern`, and where its `$` is if so.
fn matched(pattern: Option<&str>, name: Option<&str>, at: usize) -> Option<Option<Range<usize>>> {
    let Some(pattern) = pattern else {
        return name.is_none().then_some(None);
    };
    let (word, rest) = split(pattern);
    if word == "**" && rest.is_none() {
        return name.is_some().then_some(None);
    }
    if word == "**" {
        return matched(rest, name, at).or_else(|| {
            let (skipped, more) = split(name?);
            matched(Some(pattern), more, at + skipped.len() + 1)
        });
    }
    let (found, more) = split(name?);
    if word != "*" && word != "$" && word != found {
        return None;
    }
    let tag = matched(rest, more, at + found.len() + 1)?;
    Some(if word == "$" {
        Some(at..at + found.len())
    } else {
        tag
    })
}

/// The first word and what follows its dot. Words are short: a plain loop beats a search made for long texts.
pub(super) fn split(words: &str) -> (&str, Option<&str>) {
    match words.bytes().position(|byte| byte == b'.') {
        Some(dot) => (&words[..dot], Some(&words[dot + 1..])),
        None => (words, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pattern: &'static str, name: &str) -> Option<(String, String)> {
        let (cut, value) = Tokens::new(pattern).find(name)?;
        Some((
            value.to_owned(),
            format!("{}{}", &name[..cut.start], &name[cut.end..]),
        ))
    }

    #[test]
    fn words_match_by_place() {
        let some = |value: &str, rest: &str| Some((value.to_owned(), rest.to_owned()));
        assert_eq!(
            find("cluster.$.**", "cluster.b.x.y"),
            some("b", "cluster.x.y")
        );
        assert_eq!(
            find("vhost.*.vcluster.$.**", "vhost.a.vcluster.c.rq"),
            some("c", "vhost.a.vcluster.rq")
        );
        assert_eq!(find("vhost.*.vcluster.$.**", "vhost.a.other.c.rq"), None);
        assert_eq!(
            find("$.rbac.**", "nr.rbac.allowed"),
            some("nr", "rbac.allowed")
        );
        assert_eq!(
            find("m.$.**.query.*", "m.c.query.x"),
            some("c", "m.query.x")
        );
        assert_eq!(
            find("m.$.**.query.*", "m.c.1.2.query.x"),
            some("c", "m.1.2.query.x")
        );
        assert_eq!(find("m.$.**.query.*", "m.c.1.2.query"), None);
        assert_eq!(find("tcp.$.**", "tcp"), None);
        assert_eq!(find("tcp.$.**", "tcp.x"), None);
    }
}
