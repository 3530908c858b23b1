//! The I/O seam: one byte stream type for the data path.
//!
//! A read that returns less than was asked for means "empty now" (edge-triggered readiness), so nothing here
//! ever probes for `EAGAIN`; writes are tried before write readiness is asked for.

use crate::Buf;
use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

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
    /// TCP.
    Tcp(TcpStream),
    /// Unix domain socket.
    Unix(UnixStream),
    /// Anything layered on top (TLS).
    Layered(Box<dyn ByteStream>),
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Io::Tcp(_) => "Io::Tcp",
            Io::Unix(_) => "Io::Unix",
            Io::Layered(_) => "Io::Layered",
        })
    }
}

fn pinned_read<S: AsyncRead + Unpin>(s: &mut S, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut filled = ReadBuf::new(into);
    match Pin::new(s).poll_read(cx, &mut filled) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(filled.filled().len())),
        Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
        Poll::Pending => Poll::Pending,
    }
}

impl Io {
    /// Waits until a read would make progress, holding no buffer meanwhile.
    #[inline]
    pub fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Tcp(s) => s.poll_read_ready(cx),
            Io::Unix(s) => s.poll_read_ready(cx),
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
            Io::Tcp(s) => pinned_read(s, cx, into),
            Io::Unix(s) => pinned_read(s, cx, into),
            Io::Layered(s) => s.poll_read(cx, into),
        }
    }

    /// Writes from several slices.
    #[inline]
    pub fn poll_writev(&mut self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Io::Tcp(s) => match bytes {
                [one] => Pin::new(s).poll_write(cx, one),
                many => Pin::new(s).poll_write_vectored(cx, many),
            },
            Io::Unix(s) => Pin::new(s).poll_write_vectored(cx, bytes),
            Io::Layered(s) => s.poll_writev(cx, bytes),
        }
    }

    /// Flushes a layered stream; plain sockets have nothing to flush.
    #[inline]
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Tcp(_) | Io::Unix(_) => Poll::Ready(Ok(())),
            Io::Layered(s) => s.poll_flush(cx),
        }
    }

    /// Half-closes the sending side.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Io::Unix(s) => Pin::new(s).poll_shutdown(cx),
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
        if let Io::Tcp(s) = self {
            let _ = s.set_zero_linger();
        }
    }

    /// Local address, where the stream has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Io::Tcp(s) => s.local_addr().ok(),
            _ => None,
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
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(a) => a.fmt(f),
            Address::Pipe(p) => write!(f, "{}", p.display()),
        }
    }
}
