//! TLS contexts whose secrets come from files: looked at again and again, and their certificates in the statistics.

use super::state::{Running, Shared};
use nuncio_listen::tls::{CertificateFacts, Live, TlsConfig};
use nuncio_stats::{
    Lane, Scope, Store,
    tables::{
        subscription::{
            SECRET, SUBSCRIPTION, UPDATE_ATTEMPT, UPDATE_REJECTED, UPDATE_SUCCESS, UPDATE_TIME,
        },
        tls::{CERTIFICATE, EXPIRATION_UNIX_TIME_SECONDS, SOCKET_FACTORY, SSL_CONTEXT_UPDATE_BY_SDS},
    },
};
use nuncio_tls::ClientTls;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How often files of secrets are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Either side's context.
#[derive(Clone)]
enum Context {
    Server(Arc<Live<TlsConfig>>),
    Client(Arc<Live<ClientTls>>),
}

impl Context {
    fn address(&self) -> usize {
        match self {
            Context::Server(live) => Arc::as_ptr(live).addr(),
            Context::Client(live) => Arc::as_ptr(live).addr(),
        }
    }

    fn secrets(&self) -> &[String] {
        match self {
            Context::Server(live) => live.secrets(),
            Context::Client(live) => live.secrets(),
        }
    }

    fn refresh(&self) -> Option<Result<(), String>> {
        match self {
            Context::Server(live) => live.refresh(),
            Context::Client(live) => live.refresh(),
        }
    }

    /// What is wrong with it from the start.
    fn outcome(&self) -> Result<(), String> {
        let trouble = match self {
            Context::Server(live) => live.trouble(),
            Context::Client(live) => live.trouble(),
        };
        trouble.map_or(Ok(()), Err)
    }

    /// Its own certificates, and the authority that it trusts.
    fn certificates(&self) -> (Vec<CertificateFacts>, Option<CertificateFacts>) {
        match self {
            Context::Server(live) => live.get().map(|context| (context.own.clone(), context.trusted.clone())),
            Context::Client(live) => live.get().map(|context| (context.own.clone(), context.trusted.clone())),
        }
        .unwrap_or_default()
    }
}

/// Every context in use, with what stands before the names of its statistics, and the side's name in them.
fn contexts(running: &Running) -> Vec<(String, &'static str, Context)> {
    let listeners = running.listeners.configs().into_iter().flat_map(|config| {
        let prefix = config.stat_scope();
        let contexts: Vec<_> = config.tls_contexts().cloned().collect();
        contexts.into_iter().map(move |live| (prefix.clone(), "server", Context::Server(live)))
    });
    let clusters = running.loaded();
    let clusters = clusters.clusters.iter().flat_map(|cluster| {
        let prefix = format!("cluster.{}.", cluster.config.display_name().replace(':', "_"));
        cluster.config.transports.tls().map(move |live| (prefix.clone(), "client", Context::Client(live.clone())))
    });
    listeners.chain(clusters).collect()
}

/// Looks after contexts for as long as the process runs.
pub(super) async fn follow(running: Shared) {
    let store = running.store.clone();
    let mut scopes: HashMap<String, Arc<Scope>> = HashMap::new();
    let mut known: HashSet<usize> = HashSet::new();
    loop {
        let all = contexts(&running);
        let mut outcomes: HashMap<String, Result<(), String>> = HashMap::new();
        for (prefix, side, context) in &all {
            let news = if known.contains(&context.address()) { context.refresh() } else { Some(context.outcome()) };
            let Some(outcome) = news else { continue };
            if !context.secrets().is_empty() && outcome.is_ok() {
                let factory = scope(&store, &mut scopes, &format!("{prefix}{side}_ssl_socket_factory."), &SOCKET_FACTORY);
                factory.inc(Lane::MAIN, SSL_CONTEXT_UPDATE_BY_SDS);
            }
            show_certificates(&store, &mut scopes, prefix, context);
            for name in context.secrets() {
                outcomes.entry(name.clone()).or_insert_with(|| outcome.clone());
            }
        }
        for (name, outcome) in outcomes {
            count(&scope(&store, &mut scopes, &format!("sds.{}.", name.replace(':', "_")), &SUBSCRIPTION), &outcome);
            match outcome {
                Ok(()) => log::info!(target: "secret", "secret '{name}' is in force"),
                Err(why) => log::warn!(target: "secret", "sds: secret '{name}' config rejected: {why}"),
            }
        }
        known = all.iter().map(|(_, _, context)| context.address()).collect();
        drop(all);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn scope(store: &Arc<Store>, scopes: &mut HashMap<String, Arc<Scope>>, prefix: &str, table: &'static nuncio_stats::Table) -> Arc<Scope> {
    scopes.entry(prefix.to_owned()).or_insert_with(|| store.scope(prefix, table)).clone()
}

fn count(scope: &Scope, outcome: &Result<(), String>) {
    scope.open(Lane::MAIN, SECRET);
    scope.inc(Lane::MAIN, UPDATE_ATTEMPT);
    match outcome {
        Ok(()) => {
            scope.inc(Lane::MAIN, UPDATE_SUCCESS);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis());
            scope.gauge_set(UPDATE_TIME, u64::try_from(now).unwrap_or(0));
        }
        Err(_) => scope.inc(Lane::MAIN, UPDATE_REJECTED),
    }
}

/// `….ssl.certificate.<name>.expiration_unix_time_seconds`. Certificates without a secret's name are called so by Envoy.
fn show_certificates(store: &Arc<Store>, scopes: &mut HashMap<String, Arc<Scope>>, prefix: &str, context: &Context) {
    let (own, trusted) = context.certificates();
    let own = own.first().map(|facts| ("unnamed_cert_e3b0c442", facts));
    let trusted = trusted.as_ref().map(|facts| ("unnamed_ca_cert_e3b0c442", facts));
    for (name, facts) in own.into_iter().chain(trusted) {
        let scope = scope(store, scopes, &format!("{prefix}ssl.certificate.{name}."), &CERTIFICATE);
        scope.gauge_set(EXPIRATION_UNIX_TIME_SECONDS, u64::try_from(facts.expires).unwrap_or(0));
    }
}

/// The certificates of all contexts in use.
pub(super) fn certificates(running: &Running) -> Vec<(Vec<CertificateFacts>, Option<CertificateFacts>)> {
    let mut seen = HashSet::new();
    let all = contexts(running).into_iter().filter(|(_, _, context)| seen.insert(context.address()));
    all.map(|(_, _, context)| context.certificates()).collect()
}
