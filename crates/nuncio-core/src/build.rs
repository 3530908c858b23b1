//! Building extensions from configuration.

use crate::metadata::Metadata;
use crate::{HttpFilter, StateSlot};
use nuncio_stats::Store;
use std::{any::Any, fmt, sync::Arc};

/// An extension's configuration as it came: a protobuf message on the wire.
#[derive(Debug, Clone, Copy)]
pub struct FilterConfig<'a> {
    /// `type.googleapis.com/…` or the bare message name.
    pub type_url: &'a str,
    /// The encoded message.
    pub value: &'a [u8],
}

/// A configuration that cannot be built, with the field that caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Path below the extension's own message, `a.b[0].c`; empty for the message itself.
    pub path: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
}

impl ConfigError {
    /// An error at `path`.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl std::error::Error for ConfigError {}

/// What a builder may touch: stats, slots, warnings. Nothing global, and no side effects.
#[derive(Debug)]
pub struct BuildCx<'a> {
    /// Where to register stats.
    pub stats: &'a Arc<Store>,
    /// Prefix of the connection manager the filter is built for, for example `http.ingress.`.
    pub stat_prefix: &'a str,
    /// Name the filter is configured under; the key of its `typed_per_filter_config`.
    pub filter_name: &'a str,
    /// Fields accepted without effect, with their path.
    pub warnings: Vec<ConfigError>,
    /// Fields that are not built and unsafe to ignore, with their path: refused when starting.
    pub unsafe_without: Vec<ConfigError>,
    /// Name of the cluster we belong to (`node.cluster`).
    pub service_cluster: &'a str,
    /// `node.metadata` of the bootstrap.
    pub node_metadata: Option<&'a Metadata>,
    /// Static secrets that are just texts, by name: encoded `GenericSecret`s.
    pub generic_secrets: Vec<(String, Vec<u8>)>,
    /// The HTTP filters that there are, for those that have others inside.
    pub http_filters: &'a [HttpFilterEntry],
    slots: usize,
}

impl<'a> BuildCx<'a> {
    /// A context for building one filter chain.
    pub fn new(stats: &'a Arc<Store>, stat_prefix: &'a str) -> BuildCx<'a> {
        BuildCx { stats, stat_prefix, filter_name: "", warnings: Vec::new(), unsafe_without: Vec::new(), service_cluster: "", node_metadata: None, generic_secrets: Vec::new(), http_filters: &[], slots: 0 }
    }

    /// A place for per-stream state of the filter being built.
    pub fn state_slot<T: Default + 'static>(&mut self) -> StateSlot<T> {
        self.slots += 1;
        StateSlot::new(self.slots - 1)
    }
}

/// What may be trusted around an extension (Envoy's `security_posture`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posture {
    /// Hardened against untrusted clients.
    UntrustedDownstream,
    /// Hardened against untrusted clients and upstreams.
    UntrustedBoth,
    /// Trusts both sides.
    TrustedBoth,
}

/// One HTTP filter of the registry.
#[derive(Debug, Clone, Copy)]
pub struct HttpFilterEntry {
    /// Envoy's name, `envoy.filters.http.…`.
    pub name: &'static str,
    /// Full name of its configuration message.
    pub message: &'static str,
    /// Full name of its per-route message; empty for none.
    pub route_message: &'static str,
    /// Security posture.
    pub posture: Posture,
    /// Builds the filter.
    pub build: fn(FilterConfig<'_>, &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError>,
    /// Builds a per-route configuration.
    pub route: fn(FilterConfig<'_>, &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError>,
}
