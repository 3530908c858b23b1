//! URI templates: `path_match_policy` and `path_rewrite_policy` (`envoy.path.match.uri_template…`).
//!
//! `/a/{x}/*/{rest=**}`: `*` and a plain variable stand for one non-empty segment, `**` for any number of them. The
//! rewrite template puts variables into a new path.

use regex::bytes::Regex;
use std::fmt;

/// What a segment may hold (rfc3986#appendix-A pchar).
const SEGMENT: &str = "a-zA-Z0-9._~%!$&'()*+,;:@=-";
/// Most variables of a template.
const MAX_VARIABLES: usize = 5;
/// Longest name of a variable in bytes.
const MAX_VARIABLE_NAME_BYTES: usize = 16;

/// A template that paths are matched with.
#[derive(Clone)]
pub struct PathTemplate {
    source: Box<str>,
    regex: Regex,
    /// Names of the variables, in the order of their groups.
    variables: Vec<Box<str>>,
    literal: Box<[u8]>,
}

impl fmt::Debug for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathTemplate({:?})", self.source)
    }
}

impl PathTemplate {
    /// Reads a template; the error says what is wrong with it.
    pub fn new(source: &str) -> Result<PathTemplate, String> {
        if !source.starts_with('/') {
            return Err(format!("path_match_policy.path_template {source} is invalid"));
        }
        let mut reader = Reader { source, expression: String::from("\\A"), variables: Vec::new()};
        let mut rest = source;
        while let Some(after) = rest.strip_prefix('/') {
            reader.expression.push('/');
            let end = segment_end(after);
            reader.segment(&after[..end])?;
            rest = &after[end..];
        }
        reader.expression.push_str("\\z");
        let Reader { expression, variables, .. } = reader;
        let regex = Regex::new(&expression).map_err(|_| reason(source))?;
        let literal = &source[..source.find(['{', '*']).unwrap_or(source.len())];
        Ok(PathTemplate { source: source.into(), regex, variables, literal: literal.as_bytes().into() })
    }

    /// As configured.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.regex.is_match(path)
    }

    /// Bytes with which every path that matches begins.
    pub(super) fn literal_prefix(&self) -> &[u8] {
        &self.literal
    }
}

fn reason(source: &str) -> String {
    format!("path_match_policy.path_template {source} is invalid")
}

/// Where a segment ends: at the next `/` that is not inside braces.
fn segment_end(text: &str) -> usize {
    let mut depth = 0_usize;
    text.bytes()
        .position(|b| {
            match b {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            b == b'/' && depth == 0
        })
        .unwrap_or(text.len())
}

struct Reader<'s> {
    source: &'s str,
    expression: String,
    variables: Vec<Box<str>>,
}

impl Reader<'_> {
    fn segment(&mut self, text: &str) -> Result<(), String> {
        let Some(open) = text.find('{') else { return self.plain(text) };
        let close = text.rfind('}').filter(|&close| close > open).ok_or_else(|| reason(self.source))?;
        self.literal(&text[..open])?;
        let variable = &text[open + 1..close];
        let (name, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        let valid = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.len() <= MAX_VARIABLE_NAME_BYTES;
        if !valid || self.variables.iter().any(|known| **known == *name) || self.variables.len() == MAX_VARIABLES {
            return Err(reason(self.source));
        }
        self.variables.push(name.into());
        self.expression.push('(');
        for (index, part) in pattern.split('/').enumerate() {
            if index > 0 {
                self.expression.push('/');
            }
            self.plain(part)?;
        }
        self.expression.push(')');
        self.literal(&text[close + 1..])
    }

    /// `*`, `**` or a literal.
    fn plain(&mut self, text: &str) -> Result<(), String> {
        match text {
            "*" => self.expression.push_str(&format!("[{SEGMENT}]+")),
            "**" => self.expression.push_str(&format!("[/{SEGMENT}]*")),
            text => self.literal(text)?,
        }
        Ok(())
    }

    fn literal(&mut self, text: &str) -> Result<(), String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~%!$&'()*+,;:@=-".contains(&b);
        if !text.bytes().all(allowed) {
            return Err(reason(self.source));
        }
        self.expression.push_str(&regex::escape(text));
        Ok(())
    }
}

