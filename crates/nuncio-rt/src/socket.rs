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

    #[inline]
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
    pub fn tcp(&self) -> Option<&TcpStream> {
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

/// From now on reads and writes of an open file do not wait: they fail with [`io::ErrorKind::WouldBlock`].
///
/// # Errors
/// The system's.
pub fn never_wait(file: impl AsFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(file, true)?)
}

#[cfg(test)]
mod tests;
