//! The Redis proxy (`envoy.filters.network.redis_proxy`): commands of clients to the hosts of clusters, by their keys.
//!
//! * [`RedisConfig`], [`RedisProxy`]: what is configured, and the filter built from it. [`RedisOptions`]: what clusters say.
//! * `commands`: which commands there are, and what becomes of each.
//! * `session`: one client's connection. `dispatch`: a command on its way. `local`: commands that are answered here.
//! * `answer`: what answers of hosts come to. `transaction`: MULTI, EXEC, WATCH.
//! * `pool`, `client`: a worker's connections, one to each host, shared by all clients: commands of many stand in one row.
//!
//! Commands of one connection are answered in their order, however hosts answer. The codec is `nuncio_codec::resp`.

mod answer;
mod client;
mod commands;
mod config;
mod dispatch;
mod local;
mod pool;
mod redirect;
mod session;
mod transaction;

pub use config::{Credential, Fault, FaultKind, KeyFormat, KeyPart, Mirror, RedisConfig, RedisOptions, Route};

use nuncio_core::{Connection, LocalFuture, Terminal, TerminalWorker, Worker};
use nuncio_stats::{
    Scope, Store,
    tables::redis::{COMMAND, COMMAND_IN_MICROS, REDIS},
};
use std::{collections::HashMap, rc::Rc, sync::Arc};

/// A Redis proxy.
#[derive(Debug)]
pub struct RedisProxy {
    config: RedisConfig,
    scope: Arc<Scope>,
    /// Statistics of commands, by their names.
    commands: HashMap<Box<str>, (commands::Kind, Arc<Scope>)>,
}

impl RedisProxy {
    /// A proxy that counts under `redis.<stat_prefix>.`.
    pub fn new(config: RedisConfig, store: &Store) -> Arc<RedisProxy> {
        let prefix = format!("redis.{}.", config.stat_prefix.replace(':', "_"));
        let table = if config.latency_in_micros { &COMMAND_IN_MICROS } else { &COMMAND };
        let known = |name: &String| commands::ALL.iter().any(|(of, _)| of == name);
        let custom = config.custom_commands.iter().filter(|name| !known(name)).map(|name| (name.as_str(), commands::Kind::Simple));
        let all = commands::ALL.iter().copied().chain(custom);
        let commands = all.map(|(name, kind)| (name.into(), (kind, store.scope(&format!("{prefix}command.{name}."), table))));
        let commands = commands.collect();
        Arc::new(RedisProxy { scope: store.scope(&prefix, &REDIS), commands, config })
    }
}

impl Terminal for RedisProxy {
    fn on_worker(self: Arc<Self>, worker: &Rc<Worker>) -> Rc<dyn TerminalWorker> {
        Rc::new(RedisWorker { pool: pool::Pool::new(worker.clone(), self.clone()), proxy: self, worker: worker.clone() })
    }
}

/// A Redis proxy on one worker.
pub(crate) struct RedisWorker {
    proxy: Arc<RedisProxy>,
    worker: Rc<Worker>,
    pool: pool::Pool,
}

impl TerminalWorker for RedisWorker {
    fn serve(self: Rc<Self>, connection: Connection) -> LocalFuture<()> {
        Box::pin(session::serve(self, connection))
    }
}
