//! A stub resolver: asks recursive servers over UDP, over TCP when the answer is too long.
//!
//! Each query goes out on a socket of its own with a random id and is matched by server, id and question. Servers are
//! asked in order, `attempts` times over; short names go through the search domains. Counts `dns.cares.*`.

use super::message::{self, Response, UDP_BYTES};
use super::system::{Hosts, ResolvConf, Watched};
use super::{Answer, Family, LookupError, Question, Resolve, Resolvers, Services, plan, select};
use crate::config::{LookupFamily, ResolverConfig};
use nuncio_core::LocalFuture;
use nuncio_rt::Rng;
use nuncio_stats::{Lane, Scope, Store, tables::dns as stat};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UdpSocket},
};

/// Resolves over the network; made once per configuration of servers.
#[derive(Debug, Clone)]
pub struct StubResolver(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ResolverConfig,
    system: Rc<System>,
    /// Who is asked first, where servers take turns.
    next_server: Cell<usize>,
}

/// What all resolvers of the process share.
#[derive(Debug)]
struct System {
    resolv_conf: Watched<ResolvConf>,
    hosts: Watched<Hosts>,
    stats: Arc<Scope>,
    lane: Lane,
    rng: Rng,
}

/// The process's resolvers by configuration.
#[derive(Debug)]
pub struct StubResolvers {
    system: Rc<System>,
    made: RefCell<HashMap<ResolverConfig, Rc<StubResolver>>>,
}

impl StubResolvers {
    /// Resolvers that read the system's files and count in `store`.
    pub fn new(store: &Store) -> Rc<StubResolvers> {
        StubResolvers::on(store, Lane::MAIN)
    }

    /// The same for another thread than the main one, which writes to `lane`.
    pub fn on(store: &Store, lane: Lane) -> Rc<StubResolvers> {
        let system = System {
            resolv_conf: Watched::new("/etc/resolv.conf", ResolvConf::parse),
            hosts: Watched::new("/etc/hosts", Hosts::parse),
            stats: store.scope("dns.cares.", &stat::DNS),
            lane,
            rng: Rng::default(),
        };
        Rc::new(StubResolvers { system: Rc::new(system), made: RefCell::default() })
    }
}

impl Resolvers for StubResolvers {
    fn resolver(&self, config: &ResolverConfig) -> Rc<dyn Resolve> {
        let mut made = self.made.borrow_mut();
        let resolver = made.entry(config.clone()).or_insert_with(|| {
            Rc::new(StubResolver(Rc::new(Inner { config: config.clone(), system: self.system.clone(), next_server: Cell::new(0) })))
        });
        resolver.clone()
    }
}

impl Resolve for StubResolver {
    fn resolve(&self, name: &str, family: LookupFamily) -> LocalFuture<Answer> {
        let (inner, name) = (self.0.clone(), name.to_owned());
        Box::pin(async move {
            let stats = inner.system.stats.clone();
            stats.inc(inner.system.lane, stat::RESOLVE_TOTAL);
            if let Some(answer) = inner.known(&name, family) {
                return answer;
            }
            stats.gauge_add(inner.system.lane, stat::PENDING_RESOLUTIONS, 1);
            let guard = Pending(stats.clone(), inner.system.lane);
            let answer = inner.ask(&name, family).await;
            drop(guard);
            match &answer {
                Answer::Found { .. } => {}
                Answer::NotFound => stats.inc(inner.system.lane, stat::NOT_FOUND),
                Answer::Failed(LookupError::Timeout) => stats.inc(inner.system.lane, stat::TIMEOUTS),
                Answer::Failed(_) => stats.inc(inner.system.lane, stat::GET_ADDR_FAILURE),
            }
            answer
        })
    }

