//! Consistent hashing: the table of one priority, made once for all workers when hosts or their health change.
//!
//! The table holds healthy hosts, or all of them when the priority panics. A request's hash leads to one host; a
//! retry that must not go there again leads further. With a balance factor a host that has more than its share of the
//! requests in flight is passed over, for one that the hash determines as well.

use super::maglev::Maglev;
use super::ring::Ring;
use crate::config::{HashLb, HashTableConfig};
use crate::host::Host;
use crate::host_set::PriorityHosts;
use nuncio_core::metadata::{MetadataValue, of_lb};
use std::sync::Arc;

/// A host's part in a table.
#[derive(Debug)]
pub(super) struct Entry {
    /// What is hashed for it.
    pub key: String,
    /// Its place among the priority's hosts.
    pub host: u32,
    /// Its share; all shares add up to 1.
    pub weight: f64,
}

/// What the statistics say about a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// Entries of the table.
    pub size: u64,
    /// Fewest entries of a host.
    pub least: u64,
    /// Most entries of a host.
    pub most: u64,
}

/// The table of a priority.
#[derive(Debug)]
pub(crate) struct HashTable {
    lookup: Lookup,
    /// How many entries hosts have in it.
    pub(crate) spread: Spread,
    bounded: Option<Bounded>,
}

#[derive(Debug)]
enum Lookup {
    Ring(Ring),
    Maglev(Maglev),
}

/// `hash_balance_factor`.
#[derive(Debug)]
struct Bounded {
    factor: u32,
    /// Hosts and their shares, in the table's order.
    shares: Box<[(u32, f64)]>,
    /// Where each of the priority's hosts stands in `shares`.
    at: Box<[u32]>,
}

impl HashTable {
    /// The table of a priority; of all its hosts if it panics.
    pub fn new(tier: &PriorityHosts, config: &HashLb, panic: bool, locality_weighted: bool) -> HashTable {
        let entries = shares(tier, config.use_hostname, panic, locality_weighted);
        let (lookup, spread) = match config.table {
            HashTableConfig::Ring(ring) => {
                let (ring, spread) = Ring::new(&entries, ring);
                (Lookup::Ring(ring), spread)
            }
            HashTableConfig::Maglev { table_size } => {
                let (maglev, spread) = Maglev::new(&entries, table_size);
                (Lookup::Maglev(maglev), spread)
            }
        };
        let bounded = (config.balance_factor > 0).then(|| Bounded::new(&entries, tier.hosts.len(), config.balance_factor));
        HashTable { lookup, spread, bounded }
    }

    /// The host for a hash. `in_flight` is asked for the cluster's requests in flight if that matters.
    pub fn pick(&self, hosts: &[Arc<Host>], hash: u64, attempt: u32, in_flight: &dyn Fn() -> u64) -> Option<u32> {
        let host = match &self.lookup {
            Lookup::Ring(ring) => ring.pick(hash, attempt),
            Lookup::Maglev(maglev) => maglev.pick(hash, attempt),
        }?;
        match &self.bounded {
            Some(bounded) => bounded.relieve(hosts, host, hash, in_flight()),
            None => Some(host),
        }
    }
}

/// What is hashed for a host: `envoy.lb` / `hash_key` of its metadata, else its name or address.
fn key(host: &Host, use_hostname: bool) -> String {
    if let Some(MetadataValue::Text(key)) = of_lb(host.metadata.as_deref()).and_then(|fields| fields.get("hash_key"))
        && !key.is_empty()
    {
        return key.clone();
    }
    if use_hostname { host.hostname.to_string() } else { host.address.to_string() }
}

