//! Why listeners cannot be put to work, in the words that Envoy's users know.

use crate::{address::ListenAddress, bind::BindError, matching::SameMatch};
use std::{fmt, sync::Arc};

/// What is wrong with a listener.
#[derive(Debug)]
pub enum ListenerError {
    /// It has no address.
    NoAddress {
        /// Its name.
        listener: Arc<str>,
    },
    /// It has no filter chain.
    NoFilterChains {
        /// Its address.
        address: ListenAddress,
    },
    /// Another listener has the same address.
    DuplicateAddress {
        /// The later listener.
        listener: Arc<str>,
        /// The earlier one.
        earlier: Arc<str>,
        /// What both have.
        address: ListenAddress,
    },
    /// Two of its filter chains fit the same connections.
    SameMatch {
        /// Its address.
        address: ListenAddress,
        /// Which chains.
        chains: SameMatch,
    },
    /// The system does not let us listen.
    Bind {
        /// Its name.
        listener: Arc<str>,
        /// Where and why.
        error: BindError,
    },
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenerError::NoAddress { listener } => {
                write!(f, "error adding listener named '{listener}': address is necessary")
            }
            ListenerError::NoFilterChains { address } => {
                write!(f, "error adding listener '{address}': no filter chains specified")
            }
            ListenerError::DuplicateAddress { listener, address, .. } => write!(
                f,
                "error adding listener: '{listener}' has duplicate address '{address}' as existing listener, to check \
                 if the listener has duplicated addresses with other listeners or 'enable_reuse_port' is set to \
                 'false' for the listener"
            ),
            ListenerError::SameMatch { address, chains } => write!(f, "error adding listener '{address}': {chains}"),
            ListenerError::Bind { listener, error } => write!(f, "listener '{listener}': {error}"),
        }
    }
}

impl std::error::Error for ListenerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ListenerError::Bind { error, .. } => Some(error),
            _ => None,
        }
    }
}
