//! What a request counts as for rate limits: descriptors, made by the actions of routes (`envoy.config.route.v3.RateLimit`).
//!
//! Which descriptors are limited, and how, is the filters' business.

use crate::format::Format;
use crate::matching::{HeaderMatch, QueryMatch, parameter};
use crate::metadata::MetadataValue;
use crate::{RuntimeValues, StreamCx};
use nuncio_codec::headers::HeaderName;
use nuncio_rt::Address;
use std::{borrow::Cow, net::IpAddr};

/// `RateLimit`: actions that together make one descriptor.
#[derive(Debug)]
pub struct RateLimitPolicy {
    /// Filters take the policies of their own stage.
    pub stage: u32,
    /// The policy is off while `ratelimit.<key>.http_filter_enabled` says 0.
    pub disable_key: Box<str>,
    /// One action after the other adds its entry.
    pub actions: Box<[RateLimitAction]>,
    /// How much a request counts; 1 unless told.
    pub hits: Hits,
    /// `hits_addend.is_negative_hits`: the service gives so many back.
    pub negative_hits: bool,
    /// Another limit for it than the service's own (`limit`).
    pub limit: Option<LimitSource>,
    /// The request counts when its exchange is over (`apply_on_stream_done`).
    pub on_stream_done: bool,
}

/// `hits_addend`
#[derive(Debug)]
pub enum Hits {
    /// Not told.
    One,
    /// A number.
    Number(u64),
    /// What the exchange makes of a format, if it is a number.
    Format(Format),
}

impl Hits {
    fn of(&self, cx: &StreamCx) -> Option<u64> {
        match self {
            Hits::One => None,
            Hits::Number(number) => Some(*number),
            Hits::Format(format) => {
                let mut text = Vec::new();
                format.write(cx, &mut text);
                std::str::from_utf8(&text).ok()?.parse().ok()
            }
        }
    }
}

/// Where a limit comes from.
#[derive(Debug)]
pub enum LimitSource {
    /// Always this.
    Fixed(LimitOverride),
    /// A structure in the exchange's metadata.
    Metadata {
        /// Namespace.
        namespace: Box<str>,
        /// Keys from the outside in.
        path: Box<[Box<str>]>,
    },
}

impl LimitSource {
    fn of(&self, cx: &StreamCx) -> Option<LimitOverride> {
        let (namespace, path) = match self {
            LimitSource::Fixed(limit) => return Some(limit.clone()),
            LimitSource::Metadata { namespace, path } => (namespace, path),
        };
        let MetadataValue::Struct(fields) = cx.metadata.get(&**namespace)?.at(path.iter().map(|key| &**key))? else { return None };
        match (fields.get("requests_per_unit")?, fields.get("unit")?) {
            (MetadataValue::Number(requests), MetadataValue::Text(unit)) if *requests >= 0.0 => {
                Some(LimitOverride { requests_per_unit: *requests as u32, unit: unit.as_str().into() })
            }
            _ => None,
        }
    }
}

/// A limit that stands in the place of the service's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitOverride {
    /// Requests in one unit of time.
    pub requests_per_unit: u32,
    /// `SECOND`, `MINUTE`…
    pub unit: Box<str>,
}

/// `RateLimit.Action`.
#[derive(Debug)]
pub enum RateLimitAction {
    /// The cluster we belong to.
    SourceCluster(Box<str>),
    /// The cluster the route names.
    DestinationCluster,
    /// The value of a header.
    RequestHeader {
        /// The header.
        name: HeaderName,
        /// The entry's key.
        key: Box<str>,
        /// Without it the descriptor goes without the entry, instead of not being made.
        skip_if_absent: bool,
    },
    /// The value of a query parameter.
    QueryParameter {
        /// Its name.
        name: Box<[u8]>,
        /// The entry's key.
        key: Box<str>,
        /// As for headers.
        skip_if_absent: bool,
    },
    /// The client's address.
    RemoteAddress,
    /// The client's network.
    MaskedRemoteAddress {
        /// Bits of an IPv4 address.
        v4: u8,
        /// Bits of an IPv6 address.
        v6: u8,
    },
    /// An entry of its own.
    GenericKey {
        /// The entry's key.
        key: Box<str>,
        /// Its value.
        value: DescriptorValue,
    },
    /// An entry for requests whose headers match.
    HeaderValueMatch {
        /// The entry's key.
        key: Box<str>,
        /// Its value.
        value: DescriptorValue,
        /// Whether they shall match.
        expect: bool,
        /// All of these.
        headers: Box<[HeaderMatch]>,
    },
    /// An entry for requests whose query parameters match.
    QueryParameterValueMatch {
        /// The entry's key.
        key: Box<str>,
        /// Its value.
        value: DescriptorValue,
        /// Whether they shall match.
        expect: bool,
        /// All of these.
        parameters: Box<[QueryMatch]>,
    },
    /// A text from metadata.
    Metadata {
        /// The entry's key.
        key: Box<str>,
        /// The route's metadata instead of the exchange's.
        of_route: bool,
        /// Namespace.
        namespace: Box<str>,
        /// Keys from the outside in.
        path: Box<[Box<str>]>,
        /// In the place of what is not there; may be empty.
        default: Box<str>,
        /// As for headers.
        skip_if_absent: bool,
    },
    /// An action that is not built: no descriptor is made.
    Never,
}

/// An entry's value: a text, or one made from the exchange, with a default for where that is empty.
#[derive(Debug)]
pub struct DescriptorValue {
    /// The value.
    pub format: Format,
    /// In its place when it is empty.
    pub default: Box<str>,
}

