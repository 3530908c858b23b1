//! Listeners for datagrams: who takes what comes, and the task that has it served for as long as the listener is there.

use nuncio_core::{LocalFuture, Worker};
use nuncio_rt::Address;
use nuncio_stats::Scope;
use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
};
use tokio::net::UdpSocket;

/// A socket for datagrams on one worker.
#[derive(Debug)]
pub struct DatagramSocket {
    /// Bound to the listener's address.
    pub socket: UdpSocket,
    /// That address.
    pub local: Address,
    /// `listener.<address>.udp.*`
    pub stats: Arc<Scope>,
}

/// The listener filter that takes datagrams (`udp_proxy`), built once per configuration.
pub trait Datagrams: Send + Sync + fmt::Debug {
    /// Takes datagrams for as long as it is polled; dropping it ends all sessions.
    fn serve(self: Arc<Self>, worker: &Rc<Worker>, socket: Rc<DatagramSocket>) -> LocalFuture<()>;
}

/// A socket at work.
#[derive(Debug, Default)]
pub(crate) struct DatagramIntake {
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl DatagramIntake {
    /// Begins to serve.
    ///
    /// # Errors
    /// When the socket cannot be registered with the event loop.
    pub(crate) fn start(
        datagrams: &Arc<dyn Datagrams>,
        worker: &Rc<Worker>,
        socket: std::net::UdpSocket,
        local: Address,
        stats: Arc<Scope>,
    ) -> io::Result<Rc<DatagramIntake>> {
        let socket = Rc::new(DatagramSocket { socket: UdpSocket::from_std(socket)?, local, stats });
        let mut serving = datagrams.clone().serve(worker, socket);
        let intake = Rc::<DatagramIntake>::default();
        let watched = intake.clone();
        nuncio_rt::spawn(async move {
            poll_fn(|cx| {
                *watched.waker.borrow_mut() = Some(cx.waker().clone());
                if watched.closed.get() { Poll::Ready(()) } else { serving.as_mut().poll(cx) }
            })
            .await;
        });
        Ok(intake)
    }

    /// Closes the socket and ends all sessions.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.waker.take().inspect(Waker::wake_by_ref);
    }
}
