//! Listeners: sockets, connections, and which filter chain takes them.
//!
//! Two halves. On the main thread [`ListenerManager`] binds sockets, compares configurations and tells the workers what
//! changed. On each worker [`WorkerListeners`] accepts, counts, picks the filter chain, lets the transport socket greet
//! and hands the connection to the chain's terminal filter:
//!
//! ```text
//! Intake (accept) ─▶ Listener::take (limits) ─▶ inspect, where configured ─▶ match ─▶ TLS, where configured
//!                                          network filters, where configured ─▶ TerminalWorker::serve
//! ```
//!
//! * [`ListenerConfig`], [`FilterChainConfig`]: what a listener is configured to be; built elsewhere, compared here.
//! * [`tcp_proxy`]: the TCP proxy, a terminal filter. [`udp_proxy`]: its brother for listeners of datagrams ([`Datagrams`]).
//!   [`dns_filter`] answers DNS queries there.
//! * [`matching`]: `filter_chain_match`. The TLS transport socket is `nuncio-tls`'s, here as [`tls`]. `drain`: how connections come to their end.
//!
//! It leaves to others: protocols (`nuncio-http` and every other [`nuncio_core::Terminal`]), building configurations
//! (`nuncio-config`), showing it all (`nuncio-admin`).

mod address;
mod balance;
mod bind;
mod chain;
mod config;
mod connection_log;
mod datagrams;
mod disabled;
pub mod dns_filter;
mod drain;
mod error;
mod inspect;
mod intake;
mod internal;
mod listener;
mod manager;
pub mod matching;
mod network;
mod open;
mod original_dst;
mod plan;
mod proxy_protocol;
mod serve;
mod stats;
pub mod status;
mod targets;
pub mod tcp_proxy;
pub mod udp_proxy;
mod update;
mod worker;

pub use nuncio_tls as tls;
pub use proxy_protocol::{PassThrough, NAMESPACE as TLV_NAMESPACE, ProxyProtocolRules, TlvRule};
pub use address::{ListenAddress, stat_name};
pub use bind::{BindError, BindStep};
pub use config::{
    AcceptFilter, ChainMatcher,
    BUFFER_LIMIT_BYTES, Digest, DrainType, FilterChainConfig, Inspectors, Keepalive, LISTENER_FILTERS_TIMEOUT, ListenerConfig, TlsLook,
    SocketConfig, TrafficDirection, Transport,
};
pub use disabled::{ConnectionMatch, Disabled};
pub use datagrams::{DatagramSocket, Datagrams};
pub use drain::{DrainPace, DrainStrategy};
pub use error::ListenerError;
pub use manager::{Applied, ListenerManager, Which};
pub use matching::{ChainMatch, SourceType};
pub use plan::check;
pub use stats::ListenerScopes;
pub use status::ListenerStatus;
pub use update::{ConnectionBudget, ListenerId, ListenerInbox, ListenerUpdate};
pub use worker::WorkerListeners;
