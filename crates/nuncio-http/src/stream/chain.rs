//! The HTTP filter chain, built once per configuration and shared by all workers.

use nuncio_core::{HttpFilter, Phases};
use std::sync::Arc;

/// A filter and the name it is configured under.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Name in `http_filters`.
    pub name: Arc<str>,
    /// The filter.
    pub filter: Arc<dyn HttpFilter>,
}

/// Filters in configured order, and for each kind of piece the positions that want it.
///
/// A position counts from where its direction starts: requests run first to last, responses last to first.
#[derive(Debug, Default)]
pub struct Chain {
    filters: Vec<Installed>,
    wants: [Vec<u8>; 6],
}

impl Chain {
    /// A chain of at most 255 filters; the router is not one of them, it ends the request lane.
    pub fn new(filters: Vec<Installed>) -> Chain {
        let last = filters.len().min(usize::from(u8::MAX)) as u8;
        let mut chain = Chain { filters, wants: Default::default() };
        chain.wants = std::array::from_fn(|kind| {
            (0..last)
                .filter(|&at| chain.at(kind >= 3, at).is_some_and(|f| f.phases().has(Phases::nth(kind))))
                .collect()
        });
        chain
    }

    /// The filter at a position of a direction.
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
        self.wants[kind].iter().copied().find(|&at| at >= from)
    }

    /// All filters, in configured order.
    pub fn filters(&self) -> &[Installed] {
        &self.filters
    }
}
