//! A downstream connection and who takes it.

use crate::{TlsFacts, Worker};
use nuncio_rt::{Address, Buf, Io, Rng, Time};
use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

/// A future that stays on its thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Facts about a downstream connection that do not change while it lives, but for the address a filter finds.
#[derive(Debug, Clone)]
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
    /// What is known of the client's certificate.
    pub client_certificate: ClientCertificate,
    /// What the TLS handshake came to.
    pub tls_facts: Option<Rc<TlsFacts>>,
    /// `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`: why there was no TLS handshake; empty for none.
    pub transport_failure: Box<str>,
    /// What `tls_inspector` makes of the greeting, where it is to.
    pub fingerprints: Option<Rc<Fingerprints>>,
    /// What filters keep for the life of the connection.
    pub attached: Attached,
}

impl ConnInfo {
    /// Where no client is: of requests that are made here, and of exchanges that wait to be used.
    pub fn nobody() -> ConnInfo {
        let nowhere = Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        ConnInfo {
            id: 0,
            start: Time::now(),
            direct_remote: nowhere.clone(),
            remote: nowhere.clone(),
            local: nowhere,
            listener: "".into(),
            filter_chain: "".into(),
            server_name: None,
            tls: false,
            client_certificate: ClientCertificate::default(),
            tls_facts: None,
            transport_failure: Box::default(),
            fingerprints: None,
            attached: Attached::default(),
        }
    }
}

/// Fingerprints of a TLS client; empty where they are not made.
#[derive(Debug, Clone, Default)]
pub struct Fingerprints {
    /// JA3.
    pub ja3: String,
    /// JA4.
    pub ja4: String,
}

/// What filters keep for the life of a connection, by a number of the filter's own choosing.
#[derive(Default, Clone)]
pub struct Attached(RefCell<Vec<(usize, Rc<dyn Any>)>>);

impl Attached {
    /// What is kept under this number, made on first use.
    pub fn get<T: 'static>(&self, number: usize, make: impl FnOnce() -> T) -> Rc<T> {
        let held = self.0.borrow().iter().find(|(of, _)| *of == number).map(|(_, held)| held.clone());
        if let Some(held) = held.and_then(|held| held.downcast().ok()) {
            return held;
        }
        let made = Rc::new(make());
        self.0.borrow_mut().push((number, made.clone()));
        made
    }
}

impl Attached {
    /// What is kept under this number, if anything is.
    pub fn find<T: 'static>(&self, number: usize) -> Option<Rc<T>> {
        let held = self.0.borrow().iter().find(|(of, _)| *of == number).map(|(_, held)| held.clone());
        held.and_then(|held| held.downcast().ok())
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attached({})", self.0.borrow().len())
    }
}

/// What is known of the client's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// It presented one.
    pub presented: bool,
    /// It was validated.
    pub validated: bool,
}

impl ConnInfo {
    /// The client's IP address and port, unless it came over a unix socket.
    pub fn remote_ip(&self) -> Option<SocketAddr> {
        match &self.remote {
            Address::Ip(a) => Some(*a),
            Address::Pipe(_) | Address::Internal(_) => None,
        }
    }
}

/// Tells connections that their listener is draining: finish what is in flight, then close.
///
/// Draining can come on gradually: then [`DrainSignal::is_draining`], asked at each response, says yes more and more
/// often, so that clients do not all reconnect at once; nobody is woken. Once draining has fully begun it always says
/// yes, and everyone who registered was woken to close what is idle.
#[derive(Clone, Default)]
pub struct DrainSignal(Rc<DrainState>);

#[derive(Default)]
struct DrainState {
    phase: Cell<DrainPhase>,
    rng: Rng,
    /// The server fails health checks, and the listener drains then.
    failing: Option<Arc<AtomicBool>>,
    /// By the waker's own address, so that registering takes no search.
    waiting: RefCell<HashMap<usize, Waker>>,
}

#[derive(Debug, Clone, Copy, Default)]
enum DrainPhase {
    #[default]
    Serving,
    Easing {
        since: Time,
        over: Duration,
    },
    Closing,
}

impl fmt::Debug for DrainSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrainSignal({:?})", self.0.phase.get())
    }
}

impl DrainSignal {
    /// One that says yes, too, while the server fails health checks.
    pub fn heeding(failing: Arc<AtomicBool>) -> DrainSignal {
        DrainSignal(Rc::new(DrainState { failing: Some(failing), ..DrainState::default() }))
    }

    /// Whether the connection should close after the response at hand. Asking twice may give two answers while
    /// draining comes on gradually.
    #[inline]
    pub fn is_draining(&self) -> bool {
        match self.0.phase.get() {
            DrainPhase::Closing => true,
            _ if self.0.failing.as_ref().is_some_and(|failing| failing.load(Relaxed)) => true,
            DrainPhase::Serving => false,
            DrainPhase::Easing { since, over } => {
                let passed = Time::now().since(since).as_millis();
                let over = u64::try_from(over.as_millis()).unwrap_or(u64::MAX).max(1);
                passed >= u128::from(self.0.rng.below(over))
            }
        }
    }

    /// True once idle connections should close: draining has fully begun.
    #[inline]
    pub fn is_closing(&self) -> bool {
        matches!(self.0.phase.get(), DrainPhase::Closing)
    }

    /// Begins draining fully and wakes everyone who registered.
    pub fn begin(&self) {
        self.0.phase.set(DrainPhase::Closing);
        for (_, waker) in self.0.waiting.take() {
            waker.wake();
        }
    }

    /// Begins draining gradually: certain after `over`. Does not slow down what already drains.
    pub fn begin_over(&self, over: Duration) {
        if matches!(self.0.phase.get(), DrainPhase::Serving) {
            self.0.phase.set(DrainPhase::Easing { since: Time::now(), over });
        }
    }

    /// Wakes `waker` when draining fully begins. Register once per connection, not per request.
    pub fn register(&self, waker: &Waker) {
        self.0.waiting.borrow_mut().insert(waker.data() as usize, waker.clone());
    }

    /// Forgets a connection that has ended.
    pub fn unregister(&self, waker: &Waker) {
        self.0.waiting.borrow_mut().remove(&(waker.data() as usize));
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
    /// `per_connection_buffer_limit_bytes` of the listener: how much may wait in each direction.
    pub buffer_limit_bytes: u32,
}

/// The network filter that ends a filter chain (HTTP connection manager, TCP proxy), built once per configuration.
/// As `&dyn Any` it can be asked what it is.
pub trait Terminal: Any + Send + Sync + fmt::Debug {
    /// Its half on one worker, made once per worker and configuration.
    fn on_worker(self: Arc<Self>, worker: &Rc<Worker>) -> Rc<dyn TerminalWorker>;
}

/// A terminal network filter on one worker.
pub trait TerminalWorker: 'static {
    /// Serves one connection to its end.
    fn serve(self: Rc<Self>, connection: Connection) -> LocalFuture<()>;

    /// A client has not come through the handshake of the transport, or filters before this one have closed its
    /// connection (`by_us`): it counts as a connection all the same.
    fn refused(self: Rc<Self>, _: &Rc<ConnInfo>, _by_us: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradual_draining_is_certain_at_its_end_and_is_not_slowed_down() {
        let drain = DrainSignal::default();
        assert!(!drain.is_draining());
        drain.begin_over(Duration::ZERO);
        assert!(drain.is_draining());
        assert!(!drain.is_closing());
        drain.begin();
        drain.begin_over(Duration::from_secs(3600));
        assert!(drain.is_closing(), "it does not slow down");
    }
}
