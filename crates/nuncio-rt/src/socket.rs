//! A connected socket, whose short messages leave together with those of other connections.
//!
//! A message that is posted ([`Socket::post`]) leaves when the tasks that are ready now have run, not later (see
//! [`crate::outbox`]). From the owner's side it is written: whatever is done next to the socket comes after it, and
//! dropping the socket does not lose it. When the peer does not take it at once, a task of its own sees it off, and
//! the owner's next flush waits for that.
//!
//! A read that returns less than was asked for means "empty now" (edge-triggered readiness), so nothing here ever
//! probes for `EAGAIN`; writes are tried before write readiness is asked for.

use crate::outbox;
use crate::{Buf, BufPool};
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
};

/// A connected TCP or unix socket.
#[derive(Debug)]
pub struct Socket(Rc<Wire>);

/// The socket itself, shared with the outbox while messages of it wait there.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    /// Messages wait in the outbox.
    posted: Cell<bool>,
    /// What a posted message came to. The owner learns it with its next write.
    failed: Cell<Option<io::ErrorKind>>,
    /// What the peer did not take at once.
    stall: RefCell<Option<Box<Stall>>>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Posted messages that the peer does not take at once.
#[derive(Debug, Default)]
struct Stall {
    rest: VecDeque<(Buf, Rc<BufPool>)>,
    /// The owner, waiting for the end of it.
    owner: Option<Waker>,
    /// The task that sees it off.
    rescuer: Option<Waker>,
    /// The owner has gone.
    abandoned: bool,
}

impl Stream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(s) => s.poll_read_ready(cx),
            Stream::Unix(s) => s.poll_read_ready(cx),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(s) => s.poll_write_ready(cx),
            Stream::Unix(s) => s.poll_write_ready(cx),
        }
    }

    /// Moves bytes by `f` if the socket is ready, `len` at most; `WouldBlock` if it is not. Moving fewer says that it is
    /// not ready any more.
    #[inline]
    fn transfer(&self, interest: Interest, len: usize, f: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<usize>) -> io::Result<usize> {
        let mut moved = 0;
        let attempt = |fd: BorrowedFd<'_>| {
            moved = f(fd)?;
            // Forgets the readiness, as a failed attempt would.
            if 0 < moved && moved < len { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        };
        let outcome = match self {
            Stream::Tcp(s) => s.try_io(interest, || attempt(s.as_fd())),
            Stream::Unix(s) => s.try_io(interest, || attempt(s.as_fd())),
        };
        match outcome {
            Err(e) if moved == 0 => Err(e),
            _ => Ok(moved),
        }
    }

    fn write(&self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match bytes {
            [one] => self.transfer(Interest::WRITABLE, one.len(), |fd| rustix::net::send(fd, one, SendFlags::NOSIGNAL)),
            many => {
                let len = many.iter().map(|slice| slice.len()).sum();
                self.transfer(Interest::WRITABLE, len, |fd| rustix::io::writev(fd, many))
            }
        }
    }
}

impl Socket {
    fn new(stream: Stream) -> Socket {
        Socket(Rc::new(Wire { stream, posted: Cell::new(false), failed: Cell::new(None), stall: RefCell::new(None) }))
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.stream.poll_read_ready(cx)
    }

