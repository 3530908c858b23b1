//! Path templates of `google.api.http` (`/v1/{name=shelves/*}/books:list`), and the method a request's path leads to.
//!
//! Templates stand in a tree of segments: a literal goes before `*`, that before `**`. Looking up takes steps in
//! proportion to the path and the tree, whatever the path says.

use super::rules::HttpRule;
use nuncio_codec::path::decode_pair;
use std::collections::{HashMap, HashSet};

/// Which escaped characters of variables of several segments become plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unescape {
    AllButReserved,
    AllButSlash,
    All,
}

/// A path template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template {
    segments: Vec<String>,
    verb: String,
    variables: Vec<Variable>,
}

/// Segments that give a field its value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    field: Vec<String>,
    from: usize,
    /// Where it ends, in segments from the front; where it has `**`, from the back.
    to: Bound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Front(usize),
    Back(usize),
}

struct Parser<'t> {
    rest: &'t str,
    template: Template,
    in_variable: bool,
}

impl Template {
    /// The template that a text says, if it says one.
    pub(crate) fn parse(text: &str) -> Option<Template> {
        let template = Template { segments: Vec::new(), verb: String::new(), variables: Vec::new() };
        if text == "/" {
            return Some(template);
        }
        let mut parser = Parser { rest: text, template, in_variable: false };
        parser.take("/")?;
        parser.segments()?;
        if parser.take(":").is_some() {
            parser.template.verb = parser.literal()?;
        }
        let Parser { rest, mut template, .. } = parser;
        if !rest.is_empty() {
            return None;
        }
        // Behind `**` there are only literals.
        let mut behind = template.segments.iter().skip_while(|segment| *segment != "**").skip(1);
        if behind.any(|segment| matches!(segment.as_str(), "*" | "**" | "/.")) {
            return None;
        }
        let total = template.segments.len();
        for variable in &mut template.variables {
            if let Bound::Front(to) = variable.to
                && template.segments[variable.from..to].iter().any(|segment| segment == "**")
            {
                variable.to = Bound::Back(total - to);
            }
        }
        Some(template)
    }
}

impl<'t> Parser<'t> {
    fn take(&mut self, mark: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(mark)?;
        Some(())
    }

    fn until(&mut self, ends: &[char]) -> Option<&'t str> {
        let at = self.rest.find(ends).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(at);
        self.rest = rest;
        (!taken.is_empty()).then_some(taken)
    }

    fn literal(&mut self) -> Option<String> {
        self.until(&['/', ':', '}']).map(str::to_owned)
    }

    fn segments(&mut self) -> Option<()> {
        self.segment()?;
        while self.take("/").is_some() {
            self.segment()?;
        }
        Some(())
    }

    fn segment(&mut self) -> Option<()> {
        let segment = if self.take("**").is_some() {
            "**".to_owned()
        } else if self.take("*").is_some() {
            "*".to_owned()
        } else if self.take("{").is_some() {
            return self.variable();
        } else {
            self.literal()?
        };
        self.template.segments.push(segment);
        Some(())
    }

    fn variable(&mut self) -> Option<()> {
        if std::mem::replace(&mut self.in_variable, true) {
            return None;
        }
        let from = self.template.segments.len();
        let mut field = Vec::new();
        loop {
            field.push(self.until(&['.', '}', '='])?.to_owned());
            if self.take(".").is_none() {
                break;
            }
        }
        if self.take("=").is_some() {
            self.segments()?;
        } else {
            self.template.segments.push("*".to_owned());
        }
        self.take("}")?;
        self.in_variable = false;
        let to = Bound::Front(self.template.segments.len());
        self.template.variables.push(Variable { field, from, to });
        Some(())
    }
}

/// What is registered at a place in the tree, by HTTP method and verb; `None` where two claim it.
type Claims = HashMap<String, Option<usize>>;

#[derive(Debug, Default)]
struct Node {
    children: HashMap<String, Node>,
    claims: Claims,
    /// It stands for any number of segments.
    any: bool,
}

#[derive(Debug)]
struct Registered {
    method: usize,
    body: String,
    variables: Vec<Variable>,
}

/// What a request's path leads to.
#[derive(Debug)]
pub(crate) struct Found<'m> {
    /// As it was registered.
    pub(crate) method: usize,
    /// The rule's `body`.
    pub(crate) body: &'m str,
    /// Fields, by the names on the way, and their values.
    pub(crate) bindings: Vec<(Vec<String>, String)>,
}

/// All methods by their rules.
#[derive(Debug)]
pub(crate) struct Matcher {
    root: Node,
    verbs: HashSet<String>,
    registered: Vec<Registered>,
    /// `url_unescape_spec`
    pub(crate) unescape: Unescape,
    /// `query_param_unescape_plus`
    pub(crate) plus: bool,
    /// `match_unregistered_custom_verb`
    pub(crate) any_verb: bool,
    /// `ignored_query_parameters`
    pub(crate) ignored: HashSet<String>,
}

