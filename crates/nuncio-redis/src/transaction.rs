//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: commands that have to reach one host over one connection of their own.
//!
//! The first key says which host; MULTI itself is answered here until then. The connection ends with the transaction.

use crate::{
    answer::{NO_HOST, Pending},
    client::Client,
    commands::Kind,
    dispatch::{Asked, Dispatch},
    pool::Upstream,
    redirect::Errand,
    session::State,
};
use nuncio_codec::resp::Value;
use std::rc::Rc;

/// What stands open on a client's connection.
#[derive(Default)]
pub(crate) struct Transaction {
    /// Between MULTI and EXEC.
    pub(crate) active: bool,
    /// To the host of the first key.
    client: Option<Rc<Client>>,
    /// There was a key, and no host for it.
    lost: bool,
    /// Where that host belongs.
    upstream: Option<Rc<Upstream>>,
}

impl Transaction {
    /// Ends it.
    pub(crate) fn close(&mut self) {
        if let Some(client) = self.client.take() {
            client.close();
        }
        *self = Transaction::default();
    }

    /// Its last command is on its way: the connection ends with the answer.
    fn end(&mut self) {
        if let Some(client) = self.client.take() {
            client.finish();
        }
        *self = Transaction::default();
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            client.close();
        }
    }
}

fn ready(text: &str) -> Pending {
    Pending::Ready(Value::simple(text))
}

impl Dispatch<'_> {
    /// A command of a transaction, or within one.
    pub(crate) fn in_transaction(&self, state: &mut State, asked: Asked) -> Pending {
        let Asked { name, kind, words, scope } = asked;
        if matches!(kind, Kind::All | Kind::Any | Kind::Shard | Kind::Hello) {
            let said = String::from_utf8_lossy(words.first().map_or(&[][..], Vec::as_slice)).into_owned();
            return Pending::Ready(Value::error(format!("'{said}' command is not supported within transaction")));
        }
        let transaction = &mut state.transaction;
        match name.as_str() {
            "multi" if transaction.active => return Pending::Ready(Value::error("MULTI calls can not be nested")),
            "multi" => {
                transaction.active = true;
                if transaction.client.is_none() {
                    return ready("OK");
                }
            }
            "exec" | "discard" if !transaction.active => {
                return Pending::Ready(Value::error(format!("{} without MULTI", name.to_ascii_uppercase())));
            }
            "exec" | "discard" => {
                if transaction.client.is_none() {
                    let lost = transaction.lost;
                    transaction.close();
                    if lost {
                        return self.no_host(&scope);
                    }
                    return if name == "exec" { Pending::Ready(Value::Array(Vec::new())) } else { ready("OK") };
                }
            }
            "watch" if transaction.active => return Pending::Ready(Value::error("ERR WATCH inside MULTI is not allowed")),
            "unwatch" if transaction.client.is_none() => return ready(if transaction.active { "QUEUED" } else { "OK" }),
            _ => {}
        }
        let key = words.get(match kind {
            Kind::Eval => 3,
            Kind::Object => 2,
            _ => 1,
        });
        let mut words = words.clone();
        if transaction.client.is_none() {
            let Some(mut key) = key.cloned() else { return self.wrong_number(&words, &scope) };
            transaction.upstream = self.route(&state.stream, &mut key).map(|route| self.worker.pool.upstream(&route.cluster));
            transaction.client = transaction.upstream.as_ref().and_then(|upstream| upstream.dedicated(self.hash(&key)));
            let Some(client) = &transaction.client else {
                transaction.lost = true;
                return self.no_host(&scope);
            };
            if transaction.active {
                let counts = transaction.upstream.as_ref().and_then(|upstream| upstream.counts("multi"));
                client.send(|out| Dispatch::write(&[b"MULTI".to_vec()], out), counts).forget();
            }
        }
        // Keys are called what their routes call them.
        if !matches!(name.as_str(), "multi" | "exec" | "discard" | "unwatch") {
            let at = match kind {
                Kind::Eval => 3,
                Kind::Object => 2,
                _ => 1,
            };
            if let Some(key) = words.get_mut(at) {
                self.route(&state.stream, key);
            }
        }
        let Some(client) = &state.transaction.client else { return Pending::Ready(Value::error(NO_HOST)) };
        let counts = state.transaction.upstream.as_ref().and_then(|upstream| upstream.counts(&name));
        let handle = client.send(|out| Dispatch::write(&words, out), counts);
        if matches!(name.as_str(), "exec" | "discard") || (name == "unwatch" && !state.transaction.active) {
            state.transaction.end();
            state.waits = true;
        }
        // Its connection is its own.
        Pending::One(Errand::fixed(handle), self.meter(scope))
    }
}
