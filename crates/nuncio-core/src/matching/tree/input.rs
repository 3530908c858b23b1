//! What a matcher looks at, and what it finds there.

use super::facts::{ConnectionFacts, Facts};
use crate::metadata::MetadataValue;
use crate::{NameKind, TlsFacts};
use nuncio_codec::headers::{HeaderMap, HeaderName};
use nuncio_rt::Address;
use std::borrow::Cow;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

/// What a matcher looks at.
#[derive(Debug, Clone)]
pub enum Input {
    /// `HttpRequestHeaderMatchInput`
    RequestHeader(HeaderName),
    /// `HttpRequestTrailerMatchInput`
    RequestTrailer(HeaderName),
    /// `HttpResponseHeaderMatchInput`
    ResponseHeader(HeaderName),
    /// `HttpResponseTrailerMatchInput`
    ResponseTrailer(HeaderName),
    /// `HttpRequestQueryParamMatchInput`: the first value, decoded.
    QueryParameter(Box<[u8]>),
    /// `HttpResponseStatusCodeMatchInput`
    Status,
    /// `HttpResponseStatusCodeClassMatchInput`: `2xx`.
    StatusClass,
    /// `HttpResponseLocalReplyMatchInput`
    LocalReply,
    /// `DestinationIPInput`
    DestinationIp,
    /// `DestinationPortInput`
    DestinationPort,
    /// `SourceIPInput`
    SourceIp,
    /// `SourcePortInput`
    SourcePort,
    /// `DirectSourceIPInput`
    DirectSourceIp,
    /// `SourceTypeInput`: `local` or nothing.
    SourceType,
    /// `ServerNameInput`
    ServerName,
    /// `TransportProtocolInput`
    TransportProtocol,
    /// `ApplicationProtocolInput`: `'h2','http/1.1'`.
    ApplicationProtocol,
    /// `UriSanInput`, `DnsSanInput`
    Names(NameKind),
    /// `SubjectInput`
    Subject,
    /// `FilterStateInput`
    FilterState(Box<str>),
    /// `DynamicMetadataInput`: namespace and path.
    Metadata(Box<str>, Box<[Box<str>]>),
    /// `HttpAttributesCelMatchInput`: everything, for an expression.
    Attributes,
    /// `environment_variable.v3.Config`: what it was at the start.
    Fixed(Option<Box<[u8]>>),
}