impl Default for Matcher {
    fn default() -> Matcher {
        Matcher {
            root: Node::default(),
            verbs: HashSet::new(),
            registered: Vec::new(),
            unescape: Unescape::AllButReserved,
            plus: false,
            any_verb: false,
            ignored: HashSet::new(),
        }
    }
}

impl Matcher {
    /// Registers a method by a rule and its additional ones; false if a template is none.
    pub(crate) fn register(&mut self, rule: &HttpRule, method: usize) -> bool {
        let own = match &rule.pattern {
            None => true,
            Some(pattern) => {
                let (http_method, path) = pattern.parts();
                self.register_path(http_method, path, &rule.body, method)
            }
        };
        own && rule.additional_bindings.iter().all(|rule| self.register(rule, method))
    }

    /// Registers a method by one path.
    pub(crate) fn register_path(&mut self, http_method: &str, path: &str, body: &str, method: usize) -> bool {
        let Some(Template { segments, verb, variables }) = Template::parse(path) else { return false };
        let mut node = &mut self.root;
        for segment in segments {
            let any = segment == "**";
            node = node.children.entry(segment).or_default();
            node.any |= any;
        }
        let at = self.registered.len();
        node.claims.entry(format!("{http_method}{verb}")).and_modify(|claim| *claim = None).or_insert(Some(at));
        self.registered.push(Registered { method, body: body.to_owned(), variables });
        if !verb.is_empty() {
            self.verbs.insert(verb);
        }
        true
    }

