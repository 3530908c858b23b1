//! The I/O seam: one byte stream type for the data path.

use crate::out::POST_BYTES;
use crate::{Buf, BufPool, Socket};
use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};
use tokio::net::{TcpStream, UnixStream};

/// A connected byte stream: what TLS or a test double must provide to stand in for a socket.
pub trait ByteStream {
    /// Waits until a read would make progress (data, end or error).
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Reads into `into`; 0 means the peer has finished sending.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes from several slices, returning how many bytes were taken.
    fn poll_writev(&mut self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>>;
    /// Pushes out anything the stream itself buffers (TLS records).
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Tells the peer that nothing more will be sent.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A connected stream of bytes.
pub enum Io {
    /// TCP or unix domain socket.
    Socket(Socket),
    /// Anything layered on top (TLS).
    Layered(Box<dyn ByteStream>),
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Io::Socket(_) => "Io::Socket",
            Io::Layered(_) => "Io::Layered",
        })
    }
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Io {
        Io::Socket(stream.into())
    }
}

impl From<UnixStream> for Io {
    fn from(stream: UnixStream) -> Io {
        Io::Socket(stream.into())
    }
}

impl Io {
    /// Waits until a read would make progress, holding no buffer meanwhile.
    #[inline]
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Socket(s) => s.poll_read_ready(cx),
            Io::Layered(s) => s.poll_read_ready(cx),
        }
    }

    /// Appends to `buf` what can be read now; 0 means the peer has finished sending. `buf` must have room.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut Buf) -> Poll<io::Result<usize>> {
        let read = self.poll_read_slice(cx, buf.tail());
        if let Poll::Ready(Ok(n)) = read {
            buf.grow(n);
        }
        read
    }

    /// Reads into a slice; 0 means the peer has finished sending.
    #[inline]
    pub fn poll_read_slice(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Io::Socket(s) => s.poll_read(cx, into),
            Io::Layered(s) => s.poll_read(cx, into),
        }
    }

    /// Writes from several slices.
    #[inline]
    pub fn poll_writev(&mut self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Io::Socket(s) => s.poll_writev(cx, bytes),
            Io::Layered(s) => s.poll_writev(cx, bytes),
        }
    }

    /// Posts a short message: it leaves with those of other connections when the tasks that are ready have run, and counts as
    /// written. How many bytes it had; 0, and the message stays, if it is long or the stream posts none.
    #[inline]
    pub fn poll_post(&mut self, cx: &mut Context<'_>, message: &mut Option<Buf>, pool: &Rc<BufPool>) -> Poll<io::Result<usize>> {
        let Io::Socket(socket) = self else { return Poll::Ready(Ok(0)) };
        if message.as_ref().is_none_or(|message| message.len() > POST_BYTES) {
            return Poll::Ready(Ok(0));
        }
        ready!(socket.poll_unstalled(cx))?;
        let posted = message.take();
        Poll::Ready(Ok(posted.map_or(0, |message| {
            let len = message.len();
            socket.post(message, pool);
            len
        })))
    }

    /// Pushes out what a layered stream buffers, and waits for posted messages that the peer does not take.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Socket(s) => s.poll_unstalled(cx),
            Io::Layered(s) => s.poll_flush(cx),
        }
    }

    /// Half-closes the sending side.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Socket(s) => s.poll_shutdown(cx),
            Io::Layered(s) => s.poll_shutdown(cx),
        }
    }

    /// True while nothing has arrived and the peer has not closed: what an idle pooled connection must be.
    /// Looks at the readiness flag, costs no system call.
    #[inline]
    pub fn is_quiet(&mut self) -> bool {
        self.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Makes the coming close send RST instead of FIN (TCP only).
    pub fn reset_on_close(&self) {
        if let Io::Socket(s) = self
            && let Some(tcp) = s.tcp()
        {
            let _ = tcp.set_zero_linger();
        }
    }

    /// Local address, where the stream has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Io::Socket(s) => s.local_addr(),
            Io::Layered(_) => None,
        }
    }
}

/// Where an outgoing connection goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IP and port.
    Ip(SocketAddr),
    /// Path of a unix domain socket.
    Pipe(PathBuf),
    /// A listener of this process (`envoy_internal_address`).
    Internal(Arc<InternalAddress>),
}

/// Where an internal listener is, and what is told of the end that is connected to there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InternalAddress {
    /// `server_listener_name`.
    pub listener: Arc<str>,
    /// `endpoint_id`, may be empty.
    pub endpoint: Arc<str>,
}

/// Whoever connects to an internal listener connects from there.
pub const INTERNAL_CLIENT: &str = "envoy://internal_client_address/";

impl InternalAddress {
    /// [`INTERNAL_CLIENT`] as an address.
    pub fn client() -> Address {
        Address::Internal(Arc::new(InternalAddress { listener: "internal_client_address".into(), endpoint: "".into() }))
    }
}

impl fmt::Display for InternalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "envoy://{}/{}", self.listener, self.endpoint)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(a) => a.fmt(f),
            Address::Pipe(p) => write!(f, "{}", p.display()),
            Address::Internal(a) => a.fmt(f),
        }
    }
}
