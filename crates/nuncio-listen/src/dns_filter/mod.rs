//! `envoy.filters.udp.dns_filter`: answers DNS queries from a table, by the hosts of clusters, and through resolvers.
//!
//! [`DnsTable`]: what is known here. `message`: the bytes. A name of the table that has no record of the wanted type has none;
//! only names that the table does not have are passed on, where there is somebody to pass them on to.

mod message;
mod table;

pub use table::{ANSWER_TTL, DnsTable, Domain, DomainTo, Service, Target, TargetName};

use crate::datagrams::{DatagramSocket, Datagrams};
use message::{Code, Data, Malformed, Query, Record, TYPE_A, TYPE_AAAA, TYPE_SRV};
use nuncio_core::{LocalFuture, Worker};
use nuncio_rt::{Address, Time};
use nuncio_stats::{
    CounterId, Scope, Store,
    tables::{dns_filter as stat, udp::DOWNSTREAM_RX_DATAGRAM_DROPPED},
};
use nuncio_upstream::{
    WorkerClusters,
    config::{LookupFamily, ResolverConfig},
    dns::{Answer, Resolve, Resolvers as _, StubResolvers},
};
use socket2::SockRef;
use std::{
    cell::Cell,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::ReadBuf;

/// Datagrams that are taken before others have their turn.
const BATCH: usize = 64;

/// `DnsFilterConfig`
#[derive(Debug)]
pub struct DnsFilterConfig {
    /// `stat_prefix`
    pub stat_prefix: String,
    /// `server_config`
    pub table: DnsTable,
    /// `client_config`: who is asked for names that the table does not have.
    pub forward: Option<Forward>,
    /// `downstream_socket_config.max_rx_datagram_size`, bytes; a longer datagram is dropped.
    pub max_query_bytes: usize,
}

/// `ClientContextConfig`
#[derive(Debug)]
pub struct Forward {
    /// `typed_dns_resolver_config` and its forerunners.
    pub resolver: ResolverConfig,
    /// `resolver_timeout`
    pub timeout: Duration,
    /// `max_pending_lookups`; a query beyond them has no answer.
    pub max_pending: u64,
}

/// A DNS filter.
#[derive(Debug)]
pub struct DnsFilter {
    config: DnsFilterConfig,
    scope: Arc<Scope>,
    store: Arc<Store>,
}

impl DnsFilter {
    /// One that counts under `dns_filter.<stat_prefix>.`.
    pub fn new(config: DnsFilterConfig, store: &Arc<Store>) -> Arc<DnsFilter> {
        let scope = store.scope(&format!("dns_filter.{}.", crate::stat_name(&config.stat_prefix)), &stat::DNS_FILTER);
        Arc::new(DnsFilter { config, scope, store: store.clone() })
    }
}

impl Datagrams for DnsFilter {
    fn serve(self: Arc<Self>, worker: &Rc<Worker>, socket: Rc<DatagramSocket>) -> LocalFuture<()> {
        let resolver = |forward: &Forward| -> Rc<dyn Resolve> { StubResolvers::on(&self.store, worker.lane).resolver(&forward.resolver) };
        let resolver = self.config.forward.as_ref().map(resolver);
        let clusters = worker.parts.get();
        let serving = Rc::new(Serving { filter: self, worker: worker.clone(), socket, clusters, resolver, pending: Cell::new(0) });
        Box::pin(async move {
            let mut buf = vec![0; serving.filter.config.max_query_bytes + 1];
            poll_fn(|cx| serving.poll(cx, &mut buf)).await;
        })
    }
}

/// A filter on one socket of one worker.
struct Serving {
    filter: Arc<DnsFilter>,
    worker: Rc<Worker>,
    socket: Rc<DatagramSocket>,
    clusters: Option<Rc<WorkerClusters>>,
    resolver: Option<Rc<dyn Resolve>>,
    pending: Cell<u64>,
}

/// What the table says.
#[derive(Default)]
struct Found {
    answers: Vec<Record>,
    additional: Vec<Record>,
}

/// Where answers come from: what addresses of either family, and services, count as.
type Source = [CounterId; 3];
const LOCAL: Source = [stat::LOCAL_A_RECORD_ANSWERS, stat::LOCAL_AAAA_RECORD_ANSWERS, stat::LOCAL_SRV_RECORD_ANSWERS];
const CLUSTER: Source = [stat::CLUSTER_A_RECORD_ANSWERS, stat::CLUSTER_AAAA_RECORD_ANSWERS, stat::CLUSTER_SRV_RECORD_ANSWERS];

impl Serving {
    fn inc(&self, id: CounterId) {
        self.filter.scope.inc(self.worker.lane, id);
    }

    fn poll(self: &Rc<Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<()> {
        for _ in 0..BATCH {
            let mut read = ReadBuf::new(buf);
            match ready!(self.socket.socket.poll_recv_from(cx, &mut read)) {
                Ok(peer) if read.filled().len() <= self.filter.config.max_query_bytes => self.take(peer, read.filled()),
                Ok(_) => self.socket.stats.inc(self.worker.lane, DOWNSTREAM_RX_DATAGRAM_DROPPED),
                // Word of a client that is gone: it is nobody's.
                Err(_) => self.inc(stat::DOWNSTREAM_RX_ERRORS),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take(self: &Rc<Self>, peer: SocketAddr, bytes: &[u8]) {
        let begun = Time::now();
        self.filter.scope.record(self.worker.lane, stat::DOWNSTREAM_RX_BYTES, bytes.len() as u64);
        self.inc(stat::DOWNSTREAM_RX_QUERIES);
        let (head, query) = message::parse(bytes);
        let query = match query {
            Ok(query) => query,
            Err(malformed) => {
                match malformed {
                    Malformed::Short => self.inc(stat::QUERY_BUFFER_UNDERFLOW),
                    Malformed::Answers => self.inc(stat::QUERIES_WITH_ANS_OR_AUTHORITY_RRS),
                    Malformed::Question => self.inc(stat::QUERY_PARSING_FAILURE),
                    Malformed::Questions => {}
                }
                self.inc(stat::DOWNSTREAM_RX_INVALID_QUERIES);
                self.send(peer, begun, &message::refusal(head, self.resolver.is_some()));
                return;
            }
        };
        if query.additional {
            self.inc(stat::QUERIES_WITH_ADDITIONAL_RRS);
        }
        self.inc(match query.kind {
            TYPE_A => stat::A_RECORD_QUERIES,
            TYPE_AAAA => stat::AAAA_RECORD_QUERIES,
            TYPE_SRV => stat::SRV_RECORD_QUERIES,
            _ => stat::UNSUPPORTED_QUERIES,
        });
        let known = self.filter.config.table.knows(&query.name);
        if known {
            self.inc(stat::KNOWN_DOMAIN_QUERIES);
        }
        let found = if known || self.resolver.is_none() { self.look_up(&query) } else { None };
        match (&self.resolver, found) {
            (Some(resolver), None) => self.pass_on(peer, begun, query, resolver),
            (_, found) => self.reply(peer, begun, &query, &found.unwrap_or_default()),
        }
    }

    /// What the table has under the name; `None` if it does not have the name.
    fn look_up(&self, query: &Query) -> Option<Found> {
        let table = &self.filter.config.table;
        if query.kind == TYPE_SRV
            && let Some(service) = table.service(&query.name)
        {
            return Some(self.service(query, service));
        }
        let domain = table.domain(&query.name)?;
        let answers = match &domain.to {
            DomainTo::Addresses(addresses) => self.addresses(&query.name, domain.ttl, query.kind, addresses, &LOCAL),
            DomainTo::Cluster(cluster) => {
                let hosts: Vec<_> = self.hosts(cluster).iter().map(SocketAddr::ip).collect();
                self.addresses(&query.name, ANSWER_TTL, query.kind, &hosts, &CLUSTER)
            }
            DomainTo::Services(_) => Vec::new(),
        };
        Some(Found { answers, additional: Vec::new() })
    }

    /// Records of the addresses of a type, beginning anywhere among several.
    fn addresses(&self, name: &str, ttl: u32, kind: u16, addresses: &[IpAddr], source: &Source) -> Vec<Record> {
        let begin = if addresses.len() > 1 && source == &LOCAL { self.worker.rng.below(addresses.len() as u64) as usize } else { 0 };
        let mut records = Vec::new();
        for address in addresses.iter().cycle().skip(begin).take(addresses.len()) {
            if (kind == TYPE_A && address.is_ipv4()) || (kind == TYPE_AAAA && address.is_ipv6()) {
                self.inc(source[usize::from(address.is_ipv6())]);
                records.push(Record { name: name.to_owned(), ttl, data: Data::Address(*address) });
            }
        }
        records
    }

    /// Where a service is, and an address of each place.
    fn service(&self, query: &Query, service: &Service) -> Found {
        let mut found = Found::default();
        for Target { name, priority, weight, port } in &service.targets {
            let (target, places, source) = match name {
                TargetName::Host(name) => (name.as_str(), vec![(*port, self.address_of(name))], &LOCAL),
                TargetName::Cluster(cluster) => {
                    let place = |host: &SocketAddr| (if *port == 0 { host.port() } else { *port }, Some(self.counted(&CLUSTER, cluster, ANSWER_TTL, host.ip())));
                    (&**cluster, self.hosts(cluster).iter().map(place).collect(), &CLUSTER)
                }
            };
            for (port, address) in places {
                self.inc(source[2]);
                let data = Data::Service { priority: *priority, weight: *weight, port, target: target.to_owned() };
                found.answers.push(Record { name: query.name.clone(), ttl: service.ttl, data });
                found.additional.extend(address);
            }
        }
        found
    }

    fn counted(&self, source: &Source, name: &str, ttl: u32, address: IpAddr) -> Record {
        self.inc(source[usize::from(address.is_ipv6())]);
        Record { name: name.to_owned(), ttl, data: Data::Address(address) }
    }

    /// Some address of a name of the table.
    fn address_of(&self, name: &str) -> Option<Record> {
        let domain = self.filter.config.table.domain(name)?;
        let DomainTo::Addresses(addresses) = &domain.to else { return None };
        let any = self.worker.rng.below(addresses.len() as u64) as usize;
        addresses.get(any).map(|address| self.counted(&LOCAL, name, domain.ttl, *address))
    }

    /// The hosts of a cluster that have IP addresses.
    fn hosts(&self, cluster: &str) -> Vec<SocketAddr> {
        let Some(cluster) = self.clusters.as_ref().and_then(|clusters| clusters.by_name(cluster)) else { return Vec::new() };
        let ip = |address: &Address| match address {
            Address::Ip(address) => Some(*address),
            Address::Pipe(_) | Address::Internal(_) => None,
        };
        cluster.hosts().hosts().filter_map(|host| ip(&host.address)).collect()
    }

    /// Has a resolver answer.
    fn pass_on(self: &Rc<Self>, peer: SocketAddr, begun: Time, query: Query, resolver: &Rc<dyn Resolve>) {
        let Some(forward) = &self.filter.config.forward else { return };
        self.inc(stat::EXTERNALLY_RESOLVED_QUERIES);
        let (family, answers) = match query.kind {
            TYPE_A => {
                self.inc(stat::EXTERNAL_A_RECORD_QUERIES);
                (LookupFamily::V4Only, stat::EXTERNAL_A_RECORD_ANSWERS)
            }
            TYPE_AAAA => {
                self.inc(stat::EXTERNAL_AAAA_RECORD_QUERIES);
                (LookupFamily::V6Only, stat::EXTERNAL_AAAA_RECORD_ANSWERS)
            }
            _ => {
                self.inc(stat::EXTERNAL_UNSUPPORTED_QUERIES);
                self.reply(peer, begun, &query, &Found::default());
                return;
            }
        };
        if self.pending.get() >= forward.max_pending {
            self.reply(peer, begun, &query, &Found::default());
            return;
        }
        self.pending.set(self.pending.get() + 1);
        let resolving = tokio::time::timeout(forward.timeout, resolver.resolve(&query.name, family));
        let serving = Rc::downgrade(self);
        nuncio_rt::spawn(async move {
            let addresses = match resolving.await {
                Ok(Answer::Found { addresses, .. }) => addresses,
                Ok(Answer::NotFound | Answer::Failed(_)) | Err(_) => Vec::new(),
            };
            // A listener that is gone answers nobody.
            let Some(serving) = serving.upgrade() else { return };
            serving.pending.set(serving.pending.get() - 1);
            let record = |address| {
                serving.inc(answers);
                Record { name: query.name.clone(), ttl: ANSWER_TTL, data: Data::Address(address) }
            };
            let found = Found { answers: addresses.into_iter().map(record).collect(), additional: Vec::new() };
            serving.reply(peer, begun, &query, &found);
        });
    }

    fn reply(&self, peer: SocketAddr, begun: Time, query: &Query, found: &Found) {
        let code = match query.kind {
            _ if !found.answers.is_empty() => Code::NoError,
            TYPE_A | TYPE_AAAA | TYPE_SRV => Code::NoSuchName,
            _ => Code::NotImplemented,
        };
        if found.answers.is_empty() {
            self.inc(stat::UNANSWERED_QUERIES);
        }
        self.send(peer, begun, &message::response(query, code, &found.answers, &found.additional, self.resolver.is_some()));
    }

    fn send(&self, peer: SocketAddr, begun: Time, bytes: &[u8]) {
        let (scope, lane) = (&self.filter.scope, self.worker.lane);
        self.inc(stat::DOWNSTREAM_TX_RESPONSES);
        scope.record(lane, stat::DOWNSTREAM_TX_BYTES, bytes.len() as u64);
        scope.record(lane, stat::DOWNSTREAM_RX_QUERY_LATENCY, Time::now().millis_since(begun));
        // Who does not get it asks again.
        let _ = SockRef::from(&self.socket.socket).send_to(bytes, &peer.into());
    }
}
