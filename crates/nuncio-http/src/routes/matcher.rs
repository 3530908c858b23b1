//! Whether one route matches a request (`RouteMatch`), and if not, why.
//!
//! This is the linear truth: [`super::RouteTable`]'s index only spares it the routes whose path cannot match.

use nuncio_core::matching::{CookieMatch, HeaderMatch, QueryMatch};
use nuncio_core::matching::Pattern;
use super::template::PathTemplate;
use nuncio_core::matching::{Fold, MetadataMatcher, TextMatch};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::metadata::Metadata;
use nuncio_core::{ClientCertificate, FilterState, RuntimeFraction, RuntimeValues};
use std::fmt;

/// What is known at the time of matching besides the request's head.
#[derive(Clone, Copy, Default)]
pub struct MatchCx<'a> {
    /// The request's random number, for fractions and weights; drawn once per request.
    pub random: u64,
    /// Runtime values; `None` to use the configured defaults.
    pub runtime: Option<&'a RuntimeValues>,
    /// Dynamic metadata of the exchange, if any are set.
    pub metadata: Option<&'a Metadata>,
    /// Filter state of the exchange.
    pub filter_state: Option<&'a FilterState>,
    /// The client's certificate on this connection.
    pub client_certificate: ClientCertificate,
}

impl MatchCx<'_> {
    fn takes(&self, fraction: &RuntimeFraction) -> bool {
        let fraction = self.runtime.map_or(fraction.default, |runtime| fraction.now(runtime));
        fraction.holds(self.random)
    }
}

impl fmt::Debug for MatchCx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatchCx").field("random", &self.random).finish_non_exhaustive()
    }
}

/// The conditions of a route; all must hold.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// On the path without query and fragment.
    pub path: PathMatch,
    /// On headers.
    pub headers: Box<[HeaderMatch]>,
    /// Everything that few routes ask for.
    pub more: Option<Box<MoreConditions>>,
}

/// Conditions that few routes have.
#[derive(Debug, Clone, Default)]
pub struct MoreConditions {
    /// On query parameters.
    pub query: Box<[QueryMatch]>,
    /// On cookies.
    pub cookies: Box<[CookieMatch]>,
    /// Only gRPC requests.
    pub grpc: bool,
    /// Only a part of the requests.
    pub fraction: Option<RuntimeFraction>,
    /// Whether a client certificate was presented.
    pub certificate_presented: Option<bool>,
    /// Whether it was validated.
    pub certificate_validated: Option<bool>,
    /// On dynamic metadata.
    pub metadata: Box<[MetadataMatcher]>,
    /// On objects of the filter state, by key; one that is not there satisfies nothing.
    pub filter_state: Box<[(Box<str>, TextMatch)]>,
}

/// The condition on the path.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// `path`
    Exact(Fold),
    /// `prefix`
    Prefix(Fold),
    /// `path_separated_prefix`: the prefix itself, or followed by `/`.
    Separated(Fold),
    /// `safe_regex`
    Regex(Pattern),
    /// `path_match_policy` with a URI template.
    Template(PathTemplate),
    /// `connect_matcher`: CONNECT requests, whatever their path.
    Connect,
}

impl PathMatch {
    #[inline]
    pub(super) fn matches(&self, request: &RequestParts<'_>) -> bool {
        match self {
            PathMatch::Exact(path) => path.equals(request.path),
            PathMatch::Prefix(prefix) => prefix.begins(request.path),
            PathMatch::Separated(prefix) => {
                prefix.begins(request.path)
                    && matches!(request.path.get(prefix.text().len()), None | Some(b'/'))
            }
            PathMatch::Regex(pattern) => pattern.matches(request.path),
            PathMatch::Template(template) => template.matches(request.own_path),
            PathMatch::Connect => request.headers.method() == Some(b"CONNECT"),
        }
    }

    /// What a prefix rewrite leaves of `path` (without query). `None` if the path does not begin with what
    /// matched, as happens when its parameters were not looked at.
    pub(super) fn rest_of<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        match self {
            PathMatch::Prefix(prefix) | PathMatch::Separated(prefix) | PathMatch::Exact(prefix) => {
                prefix.begins(path).then(|| &path[prefix.text().len()..])
            }
            PathMatch::Regex(_) | PathMatch::Template(_) | PathMatch::Connect => Some(b""),
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (field, text) = match self {
            PathMatch::Exact(text) => ("path", text),
            PathMatch::Prefix(text) => ("prefix", text),
            PathMatch::Separated(text) => ("path_separated_prefix", text),
            PathMatch::Regex(pattern) => return write!(f, "safe_regex {:?}", pattern.as_str()),
            PathMatch::Template(template) => return write!(f, "path template {:?}", template.as_str()),
            PathMatch::Connect => return f.write_str("connect_matcher"),
        };
        write!(f, "{field} \"{}\"", text.text().escape_ascii())?;
        if text.ignores_case() { f.write_str(" in any letter case") } else { Ok(()) }
    }
}

/// A request taken apart once for all routes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestParts<'h> {
    pub(super) headers: &'h HeaderMap,
    /// Without query, fragment and, if so configured, path parameters.
    pub(super) path: &'h [u8],
    /// Without query and fragment only: templates are matched with it.
    pub(super) own_path: &'h [u8],
    /// What follows `?`.
    pub(super) query: &'h [u8],
    /// Whether there is a path at all (CONNECT has none).
    pub(super) has_path: bool,
}

