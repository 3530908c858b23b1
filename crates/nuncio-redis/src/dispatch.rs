//! A command on its way: what it is, whether it may be, where it goes.

use crate::{
    RedisWorker,
    answer::{Late, Merge, Meter, NO_HOST, Part, Pending},
    commands::{self, Kind},
    config::{Fault, FaultKind, KeyPart, Mirror, Route},
    redirect::Errand,
    session::State,
};
use nuncio_codec::resp::{self, Value};
use nuncio_core::{
    StreamCx,
    hash::{MURMUR_SEED, murmur2},
};
use nuncio_rt::Time;
use nuncio_stats::{
    Scope,
    tables::redis::{ERROR, ERROR_FAULT, INVALID_REQUEST, TOTAL, UNSUPPORTED_COMMAND},
};
use std::sync::Arc;

/// A command that is known.
pub(crate) struct Asked {
    /// In lower case.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// All of its words.
    pub(crate) words: Vec<Vec<u8>>,
    /// Its statistics.
    pub(crate) scope: Arc<Scope>,
}

/// Sends commands on their way.
pub(crate) struct Dispatch<'a> {
    pub(crate) worker: &'a RedisWorker,
}

impl Dispatch<'_> {
    /// Begins with a command; the answer comes later, or is there at once.
    pub(crate) fn start(&self, state: &mut State, value: Value) -> Pending {
        let Some(words) = words(value) else { return self.invalid() };
        let Some(name) = words.first().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()) else { return self.invalid() };
        if let Some(answer) = self.local(state, &name, &words) {
            return answer;
        }
        let known = self.worker.proxy.commands.get(name.as_str()).cloned();
        let Some((kind, scope)) = known else {
            self.worker.proxy.scope.inc(self.worker.worker.lane, UNSUPPORTED_COMMAND);
            let said = |at: usize| String::from_utf8_lossy(words.get(at).map_or(&[][..], Vec::as_slice)).into_owned();
            return Pending::Ready(Value::error(format!("ERR unknown command '{}', with args beginning with: {}", said(0), said(1))));
        };
        let alone = kind == Kind::Transaction || matches!(name.as_str(), "hello" | "info" | "role" | "randomkey" | "flushall" | "flushdb" | "scan");
        if words.len() < 2 && !alone {
            return self.invalid();
        }
        if !state.allowed && kind != Kind::Hello {
            return Pending::Ready(Value::error("NOAUTH Authentication required."));
        }
        // Within a transaction all count as parts of it.
        let scope = match self.worker.proxy.commands.get("multi").filter(|_| state.transaction.active) {
            Some((_, multi)) => multi.clone(),
            None => scope,
        };
        scope.inc(self.worker.worker.lane, TOTAL);
        let asked = Asked { name, kind, words, scope };
        match self.fault(&asked.name) {
            None => self.split(state, asked),
            Some(fault) => self.faulty(fault, state, asked),
        }
    }

    pub(crate) fn invalid(&self) -> Pending {
        self.worker.proxy.scope.inc(self.worker.worker.lane, INVALID_REQUEST);
        Pending::Ready(Value::error("invalid request"))
    }

    pub(crate) fn wrong_number(&self, words: &[Vec<u8>], scope: &Scope) -> Pending {
        scope.inc(self.worker.worker.lane, ERROR);
        let name = String::from_utf8_lossy(words.first().map_or(&[][..], Vec::as_slice)).into_owned();
        Pending::Ready(Value::error(format!("wrong number of arguments for '{name}' command")))
    }

    pub(crate) fn meter(&self, scope: Arc<Scope>) -> Meter {
        let micros = self.worker.proxy.config.latency_in_micros;
        Meter { worker: self.worker.worker.clone(), scope, micros, begun: Time::now() }
    }

    /// The fault that a command meets.
    fn fault(&self, name: &str) -> Option<&Fault> {
        let faults = &self.worker.proxy.config.faults;
        if faults.is_empty() {
            return None;
        }
        let worker = &self.worker.worker;
        let random = worker.rng.below(100);
        let mut sum = 0;
        faults.iter().filter(|fault| fault.commands.is_empty() || fault.commands.iter().any(|of| of == name)).find(|fault| {
            let share = fault.enabled.now(&worker.runtime.values());
            sum += u64::from(share.numerator) * 100 / u64::from(share.denominator.max(1));
            random < sum
        })
    }

    fn faulty(&self, fault: &Fault, state: &mut State, asked: Asked) -> Pending {
        let (worker, scope) = (&self.worker.worker, asked.scope.clone());
        let inner = match fault.kind {
            FaultKind::Delay => self.split(state, asked),
            FaultKind::Error => {
                scope.inc(worker.lane, ERROR);
                scope.inc(worker.lane, ERROR_FAULT);
                Pending::Ready(Value::error("Fault Injected: Error"))
            }
        };
        if fault.delay.is_zero() {
            return inner;
        }
        Pending::Late(Box::new(Late { inner, delay: fault.delay, deadline: None, worker: worker.clone(), scope }))
    }

    fn split(&self, state: &mut State, mut asked: Asked) -> Pending {
        if state.transaction.active || asked.kind == Kind::Transaction {
            return match asked.name.as_str() {
                "watch" if asked.words.len() < 2 => self.wrong_number(&asked.words, &asked.scope),
                _ => self.in_transaction(state, asked),
            };
        }
        match asked.kind {
            Kind::Simple => self.one(state, &mut asked, 1),
            Kind::Object if asked.words.len() < 3 => self.wrong_number(&asked.words, &asked.scope),
            Kind::Object => self.one(state, &mut asked, 2),
            Kind::Eval if asked.words.len() < 4 => self.wrong_number(&asked.words, &asked.scope),
            Kind::Eval => self.one(state, &mut asked, 3),
            Kind::Mget => self.each_key(state, asked, Some("get"), Merge::Values),
            Kind::Sum => self.each_key(state, asked, None, Merge::Sum),
            Kind::Mset => self.each_pair(state, asked),
            Kind::All => self.all(state, asked),
            Kind::Any => self.any(state, asked),
            Kind::Shard => self.shard(state, asked),
            Kind::Hello | Kind::Transaction => self.hello(state, asked),
        }
    }

    /// To the host of the key at this place.
    fn one(&self, state: &State, asked: &mut Asked, at: usize) -> Pending {
        let routed = asked.words.get_mut(at).and_then(|key| Some((self.route(&state.stream, key)?, self.hash(key))));
        let handle = routed.and_then(|(route, hash)| self.forward(route, &asked.name, hash, &asked.words));
        match handle {
            Some(handle) => Pending::One(handle, self.meter(asked.scope.clone())),
            None => self.no_host(&asked.scope),
        }
    }

    pub(crate) fn no_host(&self, scope: &Scope) -> Pending {
        scope.inc(self.worker.worker.lane, ERROR);
        Pending::Ready(Value::error(NO_HOST))
    }

    /// A command for each key.
    fn each_key(&self, state: &State, asked: Asked, command: Option<&str>, merge: Merge) -> Pending {
        let name = command.unwrap_or(&asked.name);
        let first = command.map_or_else(|| asked.words.first().cloned().unwrap_or_default(), |command| command.as_bytes().to_vec());
        let parts = asked.words.into_iter().skip(1).map(|mut key| {
            Part::of(self.route(&state.stream, &mut key).and_then(|route| {
                let hash = self.hash(&key);
                self.forward(route, name, hash, &[first.clone(), key])
            }))
        });
        Pending::Many(parts.collect(), merge, self.meter(asked.scope))
    }

    /// A SET for each pair.
    fn each_pair(&self, state: &State, asked: Asked) -> Pending {
        if asked.words.len() % 2 == 0 {
            return self.wrong_number(&asked.words, &asked.scope);
        }
        let mut words = asked.words.into_iter().skip(1);
        let mut parts = Vec::new();
        while let (Some(mut key), Some(value)) = (words.next(), words.next()) {
            parts.push(Part::of(self.route(&state.stream, &mut key).and_then(|route| {
                let hash = self.hash(&key);
                self.forward(route, "set", hash, &[b"set".to_vec(), key, value])
            })));
        }
        Pending::Many(parts, Merge::Ok, self.meter(asked.scope))
    }

    /// The route of a key, which is changed as the route says.
    pub(crate) fn route(&self, stream: &StreamCx, key: &mut Vec<u8>) -> Option<&Route> {
        let config = &self.worker.proxy.config;
        let begins = |prefix: &[u8]| match key.get(..prefix.len()) {
            Some(begin) if config.case_insensitive => begin.eq_ignore_ascii_case(prefix),
            Some(begin) => begin == prefix,
            None => false,
        };
        let Some(route) = config.routes.iter().find(|route| begins(&route.prefix)) else { return config.catch_all.as_ref() };
        if route.remove_prefix {
            key.drain(..route.prefix.len());
        }
        if let Some(format) = &route.key_format {
            let mut made = Vec::with_capacity(key.len() + 16);
            for part in &format.0 {
                match part {
                    KeyPart::Key => made.extend_from_slice(key),
                    KeyPart::Format(format) => format.write(stream, &mut made),
                }
            }
            *key = made;
        }
        Some(route)
    }

    /// What a key is hashed to.
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let tagged = if self.worker.proxy.config.hashtagging { tag(key) } else { key };
        murmur2(tagged, MURMUR_SEED)
    }

    /// Sends a command to the host of a hash, and to whoever is told, too.
    pub(crate) fn forward(&self, route: &Route, name: &str, hash: u64, words: &[Vec<u8>]) -> Option<Errand> {
        let pool = &self.worker.pool;
        let read = route.read_cluster.as_ref().filter(|_| commands::is_read(name));
        let upstream = pool.upstream(read.unwrap_or(&route.cluster));
        let client = upstream.shared(hash)?;
        let handle = client.send(|out| Dispatch::write(words, out), upstream.counts(name));
        for mirror in route.mirrors.iter().filter(|mirror| self.mirrors(mirror, name)) {
            let upstream = pool.upstream(&mirror.cluster);
            if let Some(client) = upstream.shared(hash) {
                client.send(|out| Dispatch::write(words, out), upstream.counts(name)).forget();
            }
        }
        Some(Errand::new(handle, &upstream, name, words))
    }

    fn mirrors(&self, mirror: &Mirror, name: &str) -> bool {
        let worker = &self.worker.worker;
        let draw = |fraction: &nuncio_core::RuntimeFraction| fraction.holds(worker.rng.next_u64(), &worker.runtime.values());
        !(mirror.exclude_reads && commands::is_read(name)) && mirror.fraction.as_ref().is_none_or(draw)
    }

    /// A command as it goes out.
    pub(crate) fn write(words: &[Vec<u8>], out: &mut Vec<u8>) {
        resp::array_of(out, words.len());
        words.iter().for_each(|word| resp::bulk(out, word));
    }
}

/// The words of a command: there is at least one.
fn words(value: Value) -> Option<Vec<Vec<u8>>> {
    let Value::Array(values) = value else { return None };
    if values.is_empty() {
        return None;
    }
    values.into_iter().map(|value| if let Value::Bulk(word) = value { Some(word) } else { None }).collect()
}

/// What stands between the first brace of a key and the next closing one, if anything does.
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let inside = key.get(open + 1..).unwrap_or_default();
    match inside.iter().position(|byte| *byte == b'}') {
        Some(end) if end > 0 => &inside[..end],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_what_stands_in_braces() {
        for (key, tagged) in [("a{b}c", "b"), ("a{}c", "a{}c"), ("a{b", "a{b"), ("{x}{y}", "x"), ("a}b{c}", "c"), ("", "")] {
            assert_eq!(tag(key.as_bytes()), tagged.as_bytes(), "{key}");
        }
    }
}
