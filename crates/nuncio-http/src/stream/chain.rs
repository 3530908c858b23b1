//! The HTTP filter chain: filters in their order, and which of them run on which route.

use crate::routes::{RouteEntry, RouteTable};
use nuncio_core::{HttpFilter, Phases, RouteId, RouteRef};
use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

/// A filter and the name it is configured under.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Name in `http_filters`.
    pub name: Arc<str>,
    /// The filter.
    pub filter: Arc<dyn HttpFilter>,
    /// Off, except on routes that switch it on (`HttpFilter.disabled`).
    pub disabled: bool,
}

/// A filter that wants pieces of some kind, and where it stands.
#[derive(Debug)]
pub(crate) struct Interested {
    /// Counts from where the direction starts: requests run first to last, responses last to first.
    pub(crate) position: u8,
    pub(crate) filter: Arc<dyn HttpFilter>,
}

/// Filters in configured order, and for each kind of piece those that want it in the order in which it comes by.
#[derive(Debug, Default)]
pub struct Chain {
    filters: Vec<Installed>,
    interested: [Box<[Interested]>; 6],
}

impl Chain {
    /// A chain of at most 255 filters; the router is not one of them, it ends the request lane.
    pub fn new(mut filters: Vec<Installed>) -> Chain {
        filters.truncate(usize::from(u8::MAX));
        let interested = std::array::from_fn(|kind| {
            let wants = |(installed, position): (&Installed, u8)| {
                let wants = installed.filter.phases().has(Phases::nth(kind));
                wants.then(|| Interested { position, filter: installed.filter.clone() })
            };
            if kind < 3 {
                filters.iter().zip(0..).filter_map(wants).collect()
            } else {
                filters.iter().rev().zip(0..).filter_map(wants).collect()
            }
        });
        Chain { filters, interested }
    }

    /// Those from position `from` on that want pieces of this kind (0–2 request, 3–5 response).
    #[inline]
    pub(crate) fn interested(&self, kind: usize, from: u8) -> &[Interested] {
        let all = &self.interested[kind];
        if from == 0 { all } else { &all[all.partition_point(|i| i.position < from)..] }
    }

    /// All filters, in configured order.
    pub fn filters(&self) -> &[Installed] {
        &self.filters
    }
}

/// The chains of a connection manager with one route table, on one worker: routes may switch filters off and on.
///
/// A chain is made when its first request comes, and kept; routes that have the same filters share one.
#[derive(Debug)]
pub(crate) struct Chains {
    filters: Vec<Installed>,
    /// Where no route has a say.
    plain: Rc<Chain>,
    /// False when no route of the table switches anything: then all have the plain one.
    switched: bool,
    by_route: RefCell<HashMap<(u32, u32, Option<u32>), Rc<Chain>>>,
    made: RefCell<Vec<(Vec<bool>, Rc<Chain>)>>,
}

impl Chains {
    pub(crate) fn new(filters: Vec<Installed>, table: &RouteTable) -> Chains {
        let plain = filters.iter().filter(|installed| !installed.disabled).cloned().collect();
        let differs = |entry: &RouteEntry, choice, installed: &Installed| entry.switches(choice, &installed.name).is_some_and(|off| off != installed.disabled);
        let any = |entry: &RouteEntry| entry.choices().any(|choice| filters.iter().any(|installed| differs(entry, choice, installed)));
        let switched = table.hosts().iter().any(|host| host.routes.iter().any(any));
        Chains { plain: Rc::new(Chain::new(plain)), filters, switched, by_route: RefCell::default(), made: RefCell::default() }
    }

    /// The chain of requests on this route, or of those that have none.
    #[inline]
    pub(crate) fn of(&self, table: &RouteTable, route: Option<&RouteRef>) -> Rc<Chain> {
        match route.filter(|_| self.switched) {
            Some(route) => self.of_route(table, route.id, route.choice),
            None => self.plain.clone(),
        }
    }

    fn of_route(&self, table: &RouteTable, id: RouteId, choice: Option<u32>) -> Rc<Chain> {
        let key = (id.virtual_host, id.route, choice);
        if let Some(chain) = self.by_route.borrow().get(&key) {
            return chain.clone();
        }
        let Some(entry) = table.get(id) else { return self.plain.clone() };
        let runs = |installed: &Installed| !entry.switches(choice, &installed.name).unwrap_or(installed.disabled);
        let running: Vec<bool> = self.filters.iter().map(runs).collect();
        let known = self.made.borrow().iter().find(|(of, _)| *of == running).map(|(_, chain)| chain.clone());
        let chain = known.unwrap_or_else(|| {
            let filters = self.filters.iter().zip(&running).filter(|(_, runs)| **runs).map(|(installed, _)| installed.clone());
            let chain = Rc::new(Chain::new(filters.collect()));
            self.made.borrow_mut().push((running, chain.clone()));
            chain
        });
        self.by_route.borrow_mut().insert(key, chain.clone());
        chain
    }
}
