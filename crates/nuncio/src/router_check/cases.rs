//! The file of cases: `tests`, each with an `input` and what to `validate`. Everything wrong with it comes at once, with
//! its place.

use nuncio_api::envoy::config::route::v3::{HeaderMatcher, RouteMatch};
use nuncio_api::envoy::extensions::filters::http::set_metadata::v3::Config as SetMetadata;
use nuncio_api::{Diagnostic, Document, Json, Look, NodeId, Options, Source, Syntax, Value, codes, render};
use nuncio_config::nearest;
use nuncio_core::matching::HeaderMatch;
use nuncio_core::metadata::MetadataValue;
use nuncio_ext::read;
use std::{collections::BTreeMap, io::IsTerminal, str::FromStr};

/// A value that a case may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Cluster,
    VirtualCluster,
    VirtualHost,
    PathRewrite,
    HostRewrite,
    PathRedirect,
    CodeRedirect,
}

impl Field {
    const ALL: [Field; 7] = [
        Field::Cluster,
        Field::VirtualCluster,
        Field::VirtualHost,
        Field::PathRewrite,
        Field::HostRewrite,
        Field::PathRedirect,
        Field::CodeRedirect,
    ];

    /// Its name in files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Field::Cluster => "cluster_name",
            Field::VirtualCluster => "virtual_cluster_name",
            Field::VirtualHost => "virtual_host_name",
            Field::PathRewrite => "path_rewrite",
            Field::HostRewrite => "host_rewrite",
            Field::PathRedirect => "path_redirect",
            Field::CodeRedirect => "code_redirect",
        }
    }
}

/// A request.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) method: String,
    pub(super) random: u64,
    pub(super) ssl: bool,
    pub(super) internal: bool,
    pub(super) runtime: String,
    pub(super) request_headers: Vec<(String, String)>,
    pub(super) response_headers: Vec<(String, String)>,
    pub(super) metadata: Vec<(String, BTreeMap<String, MetadataValue>)>,
}

/// What shall become of it.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) values: Vec<(Field, String)>,
    pub(super) request: Vec<(String, HeaderMatch)>,
    pub(super) response: Vec<(String, HeaderMatch)>,
}

/// A case.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) input: Input,
    pub(super) expected: Expected,
}

/// Reads a file of cases.
///
/// # Errors
/// Everything that is wrong with it, as text for people.
pub(super) fn read(file: &nuncio_config::Input) -> Result<Vec<Case>, String> {
    let text = file.text.as_ref().map_err(|why| format!("error: cannot read `{}`: {why}", file.name))?;
    let source = Source::new(&file.name, text);
    let document = Document::parse(source.clone(), file.syntax).map_err(|found| told(&source, &found))?;
    let mut reader = Reader { document: &document, found: Vec::new() };
    let cases = reader.cases();
    if reader.found.is_empty() { Ok(cases) } else { Err(told(&source, &reader.found)) }
}

fn told(source: &Source, found: &[Diagnostic]) -> String {
    let look = Look { color: std::io::stderr().is_terminal(), docs: true };
    found.iter().map(|diagnostic| render(source, diagnostic, look)).collect()
}

struct Reader<'d> {
    document: &'d Document,
    found: Vec<Diagnostic>,
}

