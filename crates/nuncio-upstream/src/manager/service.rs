//! Services (SRV, RFC 2782) as hosts: an addition to Envoy, for names written `srv://_http._tcp.example.com`.
//!
//! Each server's name is looked up in its turn. Priorities are ranked: the lowest is the locality's own priority, the next
//! one below it. A server that has no address is passed over; one that nobody can tell about leaves everything as it was.

use crate::config::LookupFamily;
use crate::dns::{Answer, LookupError, Resolve, Service};
use nuncio_core::LocalFuture;
use nuncio_rt::Address;
use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::Arc,
    task::Poll,
    time::Duration,
};

/// Names that are looked up at the same time.
const AT_ONCE: usize = 16;
/// Ranks beyond this are one: hosts have 128 priorities at most.
const MAX_RANK: usize = 127;

/// What a service says of one of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// The server's name.
    pub(super) name: Arc<str>,
    /// How many priorities of the service go before.
    pub(super) rank: u32,
    /// At least 1.
    pub(super) weight: u32,
}

/// The addresses of a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) addresses: Vec<Address>,
    /// The server of each.
    pub(super) servers: Vec<Server>,
    /// How long all of it holds.
    pub(super) ttl: Option<Duration>,
}

/// Looks a service up, and the names of its servers.
pub(super) async fn look_up(resolver: &dyn Resolve, name: &str, family: LookupFamily) -> Result<Found, LookupError> {
    let mut found = Found { addresses: Vec::new(), servers: Vec::new(), ttl: None };
    let Some((services, ttl)) = resolver.services(name).await? else { return Ok(found) };
    found.ttl = Some(ttl);
    let mut priorities: Vec<u16> = services.iter().map(|service| service.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let mut names: Vec<&str> = services.iter().map(|service| service.target.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut answers = Vec::with_capacity(names.len());
    for some in names.chunks(AT_ONCE) {
        answers.extend(all(some.iter().map(|name| resolver.resolve(name, family)).collect()).await);
    }
    for service in &services {
        let answer = names.binary_search(&service.target.as_str()).ok().and_then(|at| answers.get(at));
        let (addresses, ttl) = match answer {
            Some(Answer::Found { addresses, ttl }) => (addresses, *ttl),
            Some(Answer::NotFound) | None => continue,
            Some(Answer::Failed(error)) => return Err(error.clone()),
        };
        found.ttl = [found.ttl, ttl].into_iter().flatten().min();
        let server = server(service, &priorities);
        for ip in addresses {
            found.addresses.push(Address::Ip(SocketAddr::new(*ip, service.port)));
            found.servers.push(server.clone());
        }
    }
    Ok(found)
}

fn server(service: &Service, priorities: &[u16]) -> Server {
    let rank = priorities.binary_search(&service.priority).unwrap_or(0).min(MAX_RANK) as u32;
    Server { name: service.target.as_str().into(), rank, weight: u32::from(service.weight).max(1) }
}

/// Waits for a few of them at once.
async fn all(mut lookups: Vec<LocalFuture<Answer>>) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = lookups.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (lookup, answer) in lookups.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            if let Poll::Ready(told) = lookup.as_mut().poll(cx) {
                *answer = Some(told);
            }
        }
        if answers.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Services;

    /// Three servers, one of which has no address; `lost` cannot be told of.
    struct Told {
        lost: bool,
    }

    impl Resolve for Told {
        fn resolve(&self, name: &str, _: LookupFamily) -> LocalFuture<Answer> {
            let found = |n, ttl| Answer::Found { addresses: vec![[10, 0, 0, n].into()], ttl: Some(Duration::from_secs(ttl)) };
            let answer = match name {
                "a" => found(1, 60),
                "b" => found(2, 5),
                _ if self.lost => Answer::Failed(LookupError::Timeout),
                _ => Answer::NotFound,
            };
            Box::pin(async move { answer })
        }

        fn services(&self, _: &str) -> LocalFuture<Services> {
            let of = |priority, weight, target: &str| Service { priority, weight, port: 80 + priority, target: target.into() };
            let services = vec![of(20, 0, "b"), of(10, 7, "a"), of(30, 1, "c")];
            Box::pin(async move { Ok(Some((services, Duration::from_secs(30)))) })
        }
    }

    #[test]
    fn servers_become_hosts_by_rank_and_weight() {
        nuncio_rt::block_on_worker(async {
            let found = look_up(&Told { lost: false }, "s", LookupFamily::Auto).await.expect("an answer");
            let at = |text: &str| Address::Ip(text.parse().expect("an address"));
            assert_eq!(found.addresses, [at("10.0.0.2:100"), at("10.0.0.1:90")]);
            let server = |name: &str, rank, weight| Server { name: name.into(), rank, weight };
            assert_eq!(found.servers, [server("b", 1, 1), server("a", 0, 7)]);
            assert_eq!(found.ttl, Some(Duration::from_secs(5)));
            assert_eq!(look_up(&Told { lost: true }, "s", LookupFamily::Auto).await, Err(LookupError::Timeout));
        })
        .expect("runs");
    }
}
