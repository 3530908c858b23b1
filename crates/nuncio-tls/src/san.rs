//! Alternative names of certificates against what is wanted (`match_typed_subject_alt_names`, `auto_san_validation`).

use nuncio_core::{Certificate, NameKind, matching::TextMatch};

/// `SubjectAltNameMatcher`.
#[derive(Debug, Clone)]
pub struct NameMatcher {
    /// `san_type`, with `oid`.
    pub kind: NameKind,
    /// `matcher`. An exact DNS name also fits a wildcard of the certificate.
    pub matcher: TextMatch,
}

impl NameMatcher {
    /// Whether a certificate has such a name.
    pub fn fits(&self, certificate: &Certificate) -> bool {
        let fits = |name: &str| match (&self.kind, &self.matcher) {
            (NameKind::Dns, TextMatch::Exact(wanted)) => dns_name_fits(&String::from_utf8_lossy(wanted.text()), name),
            _ => self.matcher.matches(name.as_bytes()),
        };
        certificate.names_of(&self.kind).any(fits)
    }
}

/// Whether a certificate has this name, whatever its kind.
pub(crate) fn has_name(certificate: &Certificate, wanted: &str) -> bool {
    certificate.names.iter().any(|(kind, name)| match kind {
        NameKind::Dns => dns_name_fits(wanted, name),
        _ => wanted == name,
    })
}

/// Whether a DNS name fits one of a certificate, in whose first label a `*` stands for any characters of that label.
pub(crate) fn dns_name_fits(name: &str, pattern: &str) -> bool {
    if name.eq_ignore_ascii_case(pattern) {
        return true;
    }
    let (Some((label, rest)), Some((wild, parent))) = (name.split_once('.'), pattern.split_once('.')) else { return false };
    let Some((start, end)) = wild.split_once('*').filter(|(_, end)| !end.contains('*')) else { return false };
    if !rest.eq_ignore_ascii_case(parent) {
        return false;
    }
    let (start, end) = (start.as_bytes(), end.as_bytes());
    if start.is_empty() && end.is_empty() {
        return !label.is_empty();
    }
    // A part of an internationalized label means nothing.
    let label = label.as_bytes();
    let international = label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"xn--"));
    !international
        && label.len() > start.len() + end.len()
        && label[..start.len()].eq_ignore_ascii_case(start)
        && label[label.len() - end.len()..].eq_ignore_ascii_case(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_a_part_of_the_first_label() {
        let cases = [
            ("a.test", "A.Test", true),
            ("x.wild.test", "*.wild.test", true),
            ("x.y.wild.test", "*.wild.test", false),
            ("wild.test", "*.wild.test", false),
            ("baz1.example.net", "baz*.example.net", true),
            ("foobaz.example.net", "*baz.example.net", true),
            ("buzz.example.net", "b*z.example.net", true),
            ("bz.example.net", "b*z.example.net", false),
            ("xn--abz.example.net", "*bz.example.net", false),
            ("xn--abz.example.net", "*.example.net", true),
            ("a.b.test", "a.*.test", false),
            ("ab.test", "**.test", false),
            ("localhost", "*", false),
        ];
        for (name, pattern, wanted) in cases {
            assert_eq!(dns_name_fits(name, pattern), wanted, "{name} {pattern}");
        }
    }
}
