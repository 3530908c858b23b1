//! All listeners of one worker, and the task that changes them as the main thread says.

use crate::{
    chain::Chain,
    drain::{DrainPace, DrainStrategy},
    listener::{Listener, Shared},
    targets::Targets,
    update::{ListenerId, ListenerInbox, ListenerUpdate},
};
use nuncio_core::Worker;
use nuncio_stats::{
    Scope,
    tables::listener_manager::{LISTENER_CREATE_FAILURE, LISTENER_CREATE_SUCCESS},
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    rc::{Rc, Weak},
    sync::Arc,
};

/// The listeners of one worker; a [`Worker::parts`] entry.
pub struct WorkerListeners {
    shared: Rc<Shared>,
    manager: Arc<Scope>,
    listeners: RefCell<HashMap<ListenerId, Rc<Listener>>>,
    /// Those that only this process connects to, while it ends.
    inside: RefCell<Vec<Rc<Listener>>>,
    /// Chains whose connections are finishing: an order to all reaches them too.
    retired: RefCell<Vec<Weak<Chain>>>,
}

impl fmt::Debug for WorkerListeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerListeners({})", self.listeners.borrow().len())
    }
}

impl WorkerListeners {
    /// Starts following what the main thread says about listeners. Must be called on the worker's thread, inside its
    /// executor, with the worker's timers running.
    pub fn start(worker: &Rc<Worker>, mut inbox: ListenerInbox) -> Rc<WorkerListeners> {
        let listeners = Rc::new(WorkerListeners {
            shared: Rc::new(Shared {
                worker: worker.clone(),
                budget: inbox.budget.take(),
                accepted: Cell::new(0),
                workers: inbox.workers as u64,
                targets: Targets::default(),
            }),
            manager: inbox.manager,
            listeners: RefCell::default(),
            inside: RefCell::default(),
            retired: RefCell::default(),
        });
        worker.parts.set(listeners.clone());
        let following = listeners.clone();
        nuncio_rt::spawn(async move {
            while let Some(update) = inbox.updates.recv().await {
                following.apply(update);
            }
        });
        listeners
    }

    fn get(&self, id: ListenerId) -> Option<Rc<Listener>> {
        self.listeners.borrow().get(&id).cloned()
    }

    fn apply(&self, update: ListenerUpdate) {
        let lane = self.shared.worker.lane;
        match update {
            ListenerUpdate::Add(setup) => {
                let id = setup.id;
                match Listener::start(&self.shared, *setup) {
                    Ok(listener) => {
                        self.manager.inc(lane, LISTENER_CREATE_SUCCESS);
                        self.shared.targets.add(&listener);
                        self.listeners.borrow_mut().insert(id, listener);
                    }
                    Err(_) => self.manager.inc(lane, LISTENER_CREATE_FAILURE),
                }
            }
            ListenerUpdate::UpdateConfig { id, config, retire } => {
                if let Some(listener) = self.get(id) {
                    self.remember(listener.update(&config, &retire));
                }
                retire.ticket.release(lane);
            }
            ListenerUpdate::StopAccepting { id, ticket } => {
                if let Some(listener) = self.get(id) {
                    listener.stop_accepting();
                }
                ticket.release(lane);
            }
            ListenerUpdate::Drain { id, pace } => {
                if let Some(listener) = self.get(id) {
                    listener.ease(pace);
                }
            }
            ListenerUpdate::Remove { id, order } => {
                let listener = self.listeners.borrow_mut().remove(&id);
                if let Some(listener) = listener {
                    self.shared.targets.remove(&listener);
                    self.remember(listener.remove(&order));
                }
                order.ticket.release(lane);
            }
            ListenerUpdate::RemoveAll { order } => {
                let finishing: Vec<_> = self.retired.take().iter().filter_map(Weak::upgrade).collect();
                finishing.iter().for_each(|chain| chain.retire(&self.shared.worker, &order));
                self.remember(finishing);
                let (inside, listeners): (Vec<_>, Vec<_>) = self.listeners.take().into_values().partition(|listener| listener.is_internal());
                listeners.iter().for_each(|listener| self.shared.targets.remove(listener));
                listeners.iter().for_each(|listener| self.remember(listener.remove(&order)));
                // The others' connections go through these until they end: what is new to them is not idle.
                let pace = DrainPace { strategy: DrainStrategy::NextResponse, ..order.pace };
                inside.iter().for_each(|listener| listener.ease(pace));
                self.inside.borrow_mut().extend(inside);
                order.ticket.release(lane);
            }
            ListenerUpdate::Handed { id, handed } => {
                // A listener that is gone has no connections to come.
                if let Some(listener) = self.get(id) {
                    listener.take_handed(handed);
                }
            }
            ListenerUpdate::Settled(_) => {}
        }
    }

    /// Keeps in reach what is still finishing.
    fn remember(&self, chains: Vec<Rc<Chain>>) {
        let mut retired = self.retired.borrow_mut();
        retired.retain(|chain| chain.strong_count() > 0);
        retired.extend(chains.iter().filter(|chain| chain.count() > 0).map(Rc::downgrade));
    }

    /// How many listeners this worker has, those that drain not included.
    pub fn len(&self) -> usize {
        self.listeners.borrow().len()
    }

    /// True if this worker has no listener.
    pub fn is_empty(&self) -> bool {
        self.listeners.borrow().is_empty()
    }
}
