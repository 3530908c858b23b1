//! The way to a host that is checked, or asked for its load.

use super::config::HealthCheckConfig;
use crate::host::Host;
use crate::manager::Cluster;
use crate::transport::Dial;
use nuncio_core::metadata::Metadata;
use nuncio_rt::{Address, Io, TcpOptions};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

/// Opens connections to one host, and says whether they are kept between checks.
#[derive(Debug)]
pub(crate) struct Door {
    to: Address,
    options: Arc<TcpOptions>,
    dial: Dial,
    /// `reuse_connection`.
    pub(super) reuse: bool,
}

impl Door {
    pub(super) fn new(config: &HealthCheckConfig, host: &Host, cluster: &Cluster) -> Door {
        // What is said over HTTP/2 is announced, where nothing else is to be.
        let http2 = ["h2".to_owned()];
        let protocols = if config.alpn_protocols.is_empty() && config.kind.is_http2() { &http2[..] } else { &config.alpn_protocols };
        Door {
            to: check_address(host),
            options: cluster.info.tcp_options(),
            dial: Dial::new(&cluster.info, host, protocols, config.transport_criteria.as_deref()),
            reuse: config.reuse_connection,
        }
    }

    /// To a host that is spoken to over HTTP/2, at this port where it is not its own.
    pub(crate) fn http2(host: &Host, cluster: &Cluster, port: Option<u16>, criteria: Option<&Metadata>) -> Door {
        let mut to = (*host.address).clone();
        if let (Address::Ip(address), Some(port)) = (&mut to, port) {
            address.set_port(port);
        }
        let dial = Dial::new(&cluster.info, host, &["h2".to_owned()], criteria);
        Door { to, options: cluster.info.tcp_options(), dial, reuse: false }
    }

    /// A new connection.
    pub(super) async fn open(&self) -> io::Result<Io> {
        self.dial.secure(nuncio_rt::connect(&self.to, &self.options, Duration::MAX).await?).await
    }

    /// The connection of the last check, if it may still be used.
    pub(super) fn kept(&self, kept: &mut Option<Io>) -> Option<Io> {
        kept.take().and_then(|mut io| io.is_quiet().then_some(io))
    }

    /// Where it leads, if that is a socket address.
    pub(super) fn socket_addr(&self) -> Option<SocketAddr> {
        if let Address::Ip(to) = self.to { Some(to) } else { None }
    }

    /// The connection of the last check if it may still be used, else a new one.
    pub(super) async fn enter(&self, kept: &mut Option<Io>) -> io::Result<Io> {
        match self.kept(kept) {
            Some(io) => Ok(io),
            None => self.open().await,
        }
    }

    #[cfg(test)]
    pub(super) fn to(to: Address) -> Door {
        Door { to, options: Arc::default(), dial: Dial::plain(), reuse: true }
    }
}

/// Where a host is checked: its own address unless its `health_check_config` says otherwise.
fn check_address(host: &Host) -> Address {
    let mut to = host.health_check.address.clone().unwrap_or_else(|| (*host.address).clone());
    if let Address::Ip(address) = &mut to
        && host.health_check.port != 0
    {
        address.set_port(host.health_check.port);
    }
    to
}
