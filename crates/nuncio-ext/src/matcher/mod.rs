//! `xds.type.matcher.v3.Matcher`, read into a [`MatchTree`].
//!
//! Whoever has a matcher says what its actions are and which inputs may stand in it ([`Place`]). Everything that is wrong
//! is reported, with its path; so is what is not built, which must then not be started.

mod inputs;
mod tests_of;

use crate::read::each;
use nuncio_api::envoy::config::common::matcher::v3 as legacy;
use nuncio_api::xds::core::v3::TypedExtensionConfig;
use nuncio_api::xds::r#type::matcher::v3 as proto;
use nuncio_core::ConfigError;
use nuncio_core::matching::tree::{Choice, Input, MatchTree, NameMap, OnMatch, Predicate, PrefixMap, RangeMap, Then};
use prost::Message;
use proto::matcher::{MatcherType, matcher_list::Predicate as Condition, matcher_tree::TreeType, on_match::OnMatch as Found};
use std::collections::{HashMap, HashSet};

/// Where a matcher stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is asked about requests, and may be about their responses.
    Http,
    /// A virtual host: only about what is known before any filter.
    Routes,
    /// Rules of who may do what.
    Rbac,
    /// Rules of who may connect.
    Network,
    /// It is asked about connections that have no filter chain yet.
    Listener,
}

/// What reading has found besides the tree.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong.
    pub errors: Vec<ConfigError>,
    /// What is not built: whoever has it must not be started.
    pub refusals: Vec<ConfigError>,
}

/// Reads an action; the text is where it stands below the matcher.
pub type ReadAction<'r, A> = dyn FnMut(&str, &TypedExtensionConfig, &mut Findings) -> Option<A> + 'r;

/// Reads a matcher; `None` where something was found that is wrong.
pub fn read<A>(from: &proto::Matcher, place: Place, action: &mut ReadAction<'_, A>, findings: &mut Findings) -> Option<MatchTree<A>> {
    let mut reader = Reader { place, action, findings, path: Vec::new() };
    let tree = reader.tree(from);
    tree.filter(|_| findings.errors.is_empty())
}

/// A matcher of Envoy's own, older, package: the same message by another name.
pub fn from_legacy(from: &legacy::Matcher) -> Result<proto::Matcher, ConfigError> {
    proto::Matcher::decode(&*from.encode_to_vec()).map_err(|error| ConfigError::at("", error.to_string()))
}

/// The message that an extension is configured with.
pub fn type_of(config: &TypedExtensionConfig) -> &str {
    let url = config.typed_config.as_ref().map_or("", |any| any.type_url.as_str());
    url.rsplit('/').next().unwrap_or(url)
}

/// That message, decoded.
pub fn message<M: Message + Default>(config: &TypedExtensionConfig) -> Result<M, ConfigError> {
    let value = config.typed_config.as_ref().map_or(&[][..], |any| &any.value);
    M::decode(value).map_err(|error| ConfigError::at("typed_config", error.to_string()))
}

struct Reader<'r, 'a, A> {
    place: Place,
    action: &'r mut ReadAction<'a, A>,
    findings: &'r mut Findings,
    path: Vec<String>,
}