    /// Reads into `into`; 0 means the peer has finished sending.
    #[inline]
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            let len = into.len();
            match self.0.stream.transfer(Interest::READABLE, len, |fd| rustix::net::recv(fd, &mut *into, RecvFlags::empty()).map(|(n, _)| n)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Posts `buf`, which goes back to `pool`. Only while [`Socket::poll_unstalled`] is ready.
    #[inline]
    pub(crate) fn post(&self, buf: Buf, pool: &Rc<BufPool>) {
        self.0.posted.set(true);
        outbox::post(Parcel { wire: self.0.clone(), buf, pool: pool.clone() });
    }

    /// Ready if no posted message is held up by the peer, or when it no longer is.
    ///
    /// # Errors
    /// What a posted message came to; told once.
    #[inline]
    pub(crate) fn poll_unstalled(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(stall) = &mut *self.0.stall.borrow_mut() {
            stall.owner = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match self.0.failed.take() {
            None => Poll::Ready(Ok(())),
            Some(kind) => Poll::Ready(Err(kind.into())),
        }
    }

    /// Waits for what was posted.
    fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.posted.get() {
            outbox::flush();
        }
        self.poll_unstalled(cx)
    }

    pub(crate) fn poll_writev(&self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_settled(cx))?;
        loop {
            match self.0.stream.write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.0.stream.poll_write_ready(cx))?,
                done => return Poll::Ready(done),
            }
        }
    }

    /// Half-closes the sending side, after what was posted.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_settled(cx))?;
        let done = match &self.0.stream {
            Stream::Tcp(s) => rustix::net::shutdown(s, Shutdown::Write),
            Stream::Unix(s) => rustix::net::shutdown(s, Shutdown::Write),
        };
        Poll::Ready(done.map_err(io::Error::from))
    }

    /// The TCP stream, if it is one.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match &self.0.stream {
            Stream::Tcp(s) => Some(s),
            Stream::Unix(_) => None,
        }
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(stall) = &mut *self.0.stall.borrow_mut() {
            stall.abandoned = true;
            if let Some(rescuer) = stall.rescuer.take() {
                rescuer.wake();
            }
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Socket {
        Socket::new(Stream::Tcp(stream))
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Socket {
        Socket::new(Stream::Unix(stream))
    }
}

/// A message on its way, and the pool of its buffer.
#[derive(Debug)]
pub(crate) struct Parcel {
    wire: Rc<Wire>,
    buf: Buf,
    pool: Rc<BufPool>,
}

impl Parcel {
    /// Sends it, or leaves what the peer does not take to a task of its own.
    #[inline]
    pub(crate) fn send(mut self) {
        self.wire.posted.set(false);
        if self.wire.stall.borrow().is_none() && self.wire.failed.get().is_none() {
            match self.wire.stream.write(&[io::IoSlice::new(self.buf.filled())]) {
                Ok(n) => self.buf.consume(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => self.wire.failed.set(Some(e.kind())),
            }
        }
        if self.buf.is_empty() || self.wire.failed.get().is_some() {
            self.pool.put(self.buf);
        } else {
            Wire::hold(&self.wire, self.buf, self.pool);
        }
    }
}

impl Wire {
    /// Keeps what the peer has not taken yet.
    #[cold]
    fn hold(wire: &Rc<Wire>, buf: Buf, pool: Rc<BufPool>) {
        let mut stall = wire.stall.borrow_mut();
        if stall.is_none() {
            let wire = wire.clone();
            crate::spawn(std::future::poll_fn(move |cx| wire.poll_rescue(cx)));
        }
        stall.get_or_insert_default().rest.push_back((buf, pool));
    }

    /// Sees off what is held; ready when nothing is any more.
    fn poll_rescue(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut held = self.stall.borrow_mut();
        if let Some(stall) = &mut *held {
            while let Some((buf, _)) = stall.rest.front_mut().filter(|_| !stall.abandoned && self.failed.get().is_none()) {
                match self.stream.write(&[io::IoSlice::new(buf.filled())]) {
                    Ok(n) => buf.consume(n),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        if let Poll::Ready(Err(e)) = self.stream.poll_write_ready(cx).map_ok(|()| cx.waker().wake_by_ref()) {
                            self.failed.set(Some(e.kind()));
                        } else {
                            stall.rescuer = Some(cx.waker().clone());
                            return Poll::Pending;
                        }
                    }
                    Err(e) => self.failed.set(Some(e.kind())),
                }
                if stall.rest.front().is_some_and(|(buf, _)| buf.is_empty())
                    && let Some((buf, pool)) = stall.rest.pop_front()
                {
                    pool.put(buf);
                }
            }
        }
        if let Some(owner) = held.take().and_then(|stall| stall.owner) {
            owner.wake();
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Buf, BufPool, Io, OutQueue, block_on_worker};
    use std::{
        future::poll_fn,
        io::{Read, Write},
        os::unix::net::UnixStream,
        rc::Rc,
        task::{Context, Poll, Waker},
    };

    async fn pair() -> (Io, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (adopt(ours).await, theirs)
    }

    /// A socket that the event loop knows to be writable.
    async fn adopt(socket: UnixStream) -> Io {
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::UnixStream::from_std(socket).unwrap();
        socket.writable().await.unwrap();
        socket.into()
    }

    fn flush(out: &mut OutQueue, io: &mut Io) -> Poll<std::io::Result<()>> {
        out.poll_flush(&mut Context::from_waker(Waker::noop()), io, &mut 0)
    }

    fn read(from: &mut UnixStream, len: usize) -> String {
        let mut bytes = vec![0; len];
        from.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_short_message_leaves_when_the_ready_tasks_have_run() {
        block_on_worker(async {
            let (mut io, mut peer) = pair().await;
            peer.set_nonblocking(true).unwrap();
            let mut out = OutQueue::new(Rc::default());
            out.copy(b"hello");
            assert!(flush(&mut out, &mut io).is_ready());
            assert!(peer.read(&mut [0; 8]).is_err(), "left at once");
            tokio::task::yield_now().await;
            assert_eq!(read(&mut peer, 5), "hello");
        })
        .unwrap();
    }

    #[test]
    fn what_comes_behind_a_posted_message_stays_behind_it() {
        block_on_worker(async {
            let (mut io, mut peer) = pair().await;
            let mut out = OutQueue::new(Rc::default());
            out.copy(b"first,");
            assert!(flush(&mut out, &mut io).is_ready());
            out.copy(b"second,");
            assert!(flush(&mut out, &mut io).is_ready());
            out.push(Buf::copy_of(&[b'x'; 9000]));
            assert!(flush(&mut out, &mut io).is_ready());
            out.copy(b"last");
            assert!(flush(&mut out, &mut io).is_ready());
            poll_fn(|cx| io.poll_shutdown(cx)).await.unwrap();
            let mut all = String::new();
            peer.read_to_string(&mut all).unwrap();
            assert_eq!(all, format!("first,second,{}last", "x".repeat(9000)));
        })
        .unwrap();
    }

    #[test]
    fn a_message_outlives_its_socket() {
        block_on_worker(async {
            let (mut io, mut peer) = pair().await;
            let mut out = OutQueue::new(Rc::default());
            out.copy(b"bye");
            assert!(flush(&mut out, &mut io).is_ready());
            drop((io, out));
            tokio::task::yield_now().await;
            let mut all = String::new();
            peer.read_to_string(&mut all).unwrap();
            assert_eq!(all, "bye");
        })
        .unwrap();
    }

    #[test]
    fn the_last_message_of_a_thread_leaves_too() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        block_on_worker(async {
            let mut io = adopt(ours).await;
            let mut out = OutQueue::new(Rc::default());
            out.copy(b"bye");
            assert!(flush(&mut out, &mut io).is_ready());
        })
        .unwrap();
        assert_eq!(read(&mut theirs, 3), "bye");
    }

    /// Fills the socket until it takes no more; what it has taken.
    fn fill(io: &mut Io) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let block = vec![b'.'; 1 << 16];
        let mut taken = 0;
        while let Poll::Ready(n) = io.poll_writev(&mut cx, &[std::io::IoSlice::new(&block)]) {
            taken += n.unwrap();
        }
        taken
    }

    #[test]
    fn messages_that_the_peer_does_not_take_arrive_in_order_and_hold_up_the_next_flush() {
        block_on_worker(async {
            let (mut io, mut peer) = pair().await;
            let taken = fill(&mut io);
            let pool = Rc::new(BufPool::default());
            let mut out = OutQueue::new(pool.clone());
            for message in ["one,", "two,"] {
                out.copy(message.as_bytes());
                assert!(flush(&mut out, &mut io).is_ready());
            }
            tokio::task::yield_now().await;
            out.copy(b"three");
            assert!(flush(&mut out, &mut io).is_pending());
            let reader = std::thread::spawn(move || read(&mut peer, taken + 13));
            poll_fn(|cx| out.poll_flush(cx, &mut io, &mut 0)).await.unwrap();
            drop((io, out));
            tokio::task::yield_now().await;
            assert!(reader.join().unwrap().ends_with(".one,two,three"));
        })
        .unwrap();
    }

    #[test]
    fn a_held_up_socket_is_closed_when_its_owner_goes() {
        block_on_worker(async {
            let (mut io, mut peer) = pair().await;
            let taken = fill(&mut io);
            let mut out = OutQueue::new(Rc::default());
            out.copy(b"lost");
            assert!(flush(&mut out, &mut io).is_ready());
            tokio::task::yield_now().await;
            drop((io, out));
            tokio::task::yield_now().await;
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), taken);
        })
        .unwrap();
    }

    #[test]
    fn a_message_that_fails_is_told_with_the_next_flush() {
        block_on_worker(async {
            let (mut io, peer) = pair().await;
            drop(peer);
            let mut out = OutQueue::new(Rc::default());
            out.copy(b"hello");
            assert!(flush(&mut out, &mut io).is_ready());
            tokio::task::yield_now().await;
            let Poll::Ready(Err(error)) = flush(&mut out, &mut io) else { panic!("nothing told") };
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        })
        .unwrap();
    }

    #[test]
    fn a_short_read_empties_the_socket_and_a_later_one_waits() {
        block_on_worker(async {
            let (mut io, mut peer) = pair().await;
            peer.write_all(b"abc").unwrap();
            let mut buf = Buf::with_capacity(16);
            assert_eq!(poll_fn(|cx| io.poll_read(cx, &mut buf)).await.unwrap(), 3);
            assert!(io.is_quiet());
            peer.write_all(b"def").unwrap();
            assert_eq!(poll_fn(|cx| io.poll_read(cx, &mut buf)).await.unwrap(), 3);
            drop(peer);
            assert_eq!(poll_fn(|cx| io.poll_read(cx, &mut buf)).await.unwrap(), 0);
            assert_eq!(buf.filled(), b"abcdef");
        })
        .unwrap();
    }
}