impl DescriptorValue {
    fn of(&self, cx: &StreamCx) -> Option<String> {
        let mut text = Vec::new();
        self.format.write(cx, &mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        if !text.is_empty() {
            return Some(text);
        }
        (!self.default.is_empty()).then(|| self.default.to_string())
    }
}

/// What a request counts as: keys and values in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Keys and values.
    pub entries: Vec<(Box<str>, String)>,
    /// How much the request counts, where that is told; 1 otherwise.
    pub hits: Option<u64>,
    /// They are given back.
    pub negative_hits: bool,
    /// Another limit for it.
    pub limit: Option<LimitOverride>,
}

impl RateLimitPolicy {
    /// The descriptor of a request; `None` if the policy does not apply to it.
    pub fn descriptor(&self, cx: &StreamCx) -> Option<Descriptor> {
        if !self.disable_key.is_empty() && self.is_off(&cx.worker.runtime.values(), cx.worker.rng.next_u64()) {
            return None;
        }
        let mut entries = Vec::with_capacity(self.actions.len());
        for action in &self.actions {
            action.add(cx, &mut entries)?;
        }
        let limit = self.limit.as_ref().and_then(|limit| limit.of(cx));
        (!entries.is_empty()).then(|| Descriptor { entries, hits: self.hits.of(cx), negative_hits: self.negative_hits, limit })
    }

    fn is_off(&self, runtime: &RuntimeValues, random: u64) -> bool {
        let key = format!("ratelimit.{}.http_filter_enabled", self.disable_key);
        runtime.get(&key).and_then(|value| value.fraction).is_some_and(|fraction| !fraction.holds(random))
    }
}

/// Adds the entry of an action that may do without one.
fn or_skip(entries: &mut Vec<(Box<str>, String)>, key: &str, value: Option<Cow<'_, str>>, skip_if_absent: bool) -> Option<()> {
    match value {
        Some(value) => entries.push((key.into(), value.into_owned())),
        None if !skip_if_absent => return None,
        None => {}
    }
    Some(())
}

impl RateLimitAction {
    /// `None` when there shall be no descriptor.
    fn add(&self, cx: &StreamCx, entries: &mut Vec<(Box<str>, String)>) -> Option<()> {
        let mut add = |key: &str, value: String| entries.push((key.into(), value));
        match self {
            RateLimitAction::SourceCluster(name) => add("source_cluster", name.to_string()),
            RateLimitAction::DestinationCluster => {
                add("destination_cluster", cx.route.as_ref()?.cluster_name(cx)?.to_owned());
            }
            RateLimitAction::RequestHeader { name, key, skip_if_absent } => {
                let value = cx.request.get(name).map(String::from_utf8_lossy);
                return or_skip(entries, key, value, *skip_if_absent);
            }
            RateLimitAction::QueryParameter { name, key, skip_if_absent } => {
                let value = parameter(query(cx), name).map(String::from_utf8_lossy);
                return or_skip(entries, key, value, *skip_if_absent);
            }
            RateLimitAction::RemoteAddress => add("remote_address", remote(cx)?.to_string()),
            RateLimitAction::MaskedRemoteAddress { v4, v6 } => add("masked_remote_address", masked(remote(cx)?, *v4, *v6)),
            RateLimitAction::GenericKey { key, value } => add(key, value.of(cx)?),
            RateLimitAction::HeaderValueMatch { key, value, expect, headers } => {
                if headers.iter().all(|header| header.matches(&cx.request)) != *expect {
                    return None;
                }
                add(key, value.of(cx)?);
            }
            RateLimitAction::QueryParameterValueMatch { key, value, expect, parameters } => {
                if parameters.iter().all(|parameter| parameter.matches(query(cx))) != *expect {
                    return None;
                }
                add(key, value.of(cx)?);
            }
            RateLimitAction::Metadata { key, of_route, namespace, path, default, skip_if_absent } => {
                let of = if *of_route { cx.route.as_ref().and_then(|route| route.view()?.metadata()) } else { Some(&cx.metadata) };
                let found = of.and_then(|metadata| metadata.get(&**namespace)?.at(path.iter().map(|key| &**key)));
                let text = match found {
                    Some(MetadataValue::Text(text)) if !text.is_empty() => Some(text.as_str()),
                    _ => Some(&**default).filter(|default| !default.is_empty()),
                };
                return or_skip(entries, key, text.map(Cow::Borrowed), *skip_if_absent);
            }
            RateLimitAction::Never => return None,
        }
        Some(())
    }
}

fn query(cx: &StreamCx) -> &[u8] {
    let target = cx.request.path().unwrap_or_default();
    target.iter().position(|&b| b == b'?').map_or(&[], |at| &target[at + 1..])
}

fn remote(cx: &StreamCx) -> Option<IpAddr> {
    match cx.info.remote.as_ref().unwrap_or(&cx.conn.remote) {
        Address::Ip(address) => Some(address.ip()),
        Address::Pipe(_) | Address::Internal(_) => None,
    }
}

/// The network of an address, `10.1.0.0/16`.
fn masked(address: IpAddr, v4: u8, v6: u8) -> String {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4.min(32))).unwrap_or(0);
            format!("{}/{}", std::net::Ipv4Addr::from_bits(ip.to_bits() & mask), v4.min(32))
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6.min(128))).unwrap_or(0);
            format!("{}/{}", std::net::Ipv6Addr::from_bits(ip.to_bits() & mask), v6.min(128))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_cut_to_their_bits() {
        assert_eq!(masked([10, 1, 2, 3].into(), 16, 64), "10.1.0.0/16");
        assert_eq!(masked([10, 1, 2, 3].into(), 32, 64), "10.1.2.3/32");
        assert_eq!(masked([10, 1, 2, 3].into(), 0, 64), "0.0.0.0/0");
    }
}
