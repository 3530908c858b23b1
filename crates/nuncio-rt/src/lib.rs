//! A worker's world: everything the data path needs from the outside, behind a few small types.
//!
//! * [`Io`]: a byte stream (TCP, unix socket) with poll methods; codecs and engine never see tokio.
//! * [`Buf`], [`BufPool`]: 32 KiB buffers, borrowed only while bytes are in hand.
//! * [`Socket`]: a TCP or unix socket; short messages of all of them leave together when the ready tasks have run.
//! * [`pair()`]: a stream within one worker, for internal listeners.
//! * [`OutQueue`]: what waits to be written to one peer, flushed with one `writev`.
//! * [`Timers`], [`Deadline`]: one timer wheel per worker; deadlines re-arm lazily.
//! * [`Clock`], [`Time`]: the monotonic clock, the wall clock derived from it, a cached HTTP date.
//! * [`Rng`]: fast, not cryptographic.
//!
//! Nothing here is `Send` on purpose unless noted: a worker's things stay on its thread.

mod buf;
mod clock;
mod connect;
mod io;
mod out;
mod outbox;
mod pair;
mod rng;
mod runtime;
mod socket;
mod socket_option;
mod timer;

pub use buf::{BUF_BYTES, Buf, BufPool};
pub use clock::{Clock, Time};
pub use connect::{Keepalive, SetupError, TcpOptions, TcpSource, connect, connect_any};
pub use io::{Address, ByteStream, INTERNAL_CLIENT, InternalAddress, Io};
pub use out::{COPY_BYTES, OutQueue};
pub use pair::pair;
pub use rng::Rng;
pub use runtime::{block_on_worker, spawn};
pub use socket::{Socket, never_wait};
pub use socket_option::{SocketOption, SocketState, SocketValue};
pub use timer::{Deadline, Timers};
