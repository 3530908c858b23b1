//! The request that is asked about: a method, a URL, headers.

use nuncio_codec::headers::{HeaderMap, HeaderName, Known};

/// A request that somebody might send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) method: String,
    /// `http` or `https`.
    pub(crate) scheme: String,
    /// Host and perhaps port, as the `host` header has it.
    pub(crate) authority: String,
    /// Host without brackets and port.
    pub(crate) host: String,
    /// The port of the URL, said or by scheme.
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
    /// Further headers.
    pub(crate) headers: Vec<(String, String)>,
    /// The random number that picks from fractions and weights; every choice is shown without.
    pub(crate) random: Option<u64>,
    /// The listener's name, where the URL's port does not tell.
    pub(crate) listener: Option<String>,
}

impl Question {
    /// Reads a URL such as `http://localhost:10000/api?x=1`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(method: &str, url: &str) -> Result<Question, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("'{url}' is no URL: it begins with http:// or https://"))?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            other => return Err(format!("the scheme of a URL is http or https here, not '{other}'")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = target.split('#').next().unwrap_or_default();
        let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let (host, port) = match colon {
            Some(at) => {
                let port = &authority[at + 1..];
                (&authority[..at], port.parse().map_err(|_| format!("'{port}' is no port"))?)
            }
            None => (authority, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(format!("'{url}' names no host"));
        }
        Ok(Question {
            method: method.to_owned(),
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            path: if target.starts_with('/') { target.to_owned() } else { format!("/{target}") },
            headers: Vec::new(),
            random: None,
            listener: None,
        })
    }

    /// Adds a header written as `name: value`.
    ///
    /// # Errors
    /// It is not written so, or the name cannot be one.
    pub(crate) fn header(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("'{line}' is no header: expected 'name: value'"))?;
        if HeaderName::new(name.trim()).is_none() {
            return Err(format!("'{}' cannot be a header's name", name.trim()));
        }
        self.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        Ok(())
    }

    /// The request's head as the connection manager sees it, before it cleans up.
    pub(crate) fn head(&self) -> HeaderMap {
        let mut head = HeaderMap::new();
        head.insert(Known::Method, &self.method);
        head.insert(Known::Path, &self.path);
        head.insert(Known::Authority, &self.authority);
        head.insert(Known::Scheme, &self.scheme);
        head.insert(Known::XForwardedProto, &self.scheme);
        for (name, value) in &self.headers {
            match name.as_str() {
                "host" => head.insert(Known::Authority, value),
                "x-forwarded-proto" => head.insert(Known::XForwardedProto, value),
                name => head.append(name, value),
            }
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let read = |url| Question::new("GET", url).map(|q| (q.authority, q.host, q.port, q.path));
        let parts = |a: &str, h: &str, p, path: &str| Ok((a.to_owned(), h.to_owned(), p, path.to_owned()));
        assert_eq!(read("http://localhost:10000/api?x=1#top"), parts("localhost:10000", "localhost", 10000, "/api?x=1"));
        assert_eq!(read("https://example.com"), parts("example.com", "example.com", 443, "/"));
        assert_eq!(read("http://[::1]:80?q"), parts("[::1]:80", "::1", 80, "/?q"));
        assert_eq!(read("http://[fe80::1]/"), parts("[fe80::1]", "fe80::1", 80, "/"));
        for bad in ["localhost/", "ftp://x/", "http:///x", "http://x:y/"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_stand_in_the_head_and_host_is_the_authority() {
        let mut question = Question::new("GET", "http://a/").expect("a URL");
        question.header("X-User: 7").expect("a header");
        question.header("host: b").expect("a header");
        assert!(question.header("x").is_err() && question.header("a b: c").is_err());
        let head = question.head();
        assert_eq!((head.get("x-user"), head.authority()), (Some(&b"7"[..]), Some(&b"b"[..])));
    }
}
