//! The accept loop of one listening socket on one worker.
//!
//! Accepts what there is in bounded batches, so that connections at work get their turn. Out of file descriptors it
//! pauses instead of spinning. Closing takes in first whatever has connected already: nobody is reset who was let in.

use crate::{bind::ListenSocket, listener::Listener, stats::ACCEPT_PAUSED};
use nuncio_core::Worker;
use nuncio_rt::{Address, Deadline, Io, Time};
use nuncio_stats::tables::listener::CONNECTIONS_ACCEPTED_PER_SOCKET_EVENT;
use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// How long accepting pauses when the process is out of file descriptors: long enough for some to be closed, short
/// enough not to be noticed.
const PAUSE: Duration = Duration::from_millis(50);

/// A listening socket registered with the worker's event loop.
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// Registers a bound socket, already listening.
    pub(crate) fn register(socket: ListenSocket) -> io::Result<Acceptor> {
        match socket {
            ListenSocket::Tcp(listener) => TcpListener::from_std(listener).map(Acceptor::Tcp),
            ListenSocket::Unix(listener) => UnixListener::from_std(listener).map(Acceptor::Unix),
            ListenSocket::Udp(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Io, Peer)>> {
        match self {
            Acceptor::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (stream.into(), Peer::Ip(peer)))
            }
            Acceptor::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| (stream.into(), Peer::Unix)),
        }
    }

    /// Accepts everything that has connected, asking the system itself: the event loop may not know of it yet.
    fn accept_rest(self, mut take: impl FnMut(Io, Peer)) -> io::Result<()> {
        match self {
            Acceptor::Tcp(listener) => {
                let listener = listener.into_std()?;
                loop {
                    let (stream, peer) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    take(TcpStream::from_std(stream)?.into(), Peer::Ip(peer));
                }
            }
            Acceptor::Unix(listener) => {
                let listener = listener.into_std()?;
                loop {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    take(UnixStream::from_std(stream)?.into(), Peer::Unix);
                }
            }
        }
    }
}

/// Who connected.
enum Peer {
    Ip(SocketAddr),
    Unix,
}

/// A listening socket and the task that accepts from it.
pub(crate) struct Intake {
    /// Gone once closed.
    acceptor: RefCell<Option<Acceptor>>,
    local: Address,
    waker: RefCell<Option<Waker>>,
}

impl Intake {
    pub(crate) fn new(acceptor: Acceptor, local: Address) -> Rc<Intake> {
        Rc::new(Intake { acceptor: RefCell::new(Some(acceptor)), local, waker: RefCell::default() })
    }

    /// Accepts until closed.
    pub(crate) async fn run(self: Rc<Self>, listener: Rc<Listener>, worker: Rc<Worker>) {
        let mut pause = Deadline::new(worker.timers.clone());
        let mut paused = false;
        poll_fn(|cx| {
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            if paused && self.is_open() {
                if pause.poll(cx, Time::now()).is_pending() {
                    return Poll::Pending;
                }
                pause.set(None);
                paused = false;
            }
            match self.accept_batch(cx, &listener) {
                Batch::Closed => Poll::Ready(()),
                Batch::Empty => Poll::Pending,
                Batch::Full => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Batch::Exhausted => {
                    listener.counts.trouble.inc(listener.counts.lane, ACCEPT_PAUSED);
                    pause.set(Some(Time::now() + PAUSE));
                    paused = true;
                    if pause.poll(cx, Time::now()).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
            }
        })
        .await;
    }

    fn is_open(&self) -> bool {
        self.acceptor.borrow().is_some()
    }

    fn accept_batch(&self, cx: &mut Context<'_>, listener: &Rc<Listener>) -> Batch {
        let acceptor = self.acceptor.borrow();
        let Some(acceptor) = acceptor.as_ref() else { return Batch::Closed };
        let most = listener.accept_batch();
        let mut accepted = 0;
        let end = loop {
            if accepted == most {
                break Batch::Full;
            }
            match acceptor.poll_accept(cx) {
                Poll::Ready(Ok((io, peer))) => {
                    accepted += 1;
                    self.hand_over(listener, io, peer);
                }
                Poll::Ready(Err(error)) if is_exhausted(&error) => break Batch::Exhausted,
                // The client gave up while it waited (ECONNABORTED and the like): the next one may be fine.
                Poll::Ready(Err(_)) => {}
                Poll::Pending => break Batch::Empty,
            }
        };
        if accepted > 0 {
            let counts = &listener.counts;
            counts.listener.record(counts.lane, CONNECTIONS_ACCEPTED_PER_SOCKET_EVENT, accepted.into());
        }
        end
    }

    /// Takes in whoever has connected, then closes the socket.
    pub(crate) fn close(&self, listener: &Rc<Listener>) {
        let Some(acceptor) = self.acceptor.take() else { return };
        // It ends with an error always: usually "nobody there", and any other is a reason to stop as well.
        let _ = acceptor.accept_rest(|io, peer| self.hand_over(listener, io, peer));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn hand_over(&self, listener: &Rc<Listener>, io: Io, peer: Peer) {
        let remote = match peer {
            Peer::Ip(peer) => Address::Ip(peer),
            Peer::Unix => Address::Pipe(PathBuf::new()),
        };
        let local = match &self.local {
            // Only a wildcard leaves open which address the client used.
            Address::Ip(bound) if bound.ip().is_unspecified() => io.local_addr().map_or(self.local.clone(), Address::Ip),
            bound => bound.clone(),
        };
        listener.take(io, local, remote);
    }
}

/// How a round of accepting ended.
enum Batch {
    /// The socket is closed.
    Closed,
    /// Nobody is waiting.
    Empty,
    /// Others may be waiting.
    Full,
    /// The process has no file descriptor or memory left.
    Exhausted,
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}
