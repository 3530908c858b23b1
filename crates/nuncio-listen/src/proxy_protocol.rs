//! The listener filter `envoy.filters.listener.proxy_protocol`: who a client is, as the proxy before us says.

pub use nuncio_core::proxy_protocol::PassThrough;
use nuncio_core::proxy_protocol::{ProxyHeader, ProxyStart, ProxyVersion, parse};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use nuncio_core::{
    StateObject, Worker,
    internal::Passed,
    metadata::{MetadataValue, set_dynamic},
};
use nuncio_rt::{Buf, Deadline, Io};
use nuncio_stats::{
    CounterId, Lane, Scope, Store, stats_table,
    tables::listener_filters::{
        NOT_FOUND_ALLOWED, NOT_FOUND_DISALLOWED, PROXY_PROTOCOL, VERSIONS_V1_DISALLOWED, VERSIONS_V1_ERROR, VERSIONS_V1_FOUND,
        VERSIONS_V2_DISALLOWED, VERSIONS_V2_ERROR, VERSIONS_V2_FOUND,
    },
};
use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

stats_table! {
    /// A counter of Envoy's that stands outside any scope.
    pub PROXY_ERRORS: "proxy_proto_errors" {
        /// Connections refused by the filter.
        counter DOWNSTREAM_CX_PROXY_PROTO_ERROR = "downstream_cx_proxy_proto_error",
    }
}

/// `ProxyProtocol`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyProtocolRules {
    /// `allow_requests_without_proxy_protocol`.
    pub allow_without: bool,
    /// `disallowed_versions` has V1.
    pub disallow_v1: bool,
    /// `disallowed_versions` has V2.
    pub disallow_v2: bool,
    /// `stat_prefix`.
    pub stat_prefix: String,
    /// `pass_through_tlvs`: which TLVs are kept for hosts.
    pub pass_through: PassThrough,
    /// `rules`: which TLVs others may read.
    pub rules: Vec<TlvRule>,
    /// `tlv_location` is `FILTER_STATE`: they are one object there, not metadata.
    pub to_filter_state: bool,
}

/// `Rule`: a TLV for filters and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvRule {
    /// `tlv_type`
    pub kind: u8,
    /// `metadata_namespace`
    pub namespace: String,
    /// `key`
    pub key: String,
    /// `value_string_encoding` is `BASE64`; else bytes that are no text become `!`.
    pub base64: bool,
}

/// `metadata_namespace` when not set.
pub const NAMESPACE: &str = "envoy.filters.listener.proxy_protocol";

/// The object of the filter state that has the TLVs.
const OBJECT: &str = "envoy.network.proxy_protocol.tlv";

impl ProxyProtocolRules {
    /// Leaves what a header says beyond addresses for filters and logs.
    fn leave(&self, header: &ProxyHeader, passed: &mut Passed) {
        let mut object = BTreeMap::new();
        for (kind, value) in &header.tlvs {
            for rule in self.rules.iter().filter(|rule| rule.kind == *kind) {
                let text = if rule.base64 { STANDARD.encode(value) } else { sanitized(value) };
                if self.to_filter_state {
                    object.insert(rule.key.clone(), MetadataValue::Text(text));
                } else {
                    set_dynamic(&mut passed.metadata, &rule.namespace, &rule.key, MetadataValue::Text(text));
                }
            }
        }
        if !object.is_empty() {
            let mut value = Vec::new();
            MetadataValue::Struct(object).write_json(&mut value);
            passed.objects.push(StateObject { key: OBJECT.into(), value, json: true, ..StateObject::default() });
        }
    }
}

/// As a text: each byte that belongs to none is a `!`.
fn sanitized(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '!'));
    }
    text
}

/// The filter's statistics.
pub(crate) struct ProxyStats {
    scope: Arc<Scope>,
    errors: Arc<Scope>,
}

impl ProxyStats {
    pub(crate) fn new(store: &Arc<Store>, rules: &ProxyProtocolRules) -> ProxyStats {
        let prefix = match rules.stat_prefix.as_str() {
            "" => "proxy_proto.".to_owned(),
            prefix => format!("proxy_proto.{prefix}."),
        };
        ProxyStats { scope: store.scope(&prefix, &PROXY_PROTOCOL), errors: store.scope("", &PROXY_ERRORS) }
    }

    fn inc(&self, lane: Lane, id: CounterId) {
        self.scope.inc(lane, id);
    }
}

/// Why a connection goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The client went away.
    Closed,
    /// There is no header, or a wrong one.
    Refused,
    /// It took too long.
    TimedOut,
}

