//! The statistics of one listener, under Envoy's names, and the two that Envoy has no need of.

use crate::config::{ListenerConfig, Transport};
use nuncio_stats::tables::udp::LISTENER_UDP;
use nuncio_stats::{
    Lane, Scope, Store, stats_table,
    tables::{
        listener::{CONFIGURED, DOWNSTREAM_CX_ACTIVE, LISTENER},
        listener_worker::LISTENER_WORKER,
        tls::{CERTIFICATE, EXPIRATION_UNIX_TIME_SECONDS, TLS},
    },
};
use std::sync::Arc;

stats_table! {
    /// What goes wrong on our side, in the listener's own scope; shown once it happened.
    pub LISTENER_TROUBLE: "listener_trouble" {
        /// Times accepting paused because the process ran out of file descriptors or memory.
        counter ACCEPT_PAUSED = "downstream_accept_paused" [lazy],
        /// Connections lost to a panic in our own code.
        counter CX_PANIC = "downstream_cx_panic" [lazy],
    }
}

/// What a certificate is called that has no name of its own: Envoy appends the hash of that name.
const UNNAMED: [&str; 2] = ["unnamed_cert_e3b0c442", "unnamed_ca_cert_e3b0c442"];

/// The scopes of one listener, those of all workers included: the output shows them from the start.
#[derive(Debug, Clone)]
pub struct ListenerScopes {
    /// `listener.<address>.`
    pub listener: Arc<Scope>,
    /// `listener.<address>.`, what goes wrong on our side.
    pub trouble: Arc<Scope>,
    /// `listener.<address>.worker_<n>.`, by worker.
    pub workers: Arc<[Arc<Scope>]>,
    /// `listener.<address>.ssl.`, if any filter chain speaks TLS.
    pub tls: Option<Arc<Scope>>,
    /// `listener.<address>.ssl.certificate.<name>.`
    pub certificates: Vec<Arc<Scope>>,
    /// `listener.<address>.udp.`, if it is for datagrams.
    pub udp: Option<Arc<Scope>>,
    /// Where scopes are made whose names a handshake decides (`ssl.ciphers.<name>`).
    pub store: Arc<Store>,
}

impl ListenerScopes {
    /// Those of `config`, for so many workers.
    pub fn new(store: &Arc<Store>, config: &ListenerConfig, workers: usize) -> ListenerScopes {
        let prefix = config.stat_scope();
        let listener = store.scope(&prefix, &LISTENER);
        listener.open(Lane::MAIN, CONFIGURED);
        let tls = config.chains().any(|chain| matches!(chain.transport, Transport::Tls(_)));
        ListenerScopes {
            listener,
            trouble: store.scope(&prefix, &LISTENER_TROUBLE),
            workers: (0..workers).map(|n| store.scope(&format!("{prefix}worker_{n}."), &LISTENER_WORKER)).collect(),
            tls: tls.then(|| store.scope(&format!("{prefix}ssl."), &TLS)),
            udp: config.socket.datagrams.then(|| store.scope(&format!("{prefix}udp."), &LISTENER_UDP)),
            certificates: certificates(store, &prefix, config),
            store: store.clone(),
        }
    }

    /// Connections open now, over all workers.
    pub fn active(&self) -> u64 {
        self.listener.gauge(DOWNSTREAM_CX_ACTIVE)
    }
}

/// The scopes of a listener's certificates, with their values.
fn certificates(store: &Arc<Store>, prefix: &str, config: &ListenerConfig) -> Vec<Arc<Scope>> {
    let mut scopes = Vec::new();
    for chain in config.chains() {
        let Transport::Tls(live) = &chain.transport else { continue };
        let Some(tls) = live.get() else { continue };
        let own = tls.own.iter().map(|facts| (UNNAMED[0], facts));
        for (name, facts) in own.chain(tls.trusted.iter().map(|facts| (UNNAMED[1], facts))) {
            let scope = store.scope(&format!("{prefix}ssl.certificate.{name}."), &CERTIFICATE);
            scope.gauge_set(EXPIRATION_UNIX_TIME_SECONDS, u64::try_from(facts.expires).unwrap_or(0));
            scopes.push(scope);
        }
    }
    scopes
}