impl<'d> Reader<'d> {
    fn value(&self, node: NodeId) -> Value<'d> {
        self.document.tree().value(node)
    }

    fn error(&mut self, node: NodeId, code: &'static str, message: String) -> &mut Diagnostic {
        self.found.push(Diagnostic::error(code, self.document.tree().span(node), message));
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    fn expected(&mut self, node: NodeId, what: &str) {
        let message = format!("expected {what}, this is {}", self.value(node).describe());
        self.error(node, codes::WRONG_TYPE, message);
    }

    /// Goes through an object's members. `take` says whether it knows the key.
    fn object(&mut self, node: NodeId, known: &[&'static str], mut take: impl FnMut(&mut Self, &str, NodeId)) {
        let Value::Map(pairs) = self.value(node) else { return self.expected(node, "an object") };
        for (key, value) in pairs {
            let name = self.document.tree().key(*key);
            if known.contains(&name) {
                take(self, name, *value);
                continue;
            }
            let near = nearest(name, known.iter().copied());
            let error = self.error(*key, codes::UNKNOWN_FIELD, format!("unknown field `{name}`"));
            if let Some(near) = near {
                error.help.push(format!("did you mean `{near}`?"));
            }
        }
    }

    fn items(&mut self, node: NodeId) -> &'d [NodeId] {
        match self.value(node) {
            Value::List(items) => items,
            Value::Null => &[],
            _ => {
                self.expected(node, "a list");
                &[]
            }
        }
    }

    fn text(&mut self, node: NodeId) -> String {
        match self.value(node) {
            Value::String(text) => text.to_owned(),
            Value::Number(text) if self.document.tree().is_plain(node) => text.to_owned(),
            _ => {
                self.expected(node, "a string");
                String::new()
            }
        }
    }

    fn number<T: FromStr + Default>(&mut self, node: NodeId) -> T {
        let parsed = match self.value(node) {
            Value::Number(text) | Value::String(text) => text.parse().ok(),
            _ => None,
        };
        if parsed.is_none() {
            self.expected(node, "a whole number");
        }
        parsed.unwrap_or_default()
    }

    fn truth(&mut self, node: NodeId) -> bool {
        if let Value::Bool(value) = self.value(node) {
            return value;
        }
        self.expected(node, "true or false");
        false
    }

    fn cases(&mut self) -> Vec<Case> {
        let mut cases = Vec::new();
        let root = self.document.root();
        self.object(root, &["tests"], |reader, _, list| {
            cases = reader.items(list).iter().map(|item| reader.case(*item)).collect();
        });
        if cases.is_empty() && self.found.is_empty() {
            self.error(root, codes::WRONG_TYPE, "`tests` names no case".to_owned());
        }
        cases
    }

    fn case(&mut self, node: NodeId) -> Case {
        let mut case = Case::default();
        self.object(node, &["test_name", "input", "validate"], |reader, key, value| match key {
            "test_name" => case.name = reader.text(value),
            "input" => case.input = reader.input(value),
            _ => case.expected = reader.expectation(value),
        });
        let missing = [
            ("test_name", case.name.is_empty()),
            ("input.authority", case.input.authority.is_empty()),
            ("input.path", case.input.path.is_empty()),
            ("input.method", case.input.method.len() < 3),
        ];
        for (field, _) in missing.iter().filter(|(_, missing)| *missing) {
            self.error(node, codes::WRONG_TYPE, format!("a case needs `{field}`"));
        }
        case
    }

    fn input(&mut self, node: NodeId) -> Input {
        const KNOWN: &[&str] = &[
            "authority",
            "path",
            "method",
            "random_value",
            "ssl",
            "internal",
            "runtime",
            "additional_request_headers",
            "additional_response_headers",
            "dynamic_metadata",
        ];
        let mut input = Input::default();
        self.object(node, KNOWN, |reader, key, value| match key {
            "authority" => input.authority = reader.text(value),
            "path" => input.path = reader.text(value),
            "method" => input.method = reader.text(value),
            "random_value" => input.random = reader.number(value),
            "ssl" => input.ssl = reader.truth(value),
            "internal" => input.internal = reader.truth(value),
            "runtime" => input.runtime = reader.text(value),
            "additional_request_headers" => input.request_headers = reader.headers(value),
            "additional_response_headers" => input.response_headers = reader.headers(value),
            _ => input.metadata = reader.metadata(value),
        });
        input
    }

    fn headers(&mut self, list: NodeId) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        for item in self.items(list) {
            let (mut name, mut value) = (String::new(), String::new());
            self.object(*item, &["key", "value"], |reader, key, node| match key {
                "key" => name = reader.text(node).to_ascii_lowercase(),
                _ => value = reader.text(node),
            });
            headers.push((name, value));
        }
        headers
    }

    fn expectation(&mut self, node: NodeId) -> Expected {
        let mut known: Vec<&'static str> = Field::ALL.iter().map(|field| field.name()).collect();
        known.extend(["request_header_matches", "response_header_matches", "request_header_fields", "response_header_fields"]);
        let mut expected = Expected::default();
        self.object(node, &known, |reader, key, value| {
            if let Some(field) = Field::ALL.into_iter().find(|field| field.name() == key) {
                let wanted = if field == Field::CodeRedirect { reader.number::<u16>(value).to_string() } else { reader.text(value) };
                return expected.values.push((field, wanted));
            }
            let matchers = match key.ends_with("_matches") {
                true => reader.matchers(value),
                false => reader.exact(value),
            };
            let side = if key.starts_with("request") { &mut expected.request } else { &mut expected.response };
            side.extend(matchers);
        });
        // In the order in which they are looked at, whatever their order in the file.
        expected.values.sort();
        expected
    }

    /// `*_header_matches`: matchers as routes have them.
    fn matchers(&mut self, list: NodeId) -> Vec<(String, HeaderMatch)> {
        let shown: Vec<Json> = self.items(list).iter().map(|item| self.json(*item)).collect();
        let wrapped = Json::object(vec![("prefix", Json::text("/")), ("headers", self.json(list))]);
        let Some(matched) = self.message::<RouteMatch>(list, &wrapped) else { return Vec::new() };
        let made: Vec<_> = matched.headers.iter().map(read::header).collect();
        let mut matchers = Vec::new();
        for (made, shown) in made.into_iter().zip(shown) {
            match made {
                Ok(matcher) => matchers.push((shown.compact(), matcher)),
                Err(why) => drop(self.error(list, codes::WRONG_TYPE, why.to_string())),
            }
        }
        matchers
    }

    /// `*_header_fields`: names with their values.
    #[allow(deprecated, reason = "what is written here is the short form of it")]
    fn exact(&mut self, list: NodeId) -> Vec<(String, HeaderMatch)> {
        use nuncio_api::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
        let exactly = |(name, value): (String, String)| {
            let specifier = Some(HeaderMatchSpecifier::ExactMatch(value.clone()));
            let matcher = HeaderMatcher { name: name.clone(), header_match_specifier: specifier, ..Default::default() };
            Some((format!("{name}: {value}"), read::header(&matcher).ok()?))
        };
        self.headers(list).into_iter().filter_map(exactly).collect()
    }

    /// `dynamic_metadata`: entries as the set_metadata filter has them.
    fn metadata(&mut self, list: NodeId) -> Vec<(String, BTreeMap<String, MetadataValue>)> {
        let wrapped = Json::object(vec![("metadata", self.json(list))]);
        let Some(config) = self.message::<SetMetadata>(list, &wrapped) else { return Vec::new() };
        let mut metadata: Vec<(String, BTreeMap<String, MetadataValue>)> = Vec::new();
        for entry in config.metadata {
            if entry.typed_value.is_some() {
                self.error(list, codes::WRONG_TYPE, "`typed_value` is not built yet".to_owned());
            }
            let Some(value) = entry.value else { continue };
            let known = metadata.iter().any(|(namespace, _)| *namespace == entry.metadata_namespace);
            if !known || entry.allow_overwrite {
                metadata.push((entry.metadata_namespace, read::fields(&value)));
            }
        }
        metadata
    }

    /// Reads a part of the file as a message of the API.
    fn message<M: prost::Message + prost::Name + Default>(&mut self, node: NodeId, json: &Json) -> Option<M> {
        let document = Document::parse(Source::new("", json.compact()), Syntax::Json).ok()?;
        let decoded = nuncio_api::decode::<M>(&document, &Options { strict: false, allow_unknown: false });
        for found in decoded.diagnostics.iter().filter(|found| found.is_error()) {
            let message = found.message.clone();
            self.error(node, found.code, message);
        }
        decoded.message
    }

    fn json(&self, node: NodeId) -> Json {
        match self.value(node) {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(value),
            Value::Number(text) => Json::Number(text.to_owned()),
            Value::String(text) => Json::text(text),
            Value::List(items) => Json::List(items.iter().map(|item| self.json(*item)).collect()),
            Value::Map(pairs) => {
                Json::object(pairs.iter().map(|(key, value)| (self.document.tree().key(*key), self.json(*value))).collect())
            }
        }
    }
}