/// Reads the header in front of a connection. What comes behind it is in the buffer.
pub(crate) async fn read(
    io: &mut Io,
    rules: &ProxyProtocolRules,
    stats: &ProxyStats,
    worker: &Worker,
    deadline: &mut Deadline,
    passed: &mut Passed,
) -> Result<(Option<ProxyHeader>, Option<Buf>), Refusal> {
    let mut bytes = worker.bufs.get();
    let looked = poll_fn(|cx| match poll_look(cx, io, &mut bytes) {
        Poll::Ready(looked) => Poll::Ready(looked),
        Poll::Pending => deadline.poll(cx, nuncio_rt::Time::now()).map(|()| Err(Refusal::TimedOut)),
    })
    .await;
    let judged = looked.and_then(|start| judge(start, rules, stats, worker.lane));
    let rest = |mut bytes: Buf, consumed: usize| {
        bytes.consume(consumed);
        if bytes.is_empty() {
            worker.bufs.put(bytes);
            return None;
        }
        Some(bytes)
    };
    match judged {
        Ok((mut header, consumed)) => {
            header.iter().for_each(|header| rules.leave(header, passed));
            header.iter_mut().for_each(|header| header.tlvs.retain(|(kind, _)| rules.pass_through.has(*kind)));
            Ok((header, rest(bytes, consumed)))
        }
        Err(refusal) => {
            worker.bufs.put(bytes);
            Err(refusal)
        }
    }
}

fn judge(start: ProxyStart, rules: &ProxyProtocolRules, stats: &ProxyStats, lane: Lane) -> Result<(Option<ProxyHeader>, usize), Refusal> {
    match start {
        ProxyStart::Header(header, consumed) => {
            let (disallowed, found, refused) = match header.version {
                ProxyVersion::V1 => (rules.disallow_v1, VERSIONS_V1_FOUND, VERSIONS_V1_DISALLOWED),
                ProxyVersion::V2 => (rules.disallow_v2, VERSIONS_V2_FOUND, VERSIONS_V2_DISALLOWED),
            };
            if disallowed {
                // Not an error: its version is not wanted.
                stats.inc(lane, refused);
                return Err(Refusal::Refused);
            }
            stats.inc(lane, found);
            Ok((Some(header), consumed))
        }
        ProxyStart::Foreign | ProxyStart::Partial if rules.allow_without => {
            stats.inc(lane, NOT_FOUND_ALLOWED);
            Ok((None, 0))
        }
        ProxyStart::Foreign | ProxyStart::Partial => {
            stats.inc(lane, NOT_FOUND_DISALLOWED);
            stats.errors.inc(lane, DOWNSTREAM_CX_PROXY_PROTO_ERROR);
            Err(Refusal::Refused)
        }
        ProxyStart::Wrong(version) => {
            stats.inc(lane, if version == ProxyVersion::V1 { VERSIONS_V1_ERROR } else { VERSIONS_V2_ERROR });
            stats.errors.inc(lane, DOWNSTREAM_CX_PROXY_PROTO_ERROR);
            Err(Refusal::Refused)
        }
    }
}

fn poll_look(cx: &mut Context<'_>, io: &mut Io, bytes: &mut Buf) -> Poll<Result<ProxyStart, Refusal>> {
    loop {
        if !bytes.is_empty() {
            let start = parse(bytes.filled());
            if start != ProxyStart::Partial || bytes.room() == 0 {
                return Poll::Ready(Ok(start));
            }
        }
        match ready!(io.poll_read(cx, bytes)) {
            Ok(0) | Err(_) => return Poll::Ready(Err(Refusal::Closed)),
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_whatever_they_were() {
        assert_eq!(sanitized(b"r\xff\0w"), "r!\0w");
        assert_eq!(sanitized("gr\u{fc}n".as_bytes()), "gr\u{fc}n");
        let rule = |kind, key: &str, base64| TlvRule { kind, namespace: NAMESPACE.to_owned(), key: key.to_owned(), base64 };
        let mut rules = ProxyProtocolRules { rules: vec![rule(0xea, "vpce", false), rule(0xeb, "b", true)], ..ProxyProtocolRules::default() };
        let tlvs = vec![(0xea, b"\x01vpce-1".to_vec()), (0xeb, vec![0xff, 0xfe, 0]), (0xee, b"no".to_vec())];
        let header = ProxyHeader { version: ProxyVersion::V2, addresses: None, tlvs };
        let mut passed = Passed::default();
        rules.leave(&header, &mut passed);
        let said = |key| passed.metadata.get(NAMESPACE).and_then(|of| of.at([key])).cloned();
        assert_eq!(said("vpce"), Some(MetadataValue::Text("\u{1}vpce-1".to_owned())));
        assert_eq!(said("b"), Some(MetadataValue::Text("//4A".to_owned())));
        rules.to_filter_state = true;
        let mut passed = Passed::default();
        rules.leave(&header, &mut passed);
        assert!(passed.metadata.is_empty());
        assert_eq!(passed.objects[0].value, br#"{"b":"//4A","vpce":"\u0001vpce-1"}"#);
    }
}