    fn services(&self, name: &str) -> LocalFuture<Services> {
        let (inner, name) = (self.0.clone(), name.to_owned());
        Box::pin(async move {
            let stats = inner.system.stats.clone();
            stats.inc(inner.system.lane, stat::RESOLVE_TOTAL);
            stats.gauge_add(inner.system.lane, stat::PENDING_RESOLUTIONS, 1);
            let guard = Pending(stats.clone(), inner.system.lane);
            let answer = inner.ask_services(&name).await;
            drop(guard);
            match &answer {
                Ok(Some(_)) => {}
                Ok(None) => stats.inc(inner.system.lane, stat::NOT_FOUND),
                Err(LookupError::Timeout) => stats.inc(inner.system.lane, stat::TIMEOUTS),
                Err(_) => stats.inc(inner.system.lane, stat::GET_ADDR_FAILURE),
            }
            answer
        })
    }
}

/// A resolution under way, also one that is given up.
struct Pending(Arc<Scope>, Lane);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.gauge_add(self.1, stat::PENDING_RESOLUTIONS, -1);
    }
}

impl Inner {
    /// What needs no server: address literals and the hosts file.
    fn known(&self, name: &str, family: LookupFamily) -> Option<Answer> {
        let known = match name.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.system.hosts.get().lookup(name),
        };
        if known.is_empty() {
            return None;
        }
        let addresses = select(&known, family);
        Some(if addresses.is_empty() { Answer::NotFound } else { Answer::Found { addresses, ttl: None } })
    }

    async fn ask(&self, name: &str, family: LookupFamily) -> Answer {
        let conf = self.settings();
        let mut last = Answer::NotFound;
        for name in candidates(name, &conf) {
            match self.ask_families(&name, family, &conf).await {
                Answer::NotFound => {}
                Answer::Failed(error) => last = Answer::Failed(error),
                found => return found,
            }
        }
        last
    }

    /// The system's settings with the configuration's on top.
    fn settings(&self) -> ResolvConf {
        let mut conf = (*self.system.resolv_conf.get()).clone();
        if !self.config.servers.is_empty() && (conf.names_none || !self.config.servers_are_fallback) {
            conf.servers.clone_from(&self.config.servers);
        }
        if self.config.rotate && !conf.servers.is_empty() {
            let first = self.next_server.get() % conf.servers.len();
            self.next_server.set(first + 1);
            conf.servers.rotate_left(first);
        }
        conf.timeout = self.config.query_timeout.unwrap_or(conf.timeout);
        conf.attempts = self.config.query_tries.unwrap_or(conf.attempts);
        if self.config.no_default_search_domain {
            conf.search.clear();
        }
        conf.use_tcp |= self.config.use_tcp;
        conf
    }

    async fn ask_families(&self, name: &str, family: LookupFamily, conf: &ResolvConf) -> Answer {
        let (mut first, mut second, only_if_empty) = plan(family);
        if self.config.routable_only {
            second = second.filter(|family| is_routable(*family));
            if !is_routable(first) {
                let Some(other) = second.take() else { return Answer::NotFound };
                first = other;
            }
        }
        let answer = self.ask_servers(name, first, conf).await;
        let Some(second) = second else { return answer };
        let mut found = match answer {
            Answer::Found { .. } if only_if_empty => return answer,
            Answer::Found { addresses, ttl } => Some((addresses, ttl)),
            _ => None,
        };
        match (self.ask_servers(name, second, conf).await, &mut found) {
            (Answer::Found { addresses, ttl }, Some((all, shortest))) => {
                all.extend(addresses);
                *shortest = ttl.min(*shortest);
            }
            (other, None) => return other,
            (_, Some(_)) => {}
        }
        found.map_or(Answer::NotFound, |(addresses, ttl)| Answer::Found { addresses, ttl })
    }

    async fn ask_servers(&self, name: &str, family: Family, conf: &ResolvConf) -> Answer {
        match self.ask_each(name, Question::Addresses(family), conf).await {
            Ok(Response::Addresses(addresses, ttl)) if !addresses.is_empty() => Answer::Found { addresses, ttl: Some(ttl) },
            Ok(_) => Answer::NotFound,
            Err(error) => Answer::Failed(error),
        }
    }

    async fn ask_services(&self, name: &str) -> Services {
        let conf = self.settings();
        let mut last = Ok(None);
        for name in candidates(name, &conf) {
            match self.ask_each(&name, Question::Services, &conf).await {
                Ok(Response::Services(services, ttl)) if !services.is_empty() => return Ok(Some((services, ttl))),
                Ok(_) => {}
                Err(error) => last = Err(error),
            }
        }
        last
    }

    /// Asks one server after the other until one has told.
    async fn ask_each(&self, name: &str, question: Question, conf: &ResolvConf) -> Result<Response, LookupError> {
        let mut failed = LookupError::Server;
        for server in std::iter::repeat_n(&conf.servers, conf.attempts as usize).flatten() {
            let query = message::query(self.system.rng.next_u64() as u16, name, question).ok_or(LookupError::BadName)?;
            match tokio::time::timeout(conf.timeout, exchange(*server, &query, conf.use_tcp)).await {
                Ok(Ok(Response::Refused | Response::Truncated)) => failed = LookupError::Server,
                Ok(Ok(told)) => return Ok(told),
                Ok(Err(_)) => failed = LookupError::Unreachable,
                Err(_) => failed = LookupError::Timeout,
            }
        }
        Err(failed)
    }
}

