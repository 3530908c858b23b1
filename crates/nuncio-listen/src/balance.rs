//! `exact_balance`: a connection goes to the worker that has the fewest, whoever accepted it.
//!
//! Few long-lived connections would else pile up on one worker: the kernel spreads them by chance.

use crate::update::{ListenerId, ListenerUpdate};
use nuncio_rt::{Address, Io};
use std::{
    net::TcpStream,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::sync::mpsc;

/// A connection on its way to another worker.
#[derive(Debug)]
pub struct Handed {
    pub(crate) stream: TcpStream,
    pub(crate) local: Address,
    pub(crate) remote: Address,
}

/// The connections of one listener, by worker.
#[derive(Debug)]
pub struct Balance {
    listener: ListenerId,
    open: Vec<AtomicU64>,
    workers: Vec<mpsc::UnboundedSender<ListenerUpdate>>,
}

impl Balance {
    /// Of a listener, over these workers.
    pub(crate) fn new(listener: ListenerId, workers: &[mpsc::UnboundedSender<ListenerUpdate>]) -> Balance {
        Balance { listener, open: workers.iter().map(|_| AtomicU64::new(0)).collect(), workers: workers.to_vec() }
    }

    /// Counts one connection for the worker that has the fewest, and sends it there; gives it back if that is `here`.
    pub(crate) fn place(&self, here: usize, io: Io, local: &Address, remote: &Address) -> Option<Io> {
        let open = |worker: usize| self.open.get(worker).map_or(u64::MAX, |open| open.load(Relaxed));
        let least = (0..self.open.len()).min_by_key(|worker| (open(*worker), *worker != here)).unwrap_or(here);
        let stream = match &io {
            Io::Socket(socket) if least != here => socket.tcp(),
            _ => None,
        };
        let (Some(stream), Some(there)) = (stream, self.workers.get(least)) else {
            self.count(here);
            return Some(io);
        };
        self.count(least);
        // The socket is registered with this worker's event loop: the other gets a descriptor of its own.
        if let Ok(stream) = stream.as_fd().try_clone_to_owned() {
            let handed = Handed { stream: stream.into(), local: local.clone(), remote: remote.clone() };
            if there.send(ListenerUpdate::Handed { id: self.listener, handed }).is_ok() {
                return None;
            }
        }
        // The worker is gone, and its connections with it.
        self.ended(least);
        None
    }

    fn count(&self, worker: usize) {
        if let Some(open) = self.open.get(worker) {
            open.fetch_add(1, Relaxed);
        }
    }

    /// A connection of this worker has ended.
    pub(crate) fn ended(&self, worker: usize) {
        if let Some(open) = self.open.get(worker) {
            open.fetch_sub(1, Relaxed);
        }
    }
}
