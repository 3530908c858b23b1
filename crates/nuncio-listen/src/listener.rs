//! A listener on one worker: its filter chains, and what happens to a connection between `accept` and its chain.

use crate::{
    ListenAddress,
    balance::Handed,
    bind::ListenSocket,
    chain::Chain,
    config::{DrainType, ListenerConfig, Transport},
    connection_log::ConnectionLog,
    datagrams::DatagramIntake,
    disabled::is_off,
    drain::{DrainOrder, DrainPace},
    inspect::{InspectorStats, Seen, Unseen, inspect},
    intake::{Acceptor, Intake},
    matching::{ChainMatch, ConnectionFacts, select, select_named},
    open::{Counts, Places},
    original_dst,
    proxy_protocol::{self, ProxyStats, Refusal},
    serve::{self, Incoming},
    stats::ListenerScopes,
    targets::Targets,
    tls::ServerContext,
    update::{ConnectionBudget, ListenerSetup},
};
use nuncio_core::{ConnInfo, DrainSignal, LeftByFilters, NetworkStep, StreamCx, Worker, internal::Passed};
use nuncio_core::metadata::ListenerMetadata;
use nuncio_core::proxy_protocol::ProxyHeader;
use nuncio_rt::{Address, Buf, Deadline, Io, Time};
use nuncio_stats::tables::listener::{
    DOWNSTREAM_LISTENER_FILTER_ERROR,
    DOWNSTREAM_LISTENER_FILTER_REMOTE_CLOSE, DOWNSTREAM_PRE_CX_ACTIVE, DOWNSTREAM_PRE_CX_TIMEOUT, NO_FILTER_CHAIN_MATCH,
};
use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
};
use tokio::net::TcpStream;

/// What all listeners of a worker share.
pub(crate) struct Shared {
    pub(crate) worker: Rc<Worker>,
    /// The limit over all listeners and workers.
    pub(crate) budget: Option<Arc<ConnectionBudget>>,
    /// Connections accepted, for their ids.
    pub(crate) accepted: Cell<u64>,
    pub(crate) workers: u64,
    /// Its listeners by address.
    pub(crate) targets: Targets,
}

impl Shared {
    /// An id that no other connection of the process has.
    fn connection_id(&self) -> u64 {
        let n = self.accepted.get();
        self.accepted.set(n + 1);
        n * self.workers + self.worker.index as u64
    }
}

/// A listener at work.
pub(crate) struct Listener {
    pub(crate) shared: Rc<Shared>,
    pub(crate) counts: Rc<Counts>,
    /// Where it listens, or would.
    pub(crate) locals: Vec<Address>,
    scopes: ListenerScopes,
    pub(crate) current: RefCell<Rc<ChainSet>>,
    intakes: RefCell<Vec<Rc<Intake>>>,
    datagrams: RefCell<Vec<Rc<DatagramIntake>>>,
    /// The pace connections are asked to close at while the listener stays (`/healthcheck/fail`).
    easing: Cell<Option<DrainPace>>,
}

/// The chains that new connections choose from.
pub(crate) struct ChainSet {
    pub(crate) config: Arc<ListenerConfig>,
    chains: Vec<Rc<Chain>>,
    default: Option<Rc<Chain>>,
    /// True if the first chain takes everything: nothing to match.
    takes_all: bool,
    inspector_stats: InspectorStats,
    proxy_stats: Option<ProxyStats>,
}

impl ChainSet {
    fn select(&self, facts: &ConnectionFacts<'_>) -> Option<&Rc<Chain>> {
        if self.takes_all {
            return self.chains.first();
        }
        if let Some(matcher) = &self.config.chain_matcher {
            return match select_named(matcher, &self.config.filter_chains, facts) {
                Some(index) => self.chains.get(index?),
                None => self.default.as_ref(),
            };
        }
        let chosen = select(self.chains.iter().map(|chain| &chain.config.matches), facts);
        chosen.and_then(|index| self.chains.get(index)).or(self.default.as_ref())
    }

    fn all(&self) -> impl Iterator<Item = &Rc<Chain>> {
        self.chains.iter().chain(&self.default)
    }
}

