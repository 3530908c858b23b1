//! Maglev hashing: a table of hosts, indexed by the request's hash.
//!
//! Every host has its own order in which it would like the table's places; they take turns, by weight, each taking the
//! first place of its order that is free. Few places change their host when hosts come and go.

use nuncio_core::hash::xxh64;
use super::table::{Entry, Spread};

/// A table.
#[derive(Debug)]
pub(super) struct Maglev {
    places: Places,
}

/// Hosts by place; small numbers where that is enough, for the table is read at random.
#[derive(Debug)]
enum Places {
    Small(Box<[u16]>),
    Large(Box<[u32]>),
}

struct Turn {
    host: u32,
    weight: f64,
    /// Weight at which it takes its next place.
    due: f64,
    offset: u64,
    skip: u64,
    next: u64,
    taken: u64,
}

impl Turn {
    fn place(&self, size: u64) -> u64 {
        ((u128::from(self.skip) * u128::from(self.next) + u128::from(self.offset)) % u128::from(size)) as u64
    }
}

impl Maglev {
    /// The table of `entries`, whose weights add up to 1, with `size` places (a prime number), and what the
    /// statistics say about it.
    pub fn new(entries: &[Entry], size: u64) -> (Maglev, Spread) {
        let heaviest = entries.iter().map(|e| e.weight).fold(0.0, f64::max);
        if heaviest <= 0.0 || size < 2 {
            return (Maglev { places: Places::Small(Box::default()) }, Spread::default());
        }
        let mut order: Vec<&Entry> = entries.iter().collect();
        order.sort_by(|a, b| a.key.cmp(&b.key));
        let mut turns: Vec<Turn> = (order.iter())
            .map(|entry| Turn {
                host: entry.host,
                weight: entry.weight,
                due: 0.0,
                offset: xxh64(entry.key.as_bytes(), 0) % size,
                skip: xxh64(entry.key.as_bytes(), 1) % (size - 1) + 1,
                next: 0,
                taken: 0,
            })
            .collect();
        const FREE: u32 = u32::MAX;
        let mut places = vec![FREE; size as usize];
        let mut left = size;
        let mut round = 0.0;
        while left > 0 {
            round += 1.0;
            for turn in &mut turns {
                if left == 0 {
                    break;
                }
                if round * turn.weight < turn.due {
                    continue;
                }
                turn.due += heaviest;
                // A free place is found: `skip` and the prime size make the order go through all places.
                let place = loop {
                    let place = turn.place(size) as usize;
                    turn.next += 1;
                    if places[place] == FREE {
                        break place;
                    }
                };
                places[place] = turn.host;
                turn.taken += 1;
                left -= 1;
            }
        }
        let spread = Spread {
            size,
            least: turns.iter().map(|t| t.taken).min().unwrap_or(0),
            most: turns.iter().map(|t| t.taken).max().unwrap_or(0),
        };
        (Maglev { places: Places::new(places) }, spread)
    }

    /// The host for a hash; with each further attempt another place's.
    pub fn pick(&self, hash: u64, attempt: u32) -> Option<u32> {
        let hash = if attempt > 0 { hash ^ (u64::MAX - u64::from(attempt) + 1) } else { hash };
        match &self.places {
            Places::Small(list) => list.get((hash % list.len().max(1) as u64) as usize).map(|h| u32::from(*h)),
            Places::Large(list) => list.get((hash % list.len().max(1) as u64) as usize).copied(),
        }
    }
}

impl Places {
    fn new(list: Vec<u32>) -> Places {
        match list.iter().map(|h| u16::try_from(*h)).collect() {
            Ok(small) => Places::Small(small),
            Err(_) => Places::Large(list.into()),
        }
    }
}
