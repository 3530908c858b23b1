//! Two ends of a stream within one worker: what an internal listener and who connects to it hold instead of sockets.
//!
//! What one end writes the other reads, in order; each direction holds so many bytes at most. An end that is dropped has
//! finished sending, and takes nothing any more.

use crate::{ByteStream, Io};
use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// More room than this is given back once it is empty.
const KEPT_BYTES: usize = 64 * 1024;

/// Two connected ends; in each direction at most `limit` bytes wait.
pub fn pair(limit: usize) -> (Io, Io) {
    let lane = || Rc::new(RefCell::new(Lane { limit: limit.max(1), ..Lane::default() }));
    let (there, back) = (lane(), lane());
    let one = End { reads: back.clone(), writes: there.clone() };
    let other = End { reads: there, writes: back };
    (Io::Layered(Box::new(one)), Io::Layered(Box::new(other)))
}

/// One direction.
#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    limit: usize,
    /// Nothing more is written.
    finished: bool,
    /// Nothing more is read.
    unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn poll_readable(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.bytes.is_empty() || self.finished {
            return Poll::Ready(());
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn finish(&mut self) {
        self.finished = true;
        wake(&mut self.reader);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// One end.
struct End {
    reads: Rc<RefCell<Lane>>,
    writes: Rc<RefCell<Lane>>,
}

impl ByteStream for End {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reads.borrow_mut().poll_readable(cx).map(Ok)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.reads.borrow_mut();
        if lane.poll_readable(cx).is_pending() {
            return Poll::Pending;
        }
        let (front, back) = lane.bytes.as_slices();
        let first = front.len().min(into.len());
        into[..first].copy_from_slice(&front[..first]);
        let second = back.len().min(into.len() - first);
        into[first..first + second].copy_from_slice(&back[..second]);
        lane.bytes.drain(..first + second);
        if lane.bytes.is_empty() && lane.bytes.capacity() > KEPT_BYTES {
            lane.bytes = VecDeque::new();
        }
        wake(&mut lane.writer);
        Poll::Ready(Ok(first + second))
    }

    fn poll_writev(&mut self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut lane = self.writes.borrow_mut();
        if lane.unread || lane.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut room = lane.limit.saturating_sub(lane.bytes.len());
        if room == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut written = 0;
        for slice in bytes {
            let taken = slice.len().min(room);
            lane.bytes.extend(&slice[..taken]);
            written += taken;
            room -= taken;
        }
        wake(&mut lane.reader);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes.borrow_mut().finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.writes.borrow_mut().finish();
        let mut reads = self.reads.borrow_mut();
        reads.unread = true;
        wake(&mut reads.writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::IoSlice,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering::Relaxed},
        },
        task::Wake,
    };

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn write(end: &mut Io, cx: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        end.poll_writev(cx, &[IoSlice::new(&text[..1]), IoSlice::new(&text[1..])])
    }

    #[test]
    fn bytes_come_in_order_and_no_more_of_them_wait_than_allowed() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let cx = &mut Context::from_waker(&waker);
        let (mut one, mut other) = pair(4);
        let mut read = [0; 3];
        assert!(other.poll_read_slice(cx, &mut read).is_pending());
        assert!(matches!(write(&mut one, cx, b"abcdef"), Poll::Ready(Ok(4))));
        assert_eq!(count.0.load(Relaxed), 1, "the reader is woken");
        assert!(write(&mut one, cx, b"ef").is_pending());
        assert!(matches!(other.poll_read_slice(cx, &mut read), Poll::Ready(Ok(3))));
        assert_eq!((&read, count.0.load(Relaxed)), (b"abc", 2), "the writer is woken");
        assert!(matches!(write(&mut one, cx, b"ef"), Poll::Ready(Ok(2))));
        assert!(matches!(other.poll_read_slice(cx, &mut read), Poll::Ready(Ok(3))));
        assert_eq!(&read, b"def");
        assert!(!other.is_quiet() || other.poll_read_ready(cx).is_pending());
    }

    #[test]
    fn each_end_may_finish_first_and_what_was_written_is_still_read() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut one, mut other) = pair(100);
        assert!(write(&mut one, cx, b"last").is_ready());
        assert!(one.poll_shutdown(cx).is_ready());
        assert!(matches!(write(&mut one, cx, b"more"), Poll::Ready(Err(_))));
        let mut read = [0; 9];
        assert!(matches!(other.poll_read_slice(cx, &mut read), Poll::Ready(Ok(4))));
        assert!(matches!(other.poll_read_slice(cx, &mut read), Poll::Ready(Ok(0))));
        assert!(write(&mut other, cx, b"answer").is_ready(), "the other direction is open still");
        drop(other);
        assert!(matches!(one.poll_read_slice(cx, &mut read), Poll::Ready(Ok(6))));
        assert!(matches!(one.poll_read_slice(cx, &mut read), Poll::Ready(Ok(0))));
        let (one, mut other) = pair(100);
        drop(one);
        assert!(matches!(write(&mut other, cx, b"nobody"), Poll::Ready(Err(_))));
    }
}