impl Listener {
    /// Starts accepting.
    ///
    /// # Errors
    /// When a socket cannot be registered with the event loop.
    pub(crate) fn start(shared: &Rc<Shared>, setup: ListenerSetup) -> io::Result<Rc<Listener>> {
        let internal = setup.config.internal_buffer_bytes.is_some();
        let worker = &shared.worker;
        let counts = Rc::new(Counts {
            lane: worker.lane,
            listener: setup.scopes.listener.clone(),
            trouble: setup.scopes.trouble.clone(),
            worker: setup.scopes.workers.get(worker.index).cloned(),
            budgets: [shared.budget.clone(), setup.budget],
            unlimited: [setup.config.ignore_global_limit, false],
            balance: setup.balance.map(|balance| (balance, worker.index)),
        });
        let set = chain_set(&setup.config, None, worker, &setup.scopes);
        let mut locals: Vec<_> = setup.sockets.iter().map(|(local, _)| local.clone()).collect();
        if locals.is_empty() {
            locals = setup.config.addresses.iter().map(ListenAddress::address).collect();
        }
        let listener = Rc::new(Listener {
            shared: shared.clone(),
            counts,
            locals,
            scopes: setup.scopes,
            current: RefCell::new(Rc::new(set)),
            intakes: RefCell::default(),
            datagrams: RefCell::default(),
            easing: Cell::new(None),
        });
        if internal {
            listener.open_door();
        }
        for (local, socket) in setup.sockets {
            if let Err(error) = listener.open_intake(local, socket) {
                listener.stop_accepting();
                return Err(error);
            }
        }
        Ok(listener)
    }

    fn open_intake(self: &Rc<Self>, local: Address, socket: ListenSocket) -> io::Result<()> {
        if let ListenSocket::Udp(socket) = socket {
            let config = self.current.borrow().config.clone();
            if let (Some(datagrams), Some(stats)) = (&config.datagrams, &self.scopes.udp) {
                let intake = DatagramIntake::start(datagrams, &self.shared.worker, socket, local, stats.clone())?;
                self.datagrams.borrow_mut().push(intake);
            }
            return Ok(());
        }
        let intake = Intake::new(Acceptor::register(socket)?, local);
        self.intakes.borrow_mut().push(intake.clone());
        nuncio_rt::spawn(intake.run(self.clone(), self.shared.worker.clone()));
        Ok(())
    }

    /// The most connections to accept before other tasks get their turn.
    pub(crate) fn accept_batch(&self) -> u32 {
        /// Enough to empty a usual queue, few enough not to starve the connections at work.
        const FAIR_BATCH: u32 = 64;
        self.current.borrow().config.accept_per_event.unwrap_or(FAIR_BATCH).clamp(1, FAIR_BATCH)
    }

    /// Gives new connections a new configuration and retires the chains that are not in it any more.
    pub(crate) fn update(&self, config: &Arc<ListenerConfig>, order: &DrainOrder) -> Vec<Rc<Chain>> {
        let old = self.current.borrow().clone();
        let kept = old.config.same_but_for_chains(config).then_some(&*old);
        let new = Rc::new(chain_set(config, kept, &self.shared.worker, &self.scopes));
        if let Some(pace) = self.easing.get() {
            new.all().for_each(|chain| chain.ease(pace));
        }
        let gone: Vec<_> =
            old.all().filter(|chain| !new.all().any(|kept| Rc::ptr_eq(kept, chain))).cloned().collect();
        *self.current.borrow_mut() = new;
        gone.iter().for_each(|chain| chain.retire(&self.shared.worker, order));
        gone
    }

    /// Accepts what has connected, then closes the sockets. Connections that live on may still need those of this process.
    pub(crate) fn stop_accepting(self: &Rc<Self>) {
        for intake in self.intakes.take() {
            intake.close(self);
        }
        self.datagrams.take().iter().for_each(|intake| intake.close());
    }

    /// Stops accepting and lets every connection finish.
    pub(crate) fn remove(self: &Rc<Self>, order: &DrainOrder) -> Vec<Rc<Chain>> {
        self.close_door();
        self.stop_accepting();
        let set = self.current.borrow().clone();
        set.all().for_each(|chain| chain.retire(&self.shared.worker, order));
        set.all().cloned().collect()
    }

