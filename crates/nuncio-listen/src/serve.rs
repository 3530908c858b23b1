//! From a connection whose filter chain is chosen to the filter that ends that chain: network filters' word on it, the
//! transport's handshake, and the task that it lives in.

use crate::{
    chain::Chain,
    config::ListenerConfig,
    connection_log::ConnectionLog,
    network::NetworkChain,
    open::{OpenConnection, Places},
    tls::{HandshakeError, ServerContext},
};
use nuncio_core::{ClientCertificate, ConnInfo, Connection, Worker};
use nuncio_rt::{Buf, Io};
use nuncio_stats::tables::listener::DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT;
use std::{rc::Rc, sync::Arc};

/// A connection whose chain is chosen.
pub(crate) struct Incoming {
    pub(crate) io: Io,
    /// What was read of it.
    pub(crate) first: Option<Buf>,
    pub(crate) info: ConnInfo,
    pub(crate) places: Places,
}

/// Starts the task of a connection.
pub(crate) fn start(worker: &Rc<Worker>, incoming: Incoming, chain: &Rc<Chain>, config: &Arc<ListenerConfig>) {
    let Incoming { io, first, info, places } = incoming;
    let log = ConnectionLog::new(worker, config);
    let mut open = OpenConnection::new(places, chain.clone(), info.start, log);
    let (slot, drain, buffer_limit_bytes) = (open.slot, chain.drain.clone(), config.buffer_limit_bytes);
    let worker = worker.clone();
    let task = if !chain.config.filters.is_empty() {
        tokio::task::spawn_local(filtered(open, worker, io, first, info, buffer_limit_bytes))
    } else if let Some(tls) = chain.tls.clone() {
        // What only the handshake needs goes with it: most connections are idle for most of their life.
        let greeting = Box::pin(async move {
            let greeted = greet(&mut open, &tls, &worker, io, first, info).await;
            greeted.map(|(io, info)| (open, io, info))
        });
        tokio::task::spawn_local(async move {
            let Some((open, io, info)) = greeting.await else { return };
            let chain = open.chain.clone();
            chain.terminal.clone().serve(Connection { io, first: None, info, drain, buffer_limit_bytes }).await;
        })
    } else {
        let info = Rc::new(info);
        open.log.about(&info);
        let served = chain.terminal.clone().serve(Connection { io, first, info, drain, buffer_limit_bytes });
        tokio::task::spawn_local(async move {
            let _open = open;
            served.await;
        })
    };
    chain.started(slot, task.abort_handle());
}

/// Serves a connection whose chain has filters before the last.
async fn filtered(mut open: OpenConnection, worker: Rc<Worker>, mut io: Io, mut first: Option<Buf>, info: ConnInfo, buffer_limit_bytes: u32) {
    let chain = open.chain.clone();
    let mut info = Rc::new(info);
    let filters = NetworkChain::new(&chain.config.filters, &worker, &info);
    open.log.about(&info);
    if !filters.accept().await {
        chain.terminal.clone().refused(&info, true);
        return;
    }
    if let Some(tls) = &chain.tls {
        let Some((greeted, greeted_info)) = greet(&mut open, tls, &worker, io, first.take(), (*info).clone()).await else { return };
        (io, info) = (greeted, greeted_info);
        filters.greeted(&info);
    }
    let (io, first) = filters.watched(io, first);
    let drain = chain.drain.clone();
    filters.run(chain.terminal.clone().serve(Connection { io, first, info, drain, buffer_limit_bytes })).await;
}

/// The TLS handshake; `None` where there was none, and the connection has been counted.
async fn greet(
    open: &mut OpenConnection,
    tls: &Rc<ServerContext>,
    worker: &Rc<Worker>,
    io: Io,
    first: Option<Buf>,
    mut info: ConnInfo,
) -> Option<(Io, Rc<ConnInfo>)> {
    let chain = open.chain.clone();
    info.tls = true;
    match tls.accept(io, first, worker, chain.config.transport_timeout).await {
        Ok(greeted) => {
            let presented = !greeted.facts.peer.is_empty();
            info.client_certificate = ClientCertificate { presented, validated: greeted.facts.validated };
            info.tls_facts = Some(Rc::new(greeted.facts));
            let info = Rc::new(info);
            open.log.about(&info);
            Some((greeted.io, info))
        }
        Err(refused) => {
            if matches!(refused.error, HandshakeError::TimedOut) {
                let counts = &open.places.counts;
                counts.listener.inc(counts.lane, DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT);
            }
            info.transport_failure = refused.reason.into();
            let info = Rc::new(info);
            chain.terminal.clone().refused(&info, false);
            open.log.about(&info);
            None
        }
    }
}