/// The hosts' shares of all load: by weight, within the localities' shares where those count.
fn shares(tier: &PriorityHosts, use_hostname: bool, panic: bool, locality_weighted: bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |list: &[u32], share: f64| {
        let sum = tier.weight_of(list) as f64;
        for &host in list {
            let Some(found) = tier.hosts.get(host as usize) else { continue };
            entries.push(Entry { key: key(found, use_hostname), host, weight: f64::from(found.weight) * share / sum });
        }
    };
    let everyone: Vec<u32>;
    if !locality_weighted {
        if panic {
            everyone = (0..tier.hosts.len() as u32).collect();
            add(&everyone, 1.0);
        } else {
            add(&tier.healthy, 1.0);
        }
        return entries;
    }
    let sum: u64 = tier.localities.iter().map(|l| u64::from(l.weight)).sum();
    for locality in &tier.localities {
        if locality.weight > 0 {
            add(if panic { &locality.all } else { &locality.healthy }, f64::from(locality.weight) / sum as f64);
        }
    }
    entries
}

impl Bounded {
    fn new(entries: &[Entry], hosts: usize, factor: u32) -> Bounded {
        let mut at = vec![0; hosts];
        for (i, entry) in entries.iter().enumerate() {
            if let Some(place) = at.get_mut(entry.host as usize) {
                *place = i as u32;
            }
        }
        Bounded { factor, shares: entries.iter().map(|e| (e.host, e.weight)).collect(), at: at.into() }
    }

    /// `host`, or another if it has more than its share; the least loaded if all have.
    fn relieve(&self, hosts: &[Arc<Host>], host: u32, hash: u64, in_flight: u64) -> Option<u32> {
        let slots = ((in_flight + 1).saturating_mul(u64::from(self.factor)).saturating_add(99)) / 100;
        let overload = |host: u32, share: f64| {
            let active = hosts.get(host as usize).map_or(0, |h| h.state.active_requests());
            f64::from(active) / (slots as f64 * share).ceil().max(1.0)
        };
        let place = *self.at.get(host as usize)?;
        let (_, share) = *self.shares.get(place as usize)?;
        let mut least = (overload(host, share), host);
        if least.0 <= 1.0 {
            return Some(host);
        }
        // Others in an order that the hash determines, so that the overflow of one host spreads over all.
        let n = self.shares.len();
        let mut order: Vec<u32> = (0..n as u32).collect();
        let mut random = Mersenne::new(hash as u32);
        for i in 0..n {
            let j = i + random.below((n - i) as u32) as usize;
            order.swap(i, j);
            let Some(&(other, share)) = order.get(i).and_then(|k| self.shares.get(*k as usize)) else { continue };
            if other == host {
                continue;
            }
            let load = overload(other, share);
            if load <= 1.0 {
                return Some(other);
            }
            if load < least.0 {
                least = (load, other);
            }
        }
        Some(least.1)
    }
}

/// MT19937, the generator with which Envoy orders the alternatives: the order is part of where a hash leads.
struct Mersenne {
    state: Box<[u32; 624]>,
    at: usize,
}

impl Mersenne {
    fn new(seed: u32) -> Mersenne {
        let mut state = Box::new([0u32; 624]);
        let mut last = seed;
        for (i, word) in state.iter_mut().enumerate() {
            if i > 0 {
                last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
            }
            *word = last;
        }
        Mersenne { state, at: 624 }
    }

    fn next(&mut self) -> u32 {
        if self.at >= 624 {
            for i in 0..624 {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % 624] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + 397) % 624] ^ (y >> 1) ^ odd;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number in `0..bound`, drawn as Envoy draws it.
    fn below(&mut self, bound: u32) -> u32 {
        let step = (1u64 << 32) / u64::from(bound.max(1));
        loop {
            let x = u64::from(self.next()) / step;
            if x < u64::from(bound.max(1)) {
                return x as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_mt19937() {
        let mut random = Mersenne::new(5489);
        let draws: Vec<u32> = (0..10_000).map(|_| random.next()).collect();
        assert_eq!((draws[0], draws[9999]), (3_499_211_612, 4_123_659_995));
    }
}