    /// Asks connections to close while going on accepting.
    pub(crate) fn ease(&self, pace: DrainPace) {
        self.easing.set(Some(pace));
        self.current.borrow().all().for_each(|chain| chain.ease(pace));
    }

    /// Takes a connection that was just accepted.
    pub(crate) fn take(self: &Rc<Self>, io: Io, local: Address, remote: Address) {
        let mut kept = Some(io);
        let balanced = self.counts.balance.as_ref();
        if let Some((balance, worker)) = balanced {
            kept = kept.and_then(|io| balance.place(*worker, io, &local, &remote));
        }
        if let Some(io) = kept {
            self.take_in(io, local, remote, balanced.is_some());
        }
    }

    /// Takes a connection that another worker has accepted.
    pub(crate) fn take_handed(self: &Rc<Self>, handed: Handed) {
        let Handed { stream, local, remote } = handed;
        match TcpStream::from_std(stream) {
            Ok(stream) => self.take_in(stream.into(), local, remote, true),
            // Counted as one that never was.
            Err(_) => drop(self.counts.take_places(true)),
        }
    }

    fn take_in(self: &Rc<Self>, io: Io, local: Address, remote: Address, balanced: bool) {
        let counts = &self.counts;
        let Some(places) = counts.take_places(balanced) else { return };
        counts.listener.gauge_add(counts.lane, DOWNSTREAM_PRE_CX_ACTIVE, 0);
        let set = self.current.borrow().clone();
        let mut accepted = Accepted { io, local, remote, start: Time::now(), places, proxy: None, taken_at: None, source: None, passed: None };
        if set.config.original_dst
            && !is_off(set.config.disabled.original_dst.as_ref(), &accepted.local)
            && let Some(wanted) = original_dst::of(&accepted.io)
        {
            accepted.taken_at = Some(std::mem::replace(&mut accepted.local, Address::Ip(wanted)));
        }
        self.begin(&set, accepted, Seen::default());
    }

    /// Takes a connection from the listener that it was brought to.
    fn take_over(self: &Rc<Self>, accepted: Accepted, seen: Seen) {
        let Some(places) = self.counts.take_places(false) else { return };
        let set = self.current.borrow().clone();
        self.begin(&set, Accepted { places, start: Time::now(), ..accepted }, seen);
    }

    /// Has the connection looked at where that is configured, then chooses its chain.
    pub(crate) fn begin(self: &Rc<Self>, set: &Rc<ChainSet>, mut accepted: Accepted, seen: Seen) {
        if !self.lets_in(set, &mut accepted, false) {
            return;
        }
        if !set.config.inspectors.any() && set.config.proxy_protocol.is_none() {
            self.choose(set, accepted, seen);
            return;
        }
        let (listener, set) = (self.clone(), set.clone());
        nuncio_rt::spawn(async move { listener.inspect(&set, accepted, seen.first).await });
    }

    /// What listener filters say that only let connections in or not.
    fn lets_in(&self, set: &ChainSet, accepted: &mut Accepted, late: bool) -> bool {
        let filters = &set.config.accept_filters;
        if !filters.iter().any(|filter| filter.late == late) {
            return true;
        }
        let (local, direct_remote) = (accepted.local.clone(), accepted.remote.clone());
        let remote = accepted.source.clone().unwrap_or_else(|| direct_remote.clone());
        let conn = ConnInfo { local, direct_remote, remote, ..ConnInfo::nobody() };
        let mut cx = StreamCx::new(self.shared.worker.clone(), Rc::new(conn));
        let passed = accepted.passed.get_or_insert_default();
        passed.objects.drain(..).for_each(|object| cx.filter_state.set(object));
        let mut wanted = filters.iter().filter(|filter| filter.late == late && !is_off(filter.disabled.as_ref(), &accepted.local));
        let let_in = wanted.all(|filter| matches!(filter.filter.on_new_connection(&mut cx), NetworkStep::Continue));
        passed.objects.extend(cx.filter_state.iter().cloned());
        let_in
    }

