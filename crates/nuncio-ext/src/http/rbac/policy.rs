//! Permissions and principals: conditions on a request and on who sends it.

use nuncio_core::NameKind;
use nuncio_core::cel::Program;
use nuncio_core::StreamCx;
use nuncio_core::matching::{Cidr, HeaderMatch, MetadataMatcher, TextMatch};
use nuncio_core::metadata::Metadata;
use nuncio_rt::Address;
use std::net::SocketAddr;

/// One policy.
#[derive(Debug)]
pub(super) struct Policy {
    /// One of these must hold.
    pub(super) permissions: Vec<Condition>,
    /// And one of these.
    pub(super) principals: Vec<Condition>,
}

impl Policy {
    #[inline]
    pub(super) fn matches(&self, asked: &Asked<'_>) -> bool {
        self.permissions.iter().any(|condition| condition.holds(asked)) && self.principals.iter().any(|condition| condition.holds(asked))
    }
}

/// A request, and what many conditions ask of it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'r> {
    cx: &'r StreamCx,
    /// Its path without query and fragment.
    path: Option<&'r [u8]>,
}

impl<'r> Asked<'r> {
    pub(super) fn of(cx: &'r StreamCx) -> Asked<'r> {
        Asked { cx, path: cx.request.path().map(path) }
    }
}

/// A permission or a principal.
#[derive(Debug)]
pub(super) enum Condition {
    /// Always.
    Any,
    /// Never.
    Never,
    /// A condition in CEL.
    Cel(Program),
    /// All of them.
    All(Vec<Condition>),
    /// One of them.
    Or(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
    /// A header.
    Header(HeaderMatch),
    /// The path without its query.
    Path(TextMatch),
    /// The address that the client connected to.
    LocalIp(Cidr),
    /// Its port, from the first to before the second.
    LocalPort(u32, u32),
    /// The server name of the client's hello.
    ServerName(TextMatch),
    /// Where the connection comes from.
    DirectRemoteIp(Cidr),
    /// Where the connection comes from, as listener filters found it.
    SourceIp(Cidr),
    /// Where the request comes from, as trusted headers tell it.
    RemoteIp(Cidr),
    /// The connection is TLS.
    Tls,
    /// A URI or DNS name of the client's certificate, or its subject.
    Certificate(TextMatch),
    /// Dynamic metadata.
    Metadata(MetadataMatcher),
    /// The route's metadata.
    RouteMetadata(MetadataMatcher),
    /// An object of the filter state.
    FilterState(Box<str>, TextMatch),
}

fn ip(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Ip(address) => Some(*address),
        Address::Pipe(_) | Address::Internal(_) => None,
    }
}

impl Condition {
    fn holds(&self, asked: &Asked<'_>) -> bool {
        let Asked { cx, path } = *asked;
        let within = |range: &Cidr, address: &Address| ip(address).is_some_and(|address| range.contains(address.ip()));
        match self {
            Condition::Any => true,
            Condition::Never => false,
            Condition::Cel(program) => program.holds(cx),
            Condition::All(all) => all.iter().all(|condition| condition.holds(asked)),
            Condition::Or(any) => any.iter().any(|condition| condition.holds(asked)),
            Condition::Not(condition) => !condition.holds(asked),
            Condition::Header(header) => header.matches(&cx.request),
            Condition::Path(wanted) => path.is_some_and(|path| wanted.matches(path)),
            Condition::LocalIp(range) => within(range, &cx.conn.local),
            Condition::LocalPort(first, end) => {
                ip(&cx.conn.local).is_some_and(|address| (*first..*end).contains(&u32::from(address.port())))
            }
            Condition::ServerName(wanted) => wanted.matches(cx.conn.server_name.as_deref().unwrap_or_default().as_bytes()),
            Condition::DirectRemoteIp(range) => within(range, &cx.conn.direct_remote),
            Condition::SourceIp(range) => within(range, &cx.conn.remote),
            Condition::RemoteIp(range) => within(range, cx.info.remote.as_ref().unwrap_or(&cx.conn.remote)),
            Condition::Tls => cx.conn.tls,
            Condition::Certificate(name) => cx.conn.tls_facts.as_deref().is_some_and(|facts| {
                let Some(peer) = facts.peer_certificate() else { return name.matches(b"") };
                let mut names = peer.names_of(&NameKind::Uri).chain(peer.names_of(&NameKind::Dns));
                names.any(|own| name.matches(own.as_bytes())) || name.matches(peer.subject.as_bytes())
            }),
            Condition::Metadata(wanted) => wanted.matches(&cx.metadata),
            Condition::RouteMetadata(wanted) => {
                let none = Metadata::new();
                wanted.matches(cx.route.as_ref().and_then(|route| route.view()?.metadata()).unwrap_or(&none))
            }
            Condition::FilterState(key, wanted) => cx.filter_state.get(key).is_some_and(|value| wanted.matches(value)),
        }
    }
}

/// The path of a request target, without query and fragment.
fn path(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    &target[..end]
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_path_has_no_query() {
        assert_eq!((path(b"/a?b#c"), path(b"/a#c?b"), path(b"/a")), (&b"/a"[..], &b"/a"[..], &b"/a"[..]));
    }
}