    /// The method of a request, with the values that its path and query give.
    pub(crate) fn find(&self, http_method: &str, path: &str, query: &str) -> Option<Found<'_>> {
        let (path, verb) = match path.rsplit_once(':') {
            Some((before, verb)) if !verb.contains('/') && (self.any_verb || self.verbs.contains(verb)) => (before, verb),
            _ => (path, ""),
        };
        let mut parts: Vec<&str> = path.get(1..).map(|rest| rest.split('/').collect()).unwrap_or_default();
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
        let claim = look_up(&self.root, &parts, &format!("{http_method}{verb}"))?;
        let Registered { method, body, variables } = self.registered.get(claim?)?;
        let mut bindings: Vec<_> = variables.iter().map(|variable| self.bound(variable, &parts)).collect();
        for parameter in query.split('&') {
            let Some((name, value)) = parameter.split_once('=').filter(|(name, _)| !name.is_empty()) else { continue };
            if !self.ignored.contains(name) {
                let field = name.split('.').map(str::to_owned).collect();
                bindings.push((field, text(unescape(value, Unescape::All, self.plus))));
            }
        }
        Some(Found { method: *method, body, bindings })
    }

    fn bound(&self, variable: &Variable, parts: &[&str]) -> (Vec<String>, String) {
        let (to, several) = match variable.to {
            Bound::Front(to) => (to, to - variable.from > 1),
            Bound::Back(back) => (parts.len().saturating_sub(back), true),
        };
        let how = if several { self.unescape } else { Unescape::All };
        let parts = parts.get(variable.from..to).unwrap_or_default();
        let plain: Vec<_> = parts.iter().map(|part| unescape(part, how, false)).collect();
        (variable.field.clone(), text(plain.join(&b'/')))
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The claim on a path; the inner `None` is one that two have.
#[allow(clippy::option_option, reason = "a path may be claimed twice, which is not the same as not at all")]
fn look_up(node: &Node, parts: &[&str], key: &str) -> Option<Option<usize>> {
    let claim = |node: &Node| node.claims.get(key).or_else(|| node.claims.get("*")).copied();
    let mut rest = parts;
    loop {
        let Some((part, behind)) = rest.split_first() else {
            return claim(node).or_else(|| claim(node.children.get("**")?));
        };
        let literal = node.children.get(*part).and_then(|child| look_up(child, behind, key));
        if literal.is_some() {
            return literal;
        }
        if !node.any {
            return ["*", "**"].iter().find_map(|wild| look_up(node.children.get(*wild)?, behind, key));
        }
        rest = behind;
    }
}

/// `text` with escaped characters made plain; with `plus`, `+` is a space.
pub(crate) fn unescape(text: &str, how: Unescape, plus: bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = if byte == b'%' { decode_pair(&bytes[at + 1..]) } else { None };
        let kept = |byte: u8| match how {
            Unescape::All => false,
            Unescape::AllButSlash => byte == b'/',
            Unescape::AllButReserved => b"!#$&'()*+,/:;=?@[]".contains(&byte),
        };
        match escaped.filter(|byte| !kept(*byte)) {
            Some(plain) => {
                out.push(plain);
                at += 3;
            }
            None => {
                out.push(if plus && byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(paths: &[(&str, &str)]) -> Matcher {
        let mut matcher = Matcher::default();
        for (at, (method, path)) in paths.iter().enumerate() {
            assert!(matcher.register_path(method, path, "", at), "{path}");
        }
        matcher
    }

    fn find(matcher: &Matcher, path: &str) -> Option<(usize, Vec<String>)> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let found = matcher.find("GET", path, query)?;
        Some((found.method, found.bindings.into_iter().map(|(field, value)| format!("{}={value}", field.join("."))).collect()))
    }

    #[test]
    fn templates_are_what_the_grammar_says() {
        for text in ["/", "/a", "/*", "/**", "/a/*/b", "/{x}", "/{x.y=a/*/b}", "/{x=**}/tail", "/a:verb", "/{x}:verb", "/{x=a/**}:v"] {
            assert!(Template::parse(text).is_some(), "{text}");
        }
        for text in ["", "a", "//", "/a/", "/{", "/{}", "/{x", "/{x=}", "/{x={y}}", "/{x.}", "/a:", "/a:b:c", "/**/*", "/**/**", "/{x=**}/*", "/*a", "/a}"] {
            assert!(Template::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn literals_go_before_one_and_one_before_all() {
        let all = matcher(&[("GET", "/a/b"), ("GET", "/a/{x}"), ("GET", "/{x=**}"), ("GET", "/a/{x}/c"), ("GET", "/t/{x=**}/end")]);
        assert_eq!(find(&all, "/a/b").map(|f| f.0), Some(0));
        assert_eq!(find(&all, "/a/c"), Some((1, vec!["x=c".to_owned()])));
        assert_eq!(find(&all, "/a/b/c"), Some((3, vec!["x=b".to_owned()])));
        assert_eq!(find(&all, "/a/b/d"), Some((2, vec!["x=a/b/d".to_owned()])));
        assert_eq!(find(&all, "/"), Some((2, vec!["x=".to_owned()])));
        assert_eq!(find(&all, "/t/1/2/end/end"), Some((4, vec!["x=1/2/end".to_owned()])));
        assert_eq!(find(&all, "/t/1/2"), Some((2, vec!["x=t/1/2".to_owned()])));
    }

    #[test]
    fn a_path_that_two_claim_is_nobodys() {
        let two = matcher(&[("GET", "/a"), ("GET", "/a"), ("*", "/b"), ("POST", "/c")]);
        assert_eq!(find(&two, "/a"), None);
        assert_eq!(find(&two, "/b/").map(|f| f.0), Some(2));
        assert_eq!(find(&two, "/c"), None);
    }

    #[test]
    fn escapes_become_plain_where_they_may() {
        let mut one = matcher(&[("GET", "/one/{x}"), ("GET", "/all/{x=**}"), ("GET", "/v/{x}:go")]);
        let value = |matcher: &Matcher, path: &str| find(matcher, path).map(|(_, values)| values.join(" ")).unwrap_or_default();
        assert_eq!(value(&one, "/one/a%2Fb%20c"), "x=a/b c");
        assert_eq!(value(&one, "/all/a%2Fb%20c%3a"), "x=a%2Fb c%3a");
        one.unescape = Unescape::AllButSlash;
        assert_eq!(value(&one, "/all/a%2Fb%20c%3a"), "x=a%2Fb c:");
        one.unescape = Unescape::All;
        assert_eq!(value(&one, "/all/a%2Fb%20c%3a%2"), "x=a/b c:%2");
        assert_eq!(value(&one, "/v/a:go?y=1+2&z.w=%41&=3&q"), "x=a y=1+2 z.w=A");
        one.plus = true;
        assert_eq!(value(&one, "/v/a:go?y=1+2"), "x=a y=1 2");
        assert_eq!(value(&one, "/one/a:other"), "x=a:other");
        one.any_verb = true;
        assert_eq!(find(&one, "/one/a:other"), None);
    }

    /// Templates and paths of few letters, all there are of a length.
    #[test]
    fn no_template_and_no_path_is_too_odd() {
        let letters = ['/', '*', '{', '}', '=', '.', ':', 'a'];
        for number in 0..8u32.pow(6) {
            let text: String = (0..6).map(|at| letters[(number / 8u32.pow(at) % 8) as usize]).collect();
            let text = format!("/{text}");
            let mut matcher = Matcher::default();
            if matcher.register_path("GET", &text, "", 0) {
                for path in ["/", "//", "/a", "/a:a", "/a/a/a/a", "/*", "", ":", "/:", "/a//a", "/%2f%", "/a/a:a/"] {
                    let _ = matcher.find("GET", path, "a=%&%=&=");
                }
            }
        }
    }
}
