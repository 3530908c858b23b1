//! The upstream side: cluster, host, connection, attempts.

use super::{
    FormatCx,
    address::{self, IpOrPath},
    command::{Args, Command, Written},
    write,
};
use crate::{StreamCx, UpstreamFacts};
use nuncio_rt::Address;

fn facts<'a>(cx: &FormatCx<'a>) -> &'a UpstreamFacts {
    &cx.stream.info.upstream
}

pub(super) fn cluster(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::non_empty(out, facts(cx).cluster.as_ref().map_or("", |cluster| &cluster.display_name))
}

pub(super) fn cluster_raw(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::non_empty(out, facts(cx).cluster.as_ref().map_or("", |cluster| &cluster.name))
}

pub(super) fn connection_id(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::decimal(out, facts(cx).connection_id)
}

pub(super) fn protocol(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::word(out, facts(cx).protocol.map_or("", |protocol| protocol.name()))
}

pub(super) fn attempts(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::decimal(out, u64::from(cx.stream.info.attempts))
}

pub(super) fn transport_failure(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::underscored(out, &facts(cx).transport_failure)
}

/// Absent where no host was picked.
pub(super) fn close_type(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    if facts(cx).host.is_none() {
        return Written::Absent;
    }
    write::word(out, facts(cx).close_type.name())
}

fn host_of(stream: &StreamCx) -> Option<IpOrPath<'_>> {
    stream.info.upstream.host.as_ref().map(|host| (&*host.address).into())
}

/// The host's name; empty if it has none.
fn name_of(upstream: &UpstreamFacts) -> &str {
    upstream.host.as_ref().map_or("", |host| &host.name)
}

/// Unlike the host, known only once a connection to it stood.
fn remote_of(stream: &StreamCx) -> Option<IpOrPath<'_>> {
    if stream.info.upstream.is_connected() { host_of(stream) } else { None }
}

fn local_of(stream: &StreamCx) -> Option<IpOrPath<'_>> {
    let upstream = &stream.info.upstream;
    let to_ourselves = || matches!(remote_of(stream)?, IpOrPath::Internal(_)).then_some(IpOrPath::InternalClient);
    upstream.local.map(IpOrPath::Ip).or_else(to_ourselves)
}

pub(super) fn host(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    let Some(host) = &cx.stream.info.upstream.host else { return Written::Absent };
    match &*host.address {
        Address::Ip(_) => {
            out.extend_from_slice(host.address_text().as_bytes());
            Written::Plain
        }
        Address::Pipe(_) | Address::Internal(_) => address::whole(host_of(cx.stream), out),
    }
}

pub(super) fn local(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    address::whole(local_of(cx.stream), out)
}

pub(super) fn local_without_port(args: Args<'_>) -> Result<Command, String> {
    address::masked(args, local_of)
}

pub(super) fn local_port(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    address::port(local_of(cx.stream), out)
}

pub(super) fn remote(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    address::whole(remote_of(cx.stream), out)
}

pub(super) fn remote_without_port(args: Args<'_>) -> Result<Command, String> {
    address::masked(args, remote_of)
}

pub(super) fn remote_port(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    address::port(remote_of(cx.stream), out)
}

pub(super) fn remote_endpoint_id(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    address::endpoint_id(remote_of(cx.stream), out)
}

/// A host under one of its names.
type Show = fn(Option<IpOrPath<'_>>, &str, &mut Vec<u8>) -> Written;

fn show_address(address: Option<IpOrPath<'_>>, _: &str, out: &mut Vec<u8>) -> Written {
    address::whole(address, out)
}

fn show_ip(address: Option<IpOrPath<'_>>, _: &str, out: &mut Vec<u8>) -> Written {
    address::without_port(address, out)
}

/// The host name; the address where there is none.
fn show_name(address: Option<IpOrPath<'_>>, name: &str, out: &mut Vec<u8>) -> Written {
    if name.is_empty() { address::whole(address, out) } else { write::non_empty(out, name) }
}

fn show_bare_name(address: Option<IpOrPath<'_>>, name: &str, out: &mut Vec<u8>) -> Written {
    if name.is_empty() {
        return address::without_port(address, out);
    }
    let bare = match name.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => name,
    };
    write::non_empty(out, bare)
}

pub(super) fn host_name(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    show_name(host_of(cx.stream), name_of(facts(cx)), out)
}

pub(super) fn host_name_without_port(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    show_bare_name(host_of(cx.stream), name_of(facts(cx)), out)
}

/// The hosts that got a connection. As in Envoy, which means to list those of all attempts, that is the last attempt's.
fn attempted(cx: &FormatCx<'_>, out: &mut Vec<u8>, show: Show) -> Written {
    let upstream = facts(cx);
    let start = out.len();
    if upstream.is_connected() {
        show(host_of(cx.stream), name_of(upstream), out);
    }
    Written::text_if(out.len() > start)
}

pub(super) fn hosts_attempted(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    attempted(cx, out, show_address)
}

pub(super) fn hosts_attempted_without_port(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    attempted(cx, out, show_ip)
}

pub(super) fn host_names_attempted(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    attempted(cx, out, show_name)
}

pub(super) fn host_names_attempted_without_port(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    attempted(cx, out, show_bare_name)
}

pub(super) fn connection_ids_attempted(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    match facts(cx).connection_id {
        0 => Written::Absent,
        id => {
            write::decimal(out, id);
            Written::Text
        }
    }
}