impl<A> Reader<'_, '_, A> {
    fn at<T>(&mut self, step: impl Into<String>, part: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.into());
        let made = part(self);
        self.path.pop();
        made
    }

    fn here(&self) -> String {
        self.path.join(".")
    }

    fn error(&mut self, error: ConfigError) {
        let path = [self.here(), error.path].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
        self.findings.errors.push(ConfigError::at(path, error.message));
    }

    fn ok<T>(&mut self, made: Result<T, ConfigError>) -> Option<T> {
        made.map_err(|error| self.error(error)).ok()
    }

    fn tree(&mut self, from: &proto::Matcher) -> Option<MatchTree<A>> {
        let proto::Matcher { on_no_match, matcher_type } = from;
        let otherwise = match on_no_match {
            Some(on_match) => Some(self.at("on_no_match", |r| r.on_match(on_match))),
            None => None,
        };
        let choice = match matcher_type {
            Some(MatcherType::MatcherList(list)) => self.at("matcher_list", |r| r.list(list)),
            Some(MatcherType::MatcherTree(tree)) => self.at("matcher_tree", |r| r.map(tree)),
            None => Some(Choice::List(Box::default())),
        };
        let otherwise = match otherwise {
            Some(made) => Some(made?),
            None => None,
        };
        Some(MatchTree { choice: choice?, otherwise })
    }

    fn on_match(&mut self, from: &proto::matcher::OnMatch) -> Option<OnMatch<A>> {
        let proto::matcher::OnMatch { keep_matching, on_match } = from;
        if *keep_matching && self.place != Place::Listener {
            self.error(ConfigError::at("keep_matching", "keep_matching is not supported in this context"));
        }
        let then = match on_match {
            Some(Found::Action(action)) => self.at("action", |r| {
                let here = r.here();
                (r.action)(&here, action, r.findings).map(Then::Action)
            }),
            Some(Found::Matcher(matcher)) => self.at("matcher", |r| r.tree(matcher)).map(|tree| Then::Tree(Box::new(tree))),
            None => {
                self.error(ConfigError::at("", "this leads to nothing: set `action` or `matcher`"));
                None
            }
        };
        Some(OnMatch { keep_matching: *keep_matching, then: then? })
    }

    fn found(&mut self, from: Option<&proto::matcher::OnMatch>) -> Option<OnMatch<A>> {
        match from {
            Some(from) => self.at("on_match", |r| r.on_match(from)),
            None => {
                self.error(ConfigError::at("on_match", "is missing"));
                None
            }
        }
    }

    fn list(&mut self, from: &proto::matcher::MatcherList) -> Option<Choice<A>> {
        let mut made = Vec::with_capacity(from.matchers.len());
        for (index, proto::matcher::matcher_list::FieldMatcher { predicate, on_match }) in from.matchers.iter().enumerate() {
            self.at(format!("matchers[{index}]"), |r| {
                let condition = r.predicate("predicate", predicate.as_ref());
                let found = r.found(on_match.as_ref());
                made.extend(condition.zip(found));
            });
        }
        (made.len() == from.matchers.len()).then(|| Choice::List(made.into()))
    }

    fn predicate(&mut self, field: &str, from: Option<&Condition>) -> Option<Predicate> {
        use proto::matcher::matcher_list::predicate::{MatchType, PredicateList, SinglePredicate};
        self.at(field, |r| {
            let all = |r: &mut Self, list: &PredicateList| {
                let made: Vec<_> = (0..).zip(&list.predicate).filter_map(|(at, one): (usize, _)| r.predicate(&format!("predicate[{at}]"), Some(one))).collect();
                (made.len() == list.predicate.len()).then(|| made.into_boxed_slice())
            };
            match from.and_then(|from| from.match_type.as_ref()) {
                Some(MatchType::SinglePredicate(SinglePredicate { input, matcher })) => r.at("single_predicate", |r| {
                    let input = r.input(input.as_ref());
                    let test = tests_of::read(matcher.as_ref(), &mut r.findings.refusals, &r.path);
                    Some(Predicate::Single(input?, r.ok(test)?))
                }),
                Some(MatchType::OrMatcher(list)) => r.at("or_matcher", |r| all(r, list)).map(Predicate::Or),
                Some(MatchType::AndMatcher(list)) => r.at("and_matcher", |r| all(r, list)).map(Predicate::All),
                Some(MatchType::NotMatcher(one)) => r.predicate("not_matcher", Some(one)).map(|one| Predicate::Not(Box::new(one))),
                None => {
                    r.error(ConfigError::at("", "this says nothing"));
                    None
                }
            }
        })
    }

    fn input(&mut self, from: Option<&TypedExtensionConfig>) -> Option<Input> {
        self.at("input", |r| {
            let Some(from) = from else {
                r.error(ConfigError::at("", "is missing"));
                return None;
            };
            match inputs::read(from, r.place) {
                Ok(Some(input)) => Some(input),
                Ok(None) => {
                    let here = r.here();
                    r.findings.refusals.push(ConfigError::at(here, format!("the input `{}` is not built yet, and unsafe to ignore", type_of(from))));
                    Some(Input::Fixed(None))
                }
                Err(error) => {
                    r.error(error);
                    None
                }
            }
        })
    }

    fn map(&mut self, from: &proto::matcher::MatcherTree) -> Option<Choice<A>> {
        let proto::matcher::MatcherTree { input, tree_type } = from;
        let input = self.input(input.as_ref());
        match tree_type {
            Some(TreeType::ExactMatchMap(map)) => {
                let map = self.at("exact_match_map", |r| r.entries(map));
                Some(Choice::Exact(input?, map?))
            }
            Some(TreeType::PrefixMatchMap(map)) => {
                let map = self.at("prefix_match_map", |r| r.entries(map));
                Some(Choice::Prefix(input?, PrefixMap::new(map?)))
            }
            Some(TreeType::CustomMatch(custom)) => self.at("custom_match", |r| r.custom(input, custom)),
            None => {
                self.error(ConfigError::at("", "there is no map of where values lead"));
                None
            }
        }
    }

    fn entries(&mut self, from: &proto::matcher::matcher_tree::MatchMap) -> Option<HashMap<Box<[u8]>, OnMatch<A>>> {
        // In the order of keys, so that reports are the same every time.
        let mut keys: Vec<_> = from.map.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| key.as_str());
        let wanted = keys.len();
        let made = keys.into_iter().filter_map(|(key, on_match)| {
            let found = self.at(format!("map[\"{key}\"]"), |r| r.on_match(on_match))?;
            Some((key.as_bytes().into(), found))
        });
        let made: HashMap<_, _> = made.collect();
        (made.len() == wanted).then_some(made)
    }

    fn custom(&mut self, input: Option<Input>, from: &TypedExtensionConfig) -> Option<Choice<A>> {
        match type_of(from) {
            "xds.type.matcher.v3.IPMatcher" => {
                let read = message::<proto::IpMatcher>(from);
                let proto::IpMatcher { range_matchers } = self.ok(read)?;
                let mut made = Vec::new();
                for (index, proto::ip_matcher::IpRangeMatcher { ranges, on_match, exclusive }) in range_matchers.iter().enumerate() {
                    self.at(format!("typed_config.range_matchers[{index}]"), |r| {
                        let ranges = each("ranges", ranges, tests_of::cidr);
                        let ranges = r.ok(ranges);
                        let found = r.found(on_match.as_ref());
                        made.extend(ranges.zip(found).map(|(ranges, found)| (ranges.into_vec(), found, *exclusive)));
                    });
                }
                (made.len() == range_matchers.len()).then_some(())?;
                Some(Choice::Ranges(input?, RangeMap::new(made)))
            }
            "xds.type.matcher.v3.ServerNameMatcher" => {
                let read = message::<proto::ServerNameMatcher>(from);
                let proto::ServerNameMatcher { domain_matchers } = self.ok(read)?;
                let mut made = Vec::new();
                let mut seen = HashSet::new();
                for (index, proto::server_name_matcher::DomainMatcher { domains, on_match }) in domain_matchers.iter().enumerate() {
                    self.at(format!("typed_config.domain_matchers[{index}]"), |r| {
                        let names = each("domains", domains, |name| tests_of::domain(name, &seen));
                        seen.extend(domains);
                        let names = r.ok(names);
                        let found = r.found(on_match.as_ref());
                        made.extend(names.zip(found).map(|(names, found)| (names.into_vec(), found)));
                    });
                }
                (made.len() == domain_matchers.len()).then_some(())?;
                Some(Choice::Names(input?, NameMap::new(made)))
            }
            other => {
                self.error(ConfigError::at("", format!("`{other}` is no matcher that can stand here")));
                None
            }
        }
    }
}