/// What an input gives.
#[derive(Debug, Clone)]
pub enum Datum<'a> {
    /// It may come yet, or cannot be told.
    NotYet,
    /// There is none.
    Nothing,
    /// A text.
    Text(Cow<'a, [u8]>),
    /// An address, written out where a text is wanted.
    Address(IpAddr),
    /// A number, likewise.
    Number(u32),
    /// A value of metadata.
    Value(&'a MetadataValue),
    /// Everything.
    Attributes,
}

impl<'a> Datum<'a> {
    fn text(text: Option<&'a [u8]>) -> Datum<'a> {
        text.map_or(Datum::Nothing, |text| Datum::Text(Cow::Borrowed(text)))
    }

    /// Something, unless it is empty.
    fn unless_empty(text: &'a str) -> Datum<'a> {
        Datum::text((!text.is_empty()).then_some(text.as_bytes()))
    }

    /// `ask` about it as a text, if it is one.
    pub fn with_text<R>(&self, ask: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let mut room = [0u8; 46];
        let length = room.len();
        let mut rest = &mut room[..];
        // An address has at most 45 characters.
        let written = match self {
            Datum::NotYet | Datum::Nothing | Datum::Value(_) | Datum::Attributes => return None,
            Datum::Text(text) => return Some(ask(text)),
            Datum::Address(address) => write!(rest, "{address}"),
            Datum::Number(number) => write!(rest, "{number}"),
        };
        let used = length - rest.len();
        written.ok().map(|()| ask(&room[..used]))
    }

    /// It as an address, if it is one or is written like one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Datum::Address(address) => Some(*address),
            Datum::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    }
}

impl Input {
    /// Whether it is of a response.
    pub fn is_of_response(&self) -> bool {
        matches!(self, Input::ResponseHeader(_) | Input::ResponseTrailer(_) | Input::Status | Input::StatusClass | Input::LocalReply)
    }

    /// What it gives.
    pub fn get<'a>(&'a self, facts: &Facts<'a>) -> Datum<'a> {
        match self {
            Input::RequestHeader(name) => header(facts.request, name),
            Input::RequestTrailer(name) => header(facts.request_trailers.map(|map| &**map), name),
            Input::ResponseHeader(name) => header(facts.response, name),
            Input::ResponseTrailer(name) => header(facts.response_trailers.map(|map| &**map), name),
            Input::QueryParameter(name) => match facts.request {
                Some(_) => facts.query_parameter(name).map_or(Datum::Nothing, Datum::Text),
                None => Datum::NotYet,
            },
            Input::Status => match facts.response {
                Some(head) => head.status().map_or(Datum::Nothing, |status| Datum::Number(status.into())),
                None => Datum::NotYet,
            },
            Input::StatusClass => match facts.response {
                Some(head) => Datum::text(head.status().and_then(class).map(str::as_bytes)),
                None => Datum::NotYet,
            },
            Input::LocalReply => match facts.response {
                Some(_) => Datum::Text(Cow::Borrowed(if facts.local_reply { b"true" } else { b"false" })),
                None => Datum::NotYet,
            },
            Input::FilterState(key) => Datum::text(facts.filter_state.and_then(|state| state.get(key))),
            Input::Metadata(namespace, path) => {
                let found = facts.metadata.and_then(|all| all.get(&**namespace)?.at(path.iter().map(|key| &**key)));
                found.map_or(Datum::Nothing, Datum::Value)
            }
            Input::Attributes => Datum::Attributes,
            Input::Fixed(text) => Datum::text(text.as_deref()),
            _ => facts.connection.map_or(Datum::Nothing, |connection| self.of_connection(connection)),
        }
    }

    fn of_connection<'a>(&'a self, conn: ConnectionFacts<'a>) -> Datum<'a> {
        let ip = |address: &Address| socket(address).map_or(Datum::Nothing, |address| Datum::Address(address.ip().to_canonical()));
        let port = |address: &Address| socket(address).map_or(Datum::Nothing, |address| Datum::Number(address.port().into()));
        match self {
            Input::DestinationIp => ip(conn.local),
            Input::DestinationPort => port(conn.local),
            Input::SourceIp => ip(conn.remote),
            Input::SourcePort => port(conn.remote),
            Input::DirectSourceIp => ip(conn.direct_remote),
            Input::SourceType => {
                let local = match (socket(conn.remote), socket(conn.local)) {
                    (Some(remote), Some(local)) => remote.ip().to_canonical().is_loopback() || remote.ip().to_canonical() == local.ip().to_canonical(),
                    _ => true,
                };
                Datum::text(local.then_some(b"local"))
            }
            Input::ServerName => Datum::unless_empty(conn.server_name.unwrap_or_default()),
            Input::TransportProtocol => Datum::unless_empty(conn.transport_protocol),
            Input::ApplicationProtocol => match conn.application_protocols {
                [] => Datum::Nothing,
                offered => Datum::Text(Cow::Owned(format!("'{}'", offered.join("','")).into_bytes())),
            },
            // Without TLS it cannot be told at all: then nothing matches, not even the opposite.
            Input::Names(kind) => conn.tls.map_or(Datum::NotYet, |tls| names(tls, kind)),
            Input::Subject => conn.tls.map_or(Datum::NotYet, |tls| {
                tls.peer_certificate().map_or(Datum::Nothing, |peer| Datum::unless_empty(&peer.subject))
            }),
            _ => Datum::Nothing,
        }
    }
}

/// All values of a header, joined with commas.
fn header<'a>(map: Option<&'a HeaderMap>, name: &'a HeaderName) -> Datum<'a> {
    match map {
        Some(map) => map.get_joined(name).map_or(Datum::Nothing, Datum::Text),
        None => Datum::NotYet,
    }
}

fn class(status: u16) -> Option<&'static str> {
    ["1xx", "2xx", "3xx", "4xx", "5xx"].get(usize::from(status / 100).checked_sub(1)?).copied()
}

fn names<'a>(tls: &'a TlsFacts, kind: &'a NameKind) -> Datum<'a> {
    let Some(peer) = tls.peer_certificate() else { return Datum::Nothing };
    let mut names = peer.names_of(kind);
    match (names.next(), names.next()) {
        (None, _) => Datum::Nothing,
        (Some(only), None) => Datum::unless_empty(only),
        _ => Datum::Text(Cow::Owned(peer.names_of(kind).collect::<Vec<_>>().join(",").into_bytes())),
    }
}

fn socket(address: &Address) -> Option<&SocketAddr> {
    match address {
        Address::Ip(address) => Some(address),
        Address::Pipe(_) | Address::Internal(_) => None,
    }
}
