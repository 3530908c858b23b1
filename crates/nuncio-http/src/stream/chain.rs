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

/// No filter.
const NONE: u8 = u8::MAX;

/// Filters in configured order, and for each kind of piece and position the first position from there on that wants it.
///
/// A position counts from where its direction starts: requests run first to last, responses last to first.
#[derive(Debug, Default)]
pub struct Chain {
    filters: Vec<Installed>,
    next: [Box<[u8]>; 6],
}

impl Chain {
    /// A chain of at most 255 filters; the router is not one of them, it ends the request lane.
    pub fn new(filters: Vec<Installed>) -> Chain {
        let len = filters.len().min(usize::from(NONE));
        let mut chain = Chain { filters, next: Default::default() };
        chain.next = std::array::from_fn(|kind| {
            let mut next = vec![NONE; len + 1];
            for at in (0..len).rev() {
                let wants = chain.at(kind >= 3, at as u8).is_some_and(|f| f.phases().has(Phases::nth(kind)));
                next[at] = if wants { at as u8 } else { next[at + 1] };
            }
            next.into()
        });
        chain
    }

    /// The filter at a position of a direction.
    #[inline]
    pub(crate) fn at(&self, response: bool, position: u8) -> Option<&dyn HttpFilter> {
        let index = if response {
            self.filters.len().checked_sub(1 + usize::from(position))?
        } else {
            usize::from(position)
        };
        self.filters.get(index).map(|installed| &*installed.filter)
    }

    /// The first position from `from` on that wants pieces of this kind (0–2 request, 3–5 response).
    #[inline]
    pub(crate) fn next_wanting(&self, kind: usize, from: u8) -> Option<u8> {
        self.next[kind].get(usize::from(from)).copied().filter(|&at| at != NONE)
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