    /// Looks at the first bytes of a connection, then lets it go on.
    async fn inspect(self: &Rc<Self>, set: &ChainSet, mut accepted: Accepted, first: Option<Buf>) {
        let (config, counts) = (&set.config, &self.counts);
        counts.listener.gauge_add(counts.lane, DOWNSTREAM_PRE_CX_ACTIVE, 1);
        let worker = &self.shared.worker;
        let mut deadline = Deadline::new(worker.timers.clone());
        deadline.set(config.listener_filters_timeout.map(|timeout| Time::now() + timeout));
        let looked = self.look(set, &mut accepted, first, &mut deadline).await;
        counts.listener.gauge_add(counts.lane, DOWNSTREAM_PRE_CX_ACTIVE, -1);
        match looked {
            Ok((seen, timed_out)) => {
                if timed_out {
                    counts.listener.inc(counts.lane, DOWNSTREAM_PRE_CX_TIMEOUT);
                }
                if !timed_out || config.continue_on_listener_filters_timeout {
                    let set = self.current.borrow().clone();
                    self.choose(&set, accepted, seen);
                }
            }
            Err(Unseen::Closed) => counts.listener.inc(counts.lane, DOWNSTREAM_LISTENER_FILTER_REMOTE_CLOSE),
            Err(Unseen::Refused) => accepted.io.reset_on_close(),
            Err(Unseen::TooLarge | Unseen::Foreign) => {
                counts.listener.inc(counts.lane, DOWNSTREAM_LISTENER_FILTER_ERROR);
                accepted.io.reset_on_close();
            }
        }
    }

    /// What the PROXY protocol and the first bytes say, in that order.
    async fn look(
        &self,
        set: &ChainSet,
        accepted: &mut Accepted,
        mut first: Option<Buf>,
        deadline: &mut Deadline,
    ) -> Result<(Seen, bool), Unseen> {
        let (config, worker) = (&set.config, &self.shared.worker);
        if let (Some(rules), Some(stats)) = (&config.proxy_protocol, &set.proxy_stats)
            && !is_off(config.disabled.proxy_protocol.as_ref(), &accepted.local)
        {
            let passed = accepted.passed.get_or_insert_default();
            match proxy_protocol::read(&mut accepted.io, rules, stats, worker, deadline, passed).await {
                Ok((header, rest)) => {
                    accepted.proxy = header;
                    first = rest;
                }
                Err(Refusal::Closed) => return Err(Unseen::Closed),
                Err(Refusal::Refused) => return Err(Unseen::Refused),
                Err(Refusal::TimedOut) => return Ok((Seen::default(), true)),
            }
        }
        let mut inspectors = config.inspectors;
        inspectors.tls &= !is_off(config.disabled.tls.as_ref(), &accepted.local);
        inspectors.http &= !is_off(config.disabled.http.as_ref(), &accepted.local);
        if !inspectors.any() {
            return Ok((Seen { first, ..Seen::default() }, false));
        }
        inspect(&mut accepted.io, inspectors, &set.inspector_stats, worker, first, deadline).await
    }

