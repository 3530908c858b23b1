//! TLS of both sides: what was agreed, and whose certificates were shown.

use super::{
    FormatCx,
    command::{Plain, Written},
    write,
};
use crate::{Certificate, NameKind, TlsFacts, hex};

fn downstream<'a>(cx: &FormatCx<'a>) -> Option<&'a TlsFacts> {
    cx.stream.conn.tls_facts.as_deref()
}

fn upstream<'a>(cx: &FormatCx<'a>) -> Option<&'a TlsFacts> {
    cx.stream.info.upstream.tls.as_deref()
}

fn local(facts: &TlsFacts) -> Option<&Certificate> {
    facts.local.as_deref()
}

fn peer(facts: &TlsFacts) -> Option<&Certificate> {
    facts.peer.first().map(|certificate| &**certificate)
}

/// The one above the peer's own, where the peer sent it.
fn issuer(facts: &TlsFacts) -> Option<&Certificate> {
    facts.peer.get(1).map(|certificate| &**certificate)
}

/// Texts joined by commas; none is absent.
fn list<T: AsRef<str>>(out: &mut Vec<u8>, texts: impl Iterator<Item = T>) -> Written {
    let start = out.len();
    for text in texts {
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(text.as_ref().as_bytes());
    }
    Written::text_if(out.len() > start)
}

fn names(out: &mut Vec<u8>, certificate: &Certificate, wanted: &NameKind) -> Written {
    list(out, certificate.names_of(wanted))
}

fn other_names(out: &mut Vec<u8>, certificate: &Certificate) -> Written {
    list(out, certificate.names.iter().filter(|(kind, _)| matches!(kind, NameKind::Other(_))).map(|(_, name)| name))
}

/// Commands about one side's facts, or about a certificate in them.
macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $side:ident $(. $whose:ident)? => |$of:ident, $out:ident| $write:expr;)*) => {
        $($(#[$doc])* pub(super) const $name: Plain = |cx, $out| {
            let Some($of) = $side(cx)$(.and_then($whose))? else { return Written::Absent };
            $write
        };)*
    };
}

commands! {
    DOWN_VERSION = downstream => |facts, out| write::non_empty(out, facts.version);
    DOWN_CIPHER = downstream => |facts, out| write::non_empty(out, facts.cipher);
    DOWN_GROUP = downstream => |facts, out| write::non_empty(out, facts.group);
    DOWN_LOCAL_SUBJECT = downstream.local => |own, out| write::non_empty(out, &own.subject);
    DOWN_LOCAL_DNS = downstream.local => |own, out| names(out, own, &NameKind::Dns);
    DOWN_LOCAL_URI = downstream.local => |own, out| names(out, own, &NameKind::Uri);
    DOWN_LOCAL_IP = downstream.local => |own, out| names(out, own, &NameKind::Ip);
    DOWN_LOCAL_EMAIL = downstream.local => |own, out| names(out, own, &NameKind::Email);
    DOWN_LOCAL_OTHER = downstream.local => |own, out| other_names(out, own);
    DOWN_PEER_SUBJECT = downstream.peer => |peer, out| write::non_empty(out, &peer.subject);
    DOWN_PEER_ISSUER = downstream.peer => |peer, out| write::non_empty(out, &peer.issuer);
    DOWN_PEER_SERIAL = downstream.peer => |peer, out| write::non_empty(out, &peer.serial);
    DOWN_PEER_DNS = downstream.peer => |peer, out| names(out, peer, &NameKind::Dns);
    DOWN_PEER_URI = downstream.peer => |peer, out| names(out, peer, &NameKind::Uri);
    DOWN_PEER_IP = downstream.peer => |peer, out| names(out, peer, &NameKind::Ip);
    DOWN_PEER_EMAIL = downstream.peer => |peer, out| names(out, peer, &NameKind::Email);
    DOWN_PEER_OTHER = downstream.peer => |peer, out| other_names(out, peer);
    DOWN_PEER_SHA256 = downstream.peer => |peer, out| write::non_empty(out, &hex(&peer.sha256));
    DOWN_PEER_SHA1 = downstream.peer => |peer, out| write::non_empty(out, &hex(&peer.sha1));
    DOWN_PEER_CERT = downstream.peer => |peer, out| write::non_empty(out, &peer.url_encoded_pem());
    DOWN_ISSUER_SHA256 = downstream.issuer => |issuer, out| write::non_empty(out, &hex(&issuer.sha256));
    DOWN_ISSUER_SERIAL = downstream.issuer => |issuer, out| write::non_empty(out, &issuer.serial);
    DOWN_CHAIN_SHA256 = downstream => |facts, out| list(out, facts.peer.iter().map(|of| hex(&of.sha256)));
    DOWN_CHAIN_SHA1 = downstream => |facts, out| list(out, facts.peer.iter().map(|of| hex(&of.sha1)));
    DOWN_CHAIN_SERIALS = downstream => |facts, out| list(out, facts.peer.iter().map(|of| of.serial.as_str()));
    UP_VERSION = upstream => |facts, out| write::non_empty(out, facts.version);
    UP_CIPHER = upstream => |facts, out| write::non_empty(out, facts.cipher);
    UP_GROUP = upstream => |facts, out| write::non_empty(out, facts.group);
    UP_SERVER_NAME = upstream => |facts, out| write::non_empty(out, facts.server_name.as_deref().unwrap_or_default());
    UP_LOCAL_DNS = upstream.local => |own, out| names(out, own, &NameKind::Dns);
    UP_LOCAL_URI = upstream.local => |own, out| names(out, own, &NameKind::Uri);
    UP_LOCAL_IP = upstream.local => |own, out| names(out, own, &NameKind::Ip);
    UP_PEER_SUBJECT = upstream.peer => |peer, out| write::non_empty(out, &peer.subject);
    UP_PEER_ISSUER = upstream.peer => |peer, out| write::non_empty(out, &peer.issuer);
    UP_PEER_DNS = upstream.peer => |peer, out| names(out, peer, &NameKind::Dns);
    UP_PEER_URI = upstream.peer => |peer, out| names(out, peer, &NameKind::Uri);
    UP_PEER_IP = upstream.peer => |peer, out| names(out, peer, &NameKind::Ip);
    UP_PEER_CERT = upstream.peer => |peer, out| write::non_empty(out, &peer.url_encoded_pem());
}

pub(super) fn downstream_failure(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::underscored(out, &cx.stream.conn.transport_failure)
}

/// Which certificate's validity.
pub(super) fn downstream_peer<'a>(cx: &FormatCx<'a>) -> Option<&'a Certificate> {
    downstream(cx).and_then(peer)
}

pub(super) fn upstream_peer<'a>(cx: &FormatCx<'a>) -> Option<&'a Certificate> {
    upstream(cx).and_then(peer)
}
