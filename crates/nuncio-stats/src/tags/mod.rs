//! Which parts of a name become labels.
//!
//! A rule finds one part of a name, gives it a tag name and says what to cut out. Rules without a fixed first word are
//! tried on every name and come first; the others only on names that begin with theirs. Every rule sees the whole name;
//! what all of them cut is taken out at the end. The order of the tags is the order of the rules.

mod defaults;
mod tokens;

use regex::Regex;
use std::collections::HashMap;
use std::ops::Range;
use tokens::Tokens;

/// The rules in force: Envoy's ([`TagRules::default`]), or those plus or only those of `stats_config.stats_tags`.
#[derive(Debug)]
pub struct TagRules {
    unprefixed: Vec<Rule>,
    prefixed: HashMap<String, Vec<Rule>>,
}

#[derive(Debug)]
struct Rule {
    tag: String,
    pattern: Pattern,
}

#[derive(Debug)]
enum Pattern {
    /// `_rq_200` at the end.
    ResponseCode,
    /// `_rq_2xx` at the end.
    ResponseCodeClass,
    /// Words between dots.
    Tokens(Tokens),
    /// The first group is cut; the second, or else the first, is the value.
    Regex(Regex, Condition),
    /// A value for every name; nothing is cut.
    Fixed(String),
}

/// When a regex is tried and counts.
#[derive(Debug)]
enum Condition {
    Always,
    /// The name has this word: every match does, and looking is cheaper than matching.
    Has(Words),
    /// The value is another than this.
    ValueIsNot(&'static str),
}

/// Which of the words that matter a name has, found in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Words(u16);

impl Words {
    const SSL: Words = Words(1);
    const HEALTH_CHECK: Words = Words(1 << 1);
    const DYNAMODB: Words = Words(1 << 2);
    const RDS: Words = Words(1 << 3);
    const SCOPED_RDS: Words = Words(1 << 4);
    const RBAC: Words = Words(1 << 5);
    const HTTP: Words = Words(1 << 6);
    const VERSIONS: Words = Words(1 << 7);
    const WORKER: Words = Words(1 << 8);

    fn of(name: &str) -> Words {
        let (mut found, mut rest) = (0, Some(name));
        while let Some(words) = rest {
            let (word, more) = tokens::split(words);
            rest = more;
            found |= match word {
                "ssl" => Words::SSL.0,
                "health_check" => Words::HEALTH_CHECK.0,
                "dynamodb" => Words::DYNAMODB.0,
                "rds" => Words::RDS.0,
                "scoped_rds" => Words::SCOPED_RDS.0,
                "rbac" => Words::RBAC.0,
                "http" => Words::HTTP.0,
                "versions" => Words::VERSIONS.0,
                _ if word.starts_with("worker_") => Words::WORKER.0,
                _ => 0,
            };
        }
        Words(found)
    }
}

/// A name without its tags, and the tags.
#[derive(Debug, PartialEq, Eq)]
pub struct Tagged<'a> {
    /// The name with everything cut out that became a tag.
    pub name: String,
    /// Tag names and values, in order.
    pub tags: Vec<(&'a str, &'a str)>,
}

impl Default for TagRules {
    fn default() -> TagRules {
        let mut rules = TagRules::none();
        defaults::add(&mut rules, None);
        rules
    }
}

impl TagRules {
    /// No rules: `use_all_default_tags: false` begins with these.
    pub fn none() -> TagRules {
        TagRules {
            unprefixed: Vec::new(),
            prefixed: HashMap::new(),
        }
    }

    /// Adds Envoy's own rules for one tag, as `stats_tags` does with a bare `tag_name`. Says whether there are any.
    pub fn add_default(&mut self, tag: &str) -> bool {
        defaults::add(self, Some(tag))
    }

    /// Adds a tag whose value is the regex's second group, or else its first; the first is cut from the name.
    pub fn add_regex(&mut self, tag: &str, regex: Regex) {
        let first = first_word(regex.as_str()).map(str::to_owned);
        self.add(
            tag,
            first.as_deref(),
            Pattern::Regex(regex, Condition::Always),
        );
    }

    /// Adds a tag that every statistic gets.
    pub fn add_fixed(&mut self, tag: &str, value: &str) {
        self.add(tag, None, Pattern::Fixed(value.to_owned()));
    }

    /// The tags that every statistic gets.
    pub(crate) fn fixed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.unprefixed.iter().filter_map(|rule| match &rule.pattern {
            Pattern::Fixed(value) => Some((&*rule.tag, &**value)),
            _ => None,
        })
    }

    fn add(&mut self, tag: &str, first: Option<&str>, pattern: Pattern) {
        let rules = match first {
            Some(first) => self.prefixed.entry(first.to_owned()).or_default(),
            None => &mut self.unprefixed,
        };
        rules.push(Rule {
            tag: tag.to_owned(),
            pattern,
        });
    }

    /// Takes a name apart.
    pub fn extract<'a>(&'a self, name: &'a str) -> Tagged<'a> {
        let (first, _) = tokens::split(name);
        let prefixed = self.prefixed.get(first).map_or(&[][..], Vec::as_slice);
        let (mut tags, mut cuts) = (Vec::<(&str, &str)>::new(), Vec::new());
        let words = Words::of(name);
        for rule in self.unprefixed.iter().chain(prefixed) {
            if tags.iter().any(|(tag, _)| *tag == rule.tag) {
                continue;
            }
            if let Some((cut, value)) = rule.pattern.find(name, words) {
                tags.push((&rule.tag, value));
                cuts.push(cut);
            }
        }
        Tagged {
            name: without(name, cuts),
            tags,
        }
    }
}

