//! URI templates: `path_match_policy` and `path_rewrite_policy` (`envoy.path.match.uri_template…`).
//!
//! `/a/{x}/*/{rest=**}`: `*` and a plain variable stand for one non-empty segment, `**` for any number of them; the last
//! segment may go on behind them (`/**.js`). Elsewhere `*` is what it is in a regular expression, as in Envoy, which
//! lets it through. The rewrite template puts variables into a new path.

use regex::bytes::{Regex, RegexBuilder};
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
    /// Reads a template; the error is Envoy's sentence.
    pub fn new(source: &str) -> Result<PathTemplate, String> {
        let mut reader = Reader { expression: String::from("\\A"), variables: Vec::new(), rest_taken: false };
        reader.template(source).map_err(|why| format!("path_match_policy.path_template {source} is invalid: {why}"))?;
        let Reader { expression, variables, .. } = reader;
        // RE2 has no `**`, so that Envoy's template matches nothing then.
        let expression = if expression.contains("**") { String::from("[^\\x00-\\xff]") } else { expression + "\\z" };
        let regex = RegexBuilder::new(&expression).unicode(false).build();
        let regex = regex.map_err(|cause| format!("path_match_policy.path_template {source} is invalid: {cause}"))?;
        Ok(PathTemplate { source: source.into(), regex, variables, literal: literal_prefix(source).as_bytes().into() })
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

/// What every path begins with. A character that `*` repeats may be missing.
fn literal_prefix(source: &str) -> &str {
    let end = source.find(['{', '*']).unwrap_or(source.len());
    let repeated = source[end..].starts_with('*') && !source[..end].ends_with('/');
    &source[..end - usize::from(repeated)]
}

/// Where a segment ends: at the next `/` that is not inside braces.
fn segment_end(text: &str) -> usize {
    let mut open = false;
    let ends = |b: u8| {
        open = match b {
            b'{' => true,
            b'}' => false,
            _ => open,
        };
        b == b'/' && !open
    };
    text.bytes().position(ends).unwrap_or(text.len())
}

fn is_literal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~%!$&'()*+,;:@=-".contains(&b))
}

struct Reader {
    expression: String,
    variables: Vec<Box<str>>,
    /// `**` has been: no other glob may follow.
    rest_taken: bool,
}

