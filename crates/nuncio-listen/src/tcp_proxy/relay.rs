//! Moving bytes between two streams, both ways in one task.
//!
//! Each way reads only once what it read before has been written: back-pressure needs nothing more. A buffer is held
//! only while there are bytes in it. The end of one way is passed on as a half-close; the relay ends with the second.

use nuncio_rt::{Buf, BufPool, Deadline, Io, Time};
use std::{
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// One way.
#[derive(Debug, Default)]
pub(super) struct Way {
    buf: Option<Buf>,
    stage: Stage,
    /// Bytes read.
    pub(super) read: u64,
    /// Bytes written.
    pub(super) written: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Reading,
    Writing,
    Flushing,
    /// The reading side has ended; the writing side has to be told.
    Ending,
    Ended,
}

/// Which side failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that was read from.
    From,
    /// The one that was written to.
    To,
}

impl Way {
    /// Moves what can be moved; ready when `from` has ended and `to` was told.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        to: &mut Io,
        pool: &Rc<BufPool>,
    ) -> Poll<Result<(), Side>> {
        loop {
            match self.stage {
                Stage::Reading => {
                    // Borrowing a buffer costs less than asking for readiness first.
                    let mut buf = pool.get();
                    let read = from.poll_read(cx, &mut buf);
                    if buf.is_empty() {
                        pool.put(buf);
                    } else {
                        self.buf = Some(buf);
                    }
                    let n = ready!(read).map_err(|_| Side::From)?;
                    self.read += n as u64;
                    self.stage = if n == 0 { Stage::Ending } else { Stage::Writing };
                }
                Stage::Writing => ready!(self.poll_write(cx, to, pool)).map_err(|_| Side::To)?,
                Stage::Flushing => {
                    ready!(to.poll_flush(cx)).map_err(|_| Side::To)?;
                    self.stage = Stage::Reading;
                }
                Stage::Ending => {
                    // A peer that is gone already has no use for our goodbye.
                    let _ = ready!(to.poll_shutdown(cx));
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut Io, pool: &Rc<BufPool>) -> Poll<io::Result<()>> {
        self.written += ready!(to.poll_post(cx, &mut self.buf, pool))? as u64;
        while let Some(buf) = &mut self.buf {
            let n = ready!(to.poll_writev(cx, &[IoSlice::new(buf.filled())]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n as u64;
            buf.consume(n);
            if buf.is_empty() {
                self.buf.take().into_iter().for_each(|empty| pool.put(empty));
            }
        }
        self.stage = Stage::Flushing;
        Poll::Ready(Ok(()))
    }
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The host no longer works, and its connections are to close.
    HostFailed,
    /// Both sides said all they had to say; the host was the last, or not.
    Complete {
        /// The host ended after the client.
        by_host: bool,
    },
    /// The client went away.
    ClientGone,
    /// The host went away.
    HostGone,
    /// Nothing moved for too long.
    Idle,
    /// It lived too long.
    TooLong,
    /// The listener drains (`check_drain_close`).
    Drained,
}

/// When to give up.
#[derive(Debug)]
pub(super) struct Patience {
    idle: Deadline,
    idle_timeout: Option<Duration>,
    age: Deadline,
}

impl Patience {
    /// Until nothing has moved for `idle_timeout`, or `age` comes.
    pub(super) fn new(idle: Deadline, idle_timeout: Option<Duration>, age: Deadline) -> Patience {
        let mut patience = Patience { idle, idle_timeout, age };
        patience.moved();
        patience
    }

    /// Something has moved.
    pub(super) fn moved(&mut self) {
        self.idle.set(self.idle_timeout.map(|timeout| Time::now() + timeout));
    }

    /// Ready when it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let now = Time::now();
        if self.age.poll(cx, now).is_ready() {
            return Poll::Ready(End::TooLong);
        }
        self.idle.poll(cx, now).map(|()| End::Idle)
    }
}

/// Both ways, and when to give up.
#[derive(Debug)]
pub(super) struct Relay {
    /// From the client to the host.
    pub(super) up: Way,
    /// From the host to the client.
    pub(super) down: Way,
    patience: Patience,
}

impl Relay {
    /// A relay that begins with what was read from the client already.
    pub(super) fn new(first: Option<Buf>, patience: Patience) -> Relay {
        let up = match first {
            Some(first) => Way { read: first.len() as u64, stage: Stage::Writing, buf: Some(first), written: 0 },
            None => Way::default(),
        };
        Relay { up, down: Way::default(), patience }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, client: &mut Io, host: &mut Io, pool: &Rc<BufPool>) -> Poll<End> {
        let before = self.up.read + self.up.written + self.down.read + self.down.written;
        let up = self.up.poll(cx, client, host, pool);
        let up_was_first = up.is_ready();
        let down = self.down.poll(cx, host, client, pool);
        match (up, down) {
            (Poll::Ready(Err(Side::From)), _) | (_, Poll::Ready(Err(Side::To))) => return Poll::Ready(End::ClientGone),
            (Poll::Ready(Err(Side::To)), _) | (_, Poll::Ready(Err(Side::From))) => return Poll::Ready(End::HostGone),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                return Poll::Ready(End::Complete { by_host: up_was_first });
            }
            _ => {}
        }
        if self.up.read + self.up.written + self.down.read + self.down.written != before {
            self.patience.moved();
        }
        self.patience.poll(cx)
    }

    /// Whether nothing is in hand.
    pub(super) fn is_empty(&self) -> bool {
        [&self.up, &self.down].iter().all(|way| !matches!(way.stage, Stage::Writing | Stage::Flushing))
    }

    /// Gives back what is still in hand.
    pub(super) fn release(&mut self, pool: &BufPool) {
        for way in [&mut self.up, &mut self.down] {
            way.buf.take().into_iter().for_each(|buf| pool.put(buf));
        }
    }
}