/// Whether this machine has a way to addresses of this kind. Nothing is sent: the kernel looks for a route.
fn is_routable(family: Family) -> bool {
    let (from, to): (SocketAddr, SocketAddr) = match family {
        Family::V4 => ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into()),
        Family::V6 => ((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()),
    };
    std::net::UdpSocket::bind(from).and_then(|socket| socket.connect(to)).is_ok()
}

/// The names to try: those with enough dots as they are first, others with the search domains first.
fn candidates(name: &str, conf: &ResolvConf) -> Vec<String> {
    if name.ends_with('.') || conf.search.is_empty() {
        return vec![name.to_owned()];
    }
    let mut names: Vec<String> = conf.search.iter().map(|domain| format!("{name}.{domain}")).collect();
    let dots = name.bytes().filter(|b| *b == b'.').count();
    let at = if dots >= conf.ndots { 0 } else { names.len() };
    names.insert(at, name.to_owned());
    names
}

async fn exchange(server: SocketAddr, query: &[u8], use_tcp: bool) -> io::Result<Response> {
    if !use_tcp {
        let answer = over_udp(server, query).await?;
        if answer != Response::Truncated {
            return Ok(answer);
        }
    }
    over_tcp(server, query).await
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Response> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut bytes = [0; UDP_BYTES * 3];
    loop {
        let n = socket.recv(&mut bytes).await?;
        // What does not answer our question is not for us: wait on, up to the timeout.
        if let Some(answer) = message::response(query, &bytes[..n]) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect(server).await?;
    let mut out = (query.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(query);
    let mut sent = 0;
    while sent < out.len() {
        sent += poll_fn(|cx| std::pin::Pin::new(&mut stream).poll_write(cx, &out[sent..])).await?;
    }
    let mut length = [0; 2];
    read_exact(&mut stream, &mut length).await?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exact(&mut stream, &mut bytes).await?;
    match message::response(query, &bytes) {
        Some(Response::Truncated) | None => Err(io::ErrorKind::InvalidData.into()),
        Some(answer) => Ok(answer),
    }
}

async fn read_exact(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<()> {
    let mut at = 0;
    poll_fn(|cx: &mut Context<'_>| {
        while at < into.len() {
            let mut part = ReadBuf::new(&mut into[at..]);
            ready!(std::pin::Pin::new(&mut *stream).poll_read(cx, &mut part))?;
            match part.filled().len() {
                0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                n => at += n,
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::super::message::testing::reply;
    use super::*;
    use std::time::Duration;

    fn resolver(store: &Store, server: SocketAddr) -> Rc<dyn Resolve> {
        let config = ResolverConfig { servers: vec![server], no_default_search_domain: true, ..Default::default() };
        StubResolvers::new(store).resolver(&config)
    }

    /// Answers `a.test` with two IPv4 addresses, and says that other names do not exist.
    async fn serve() -> SocketAddr {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket");
        let address = socket.local_addr().expect("an address");
        nuncio_rt::spawn(async move {
            let mut bytes = [0; 512];
            while let Ok((n, from)) = socket.recv_from(&mut bytes).await {
                let query = &bytes[..n];
                let known = query[12..].starts_with(b"\x01a\x04test\0\x00\x01");
                let exists = query[12..].starts_with(b"\x01a\x04test\0");
                let addresses: &[IpAddr] = if known { &[[127, 0, 0, 1].into(), [127, 0, 0, 2].into()] } else { &[] };
                // A stray answer first: it must not be taken.
                let stray = reply(&[&[query[0] ^ 1], &query[1..]].concat(), 3, &[], 0);
                let _ = socket.send_to(&stray, from).await;
                let _ = socket.send_to(&reply(query, if exists { 0 } else { 3 }, addresses, 9), from).await;
            }
        });
        address
    }

    #[test]
    fn the_configuration_says_whom_to_ask_how_often_and_in_which_order() {
        let server = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let store = Store::new(1);
        let settings = |config: ResolverConfig| {
            let resolvers = StubResolvers::new(&store);
            let inner = Inner { config, system: resolvers.system.clone(), next_server: Cell::new(0) };
            [inner.settings(), inner.settings(), inner.settings()]
        };
        let config = ResolverConfig { servers: vec![server(1), server(2)], rotate: true, query_tries: Some(7), ..Default::default() };
        let [first, second, third] = settings(config.clone());
        assert_eq!([first.servers[0], second.servers[0], third.servers[0]], [server(1), server(2), server(1)]);
        assert_eq!(first.attempts, 7);
        let system = settings(ResolverConfig::default())[0].clone();
        let [fallback, ..] = settings(ResolverConfig { servers_are_fallback: true, rotate: false, ..config });
        assert_eq!(fallback.servers[0], if system.names_none { server(1) } else { system.servers[0] });
    }

    #[test]
    fn servers_are_asked_and_counted() {
        let store = Store::new(1);
        let counted = store.scope("dns.cares.", &stat::DNS);
        nuncio_rt::block_on_worker(async move {
            let resolver = resolver(&store, serve().await);
            let found = |addresses: &[IpAddr], ttl| Answer::Found { addresses: addresses.to_vec(), ttl };
            let two = [IpAddr::from([127, 0, 0, 1]), [127, 0, 0, 2].into()];
            let nine = Some(Duration::from_secs(9));
            assert_eq!(resolver.resolve("a.test", LookupFamily::V4Only).await, found(&two, nine));
            assert_eq!(resolver.resolve("a.test", LookupFamily::Auto).await, found(&two, nine));
            assert_eq!(resolver.resolve("a.test", LookupFamily::V6Only).await, Answer::NotFound);
            assert_eq!(resolver.resolve("nx.test", LookupFamily::All).await, Answer::NotFound);
            assert_eq!(resolver.resolve("10.0.0.1", LookupFamily::Auto).await, found(&[[10, 0, 0, 1].into()], None));
            assert_eq!(counted.counter(stat::RESOLVE_TOTAL), 5);
            assert_eq!(counted.counter(stat::NOT_FOUND), 2);
            assert_eq!(counted.gauge(stat::PENDING_RESOLUTIONS), 0);
        })
        .expect("runs");
    }

    #[test]
    fn a_server_that_is_not_there_is_a_failure_not_an_empty_answer() {
        let store = Store::new(1);
        nuncio_rt::block_on_worker(async move {
            let gone = UdpSocket::bind(("127.0.0.1", 0)).await.and_then(|s| s.local_addr()).expect("an address");
            let answer = resolver(&store, gone).resolve("a.test", LookupFamily::V4Only).await;
            assert_eq!(answer, Answer::Failed(LookupError::Unreachable));
        })
        .expect("runs");
    }

    #[test]
    fn short_names_go_through_the_search_domains() {
        let conf = ResolvConf { search: vec!["x".into(), "y".into()], ndots: 2, ..ResolvConf::default() };
        assert_eq!(candidates("a.b", &conf), ["a.b.x", "a.b.y", "a.b"]);
        assert_eq!(candidates("a.b.c", &conf), ["a.b.c", "a.b.c.x", "a.b.c.y"]);
        assert_eq!(candidates("a.", &conf), ["a."]);
    }
}