impl Reader {
    fn template(&mut self, source: &str) -> Result<(), String> {
        if !source.starts_with('/') || !source.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("Invalid pattern: \"{source}\""));
        }
        let mut rest = source;
        while let Some(after) = rest.strip_prefix('/') {
            self.expression.push('/');
            let end = segment_end(after);
            // A slash may end the template.
            if end > 0 || !after.is_empty() {
                self.segment(&after[..end], end == after.len())?;
            }
            rest = &after[end..];
        }
        Ok(())
    }

    fn segment(&mut self, text: &str, last: bool) -> Result<(), String> {
        if let Some(rest) = self.glob(text)? {
            return match rest {
                "" => Ok(()),
                _ if !last => Err("Prefix match not supported.".to_owned()),
                rest => self.literal(rest, "literal"),
            };
        }
        match (text.find('{'), text.find('}')) {
            (Some(open), Some(close)) if open < close => {
                let (before, variable, after) = (&text[..open], &text[open + 1..close], &text[close + 1..]);
                if !before.is_empty() {
                    self.literal(before, "literal")?;
                }
                self.variable(variable)?;
                if after.is_empty() { Ok(()) } else { self.literal(after, "suffix literal") }
            }
            (Some(0), None) => Err(format!("Unmatched variable bracket in mixed pattern: \"{text}\"")),
            _ => self.literal(text, "literal"),
        }
    }

    fn variable(&mut self, text: &str) -> Result<(), String> {
        let (name, pattern) = text.split_once('=').map_or((text, None), |(name, pattern)| (name, Some(pattern)));
        let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !word || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(format!("Invalid variable name: \"{name}\""));
        }
        if name.len() > MAX_VARIABLE_NAME_BYTES {
            return Err(format!(
                "Invalid variable name length (length of \"{name}\" should be at least 1 and no more than {MAX_VARIABLE_NAME_BYTES})"
            ));
        }
        if self.variables.iter().any(|known| **known == *name) {
            return Err(format!("Repeated variable name: \"{name}\""));
        }
        if self.variables.len() == MAX_VARIABLES {
            return Err(format!("Exceeded variable count limit ({MAX_VARIABLES})"));
        }
        self.variables.push(name.into());
        self.expression.push('(');
        match pattern {
            None if self.rest_taken => return Err("Implicit variable path glob after text glob.".to_owned()),
            None => drop(self.glob("*")?),
            Some("") => return Err("Empty variable match".to_owned()),
            Some(pattern) => {
                for (index, part) in pattern.split('/').enumerate() {
                    if index > 0 {
                        self.expression.push('/');
                    }
                    match self.glob(part)? {
                        None => self.literal(part, "literal")?,
                        Some("") => {}
                        Some(rest) => return Err(format!("Invalid variable match: \"{rest}\"")),
                    }
                }
            }
        }
        self.expression.push(')');
        Ok(())
    }

    /// `*` or `**` at the front of a text: what follows it. `None`: the text begins otherwise.
    fn glob<'t>(&mut self, text: &'t str) -> Result<Option<&'t str>, String> {
        let Some(one) = text.strip_prefix('*') else { return Ok(None) };
        if self.rest_taken {
            return Err("Glob after text glob.".to_owned());
        }
        let Some(any) = one.strip_prefix('*') else {
            self.expression.push_str(&format!("[{SEGMENT}]+"));
            return Ok(Some(one));
        };
        self.expression.push_str(&format!("[/{SEGMENT}]*"));
        self.rest_taken = true;
        Ok(Some(any))
    }

    fn literal(&mut self, text: &str, what: &str) -> Result<(), String> {
        if !is_literal(text) {
            return Err(format!("Invalid {what}: \"{text}\""));
        }
        for c in text.chars() {
            if "$().+".contains(c) {
                self.expression.push('\\');
            }
            self.expression.push(c);
        }
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
        if !source.starts_with('/') || source.contains("//") || !source.bytes().all(|b| b.is_ascii_graphic()) {
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
            if name.contains('=') {
                return Err(invalid());
            }
            let group = from.variables.iter().position(|known| **known == *name).ok_or_else(|| {
                format!(
                    "mismatch between variables in path_match_policy {} and path_rewrite_policy {source}",
                    from.source
                )
            })?;
            pieces.push(Piece::Variable(group + 1));
            rest = &rest[close + 1..];
        }
        let text = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains(['?', '#', '}']));
        if rest.contains(['?', '#', '}']) || pieces.iter().any(text) {
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
            ("/a*b", &["/b", "/aab"], &["/axb", "/a*b"]),
            ("/**.js", &["/foo.js", "/a/b.js", "/.js"], &["/foo.jsx", "/xjs"]),
            ("/*.js", &["/foo.js", "/*.js"], &["/a/b.js", "/.js"]),
            ("/*.*", &["/foo.js", "/ab"], &["/a/b.js"]),
            ("/a**", &[], &["/a", "/ab", "/a**"]),
            ("/{a=x*}", &["/x", "/"], &["/x*"]),
            ("/a+b", &["/a+b"], &["/aab"]),
            ("/a/", &["/a/"], &["/a"]),
            ("/x{a=*}y", &["/xay"], &["/xy"]),
            ("/{file}.json", &["/a.json"], &["/.json", "/a/b.json"]),
        ];
        for (template, yes, no) in cases {
            let template = PathTemplate::new(template).expect("valid");
            assert!(yes.iter().all(|path| template.matches(path.as_bytes())), "{template:?} {yes:?}");
            assert!(!no.iter().any(|path| template.matches(path.as_bytes())), "{template:?} {no:?}");
        }
    }

    #[test]
    fn templates_that_mean_nothing_are_refused_in_envoys_words() {
        for (template, why) in [
            ("a", "Invalid pattern: \"a\""),
            ("/é", "Invalid pattern: \"/é\""),
            ("/a?b", "Invalid literal: \"a?b\""),
            ("/a//b", "Invalid literal: \"\""),
            ("/a}b", "Invalid literal: \"a}b\""),
            ("/{a}/{a}", "Repeated variable name: \"a\""),
            ("/{}", "Invalid variable name: \"\""),
            ("/{1a}", "Invalid variable name: \"1a\""),
            ("/{one/{two}", "Invalid variable name: \"one/{two\""),
            ("/{a", "Unmatched variable bracket in mixed pattern: \"{a\""),
            ("/{a}{b}", "Invalid suffix literal: \"{b}\""),
            ("/{a=}", "Empty variable match"),
            ("/{a=**}/{b}", "Implicit variable path glob after text glob."),
            ("/**/*", "Glob after text glob."),
            ("/*.js/", "Prefix match not supported."),
            ("/*a{b}", "Invalid literal: \"a{b}\""),
            ("/{a=*.js}", "Invalid variable match: \".js\""),
            ("/{a}/{b}/{c}/{d}/{e}/{f}", "Exceeded variable count limit (5)"),
        ] {
            let told = PathTemplate::new(template).expect_err(template);
            assert_eq!(told, format!("path_match_policy.path_template {template} is invalid: {why}"));
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