impl Pattern {
    fn find<'a>(&'a self, name: &'a str, words: Words) -> Option<(Range<usize>, &'a str)> {
        match self {
            Pattern::ResponseCode => {
                let digits = name.len().checked_sub(3)?;
                let (head, code) = (name.get(..digits)?, name.get(digits..)?);
                let found =
                    head.ends_with("_rq_") && code.bytes().all(|byte| byte.is_ascii_digit());
                found.then_some((digits - 1..name.len(), code))
            }
            Pattern::ResponseCodeClass => {
                let head = name.strip_suffix("xx")?;
                let digit = head.len().checked_sub(1)?;
                let class = head.get(digit..)?;
                let found =
                    head.get(..digit)?.ends_with("_rq_") && class.as_bytes()[0].is_ascii_digit();
                found.then_some((digit..digit + 1, class))
            }
            Pattern::Tokens(tokens) => tokens.find(name),
            Pattern::Regex(regex, condition) => {
                if matches!(condition, Condition::Has(wanted) if words.0 & wanted.0 == 0) {
                    return None;
                }
                let groups = regex.captures(name)?;
                let cut = groups.get(1)?;
                let value = groups.get(2).unwrap_or(cut).as_str();
                let excluded = matches!(condition, Condition::ValueIsNot(text) if *text == value);
                (!excluded).then_some((cut.range(), value))
            }
            Pattern::Fixed(value) => Some((0..0, value)),
        }
    }
}

/// The word that every match of a regex begins with, where that is plain to see: `^word\.`.
fn first_word(regex: &str) -> Option<&str> {
    let rest = regex.strip_prefix('^')?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    (end > 0 && rest[end..].starts_with("\\.")).then(|| &rest[..end])
}

/// `name` without the ranges `cuts`.
fn without(name: &str, mut cuts: Vec<Range<usize>>) -> String {
    cuts.sort_by_key(|cut| cut.start);
    let (mut kept, mut at) = (String::with_capacity(name.len()), 0);
    for cut in cuts {
        kept.push_str(name.get(at..cut.start).unwrap_or(""));
        at = at.max(cut.end);
    }
    kept.push_str(name.get(at..).unwrap_or(""));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rules: &TagRules, name: &str) -> String {
        let tagged = rules.extract(name);
        let tags: Vec<_> = tagged
            .tags
            .iter()
            .map(|(tag, value)| format!("{tag}={value}"))
            .collect();
        format!("{} {}", tagged.name, tags.join(","))
    }

    #[test]
    fn envoys_default_tags() {
        let rules = TagRules::default();
        for (name, expected) in [
            (
                "cluster.b1.upstream_rq_200",
                "cluster.upstream_rq envoy.response_code=200,envoy.cluster_name=b1",
            ),
            (
                "cluster.b1.upstream_rq_2xx",
                "cluster.upstream_rq_xx envoy.response_code_class=2,envoy.cluster_name=b1",
            ),
            (
                "http.in.downstream_cx_total",
                "http.downstream_cx_total envoy.http_conn_manager_prefix=in",
            ),
            (
                "server.worker_0.watchdog_miss",
                "server.worker_watchdog_miss envoy.worker_id=0",
            ),
            (
                "listener.0.0.0.0_10000.worker_0.downstream_cx_total",
                "listener.worker_downstream_cx_total envoy.worker_id=0,envoy.listener_address=0.0.0.0_10000",
            ),
            (
                "listener.127.0.0.1_80.http.in.downstream_rq_5xx",
                "listener.http.downstream_rq_xx envoy.response_code_class=5,envoy.http_conn_manager_prefix=in,envoy.listener_address=127.0.0.1_80",
            ),
            ("server.live", "server.live "),
            ("", " "),
        ] {
            assert_eq!(shown(&rules, name), expected);
        }
    }

    #[test]
    fn own_tags_stand_beside_the_default_ones() {
        let mut rules = TagRules::default();
        rules.add_fixed("fixed_tag", "fv");
        rules.add_regex(
            "mytag",
            Regex::new(r"^http\.((.+?)\.)").expect("a valid regex"),
        );
        assert_eq!(
            shown(&rules, "http.in.downstream_cx_total"),
            "http.downstream_cx_total fixed_tag=fv,envoy.http_conn_manager_prefix=in,mytag=in"
        );
        assert_eq!(
            shown(&rules, "cluster.b1.external.upstream_rq_200"),
            "cluster.external.upstream_rq envoy.response_code=200,fixed_tag=fv,envoy.cluster_name=b1"
        );
    }

    #[test]
    fn without_the_default_tags_only_named_ones_are_found() {
        let mut rules = TagRules::none();
        assert!(rules.add_default("envoy.cluster_name"));
        assert!(!rules.add_default("nonsense"));
        assert_eq!(
            shown(&rules, "cluster.b1.upstream_rq_200"),
            "cluster.upstream_rq_200 envoy.cluster_name=b1"
        );
    }
}
