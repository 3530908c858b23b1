//! The main thread's half: which listeners there are, their sockets, and what the workers are told.
//!
//! A new set of listeners is taken as a whole or not at all: everything is bound before anything changes. What did
//! not change is not touched. Sockets outlive changes of filter chains, so no connection is refused by a reload.

use crate::{
    balance::Balance,
    bind::{BoundAddress, ListenSocket, bind},
    config::{DrainType, ListenerConfig, TrafficDirection},
    drain::{DrainOrder, DrainPace, Draining, Outstanding, Ticket},
    error::ListenerError,
    plan::{self, Step},
    stats::ListenerScopes,
    status::ListenerStatus,
    update::{ConnectionBudget, ListenerId, ListenerInbox, ListenerSetup, ListenerUpdate},
};
use nuncio_rt::Address;
use nuncio_stats::{
    Scope, Store,
    tables::listener_manager::{
        LISTENER_ADDED, LISTENER_IN_PLACE_UPDATED, LISTENER_MANAGER, LISTENER_MODIFIED, LISTENER_REMOVED,
        TOTAL_LISTENERS_ACTIVE, TOTAL_LISTENERS_WARMING, WORKERS_STARTED,
    },
    Lane,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;

/// All listeners of the process. Clones are the same one. To be used on the main thread: it writes statistics there.
#[derive(Debug, Clone)]
pub struct ListenerManager(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    scope: Arc<Scope>,
    workers: Vec<mpsc::UnboundedSender<ListenerUpdate>>,
    pace: DrainPace,
    outstanding: Arc<Outstanding>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of configuration.
    listeners: Vec<Active>,
    last_id: u64,
    easing: Option<DrainPace>,
}

/// A listener at work.
#[derive(Debug)]
struct Active {
    id: ListenerId,
    config: Arc<ListenerConfig>,
    /// Where it listens, by configured address.
    locals: Vec<Address>,
    scopes: ListenerScopes,
    stopped: bool,
}

/// What a new set of listeners changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Names of new listeners.
    pub added: Vec<Arc<str>>,
    /// Names of listeners that changed.
    pub updated: Vec<Arc<str>>,
    /// Names of listeners that are gone.
    pub removed: Vec<Arc<str>>,
    /// How many stayed as they were.
    pub unchanged: usize,
    /// What is odd but works.
    pub warnings: Vec<String>,
}

/// Which listeners `/drain_listeners` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those whose `traffic_direction` is `INBOUND`.
    Inbound,
}

impl Which {
    fn includes(self, config: &ListenerConfig) -> bool {
        self == Which::All || config.traffic_direction == TrafficDirection::Inbound
    }
}