impl<'h> RequestParts<'h> {
    /// Takes a request apart; `path` as [`path_without_parameters`] gave it, or `None` for the request's own.
    pub(super) fn of(headers: &'h HeaderMap, path: Option<&'h [u8]>) -> RequestParts<'h> {
        let whole = headers.get(Known::Path);
        let target = whole.unwrap_or_default();
        let own_path = &target[..path_len(target)];
        let path = path.unwrap_or(own_path);
        let query = target.iter().position(|&b| b == b'?').map_or(&[][..], |at| &target[at + 1..]);
        RequestParts { headers, path, own_path, query, has_path: whole.is_some() }
    }
}

/// The path without its parameters: `/a;x=1/b` becomes `/a/b`. `None` if it has none, which is nearly always.
pub(super) fn path_without_parameters(headers: &HeaderMap) -> Option<Vec<u8>> {
    let target = headers.get(Known::Path)?;
    let path = &target[..path_len(target)];
    if !path.contains(&b';') {
        return None;
    }
    let segments = path.split(|&b| b == b'/');
    let bare = segments.map(|segment| segment.split(|&b| b == b';').next().unwrap_or_default());
    Some(bare.collect::<Vec<_>>().join(&b'/'))
}

/// Length of the path in a request target, without query and fragment.
#[inline]
pub(super) fn path_len(target: &[u8]) -> usize {
    target.iter().position(|&b| b == b'?' || b == b'#').unwrap_or(target.len())
}

/// Why a route does not match.
#[derive(Debug, Clone, Copy)]
pub enum Mismatch<'m> {
    /// Its path condition.
    Path(&'m PathMatch),
    /// A header.
    Header(&'m HeaderMatch),
    /// A query parameter.
    Query(&'m QueryMatch),
    /// A cookie.
    Cookie(&'m CookieMatch),
    /// The request is not gRPC.
    Grpc,
    /// The request is not in the fraction.
    Fraction(&'m RuntimeFraction),
    /// The client's certificate.
    Certificate,
    /// Dynamic metadata or filter state.
    State,
    /// The runtime has taken the weight from all of its clusters.
    Weights,
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Path(path) => write!(f, "{path}"),
            Mismatch::Header(header) => write!(f, "{header}"),
            Mismatch::Query(query) => write!(f, "{query}"),
            Mismatch::Cookie(cookie) => write!(f, "{cookie}"),
            Mismatch::Grpc => f.write_str("the request is gRPC"),
            Mismatch::Fraction(fraction) => {
                write!(f, "one of {} in {} requests", fraction.default.numerator, fraction.default.denominator)
            }
            Mismatch::Certificate => f.write_str("the client's certificate"),
            Mismatch::State => f.write_str("dynamic metadata or filter state"),
            Mismatch::Weights => f.write_str("the runtime leaves none of its clusters a weight"),
        }
    }
}

impl Matcher {
    /// A matcher with a path condition only.
    pub fn path(path: PathMatch) -> Matcher {
        Matcher { path, headers: Box::default(), more: None }
    }

    /// True when nothing but the path is asked for.
    pub(super) fn is_path_only(&self) -> bool {
        self.headers.is_empty() && self.more.is_none()
    }

    /// Whether all conditions hold; else the first that does not.
    #[inline]
    pub(super) fn check<'m>(&'m self, request: &RequestParts<'_>, cx: &MatchCx<'_>) -> Result<(), Mismatch<'m>> {
        let pathless = matches!(self.path, PathMatch::Connect);
        if !(request.has_path || pathless) || !self.path.matches(request) {
            return Err(Mismatch::Path(&self.path));
        }
        if let Some(header) = self.headers.iter().find(|header| !header.matches(request.headers)) {
            return Err(Mismatch::Header(header));
        }
        match &self.more {
            Some(more) => more.check(request, cx),
            None => Ok(()),
        }
    }
}

impl MoreConditions {
    /// `None` when there is no condition in it, as most routes have none.
    pub fn boxed(self) -> Option<Box<MoreConditions>> {
        let MoreConditions {
            query,
            cookies,
            grpc,
            fraction,
            certificate_presented,
            certificate_validated,
            metadata,
            filter_state,
        } = &self;
        let idle = query.is_empty()
            && cookies.is_empty()
            && !grpc
            && fraction.is_none()
            && certificate_presented.is_none()
            && certificate_validated.is_none()
            && metadata.is_empty()
            && filter_state.is_empty();
        (!idle).then(|| Box::new(self))
    }

    fn check<'m>(&'m self, request: &RequestParts<'_>, cx: &MatchCx<'_>) -> Result<(), Mismatch<'m>> {
        if let Some(query) = self.query.iter().find(|query| !query.matches(request.query)) {
            return Err(Mismatch::Query(query));
        }
        if let Some(cookie) = self.cookies.iter().find(|cookie| !cookie.matches(request.headers)) {
            return Err(Mismatch::Cookie(cookie));
        }
        if self.grpc && !(request.has_path && is_grpc(request.headers)) {
            return Err(Mismatch::Grpc);
        }
        let certificate = cx.client_certificate;
        if self.certificate_presented.is_some_and(|wanted| wanted != certificate.presented)
            || self.certificate_validated.is_some_and(|wanted| wanted != certificate.validated)
        {
            return Err(Mismatch::Certificate);
        }
        let empty = Metadata::new();
        let metadata = cx.metadata.unwrap_or(&empty);
        let object = |key: &str| cx.filter_state?.get(key);
        if !self.metadata.iter().all(|wanted| wanted.matches(metadata))
            || !self.filter_state.iter().all(|(key, wanted)| object(key).is_some_and(|value| wanted.matches(value)))
        {
            return Err(Mismatch::State);
        }
        match &self.fraction {
            Some(fraction) if !cx.takes(fraction) => Err(Mismatch::Fraction(fraction)),
            _ => Ok(()),
        }
    }
}

/// Whether the content type is gRPC's: `application/grpc` or `application/grpc+…`, not `application/grpc-web`.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(Known::ContentType)
        .and_then(|value| value.strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}
