//! `core.v3.Address` as addresses to connect to.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_rt::{Address, InternalAddress};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What an address field says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// IP and port, a path, or a listener of this process.
    Ready(Address),
    /// A name to be looked up.
    Name {
        /// Host name.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Reads an address; `None` after a report: a named port, UDP where TCP is meant.
pub fn parse(cx: &mut CompileCx<'_>, address: &core::Address) -> Option<Parsed> {
    let core::Address { address } = address;
    match address.as_ref()? {
        core::address::Address::SocketAddress(address) => cx.at("socket_address", |cx| {
            let (host, port) = host_and_port(cx, address)?;
            Some(match host.parse::<IpAddr>() {
                Ok(ip) => Parsed::Ready(Address::Ip(SocketAddr::new(ip, port))),
                Err(_) => Parsed::Name { host: host.to_owned(), port },
            })
        }),
        core::address::Address::Pipe(core::Pipe { path, mode }) => cx.at("pipe", |cx| {
            // The mode is of use to listeners only.
            let _ = mode;
            if path.len() > MAX_PIPE_PATH {
                let message = format!("the path of a socket has at most {MAX_PIPE_PATH} bytes, this has {}", path.len());
                cx.error(codes::BAD_ADDRESS, message)
                    .envoy(format!("Path \"{path}\" exceeds maximum UNIX domain socket path size of {MAX_PIPE_PATH}."));
                return None;
            }
            Some(Parsed::Ready(Address::Pipe(path.into())))
        }),
        core::address::Address::EnvoyInternalAddress(internal) => {
            let core::EnvoyInternalAddress { endpoint_id, address_name_specifier } = internal;
            let core::envoy_internal_address::AddressNameSpecifier::ServerListenerName(listener) = address_name_specifier.as_ref()?;
            let to = InternalAddress { listener: listener.as_str().into(), endpoint: endpoint_id.as_str().into() };
            Some(Parsed::Ready(Address::Internal(Arc::new(to))))
        }
    }
}

/// `sockaddr_un` holds no more, on Linux.
const MAX_PIPE_PATH: usize = 107;

/// A resolver that Envoy has beside the one for IP addresses.
const REVERSE_CONNECTION: &str = "envoy.resolvers.reverse_connection";

/// Host and numeric port of a socket address; reports what is not built.
pub fn host_and_port<'p>(cx: &mut CompileCx<'_>, address: &'p core::SocketAddress) -> Option<(&'p str, u16)> {
    let core::SocketAddress { protocol, address, resolver_name, ipv4_compat, network_namespace_filepath, port_specifier } = address;
    // Whether a listener is for UDP is its own affair; for hosts Envoy does not look at it.
    let _ = protocol;
    crate::unbuilt!(cx, ipv4_compat, network_namespace_filepath);
    if resolver_name == REVERSE_CONNECTION {
        cx.without_effect("resolver_name");
        return None;
    }
    if !resolver_name.is_empty() && resolver_name != "envoy.ip" {
        cx.at("resolver_name", |cx| {
            cx.error(codes::BAD_ADDRESS, format!("there is no resolver `{resolver_name}`"))
                .envoy(format!("Unknown address resolver: {resolver_name}"))
                .help("leave resolver_name out; a cluster of type STRICT_DNS or LOGICAL_DNS looks names up");
        });
        return None;
    }
    let port = match port_specifier {
        Some(core::socket_address::PortSpecifier::PortValue(port)) => *port,
        Some(core::socket_address::PortSpecifier::NamedPort(name)) => {
            cx.at("named_port", |cx| {
                cx.error(codes::BAD_ADDRESS, format!("a port is a number here, not the name `{name}`"))
                    .envoy("IP resolver can't handle port specifier type 2");
            });
            return None;
        }
        None => 0,
    };
    Some((address, u16::try_from(port).unwrap_or_default()))
}

/// An address that must be an IP and a port.
pub fn socket_addr(cx: &mut CompileCx<'_>, address: &core::SocketAddress) -> Option<SocketAddr> {
    let (host, port) = host_and_port(cx, address)?;
    match host.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, port)),
        Err(_) => {
            not_an_ip(cx, host, "");
            None
        }
    }
}

/// Reports a host name where an IP address is needed; `advice` is the end of Envoy's sentence.
pub fn not_an_ip(cx: &mut CompileCx<'_>, host: &str, advice: &str) {
    cx.at("address", |cx| {
        let finding = cx.error(codes::BAD_ADDRESS, format!("`{host}` is not an IP address"));
        finding.envoy(format!("malformed IP address: {host}{advice}"));
        if !advice.is_empty() {
            finding.help("a cluster of `type: STRICT_DNS` looks names up");
        }
    });
}
