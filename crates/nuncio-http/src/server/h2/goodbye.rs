//! How a connection ends: in two steps where it can (RFC 9113, section 6.8), at once where it must.

use super::Served;
use nuncio_codec::http2::ErrorCode;
use nuncio_core::RuntimeValues;
use nuncio_rt::Time;
use nuncio_stats::tables::http_connection_manager as stat;
use std::{
    task::{Context, Poll},
    time::Duration,
};

/// How long a connection without streams is left, after the first GOAWAY, for a request that may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(250);

/// How far a connection's end is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    Open,
    /// The first GOAWAY has been sent; the second follows at this time.
    Announced { final_at: Time, idle_until: Time },
    /// The second has been sent: open streams end, no new ones begin.
    Leaving,
    /// Nothing more is read for anybody. What waits is written, and the client may close first until then.
    Closing { until: Option<Time>, flush_until: Time },
    /// Not even written.
    Now,
}

/// The end of a connection.
#[derive(Debug, Default)]
pub(super) struct Goodbye {
    step: Step,
    shut: bool,
    peer_leaves: bool,
    /// Something came that nobody reads any more.
    unread: bool,
}

impl Goodbye {
    pub(super) fn has_begun(&self) -> bool {
        self.step != Step::Open
    }

    /// True once streams are no longer served.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.step, Step::Closing { .. } | Step::Now)
    }

    pub(super) fn peer_leaves(&mut self) {
        self.peer_leaves = true;
    }

    pub(super) fn at_once(&mut self) {
        self.step = Step::Now;
    }

    /// Flushes and closes; `until` is how long the client may take to close first.
    pub(super) fn end(&mut self, until: Option<Time>) {
        if !self.is_final() {
            self.step = Step::Closing { until, flush_until: Time::now() + Duration::from_secs(1) };
        }
    }

    pub(super) fn due(&self) -> Option<Time> {
        match self.step {
            Step::Announced { final_at, idle_until } => Some(final_at.min(idle_until).max(Time::now() + Duration::from_millis(1))),
            Step::Closing { until, flush_until } => Some(until.unwrap_or(flush_until)),
            _ => None,
        }
    }
}

impl Served {
    /// Begins to drain: the client is told to open no more streams, and those that are open end.
    pub(super) fn start_drain(&mut self, now: Time) {
        if self.goodbye.has_begun() {
            return;
        }
        self.link.codec.announce_goaway();
        self.link.queue_output();
        let drain = self.hcm.config.timeouts.drain_time(&self.hcm.worker.rng);
        self.goodbye.step = Step::Announced { final_at: now + drain, idle_until: now + ON_ITS_WAY.min(drain) };
    }

    /// Looks at whether it is time to go.
    pub(super) fn say_goodbye(&mut self, now: Time) {
        let responded = self.link.take_responded();
        if !self.goodbye.has_begun() && (self.drain.is_closing() || responded && self.drain.is_draining()) {
            self.count(stat::DOWNSTREAM_CX_DRAIN_CLOSE);
            self.start_drain(now);
        }
        match self.goodbye.step {
            Step::Announced { final_at, idle_until } if final_at <= now || self.streams.is_empty() && idle_until <= now => {
                self.link.codec.goaway(ErrorCode::NO_ERROR);
                self.link.queue_output();
                self.goodbye.step = Step::Leaving;
            }
            Step::Announced { final_at, idle_until } if idle_until <= now => {
                // With streams open only the drain's end matters.
                self.goodbye.step = Step::Announced { final_at, idle_until: final_at };
            }
            _ => {}
        }
        let leaving = self.goodbye.step == Step::Leaving || self.goodbye.peer_leaves && !self.goodbye.is_final();
        if leaving && self.streams.is_empty() {
            let delay = self.hcm.config.timeouts.delayed_close;
            self.goodbye.end(delay.map(|d| now + d));
        }
    }

    /// Flushes, then closes; while waiting, whatever the client still sends is thrown away. True when it is over.
    pub(super) fn poll_closing(&mut self, task: &mut Context<'_>, now: Time) -> bool {
        let Step::Closing { until, flush_until } = self.goodbye.step else { return true };
        match self.link.poll_flush(task) {
            Poll::Ready(Err(_)) => return true,
            Poll::Ready(Ok(())) => {}
            Poll::Pending => return flush_until <= now,
        }
        let Some(until) = until else { return self.link.io.poll_shutdown(task).is_ready() };
        // Envoy says nothing until it closes, and reads nothing: a client that has sent more meets a reset.
        let as_envoy = self.link.codec.options().as_envoy;
        if !as_envoy && !self.goodbye.shut && self.link.io.poll_shutdown(task).is_ready() {
            self.goodbye.shut = true;
        }
        loop {
            match self.link.poll_read(task, now) {
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.goodbye.unread = true;
                    if let Some(mut input) = self.link.input.take() {
                        input.clear();
                        self.hcm.worker.bufs.put(input);
                    }
                }
                Poll::Ready(_) => {
                    self.life.remote_close = true;
                    return true;
                }
                Poll::Pending if until <= now => {
                    self.count(stat::DOWNSTREAM_CX_DELAYED_CLOSE_TIMEOUT);
                    if as_envoy && self.goodbye.unread {
                        self.link.io.reset_on_close();
                    }
                    return true;
                }
                Poll::Pending => return false,
            }
        }
    }
}

/// Streams that clients reset as soon as they have begun them (CVE-2023-44487). Envoy's rule and runtime keys.
#[derive(Debug, Default)]
pub(super) struct PrematureResets {
    closed: u64,
    premature: u64,
}

impl PrematureResets {
    /// A stream has ended. True if too many of them were reset too early.
    pub(super) fn closed(&mut self, by_client: bool, lifetime: Duration, runtime: &RuntimeValues) -> bool {
        let number = |key: &str, default| runtime.get(key).and_then(|v| v.uint()).unwrap_or(default);
        self.closed += 1;
        if by_client && lifetime < Duration::from_secs(number("overload.premature_reset_min_stream_lifetime_seconds", 1)) {
            self.premature += 1;
        }
        if self.premature == 0 {
            return false;
        }
        let limit = number("overload.premature_reset_total_stream_count", 500);
        // Even if every further stream were good, most of the first `limit` would have been bad.
        self.premature * 2 >= if self.closed < limit { limit } else { self.closed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_streams_reset_at_once_are_too_many() {
        let runtime = RuntimeValues::default();
        let mut resets = PrematureResets::default();
        let at = (1..1000).find(|_| resets.closed(true, Duration::ZERO, &runtime));
        assert_eq!(at, Some(250));
        let mut resets = PrematureResets::default();
        let at = (1..5000).find(|n| resets.closed(n % 3 == 0, Duration::ZERO, &runtime));
        assert_eq!(at, None, "a third is not");
        assert!((1..5000).all(|_| !PrematureResets::default().closed(true, Duration::from_secs(2), &runtime)));
    }
}
