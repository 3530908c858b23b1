//! The TLS transport socket of listeners, on rustls.

use crate::{config::Transport, stats::ListenerScopes};
use nuncio_core::Worker;
use nuncio_rt::Io;
use nuncio_stats::Lane;
use std::{rc::Rc, sync::Arc, time::Duration};

/// A `DownstreamTlsContext`, ready to run.
#[derive(Debug)]
pub struct TlsConfig {}

pub(crate) struct TlsContext {}

pub(crate) struct Greeted {
    pub(crate) io: Io,
    pub(crate) server_name: Option<Arc<str>>,
    pub(crate) timed_out: bool,
}

impl TlsContext {
    pub(crate) fn of(transport: &Transport, _scopes: &ListenerScopes, _lane: Lane) -> Option<Rc<TlsContext>> {
        match transport {
            Transport::Plain => None,
            Transport::Tls(_) => Some(Rc::new(TlsContext {})),
        }
    }
    pub(crate) async fn accept(&self, io: Io, _worker: &Worker, _timeout: Option<Duration>) -> Option<Greeted> {
        drop(io);
        None
    }
}
