//! A small fast generator (xoroshiro128+), seeded per thread from the process's hash keys.
//!
//! For load balancing, jitter and request ids. Not for secrets.

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// A generator of 64-bit numbers.
#[derive(Debug)]
pub struct Rng {
    state: Cell<(u64, u64)>,
}

impl Default for Rng {
    fn default() -> Self {
        let draw = || RandomState::new().build_hasher().finish();
        Rng::seeded(draw(), draw())
    }
}

impl Rng {
    /// A generator with a fixed start, for tests.
    pub fn seeded(a: u64, b: u64) -> Rng {
        Rng { state: Cell::new((a, b | 1)) }
    }

    /// The next number.
    #[inline]
    pub fn next_u64(&self) -> u64 {
        let (a, mut b) = self.state.get();
        let out = a.wrapping_add(b);
        b ^= a;
        self.state.set((a.rotate_left(24) ^ b ^ (b << 16), b.rotate_left(37)));
        out
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    #[inline]
    pub fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// `base`, and up to so many percent of it more.
    pub fn stretched(&self, base: Duration, percent: f64) -> Duration {
        if percent <= 0.0 {
            return base;
        }
        // In millionths, which is finer than anybody can tell.
        base + base.mul_f64(percent / 100.0 * (self.below(1_000_001) as f64 / 1_000_000.0))
    }

    /// A version 4 UUID in its 36-byte text form.
    pub fn uuid_text(&self) -> [u8; 36] {
        /// Both digits of every byte.
        static HEX: [[u8; 2]; 256] = {
            let digits = b"0123456789abcdef";
            let mut pairs = [[0; 2]; 256];
            let mut i = 0;
            while i < 256 {
                pairs[i] = [digits[i >> 4], digits[i & 15]];
                i += 1;
            }
            pairs
        };
        let mut raw = [0u8; 16];
        raw[..8].copy_from_slice(&self.next_u64().to_be_bytes());
        raw[8..].copy_from_slice(&self.next_u64().to_be_bytes());
        raw[6] = (raw[6] & 0x0f) | 0x40;
        raw[8] = (raw[8] & 0x3f) | 0x80;
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in raw.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at..at + 2].copy_from_slice(&HEX[usize::from(*byte)]);
            at += 2;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_stays_in_range_and_reaches_every_value() {
        let rng = Rng::seeded(1, 2);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[rng.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n > 800 && n < 1200), "{seen:?}");
    }

    #[test]
    fn uuid_has_version_and_variant() {
        let out = Rng::seeded(3, 4).uuid_text();
        assert_eq!((out.len(), out[14], out[8], out[23]), (36, b'4', b'-', b'-'));
        assert!(b"89ab".contains(&out[19]));
    }
}
