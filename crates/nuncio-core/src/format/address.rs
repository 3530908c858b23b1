//! Addresses of the client's connection; the forms every address can be printed in.

use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written},
    write,
};
use crate::StreamCx;
use nuncio_rt::{Address, INTERNAL_CLIENT, InternalAddress};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Finds an address of an exchange.
pub(super) type Find = fn(&StreamCx) -> Option<IpOrPath<'_>>;

/// An address as commands see it.
#[derive(Debug, Clone, Copy)]
pub(super) enum IpOrPath<'a> {
    /// IP address and port.
    Ip(std::net::SocketAddr),
    /// Path of a unix domain socket.
    Path(&'a std::path::Path),
    /// A listener of this process.
    Internal(&'a InternalAddress),
    /// The end that is connected to one.
    InternalClient,
}

impl<'a> From<&'a Address> for IpOrPath<'a> {
    fn from(address: &'a Address) -> Self {
        match address {
            Address::Ip(socket) => IpOrPath::Ip(*socket),
            Address::Pipe(path) => IpOrPath::Path(path),
            Address::Internal(address) => IpOrPath::Internal(address),
        }
    }
}

/// `127.0.0.1:80`, `[::1]:80`, `/run/s`.
pub(super) fn whole(address: Option<IpOrPath<'_>>, out: &mut Vec<u8>) -> Written {
    match address {
        Some(IpOrPath::Ip(socket)) => write::socket(out, socket),
        Some(IpOrPath::Path(path)) if !path.as_os_str().is_empty() => write::display(out, path.display()),
        Some(IpOrPath::Internal(address)) => write::display(out, address),
        Some(IpOrPath::InternalClient) => write::word(out, INTERNAL_CLIENT),
        Some(IpOrPath::Path(_)) | None => Written::Absent,
    }
}

/// `127.0.0.1`, `::1`, `/run/s`.
pub(super) fn without_port(address: Option<IpOrPath<'_>>, out: &mut Vec<u8>) -> Written {
    match address {
        Some(IpOrPath::Ip(socket)) => write::ip(out, socket.ip()),
        other => whole(other, out),
    }
}

/// `80`; absent for a path.
pub(super) fn port(address: Option<IpOrPath<'_>>, out: &mut Vec<u8>) -> Written {
    match address {
        Some(IpOrPath::Ip(socket)) => write::decimal(out, u64::from(socket.port())),
        // They have none, and say so.
        Some(IpOrPath::Internal(_) | IpOrPath::InternalClient) => Written::text_if(true),
        Some(IpOrPath::Path(_)) | None => Written::Absent,
    }
}

/// Only internal addresses have an endpoint ID: an empty text for all others.
pub(super) fn endpoint_id(address: Option<IpOrPath<'_>>, out: &mut Vec<u8>) -> Written {
    if let Some(IpOrPath::Internal(address)) = address {
        out.extend_from_slice(address.endpoint.as_bytes());
    }
    Written::text_if(address.is_some())
}

/// An address without port, masked to a prefix length: `127.0.0.0/16`.
#[derive(Debug)]
struct Masked {
    find: Find,
    prefix_len: Option<u8>,
}

impl Parametric for Masked {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let address = (self.find)(cx.stream);
        match (address, self.prefix_len) {
            (Some(IpOrPath::Ip(socket)), Some(len)) => match socket.ip() {
                IpAddr::V4(ip) => {
                    let len = len.min(32);
                    let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                    write::display(out, format_args!("{}/{len}", Ipv4Addr::from_bits(ip.to_bits() & mask)))
                }
                IpAddr::V6(ip) => {
                    let len = len.min(128);
                    let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                    write::display(out, format_args!("{}/{len}", Ipv6Addr::from_bits(ip.to_bits() & mask)))
                }
            },
            _ => without_port(address, out),
        }
    }
}

/// `…_WITHOUT_PORT[(prefix length)]`; a parameter that is no number is ignored, as Envoy does.
pub(super) fn masked(args: Args<'_>, find: Find) -> Result<Command, String> {
    let prefix_len = args.params.parse::<u32>().ok().map(|len| u8::try_from(len).unwrap_or(u8::MAX));
    Ok(Command::with(Masked { find, prefix_len }))
}

fn remote_of(stream: &StreamCx) -> Option<IpOrPath<'_>> {
    Some(stream.info.remote.as_ref().unwrap_or(&stream.conn.remote).into())
}

fn direct_remote_of(stream: &StreamCx) -> Option<IpOrPath<'_>> {
    Some((&stream.conn.direct_remote).into())
}

fn local_of(stream: &StreamCx) -> Option<IpOrPath<'_>> {
    Some((&stream.conn.local).into())
}

pub(super) fn remote(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    whole(remote_of(cx.stream), out)
}

pub(super) fn remote_without_port(args: Args<'_>) -> Result<Command, String> {
    masked(args, remote_of)
}

pub(super) fn remote_port(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    port(remote_of(cx.stream), out)
}

pub(super) fn direct_remote(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    whole(direct_remote_of(cx.stream), out)
}

pub(super) fn direct_remote_without_port(args: Args<'_>) -> Result<Command, String> {
    masked(args, direct_remote_of)
}

pub(super) fn direct_remote_port(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    port(direct_remote_of(cx.stream), out)
}

pub(super) fn local(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    whole(local_of(cx.stream), out)
}

pub(super) fn local_without_port(args: Args<'_>) -> Result<Command, String> {
    masked(args, local_of)
}

pub(super) fn local_port(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    port(local_of(cx.stream), out)
}

pub(super) fn local_endpoint_id(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    endpoint_id(local_of(cx.stream), out)
}

fn direct_local_of(stream: &StreamCx) -> Option<IpOrPath<'_>> {
    crate::original_dst::taken_at(&stream.conn).map(IpOrPath::Ip).or_else(|| local_of(stream))
}

/// `%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%`
pub(super) fn direct_local(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    whole(direct_local_of(cx.stream), out)
}

pub(super) fn direct_local_without_port(args: Args<'_>) -> Result<Command, String> {
    masked(args, direct_local_of)
}

pub(super) fn direct_local_port(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    port(direct_local_of(cx.stream), out)
}
