//! What the main thread tells a worker about listeners.

use crate::{
    balance::{Balance, Handed},
    bind::ListenSocket,
    config::ListenerConfig,
    drain::{DrainOrder, DrainPace, Ticket},
    stats::ListenerScopes,
};
use nuncio_rt::Address;
use nuncio_stats::Scope;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::sync::mpsc;

/// Which listener; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u64);

/// A limit on open connections that several threads share.
#[derive(Debug)]
pub struct ConnectionBudget {
    limit: AtomicU64,
    open: AtomicU64,
}

impl ConnectionBudget {
    /// At most `limit` connections at a time.
    pub fn new(limit: u64) -> ConnectionBudget {
        ConnectionBudget { limit: AtomicU64::new(limit), open: AtomicU64::new(0) }
    }

    /// Changes the limit; what is open stays.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Relaxed);
    }

    /// Takes one place if there is one.
    pub(crate) fn take(&self) -> bool {
        if self.open.fetch_add(1, Relaxed) < self.limit.load(Relaxed) {
            return true;
        }
        self.give_back();
        false
    }

    /// Takes one place whatever the limit.
    pub(crate) fn count(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    pub(crate) fn give_back(&self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// A listener as a worker gets it.
#[derive(Debug)]
pub struct ListenerSetup {
    /// Which.
    pub id: ListenerId,
    /// What it does.
    pub config: Arc<ListenerConfig>,
    /// This worker's sockets, with the address each is bound to.
    pub sockets: Vec<(Address, ListenSocket)>,
    /// Its statistics.
    pub scopes: ListenerScopes,
    /// Its own limit of connections.
    pub budget: Option<Arc<ConnectionBudget>>,
    /// Its connections by worker, if they are balanced.
    pub balance: Option<Arc<Balance>>,
}

/// One change, in the order it is to be made.
#[derive(Debug)]
pub enum ListenerUpdate {
    /// Start accepting.
    Add(Box<ListenerSetup>),
    /// New connections get the new configuration; those of filter chains that changed or went drain.
    UpdateConfig {
        /// Which.
        id: ListenerId,
        /// What it does from now on.
        config: Arc<ListenerConfig>,
        /// How the old chains end.
        retire: DrainOrder,
    },
    /// Accept what has connected, then close the sockets; connections live on.
    StopAccepting {
        /// Which.
        id: ListenerId,
        /// Held until the sockets are closed.
        ticket: Arc<Ticket>,
    },
    /// Ask for the close of connections, but go on accepting (`/drain_listeners?graceful`).
    Drain {
        /// Which.
        id: ListenerId,
        /// How fast.
        pace: DrainPace,
    },
    /// Stop accepting, let connections finish, forget the listener.
    Remove {
        /// Which.
        id: ListenerId,
        /// How its connections end.
        order: DrainOrder,
    },
    /// The same for all listeners, those that drain already included: the process is about to end.
    RemoveAll {
        /// How their connections end.
        order: DrainOrder,
    },
    /// A connection that another worker has accepted.
    Handed {
        /// Of which listener.
        id: ListenerId,
        /// The connection.
        handed: Handed,
    },
    /// Everything before has been done once this is let go of.
    Settled(mpsc::Sender<()>),
}

/// A worker's end of the channel; to be sent to its thread and given to [`crate::WorkerListeners::start`].
#[derive(Debug)]
pub struct ListenerInbox {
    /// Which worker this is for.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
    pub(crate) updates: mpsc::UnboundedReceiver<ListenerUpdate>,
    pub(crate) manager: Arc<Scope>,
    /// The limit over all listeners.
    pub(crate) budget: Option<Arc<ConnectionBudget>>,
}
