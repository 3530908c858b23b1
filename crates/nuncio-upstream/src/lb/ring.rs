//! A hash ring (ketama): each host stands at many points of a circle, and a request goes to the first point at or
//! after its hash.
//!
//! How many points a host gets, and where they are, is Envoy's to the bit: `<key>_<n>` hashed, with as many `n` as the
//! host's weight asks for.

use nuncio_core::hash::{MURMUR_SEED, murmur2, xxh64};
use super::table::{Entry, Spread};
use crate::config::{HashFunction, RingHashConfig};
use std::io::Write as _;

/// A ring.
#[derive(Debug)]
pub(super) struct Ring {
    /// Hash and host, by hash.
    points: Box<[(u64, u32)]>,
    /// The first point of each of as many equal parts of the circle as there are points, or up to twice as many: hashes
    /// are spread evenly, so that the one looked for is there or next to it.
    parts: Box<[u32]>,
    /// How many bits a hash is shifted to give its part.
    shift: u32,
}

impl Ring {
    /// The ring of `entries`, whose weights add up to 1, and what the statistics say about it.
    pub fn new(entries: &[Entry], config: RingHashConfig) -> (Ring, Spread) {
        let least = entries.iter().map(|e| e.weight).fold(1.0, f64::min);
        if entries.is_empty() || least <= 0.0 {
            return (Ring::of(Vec::new()), Spread::default());
        }
        // The host of the least weight gets a whole number of points, unless the ring grew too large by that.
        let scale = ((least * config.minimum_ring_size as f64).ceil() / least).min(config.maximum_ring_size as f64);
        let size = scale.ceil() as u64;
        let mut spread = Spread { size, least: size, most: 0 };
        let mut points = Vec::with_capacity(size as usize);
        let (mut made, mut wanted) = (0.0, 0.0);
        let mut key = Vec::new();
        for entry in entries {
            key.clear();
            key.extend_from_slice(entry.key.as_bytes());
            key.push(b'_');
            let stem = key.len();
            wanted += scale * entry.weight;
            let mut n = 0u64;
            while made < wanted {
                key.truncate(stem);
                // Writing to a vector does not fail.
                let _ = write!(key, "{n}");
                let hash = match config.hash_function {
                    HashFunction::XxHash => xxh64(&key, 0),
                    HashFunction::MurmurHash2 => murmur2(&key, MURMUR_SEED),
                };
                points.push((hash, entry.host));
                n += 1;
                made += 1.0;
            }
            spread.least = spread.least.min(n);
            spread.most = spread.most.max(n);
        }
        points.sort_by_key(|(hash, _)| *hash);
        (Ring::of(points), spread)
    }

    fn of(points: Vec<(u64, u32)>) -> Ring {
        let bits = points.len().next_power_of_two().trailing_zeros();
        let (mut parts, mut at) = (Vec::with_capacity(1 << bits), 0);
        for part in 0..1u64 << bits {
            let begins = part.checked_shl(64 - bits).unwrap_or(0);
            while points.get(at).is_some_and(|(hash, _)| *hash < begins) {
                at += 1;
            }
            parts.push(at as u32);
        }
        Ring { points: points.into(), parts: parts.into(), shift: 64 - bits }
    }

    /// The host for a hash; with each further attempt the next point's.
    pub fn pick(&self, hash: u64, attempt: u32) -> Option<u32> {
        let part = hash.checked_shr(self.shift).unwrap_or(0) as usize;
        let mut first = *self.parts.get(part)? as usize;
        while self.points.get(first).is_some_and(|(at, _)| *at < hash) {
            first += 1;
        }
        let at = (first % self.points.len().max(1) + attempt as usize) % self.points.len().max(1);
        self.points.get(at).map(|(_, host)| *host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_leads_to_the_first_point_at_or_after_it() {
        let rng = nuncio_rt::Rng::seeded(19, 20);
        for n in [0, 1, 2, 3, 100, 1024, 1025] {
            let mut points: Vec<(u64, u32)> = (0..n).map(|i| (rng.next_u64(), i)).collect();
            points.sort_unstable();
            let ring = Ring::of(points.clone());
            let hashes = (0..2000).map(|_| rng.next_u64()).chain([0, u64::MAX]).chain(points.iter().map(|p| p.0));
            for hash in hashes.collect::<Vec<_>>() {
                let wanted = points.iter().find(|(at, _)| *at >= hash).or(points.first()).map(|(_, host)| *host);
                assert_eq!(ring.pick(hash, 0), wanted, "{n} points");
            }
        }
    }
}
