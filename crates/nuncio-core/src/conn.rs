//! A downstream connection and who takes it.

use crate::{StreamCx, Worker};
use nuncio_rt::{Address, Buf, Io, Time};
use std::{cell::Cell, fmt, future::Future, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, task::Waker};

/// A future that stays on its thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Facts about a downstream connection that do not change while it lives, but for the address a filter finds.
#[derive(Debug)]
pub struct ConnInfo {
    /// `%CONNECTION_ID%`.
    pub id: u64,
    /// When it was accepted.
    pub start: Time,
    /// Where the client connected from.
    pub direct_remote: Address,
    /// The client's address as listener filters determined it (PROXY protocol); else as `direct_remote`.
    pub remote: Address,
    /// The address the client connected to.
    pub local: Address,
    /// Name of the listener.
    pub listener: Arc<str>,
    /// Name of the filter chain, may be empty.
    pub filter_chain: Arc<str>,
    /// Server name from TLS or a listener filter.
    pub server_name: Option<Arc<str>>,
    /// True when the transport is TLS.
    pub tls: bool,
}

impl ConnInfo {
    /// The client's IP address and port, unless it came over a unix socket.
    pub fn remote_ip(&self) -> Option<SocketAddr> {
        match &self.remote {
            Address::Ip(a) => Some(*a),
            Address::Pipe(_) => None,
        }
    }
}

/// Tells connections that their listener is draining: finish what is in flight, then close.
#[derive(Clone, Default)]
pub struct DrainSignal(Rc<DrainState>);

#[derive(Default)]
struct DrainState {
    draining: Cell<bool>,
    waiting: std::cell::RefCell<Vec<Waker>>,
}

impl fmt::Debug for DrainSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrainSignal({})", self.0.draining.get())
    }
}

impl DrainSignal {
    /// True once draining has begun.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }

    /// Begins draining and wakes everyone who registered.
    pub fn begin(&self) {
        self.0.draining.set(true);
        for waker in self.0.waiting.take() {
            waker.wake();
        }
    }

    /// Wakes `waker` when draining begins. Register once per connection, not per request.
    pub fn register(&self, waker: &Waker) {
        let mut waiting = self.0.waiting.borrow_mut();
        if !waiting.iter().any(|w| w.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    /// Forgets a connection that has ended.
    pub fn unregister(&self, waker: &Waker) {
        self.0.waiting.borrow_mut().retain(|w| !w.will_wake(waker));
    }
}

/// A downstream connection on its way to the filter that ends its chain.
#[derive(Debug)]
pub struct Connection {
    /// The bytes.
    pub io: Io,
    /// Bytes that listener filters have already taken from the stream, to be read first.
    pub first: Option<Buf>,
    /// Facts.
    pub info: Rc<ConnInfo>,
    /// Tells when to drain.
    pub drain: DrainSignal,
}

/// The network filter that ends a filter chain (HTTP connection manager, TCP proxy), built once per configuration.
pub trait Terminal: Send + Sync + fmt::Debug + 'static {
    /// Its half on one worker, made once per worker and configuration.
    fn on_worker(self: Arc<Self>, worker: &Rc<Worker>) -> Rc<dyn TerminalWorker>;
}

/// A terminal network filter on one worker.
pub trait TerminalWorker: 'static {
    /// Serves one connection to its end.
    fn serve(self: Rc<Self>, connection: Connection) -> LocalFuture<()>;
}

/// Writes one line (or message) per exchange. Must not block: a full sink drops and counts.
pub trait AccessLogger: Send + Sync + fmt::Debug + 'static {
    /// Called once, when the exchange is over.
    fn log(&self, stream: &StreamCx);
}
