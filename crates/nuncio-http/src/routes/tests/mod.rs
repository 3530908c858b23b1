//! Tests of the whole of routing: the index against the scan, exchanges as Envoy 1.40 answered them, costs.

mod costs;
mod exchanges;
mod index;
mod virtual_hosts;

use super::*;
use nuncio_codec::headers::HeaderMap;
use std::sync::Arc;

/// A request's head.
fn head(path: &str, host: &str, headers: &[(&str, &str)]) -> HeaderMap {
    let pseudo = [(":method", "GET"), (":path", path), (":authority", host), (":scheme", "http"), ("x-forwarded-proto", "http")];
    pseudo.iter().chain(headers).map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

fn fold(text: &str) -> Fold {
    Fold::exact(text)
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::Prefix(fold(text))
}

fn exact(text: &str) -> PathMatch {
    PathMatch::Exact(fold(text))
}

fn regex(text: &str) -> PathMatch {
    PathMatch::Regex(Pattern::new(text).expect("valid"))
}

/// A route that forwards to a cluster.
fn forward(path: PathMatch, cluster: &str) -> Route {
    let action = RouteAction::to(ClusterSpecifier::Cluster(cluster.into()));
    Route::new(Matcher::path(path), Action::Forward(Box::new(action)))
}

fn host(name: &str, domains: &[&str], routes: Vec<Route>) -> VirtualHost {
    let domains = domains.iter().map(|domain| (*domain).into()).collect();
    VirtualHost { name: name.into(), domains, routes, ..VirtualHost::default() }
}

fn table(hosts: Vec<VirtualHost>) -> Arc<RouteTable> {
    let config = RouteConfig { name: "rc".into(), virtual_hosts: hosts, ..RouteConfig::default() };
    Arc::new(RouteTable::compile(config).expect("valid"))
}

/// Index of the route that takes a request.
fn found(table: &RouteTable, head: &HeaderMap) -> Option<u32> {
    table.find(head, &MatchCx::default()).route().map(|id| id.route)
}

/// Small random numbers that are the same in every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % sides
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }
}
