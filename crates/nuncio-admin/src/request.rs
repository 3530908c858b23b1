//! A request to the admin interface, taken apart.

/// What an endpoint sees of a request.
#[derive(Clone, Debug, Default)]
pub struct AdminRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path with its query, as it was sent.
    pub target: String,
    /// The path without its query, as it was sent.
    pub path: String,
    /// The parameters of the query, and of the body where that is a form.
    pub params: Params,
    /// The `accept` header.
    pub accept: String,
}

/// Parameters in the order they came. Names may occur again; lookups find the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl AdminRequest {
    /// A request for `target`, which is a path and perhaps a query.
    pub fn new(method: &str, target: &str) -> AdminRequest {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        AdminRequest {
            method: method.to_owned(),
            target: target.to_owned(),
            path: path.to_owned(),
            params: Params::parse(query),
            accept: String::new(),
        }
    }

    /// Adds the body, if its content type says that it is a form.
    pub fn with_body(mut self, content_type: &str, body: &[u8]) -> AdminRequest {
        if content_type.starts_with("application/x-www-form-urlencoded") {
            self.params
                .0
                .extend(Params::parse(&String::from_utf8_lossy(body)).0);
        }
        self
    }
}

impl Params {
    /// Reads `a=1&b&c=%20x`. A name without a value has an empty one.
    pub fn parse(query: &str) -> Params {
        let query = query.split('#').next().unwrap_or("");
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Params(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (percent_decoded(name), percent_decoded(value))
                })
                .collect(),
        )
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of that name, unless it is empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Whether the name occurs.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every pair.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn percent_decoded(text: &str) -> String {
    String::from_utf8_lossy(&nuncio_codec::path::percent_decode(text.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_taken_apart() {
        let request = AdminRequest::new("GET", "/stats?usedonly&filter=a%2Eb%zz+&x=1=2&&filter=no");
        let pairs: Vec<_> = request.params.iter().collect();
        assert_eq!(
            pairs,
            [
                ("usedonly", ""),
                ("filter", "a.b%zz+"),
                ("x", "1=2"),
                ("filter", "no")
            ]
        );
        assert_eq!(
            (request.path.as_str(), request.params.get("filter")),
            ("/stats", Some("a.b%zz+"))
        );
        assert_eq!(request.params.filled("usedonly"), None);
    }

    #[test]
    fn a_form_counts_as_parameters() {
        let request = AdminRequest::new("POST", "/runtime_modify?a=1");
        let request = request.with_body("application/x-www-form-urlencoded", b"b=2");
        assert_eq!(request.params.get("b"), Some("2"));
        assert_eq!(
            request
                .clone()
                .with_body("text/plain", b"c=3")
                .params
                .get("c"),
            None
        );
    }
}
