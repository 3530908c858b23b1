//! The listener filter `envoy.filters.listener.proxy_protocol`: who a client is, as the proxy before us says.

pub use nuncio_core::proxy_protocol::PassThrough;
use nuncio_core::proxy_protocol::{ProxyHeader, ProxyStart, ProxyVersion, parse};
use nuncio_core::Worker;
use nuncio_rt::{Buf, Deadline, Io};
use nuncio_stats::{
    CounterId, Lane, Scope, Store, stats_table,
    tables::listener_filters::{
        NOT_FOUND_ALLOWED, NOT_FOUND_DISALLOWED, PROXY_PROTOCOL, VERSIONS_V1_DISALLOWED, VERSIONS_V1_ERROR, VERSIONS_V1_FOUND,
        VERSIONS_V2_DISALLOWED, VERSIONS_V2_ERROR, VERSIONS_V2_FOUND,
    },
};
use std::{
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
