//! Commands that are answered here, and those that are for hosts and not for keys.

use crate::{
    answer::{Merge, Part, Pending},
    config::Route,
    dispatch::{Asked, Dispatch},
    redirect::Errand,
    session::State,
};
use nuncio_codec::resp::Value;
use nuncio_stats::tables::redis::{ERROR, SUCCESS};
use std::time::{Duration, SystemTime};

/// Nobody has to say who they are.
const NOT_ASKED: &str = "ERR Client sent AUTH, but no username-password pair is set";

/// What went wrong with who a client says it is.
enum Unknown {
    /// Nobody has to say who they are.
    NotAsked,
    /// It is somebody else.
    Wrong,
}

impl Dispatch<'_> {
    /// The answer to a command that no host sees.
    pub(crate) fn local(&self, state: &mut State, name: &str, words: &[Vec<u8>]) -> Option<Pending> {
        let ready = |value| Some(Pending::Ready(value));
        if name == "quit" {
            state.quit = true;
            return ready(Value::simple("OK"));
        }
        let (ping, client) = (matches!(name, "ping" | "time"), name == "client");
        if name == "auth" {
            return if words.len() < 2 { Some(self.invalid()) } else { Some(self.auth(state, words)) };
        }
        if !ping && name != "echo" && !client {
            return None;
        }
        if !state.allowed {
            return ready(Value::error("NOAUTH Authentication required."));
        }
        match name {
            "ping" => ready(Value::simple("PONG")),
            "time" => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
                let texts = [now.as_secs().to_string(), now.as_micros().to_string()];
                ready(Value::Array(texts.into_iter().map(Value::bulk).collect()))
            }
            "echo" if words.len() == 2 => ready(Value::bulk(words.get(1).cloned().unwrap_or_default())),
            "client" if words.len() >= 2 => ready(client_command(words)),
            _ => Some(self.invalid()),
        }
    }

    fn auth(&self, state: &mut State, words: &[Vec<u8>]) -> Pending {
        let passwords = &self.worker.proxy.config.passwords;
        let word = |at: usize| words.get(at).map_or(&[][..], Vec::as_slice);
        let answer = if words.len() == 3 {
            match self.check(word(1), word(2)) {
                Ok(()) => Ok(()),
                Err(Unknown::NotAsked) => return Pending::Ready(Value::error(NOT_ASKED)),
                Err(Unknown::Wrong) => Err("WRONGPASS invalid username-password pair"),
            }
        } else if passwords.is_empty() {
            return Pending::Ready(Value::error("ERR Client sent AUTH, but no password is set"));
        } else if self.is_password(word(1)) {
            Ok(())
        } else {
            Err("ERR invalid password")
        };
        state.allowed = answer.is_ok();
        Pending::Ready(answer.map_or_else(Value::error, |()| Value::simple("OK")))
    }

    fn check(&self, username: &[u8], password: &[u8]) -> Result<(), Unknown> {
        let config = &self.worker.proxy.config;
        if config.username.is_empty() && config.passwords.is_empty() {
            return Err(Unknown::NotAsked);
        }
        let named = same(username, &config.username) || (config.username.is_empty() && username == b"default");
        if named & self.is_password(password) { Ok(()) } else { Err(Unknown::Wrong) }
    }

    fn is_password(&self, password: &[u8]) -> bool {
        self.worker.proxy.config.passwords.iter().fold(false, |found, known| found | same(known, password))
    }

    /// HELLO: version 2 of the protocol is spoken.
    pub(crate) fn hello(&self, state: &mut State, asked: Asked) -> Pending {
        let Asked { words, scope, .. } = asked;
        let lane = self.worker.worker.lane;
        let answer = self.greet(state, words.get(1..).unwrap_or_default());
        match &answer {
            Ok(_) => scope.inc(lane, SUCCESS),
            Err(said) if said == NOT_ASKED => {}
            Err(_) => scope.inc(lane, ERROR),
        }
        Pending::Ready(answer.unwrap_or_else(Value::error))
    }

    fn greet(&self, state: &mut State, words: &[Vec<u8>]) -> Result<Value, String> {
        let mut words = words.iter();
        if words.next().is_some_and(|version| version != b"2") {
            return Err("NOPROTO unsupported protocol version".into());
        }
        let mut who = None;
        while let Some(option) = words.next() {
            match String::from_utf8_lossy(option).to_ascii_lowercase().as_str() {
                "auth" => {
                    let pair = words.next().zip(words.next());
                    who = Some(pair.ok_or("ERR Syntax error: HELLO AUTH requires <username> <password>")?);
                }
                "setname" => drop(words.next().ok_or("ERR Syntax error: HELLO SETNAME requires a <clientname>")?),
                _ => return Err(format!("ERR Syntax error: unknown HELLO option '{}'", String::from_utf8_lossy(option))),
            }
        }
        if let Some((username, password)) = who {
            let checked = self.check(username, password);
            if !matches!(checked, Err(Unknown::NotAsked)) {
                state.allowed = checked.is_ok();
            }
            checked.map_err(|unknown| match unknown {
                Unknown::NotAsked => NOT_ASKED,
                Unknown::Wrong => "WRONGPASS invalid username-password pair",
            })?;
        }
        if !state.allowed {
            return Err("NOAUTH Authentication required.".into());
        }
        let text = |text: &str| Value::bulk(text);
        Ok(Value::Array(vec![
            text("server"), text("envoy-redis-proxy"), text("version"), text("6.0.0"), text("proto"), Value::Integer(2), text("id"), Value::Integer(0),
            text("mode"), text("standalone"), text("role"), text("master"), text("modules"), Value::Array(Vec::new()),
        ]))
    }

    /// To every host: as many times as there are, each by the hash of its number.
    pub(crate) fn all(&self, state: &State, asked: Asked) -> Pending {
        let Asked { name, mut words, scope, .. } = asked;
        let sub = words.get(1).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).unwrap_or_default();
        let merge = match (name.as_str(), sub.as_str()) {
            ("keys", _) if words.len() != 2 => return self.wrong(&name, &scope),
            ("role", _) if words.len() != 1 => return self.wrong(&name, &scope),
            ("scan", _) if words.len() < 2 => return self.wrong(&name, &scope),
            ("keys" | "scan", _) => Merge::Lists,
            ("config", "get") | ("slowlog", "get") => Merge::ListsOrFirst,
            ("slowlog", "len") => Merge::Sum,
            ("role", _) => Merge::Each,
            ("config", "set" | "rewrite" | "resetstat") | ("slowlog", "reset") => Merge::First,
            ("config" | "slowlog", _) => return self.refuse("ERR unsupported cluster scope command or invalid arguments".into(), &scope),
            _ => Merge::First,
        };
        // A cursor is routed as a key is.
        let key = if name == "scan" { words.get_mut(1) } else { None };
        let route = match key {
            Some(key) => self.route(&state.stream, &mut key.clone()),
            None => self.worker.proxy.config.catch_all.as_ref(),
        };
        let hosts = route.map_or(0, |route| self.worker.pool.upstream(&route.cluster).hosts());
        let Some(route) = route.filter(|_| hosts > 0) else { return self.no_host(&scope) };
        let shards = if name == "info" { 1 } else { hosts };
        let parts = (0..shards).map(|shard| Part::of(self.to_shard(route, &name, shard, &words)));
        Pending::Many(parts.collect(), merge, self.meter(scope))
    }

    fn to_shard(&self, route: &Route, name: &str, shard: usize, words: &[Vec<u8>]) -> Option<Errand> {
        let upstream = self.worker.pool.upstream(&route.cluster);
        let client = upstream.shared(shard as u64)?;
        // Whoever is asked is meant.
        Some(Errand::fixed(client.send(|out| Dispatch::write(words, out), upstream.counts(name))))
    }

    fn refuse(&self, text: String, scope: &nuncio_stats::Scope) -> Pending {
        scope.inc(self.worker.worker.lane, ERROR);
        Pending::Ready(Value::error(text))
    }

    fn wrong(&self, name: &str, scope: &nuncio_stats::Scope) -> Pending {
        self.refuse(format!("ERR wrong number of arguments for '{name}' command"), scope)
    }

    /// To any host of the catch-all route.
    pub(crate) fn any(&self, _: &State, asked: Asked) -> Pending {
        let Asked { name, words, scope, .. } = asked;
        let sub = words.get(1).map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
        if name == "randomkey" && words.len() > 1 {
            return self.wrong(&name, &scope);
        }
        if name == "cluster" && !matches!(sub.to_ascii_lowercase().as_str(), "info" | "slots" | "keyslot" | "nodes" | "shards") {
            return self.refuse(format!("ERR cluster subcommand '{sub}' is not supported"), &scope);
        }
        let route = self.worker.proxy.config.catch_all.as_ref();
        let handle = route.and_then(|route| {
            let hosts = self.worker.pool.upstream(&route.cluster).hosts();
            let shard = self.worker.worker.rng.below(hosts as u64) as usize;
            self.to_shard(route, &name, shard, &words)
        });
        match handle {
            // Unlike elsewhere what a host calls a failure counts as one.
            Some(handle) => Pending::Many(vec![Part::Waiting(handle)], Merge::First, self.meter(scope)),
            None => self.no_host(&scope),
        }
    }

    /// `INFO.SHARD n`
    pub(crate) fn shard(&self, _: &State, asked: Asked) -> Pending {
        let Asked { words, scope, .. } = asked;
        let number = words.get(1).and_then(|word| std::str::from_utf8(word).ok()?.parse::<usize>().ok());
        let Some(number) = number else { return self.refuse("ERR invalid shard_id - must be a numeric shard index".into(), &scope) };
        let route = self.worker.proxy.config.catch_all.as_ref();
        let hosts = route.map_or(0, |route| self.worker.pool.upstream(&route.cluster).hosts());
        let Some(route) = route.filter(|_| hosts > 0) else { return self.no_host(&scope) };
        if number >= hosts {
            return self.refuse(format!("ERR shard_id {number} out of range (0-{})", hosts - 1), &scope);
        }
        let mut asked = vec![b"INFO".to_vec()];
        asked.extend(words.into_iter().skip(2));
        match self.to_shard(route, "info", number, &asked) {
            Some(handle) => Pending::One(handle, self.meter(scope)),
            None => self.no_host(&scope),
        }
    }
}

/// CLIENT: what libraries say of themselves is taken note of by nobody.
fn client_command(words: &[Vec<u8>]) -> Value {
    let sub = words.get(1).map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
    match (sub.to_ascii_lowercase().as_str(), words.len()) {
        ("setname", 3) | ("setinfo", 4) => Value::simple("OK"),
        (known @ ("setname" | "setinfo"), _) => Value::error(format!("ERR wrong number of arguments for 'client|{known}' command")),
        _ => Value::error(format!("ERR CLIENT subcommand '{sub}' is not supported by the proxy")),
    }
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
fn same(known: &[u8], said: &[u8]) -> bool {
    known.len() == said.len() && known.iter().zip(said).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
