//! What all streams of a connection share: socket, codec, and the queue to the socket.

use crate::hcm::HcmWorker;
use nuncio_codec::http2::{Connection as Codec, Role};
use nuncio_core::count_http2;
use nuncio_rt::{Buf, Io, OutQueue, Time};
use nuncio_stats::tables::{http_connection_manager as stat, http2 as http2_stat};
use std::{
    io,
    rc::Rc,
    task::{Context, Poll},
};

/// Streams put no more into the queue once so many bytes wait there: what they have stays with them, where it counts
/// against their own limits.
const QUEUE_BYTES: usize = 128 * 1024;

/// What all streams of a connection may hold back together, in `per_connection_buffer_limit_bytes`.
const ALL_STREAMS: usize = 2;
/// Beyond that, what each may hold back all the same: so none waits for another.
const SHARE_BYTES: usize = 16 * 1024;

/// A connection's socket and codec.
pub(super) struct Link {
    pub(super) hcm: Rc<HcmWorker>,
    pub(super) io: Io,
    pub(super) codec: Codec,
    pub(super) out: OutQueue,
    pub(super) input: Option<Buf>,
    /// A response has begun since this was last asked.
    responded: bool,
    /// When the last byte came.
    pub(super) heard: Time,
    frames: (u32, u32),
    /// Bytes of bodies that streams hold back.
    pub(super) held: usize,
}

impl Link {
    pub(super) fn new(hcm: Rc<HcmWorker>, io: Io, first: Option<Buf>) -> Link {
        Link {
            io,
            codec: Codec::new(Role::Server, hcm.config.http2.codec),
            out: OutQueue::new(hcm.worker.bufs.clone()),
            input: first.filter(|b| !b.is_empty()),
            responded: false,
            heard: Time::now(),
            frames: (0, 0),
            held: 0,
            hcm,
        }
    }

    /// Moves what the codec has to say into the queue; says how many bytes.
    pub(super) fn queue_output(&mut self) -> u64 {
        let output = self.codec.output();
        let bytes = output.len() as u64;
        if bytes > 0 {
            self.out.copy(output);
            output.clear();
        }
        bytes
    }

    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= QUEUE_BYTES
    }

    /// What a stream that holds back so many bytes counts against its own limit: too many, where all of them hold back
    /// too much and it has its share.
    pub(super) fn weigh(&self, held: usize) -> usize {
        weigh(self.held, self.hcm.config.buffer_limit, held)
    }

    pub(super) fn responded(&mut self) {
        self.responded = true;
    }

    pub(super) fn take_responded(&mut self) -> bool {
        std::mem::take(&mut self.responded)
    }

    /// Reads once. 0: the client has finished sending.
    pub(super) fn poll_read(&mut self, task: &mut Context<'_>, now: Time) -> Poll<io::Result<usize>> {
        let bufs = &self.hcm.worker.bufs;
        let buf = self.input.get_or_insert_with(|| bufs.get());
        // What is left of a frame is never larger than half of a buffer.
        buf.compact();
        let read = self.io.poll_read(task, buf);
        if let Poll::Ready(Ok(n)) = &read {
            self.heard = now;
            self.hcm.stats.add(self.hcm.worker.lane, stat::DOWNSTREAM_CX_RX_BYTES_TOTAL, *n as u64);
        }
        if let Some(empty) = self.input.take_if(|buf| buf.is_empty()) {
            bufs.put(empty);
        }
        read
    }

    /// Writes what waits. Ready when nothing waits any more.
    pub(super) fn poll_flush(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.queue_output();
        let mut written = 0;
        let done = self.out.poll_flush(task, &mut self.io, &mut written);
        if written > 0 {
            self.codec.sent(written);
            self.hcm.stats.add(self.hcm.worker.lane, stat::DOWNSTREAM_CX_TX_BYTES_TOTAL, written);
        }
        done
    }

    /// Moves what the codec has counted into the statistics.
    pub(super) fn count(&mut self) {
        let (scope, lane) = (&self.hcm.http2_stats, self.hcm.worker.lane);
        count_http2(&mut self.codec, scope, lane);
        let now = self.codec.frames_waiting();
        if now != self.frames {
            scope.gauge_add(lane, http2_stat::OUTBOUND_FRAMES_ACTIVE, i64::from(now.0) - i64::from(self.frames.0));
            scope.gauge_add(lane, http2_stat::OUTBOUND_CONTROL_FRAMES_ACTIVE, i64::from(now.1) - i64::from(self.frames.1));
            self.frames = now;
        }
    }
}

fn weigh(all: usize, limit: usize, held: usize) -> usize {
    let crowded = all > ALL_STREAMS.saturating_mul(limit);
    if crowded && held >= SHARE_BYTES { usize::MAX } else { held }
}

impl Drop for Link {
    fn drop(&mut self) {
        let (scope, lane) = (&self.hcm.http2_stats, self.hcm.worker.lane);
        scope.gauge_add(lane, http2_stat::OUTBOUND_FRAMES_ACTIVE, -i64::from(self.frames.0));
        scope.gauge_add(lane, http2_stat::OUTBOUND_CONTROL_FRAMES_ACTIVE, -i64::from(self.frames.1));
        if let Some(buf) = self.input.take() {
            self.hcm.worker.bufs.put(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_hold_back_too_much_together_keep_their_share_and_no_more() {
        let limit = 1 << 20;
        assert_eq!(weigh(limit, limit, limit - 1), limit - 1);
        assert_eq!(weigh(3 * limit, limit, SHARE_BYTES), usize::MAX);
        assert_eq!(weigh(3 * limit, limit, SHARE_BYTES - 1), SHARE_BYTES - 1);
    }
}