impl ListenerManager {
    /// No listeners yet, for so many workers. Each inbox goes to one worker's thread. `pace` is how listeners drain that
    /// are changed or removed; `budget` limits connections over all listeners.
    pub fn new(
        store: &Arc<Store>,
        workers: usize,
        pace: DrainPace,
        budget: Option<Arc<ConnectionBudget>>,
    ) -> (ListenerManager, Vec<ListenerInbox>) {
        let scope = store.scope("listener_manager.", &LISTENER_MANAGER);
        let (senders, inboxes) = (0..workers)
            .map(|worker| {
                let (sender, updates) = mpsc::unbounded_channel();
                let (manager, budget) = (scope.clone(), budget.clone());
                (sender, ListenerInbox { worker, workers, updates, manager, budget })
            })
            .unzip();
        let inner = Inner {
            store: store.clone(),
            scope,
            workers: senders,
            pace,
            outstanding: Arc::default(),
            state: Mutex::default(),
        };
        (ListenerManager(Arc::new(inner)), inboxes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, update: impl Fn() -> ListenerUpdate) {
        // A worker that is gone needs to know nothing.
        self.0.workers.iter().for_each(|worker| drop(worker.send(update())));
    }

    fn order(&self, what: Draining, pace: DrainPace) -> DrainOrder {
        DrainOrder { pace, ticket: Ticket::open(what, &self.0.scope, &self.0.outstanding) }
    }

    /// Makes these the listeners: the first time and at every reload. All or nothing.
    ///
    /// # Errors
    /// Everything that is wrong with them, addresses that cannot be bound included; then nothing has changed.
    pub fn apply(&self, listeners: Vec<Arc<ListenerConfig>>) -> Result<Applied, Vec<ListenerError>> {
        self.apply_at(listeners, self.0.pace)
    }

    /// The same; what goes drains at this pace.
    ///
    /// # Errors
    /// As [`ListenerManager::apply`].
    pub fn apply_at(
        &self,
        listeners: Vec<Arc<ListenerConfig>>,
        pace: DrainPace,
    ) -> Result<Applied, Vec<ListenerError>> {
        let (listeners, replaced) = plan::last_of_each_name(listeners);
        plan::check(&listeners)?;
        let mut state = self.state();
        let mut applied = Applied::default();
        for name in replaced {
            applied.warnings.push(format!("listener '{name}' is configured more than once; the last one counts"));
        }
        let steps: Vec<_> = listeners
            .into_iter()
            .map(|new| (plan::step(state.find(&new.name).map(|old| &*old.config), &new), new))
            .collect();
        let bound = self.bind_all(&state, &steps, &mut applied.warnings)?;
        self.carry_out(&mut state, steps, bound, pace, &mut applied);
        self.0.scope.gauge_set(TOTAL_LISTENERS_ACTIVE, state.listeners.len() as u64);
        // Nothing a listener depends on is waited for yet.
        self.0.scope.gauge_set(TOTAL_LISTENERS_WARMING, 0);
        Ok(applied)
    }

    /// Binds everything that needs new sockets, then lets all of them listen.
    fn bind_all(
        &self,
        state: &State,
        steps: &[(Step, Arc<ListenerConfig>)],
        warnings: &mut Vec<String>,
    ) -> Result<Bound, Vec<ListenerError>> {
        let mut bound = Bound::default();
        let mut errors = Vec::new();
        let new = || steps.iter().filter(|(step, new)| matches!(step, Step::Add | Step::Rebind) && new.socket.bind_to_port);
        let error = |listener: &Arc<ListenerConfig>, error| ListenerError::Bind { listener: listener.name.clone(), error };
        for (_, listener) in new() {
            for address in &listener.addresses {
                match bind(address, &listener.socket, self.0.workers.len()) {
                    Ok(sockets) => {
                        if sockets.shared && !state.listens_on(&sockets.local) {
                            warnings.push(format!(
                                "listener '{}': another process listens on '{address}' too; it gets a share of the connections",
                                listener.name
                            ));
                        }
                        bound.0.entry(listener.name.clone()).or_default().push(sockets);
                    }
                    Err(e) => errors.push(error(listener, e)),
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        for (_, listener) in new() {
            let sockets = bound.0.get(&listener.name).map_or(&[][..], Vec::as_slice);
            for (address, sockets) in listener.addresses.iter().zip(sockets) {
                errors.extend(sockets.listen(address, &listener.socket).err().map(|e| error(listener, e)));
            }
        }
        if errors.is_empty() { Ok(bound) } else { Err(errors) }
    }

    fn carry_out(
        &self,
        state: &mut State,
        steps: Vec<(Step, Arc<ListenerConfig>)>,
        mut bound: Bound,
        pace: DrainPace,
        applied: &mut Applied,
    ) {
        let mut old: HashMap<Arc<str>, Active> = state.listeners.drain(..).map(|l| (l.config.name.clone(), l)).collect();
        let mut gone = Vec::new();
        for (step, new) in steps {
            let name = new.name.clone();
            let was = old.remove(&name);
            match (step, was) {
                (Step::Keep, Some(was)) => {
                    applied.unchanged += 1;
                    state.listeners.push(was);
                }
                (Step::Update { in_place, chains }, Some(was)) => {
                    state.listeners.push(self.update(was, new, in_place, chains, pace));
                    applied.updated.push(name);
                }
                (_, was) => {
                    let sockets = bound.0.remove(&name).unwrap_or_default();
                    match was {
                        Some(was) => {
                            self.0.scope.inc(Lane::MAIN, LISTENER_MODIFIED);
                            gone.push(was);
                            applied.updated.push(name);
                        }
                        None => {
                            self.0.scope.inc(Lane::MAIN, LISTENER_ADDED);
                            applied.added.push(name);
                        }
                    }
                    let added = self.add(state, new, sockets);
                    state.listeners.push(added);
                }
            }
        }
        for (name, removed) in old {
            self.0.scope.inc(Lane::MAIN, LISTENER_REMOVED);
            applied.removed.push(name);
            gone.push(removed);
        }
        for listener in gone {
            let order = self.order(Draining::Listener, pace);
            self.tell(|| ListenerUpdate::Remove { id: listener.id, order: order.clone() });
            order.ticket.release(Lane::MAIN);
        }
    }

    fn update(&self, was: Active, new: Arc<ListenerConfig>, in_place: bool, chains: u64, pace: DrainPace) -> Active {
        self.0.scope.inc(Lane::MAIN, LISTENER_MODIFIED);
        let what = if in_place {
            self.0.scope.inc(Lane::MAIN, LISTENER_IN_PLACE_UPDATED);
            Draining::Chains(chains)
        } else {
            Draining::Listener
        };
        let order = self.order(what, pace);
        let scopes = ListenerScopes::new(&self.0.store, &new, self.0.workers.len());
        self.tell(|| ListenerUpdate::UpdateConfig { id: was.id, config: new.clone(), retire: order.clone() });
        order.ticket.release(Lane::MAIN);
        Active { config: new, scopes, ..was }
    }

    fn add(&self, state: &mut State, config: Arc<ListenerConfig>, bound: Vec<BoundAddress>) -> Active {
        state.last_id += 1;
        let id = ListenerId(state.last_id);
        let scopes = ListenerScopes::new(&self.0.store, &config, self.0.workers.len());
        let budget = config.connection_limit.map(|limit| Arc::new(ConnectionBudget::new(limit)));
        let balance = config.exact_balance.then(|| Arc::new(Balance::new(id, &self.0.workers)));
        let mut locals: Vec<_> = bound.iter().map(|b| b.local.clone()).collect();
        if locals.is_empty() {
            locals = config.addresses.iter().map(crate::ListenAddress::address).collect();
        }
        let mut by_worker: Vec<Vec<(Address, ListenSocket)>> = self.0.workers.iter().map(|_| Vec::new()).collect();
        for address in bound {
            for (mine, socket) in by_worker.iter_mut().zip(address.sockets) {
                mine.push((address.local.clone(), socket));
            }
        }
        for (worker, sockets) in self.0.workers.iter().zip(by_worker) {
            let setup = ListenerSetup {
                id,
                config: config.clone(),
                sockets,
                scopes: scopes.clone(),
                budget: budget.clone(),
                balance: balance.clone(),
            };
            drop(worker.send(ListenerUpdate::Add(Box::new(setup))));
        }
        if let Some(pace) = state.easing
            && config.drain_type == DrainType::Default
        {
            self.tell(|| ListenerUpdate::Drain { id, pace });
        }
        Active { id, config, locals, scopes, stopped: false }
    }

    /// Says that all workers run.
    pub fn workers_started(&self) {
        self.0.scope.gauge_set(WORKERS_STARTED, 1);
    }

    /// `/drain_listeners`: accepts no more connections; those that are open live on.
    pub fn stop(&self, which: Which) {
        for listener in self.state().listeners.iter_mut().filter(|l| which.includes(&l.config) && !l.stopped) {
            listener.stopped = true;
            let ticket = Ticket::open(Draining::Sockets, &self.0.scope, &self.0.outstanding);
            self.tell(|| ListenerUpdate::StopAccepting { id: listener.id, ticket: ticket.clone() });
            ticket.release(Lane::MAIN);
        }
    }

    /// Asks connections to close while listeners go on accepting: `/drain_listeners?graceful`. Leaves out listeners
    /// whose `drain_type` is `MODIFY_ONLY`.
    pub fn ease(&self, pace: DrainPace) {
        let mut state = self.state();
        state.easing = Some(pace);
        for listener in state.listeners.iter().filter(|l| l.config.drain_type == DrainType::Default) {
            self.tell(|| ListenerUpdate::Drain { id: listener.id, pace });
        }
    }

    /// The process is about to end: closes every listening socket (what has connected is still served) and lets
    /// connections finish at this pace. Follow with [`ListenerManager::drained`].
    pub fn drain_all(&self, pace: DrainPace) {
        self.state().listeners.iter_mut().for_each(|listener| listener.stopped = true);
        let order = self.order(Draining::Process, pace);
        self.tell(|| ListenerUpdate::RemoveAll { order: order.clone() });
        order.ticket.release(Lane::MAIN);
    }

    /// Waits until all workers have done what they were told to so far.
    pub async fn settled(&self) {
        let (held, mut let_go) = mpsc::channel(1);
        self.tell(|| ListenerUpdate::Settled(held.clone()));
        drop(held);
        // Nothing is ever sent: it ends when the last worker has let go.
        let _ = let_go.recv().await;
    }

    /// Waits until nothing that was told to drain has an open connection left: at most the longest drain time.
    pub async fn drained(&self) {
        self.0.outstanding.none().await;
    }

    /// Connections open now, over all listeners at work.
    pub fn active_connections(&self) -> u64 {
        let state = self.state();
        let scopes: HashMap<_, _> =
            state.listeners.iter().map(|l| (Arc::as_ptr(&l.scopes.listener), &l.scopes)).collect();
        scopes.values().map(|scopes| scopes.active()).sum()
    }

    /// The listeners and where they listen, in the order of configuration.
    pub fn statuses(&self) -> Vec<ListenerStatus> {
        let status = |l: &Active| ListenerStatus { name: l.config.name.clone(), locals: l.locals.clone() };
        self.state().listeners.iter().map(status).collect()
    }

    /// The configurations of the listeners at work.
    pub fn configs(&self) -> Vec<Arc<ListenerConfig>> {
        self.state().listeners.iter().map(|l| l.config.clone()).collect()
    }
}

/// Sockets by listener.
#[derive(Default)]
struct Bound(HashMap<Arc<str>, Vec<BoundAddress>>);

impl State {
    fn find(&self, name: &str) -> Option<&Active> {
        self.listeners.iter().find(|l| &*l.config.name == name)
    }

    fn listens_on(&self, local: &Address) -> bool {
        self.listeners.iter().any(|l| l.locals.contains(local))
    }
}
