//! Which of several compressors a response gets: the client's `accept-encoding`, and what the compressors can do.

use nuncio_core::matching::TextMatch;
use std::sync::Arc;

/// Types that are compressed unless told otherwise.
const TYPES: [&str; 8] = [
    "application/javascript",
    "application/json",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/css",
    "text/html",
    "text/plain",
    "text/xml",
];

/// `content_type` and `content_type_matcher`.
#[derive(Debug, Default)]
pub(super) struct Types {
    pub(super) listed: Vec<String>,
    pub(super) matchers: Box<[TextMatch]>,
}

impl Types {
    /// Whether bodies of this type are compressed; those of no type are.
    pub(super) fn allow(&self, content_type: Option<&[u8]>) -> bool {
        let Some(kind) = content_type else { return true };
        let kind = kind.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let is = |listed: &str| kind.eq_ignore_ascii_case(listed.as_bytes());
        match (self.listed.is_empty(), self.matchers.is_empty()) {
            (true, true) => TYPES.iter().any(|listed| is(listed)),
            _ => self.listed.iter().any(|listed| is(listed)) || self.matchers.iter().any(|text| text.matches(kind)),
        }
    }
}

/// A compressor of the chain.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) encoding: &'static str,
    pub(super) types: Arc<Types>,
    pub(super) choose_first: bool,
}

/// What was decided about a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    NoHeader,
    NotValid,
    Identity,
    /// The client takes anything: this.
    Wildcard(&'static str),
    Chosen(&'static str),
}

impl Decision {
    /// What the response gets.
    pub(super) fn encoding(self) -> Option<&'static str> {
        match self {
            Decision::Wildcard(encoding) | Decision::Chosen(encoding) => Some(encoding),
            Decision::NoHeader | Decision::NotValid | Decision::Identity => None,
        }
    }
}

/// The compressors of an exchange's chain, and what was decided.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) candidates: Vec<Candidate>,
    pub(super) accept: Option<String>,
    decided: Option<Decision>,
}

impl Choice {
    /// Decides once.
    pub(super) fn decide(&mut self, content_type: Option<&[u8]>) -> Decision {
        if let Some(decided) = self.decided {
            return decided;
        }
        let made = decide(&self.candidates, self.accept.as_deref(), content_type);
        self.decided = Some(made);
        made
    }
}

/// A token and its quality, in thousandths.
fn token(text: &str) -> (&str, u32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.trim().parse::<f32>().ok());
    (name, (quality.unwrap_or(0.0).clamp(0.0, 1.0) * 1000.0) as u32)
}

fn decide(candidates: &[Candidate], accept: Option<&str>, content_type: Option<&[u8]>) -> Decision {
    let Some(accept) = accept else { return Decision::NoHeader };
    let mut allowed: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.types.allow(content_type)).collect();
    let mut wanted = Vec::new();
    for (name, quality) in accept.split(',').map(token) {
        if quality == 0 {
            allowed.retain(|candidate| candidate.encoding != name);
            continue;
        }
        match allowed.iter().find(|candidate| candidate.encoding == name) {
            Some(candidate) if candidate.choose_first => wanted.insert(0, (name, quality)),
            _ => wanted.push((name, quality)),
        }
    }
    if allowed.is_empty() {
        return Decision::NotValid;
    }
    let mut best: Option<(&str, u32)> = None;
    for (name, quality) in wanted {
        let known = matches!(name, "*" | "identity") || allowed.iter().any(|candidate| candidate.encoding == name);
        if known && best.is_none_or(|(_, most)| quality > most) {
            best = Some((name, quality));
        }
    }
    match best {
        None => Decision::NotValid,
        Some(("identity", _)) => Decision::Identity,
        Some(("*", _)) => allowed.first().map_or(Decision::NotValid, |first| Decision::Wildcard(first.encoding)),
        Some((name, _)) => {
            allowed.iter().find(|candidate| candidate.encoding == name).map_or(Decision::NotValid, |c| Decision::Chosen(c.encoding))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_goes_first_then_the_clients_order_then_wildcards() {
        let candidate = |encoding, choose_first| Candidate { encoding, types: Arc::default(), choose_first };
        let all = [candidate("gzip", false), candidate("br", false), candidate("zstd", true)];
        let html = Some(&b"text/html; charset=x"[..]);
        for (accept, want) in [
            ("br, gzip", Decision::Chosen("br")),
            ("br;q=0.9, gzip", Decision::Chosen("gzip")),
            ("gzip, br, zstd", Decision::Chosen("zstd")),
            ("*", Decision::Wildcard("gzip")),
            ("gzip;q=0, *", Decision::Wildcard("br")),
            ("identity, gzip;q=0.5", Decision::Identity),
            ("deflate", Decision::NotValid),
            ("GZIP", Decision::NotValid),
            ("", Decision::NotValid),
        ] {
            assert_eq!(decide(&all, Some(accept), html), want, "{accept}");
        }
        assert_eq!(decide(&all, None, html), Decision::NoHeader);
        assert_eq!(decide(&all, Some("gzip"), Some(b"image/png")), Decision::NotValid);
        assert_eq!(decide(&all[..1], Some("gzip;q=0, *"), None), Decision::NotValid);
    }
}
