//! A token bucket that all workers share, without a lock.
//!
//! It fills steadily. All it keeps is the moment at which it would have been empty: taking tokens moves that moment on.

use crate::read;
use nuncio_api::envoy::r#type::v3::TokenBucket;
use nuncio_rt::Time;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much a bucket holds, and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Size {
    /// Tokens at most.
    pub(crate) max: f64,
    /// Tokens per second.
    pub(crate) per_second: f64,
}

impl Size {
    /// Reads the message.
    pub(crate) fn read(from: &TokenBucket) -> Size {
        let TokenBucket { max_tokens, tokens_per_fill, fill_interval } = from;
        let seconds = fill_interval.as_ref().map_or(1.0, |time| read::duration(time).as_secs_f64()).max(0.001);
        Size { max: f64::from(*max_tokens), per_second: f64::from(tokens_per_fill.unwrap_or(1)) / seconds }
    }
}

/// Seconds of the process's clock.
pub(crate) fn now() -> f64 {
    Time::now().as_nanos() as f64 / 1e9
}

/// A bucket; full to begin with.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) size: Size,
    /// Seconds, as the bits of an `f64`.
    empty_at: AtomicU64,
}

/// Tolerance for sums of fractions of a token.
const EPSILON: f64 = 1e-9;

impl Bucket {
    pub(crate) fn new(size: Size) -> Bucket {
        Bucket { size, empty_at: AtomicU64::new(f64::NEG_INFINITY.to_bits()) }
    }

    fn empty_at(&self, held: u64, now: f64) -> f64 {
        f64::from_bits(held).max(now - self.size.max / self.size.per_second)
    }

    /// Takes tokens if there are enough at `now`, in seconds of the process's clock.
    pub(crate) fn take(&self, tokens: f64, now: f64) -> bool {
        let mut held = self.empty_at.load(Ordering::Relaxed);
        loop {
            let next = self.empty_at(held, now) + tokens / self.size.per_second;
            if next > now + EPSILON {
                return false;
            }
            match self.empty_at.compare_exchange_weak(held, next.to_bits(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => held = other,
            }
        }
    }

    /// Whole tokens left.
    pub(crate) fn left(&self, now: f64) -> u64 {
        let empty_at = self.empty_at(self.empty_at.load(Ordering::Relaxed), now);
        ((now - empty_at) * self.size.per_second + 1e-6).floor().max(0.0) as u64
    }

    /// Whole seconds until there is a token, rounded up.
    pub(crate) fn wait(&self, now: f64) -> u64 {
        if self.left(now) > 0 {
            return 0;
        }
        let empty_at = self.empty_at(self.empty_at.load(Ordering::Relaxed), now);
        (empty_at + 1.0 / self.size.per_second - now - 1e-6).ceil().max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_steadily() {
        let bucket = Bucket::new(Size { max: 2.0, per_second: 0.5 });
        assert_eq!((bucket.left(10.0), bucket.wait(10.0)), (2, 0));
        assert!(bucket.take(1.0, 10.0) && bucket.take(1.0, 10.0) && !bucket.take(1.0, 10.0));
        assert_eq!((bucket.left(10.0), bucket.wait(10.0)), (0, 2));
        assert!(!bucket.take(1.0, 11.9) && bucket.take(1.0, 12.0) && !bucket.take(1.0, 12.0));
        assert_eq!(bucket.left(1000.0), 2, "no more than it holds");
    }
}
