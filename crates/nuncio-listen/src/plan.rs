//! What a new set of listeners means for the ones at work. Decides only; nothing is bound or sent here.

use crate::{
    config::{FilterChainConfig, ListenerConfig},
    error::ListenerError,
    matching::check_distinct,
};
use std::{collections::HashMap, sync::Arc};

/// Finds what is wrong with a set of listeners by itself, without touching the system.
///
/// # Errors
/// Everything found.
pub fn check(listeners: &[Arc<ListenerConfig>]) -> Result<(), Vec<ListenerError>> {
    let mut errors = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        let Some(address) = listener.addresses.first() else {
            errors.push(ListenerError::NoAddress { listener: listener.name.clone() });
            continue;
        };
        if listener.chains().next().is_none() && listener.datagrams.is_none() {
            errors.push(ListenerError::NoFilterChains { address: address.clone() });
        }
        if listener.chain_matcher.is_none()
            && let Err(chains) = check_distinct(&listener.filter_chains)
        {
            errors.push(ListenerError::SameMatch { address: address.clone(), chains });
        }
        errors.extend(listeners.iter().take(index).find_map(|earlier| collision(earlier, listener)));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn collision(earlier: &ListenerConfig, later: &ListenerConfig) -> Option<ListenerError> {
    let address = later.addresses.iter().find(|a| earlier.addresses.iter().any(|b| a.collides(b)))?;
    (earlier.name != later.name && earlier.socket.datagrams == later.socket.datagrams && later.socket.bind_to_port == earlier.socket.bind_to_port).then(|| {
        ListenerError::DuplicateAddress {
            listener: later.name.clone(),
            earlier: earlier.name.clone(),
            address: address.clone(),
        }
    })
}

/// What becomes of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is new.
    Add,
    /// It stays as it is.
    Keep,
    /// Its sockets stay; connections of chains that changed drain, of `chains` many.
    Update {
        /// True if only filter chains differ.
        in_place: bool,
        /// How many of the old chains go.
        chains: u64,
    },
    /// It needs other sockets; the old ones close once the new ones accept.
    Rebind,
}

/// The step from `old`, if there was a listener of that name, to `new`.
pub(crate) fn step(old: Option<&ListenerConfig>, new: &ListenerConfig) -> Step {
    let Some(old) = old else { return Step::Add };
    if old.same(new) {
        return Step::Keep;
    }
    if !old.same_sockets(new) {
        return Step::Rebind;
    }
    let in_place = old.same_but_for_chains(new);
    let gone = |chain: &&Arc<FilterChainConfig>| !in_place || !new.chains().any(|kept| kept.same(chain));
    Step::Update { in_place, chains: old.chains().filter(gone).count() as u64 }
}

/// Of listeners with the same name the last one counts, as in Envoy; the names of the others.
pub(crate) fn last_of_each_name(listeners: Vec<Arc<ListenerConfig>>) -> (Vec<Arc<ListenerConfig>>, Vec<Arc<str>>) {
    let last: HashMap<_, _> = listeners.iter().enumerate().map(|(index, l)| (l.name.clone(), index)).collect();
    let mut replaced = Vec::new();
    let mut kept = Vec::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        if last.get(&listener.name) == Some(&index) {
            kept.push(listener);
        } else {
            replaced.push(listener.name.clone());
        }
    }
    (kept, replaced)
}