    /// Chooses the filter chain of a connection.
    fn choose(self: &Rc<Self>, set: &ChainSet, mut accepted: Accepted, seen: Seen) {
        // Whoever came through a proxy is whom it names, and wanted to go where it says.
        let named = accepted.proxy.as_ref().and_then(|header| header.addresses);
        if let Some((source, wanted)) = named {
            let taken_at = std::mem::replace(&mut accepted.local, Address::Ip(wanted));
            accepted.taken_at.get_or_insert(taken_at);
            accepted.source = Some(Address::Ip(source));
        }
        if !self.lets_in(set, &mut accepted, true) {
            return;
        }
        if set.config.use_original_dst
            && accepted.taken_at.is_some()
            && let Address::Ip(wanted) = &accepted.local
            && let Some(target) = self.shared.targets.find(*wanted)
            && !Rc::ptr_eq(&target, self)
        {
            // It hands nothing on: the address that was wanted is its own.
            target.take_over(accepted, seen);
            return;
        }
        let Accepted { io, local, remote: direct_remote, start, places, proxy, taken_at, source, passed } = accepted;
        let remote = source.unwrap_or_else(|| direct_remote.clone());
        let protocols: Vec<&str> = seen.protocols.iter().map(String::as_str).collect();
        let chain = set.select(&ConnectionFacts {
            local: &local,
            remote: &remote,
            direct_remote: &direct_remote,
            server_name: seen.server_name.as_deref(),
            transport_protocol: if seen.tls { "tls" } else { "raw_buffer" },
            application_protocols: &protocols,
            tls: None,
        });
        let chain = chain.cloned();
        let info = ConnInfo {
            id: self.shared.connection_id(),
            start,
            direct_remote,
            remote,
            local,
            listener: set.config.name.clone(),
            filter_chain: chain.as_ref().map(|chain| chain.config.name.clone()).unwrap_or_default(),
            server_name: seen.server_name,
            tls: false,
            client_certificate: Default::default(),
            tls_facts: None,
            transport_failure: Default::default(),
            fingerprints: seen.fingerprints,
            attached: Default::default(),
        };
        let of_chain = chain.as_ref().and_then(|chain| chain.config.metadata.clone());
        if set.config.metadata.is_some() || of_chain.is_some() {
            nuncio_core::metadata::attach(&info, ListenerMetadata { listener: set.config.metadata.clone(), filter_chain: of_chain });
        }
        if let Some(header) = proxy {
            nuncio_core::proxy_protocol::attach(&info, header);
        }
        if let Some(taken_at) = taken_at {
            nuncio_core::original_dst::attach(&info, taken_at);
        }
        if let Some(passed) = passed {
            LeftByFilters::at(&info).receive(passed);
        }
        match chain {
            Some(chain) => serve::start(&self.shared.worker, Incoming { io, first: seen.first, info, places }, &chain, &set.config),
            None => {
                self.counts.listener.inc(self.counts.lane, NO_FILTER_CHAIN_MATCH);
                if seen.first.is_some() {
                    // What nobody will read is answered so.
                    io.reset_on_close();
                }
                let mut log = ConnectionLog::new(&self.shared.worker, &set.config);
                log.none_matched(info);
            }
        }
    }
}

/// The chains of `config`; those that are the same in `old` are taken over, with their connections.
fn chain_set(config: &Arc<ListenerConfig>, old: Option<&ChainSet>, worker: &Rc<Worker>, scopes: &ListenerScopes) -> ChainSet {
    let chain = |wanted: &Arc<crate::config::FilterChainConfig>| {
        let same = |chain: &&Rc<Chain>| chain.config.same(wanted);
        old.and_then(|old| old.all().find(same).cloned()).unwrap_or_else(|| {
            let tls = match &wanted.transport {
                Transport::Plain => None,
                Transport::Tls(config) => Some(ServerContext::new(config, &scopes.store, scopes.listener.prefix(), worker.lane)),
            };
            let drain = match config.drain_type {
                DrainType::Default => DrainSignal::heeding(worker.failing_health_checks.clone()),
                DrainType::ModifyOnly => DrainSignal::default(),
            };
            Chain::new(wanted, worker, tls, drain)
        })
    };
    ChainSet {
        config: config.clone(),
        chains: config.filter_chains.iter().map(chain).collect(),
        default: config.default_filter_chain.as_ref().map(chain),
        takes_all: config.chain_matcher.is_none() && matches!(config.filter_chains.as_slice(), [one] if one.matches == ChainMatch::default()),
        inspector_stats: InspectorStats::new(&scopes.store, config.inspectors),
        proxy_stats: config.proxy_protocol.as_ref().map(|rules| ProxyStats::new(&scopes.store, rules)),
    }
}

/// A connection on its way to a filter chain.
pub(crate) struct Accepted {
    pub(crate) io: Io,
    pub(crate) local: Address,
    pub(crate) remote: Address,
    pub(crate) start: Time,
    pub(crate) places: Places,
    /// The PROXY header that it came with.
    pub(crate) proxy: Option<ProxyHeader>,
    /// Where it was taken, if `local` is where the client wanted to go instead.
    pub(crate) taken_at: Option<Address>,
    /// Who the client is, if that is not `remote`.
    pub(crate) source: Option<Address>,
    /// What has come along with it.
    pub(crate) passed: Option<Passed>,
}