/// A template that a matched path is rewritten with.
#[derive(Debug, Clone)]
pub struct PathTemplateRewrite {
    pieces: Vec<Piece>,
    from: PathTemplate,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Box<str>),
    /// The group of a variable.
    Variable(usize),
}

impl PathTemplateRewrite {
    /// Reads a rewrite template whose variables are those of `from`.
    pub fn new(source: &str, from: &PathTemplate) -> Result<PathTemplateRewrite, String> {
        let invalid = || format!("path_rewrite_policy.path_template_rewrite {source} is invalid");
        if !source.starts_with('/') || source.contains("//") {
            return Err(invalid());
        }
        let mut pieces = Vec::new();
        let mut rest = source;
        while let Some(open) = rest.find('{') {
            let close = open + rest[open..].find('}').ok_or_else(invalid)?;
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].into()));
            }
            let name = &rest[open + 1..close];
            let group = from.variables.iter().position(|known| **known == *name).ok_or_else(|| {
                format!(
                    "mismatch between variables in path_match_policy {} and path_rewrite_policy {source}",
                    from.source
                )
            })?;
            pieces.push(Piece::Variable(group + 1));
            rest = &rest[close + 1..];
        }
        if rest.contains(['*', '}']) {
            return Err(invalid());
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(PathTemplateRewrite { pieces, from: from.clone() })
    }

    /// The new path; `None` if `path` does not match the template it was made for.
    pub fn rewrite(&self, path: &[u8]) -> Option<Vec<u8>> {
        let captures = self.from.regex.captures(path)?;
        let mut out = Vec::with_capacity(path.len() + 16);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(group) => out.extend_from_slice(captures.get(*group)?.as_bytes()),
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_segments() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("/tpl/{a}/{b=**}", &["/tpl/one/two/three", "/tpl/one/"], &["/tpl/one", "/tpl//x", "/x/one/two"]),
            ("/a/*/c", &["/a/b/c"], &["/a//c", "/a/b/b/c", "/a/b/c/"]),
            ("/v/{p=x/*}/end", &["/v/x/1/end"], &["/v/y/1/end", "/v/x/end"]),
            ("/**/b", &["/a/b", "/a/x/b", "//b"], &["/b", "/a/c"]),
            ("/{x=**}/b", &["/a/c/b"], &["/b"]),
            ("/a*b", &["/a*b"], &["/axb"]),
            ("/{file}.json", &["/a.json"], &["/.json", "/a/b.json"]),
        ];
        for (template, yes, no) in cases {
            let template = PathTemplate::new(template).expect("valid");
            assert!(yes.iter().all(|path| template.matches(path.as_bytes())), "{template:?} {yes:?}");
            assert!(!no.iter().any(|path| template.matches(path.as_bytes())), "{template:?} {no:?}");
        }
    }

    #[test]
    fn templates_that_mean_nothing_are_refused() {
        for template in ["a", "/{a}/{a}", "/{}", "/{1a}", "/{a", "/{a}{b}", "/é"] {
            assert!(PathTemplate::new(template).is_err(), "{template}");
        }
    }

    #[test]
    fn variables_move_into_the_new_path() {
        let from = PathTemplate::new("/tpl/{a}/{b=**}").expect("valid");
        let rewrite = PathTemplateRewrite::new("/out/{b}/{a}", &from).expect("valid");
        assert_eq!(rewrite.rewrite(b"/tpl/one/two/three").as_deref(), Some(&b"/out/two/three/one"[..]));
        assert_eq!(rewrite.rewrite(b"/other"), None);
        assert!(PathTemplateRewrite::new("/{c}", &from).is_err());
    }
}
