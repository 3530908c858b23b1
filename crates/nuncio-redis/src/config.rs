//! What is configured.

use nuncio_core::{RuntimeFraction, format::Format};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// `RedisProxy`
#[derive(Debug, Default)]
pub struct RedisConfig {
    /// `stat_prefix`
    pub stat_prefix: String,
    /// `op_timeout`: a host that has said nothing for so long while it should is hung up on; zero waits for ever.
    pub op_timeout: Duration,
    /// `enable_hashtagging`: keys are hashed by what stands between braces in them.
    pub hashtagging: bool,
    /// `max_buffer_size_before_flush` (bytes), and how long they wait at most.
    pub buffering: Option<(usize, Duration)>,
    /// `enable_command_stats`
    pub command_stats: bool,
    /// `read_policy` is not `MASTER`: connections are greeted with READONLY.
    pub replicas: bool,
    /// `enable_redirection`, and `max_upstream_unknown_connections`: to so many hosts that the cluster does not have.
    pub redirection: Option<u32>,
    /// `connection_rate_limit_per_sec`, for each worker and cluster.
    pub connections_per_second: Option<u32>,
    /// `latency_in_micros`
    pub latency_in_micros: bool,
    /// `prefix_routes.routes`
    pub routes: Vec<Route>,
    /// `catch_all_route`
    pub catch_all: Option<Route>,
    /// `case_insensitive`
    pub case_insensitive: bool,
    /// `downstream_auth_username`
    pub username: Vec<u8>,
    /// `downstream_auth_password` and `downstream_auth_passwords`, without empty ones.
    pub passwords: Vec<Vec<u8>>,
    /// `faults`
    pub faults: Vec<Fault>,
    /// `custom_commands`, in lower case: hashed by their first argument.
    pub custom_commands: Vec<String>,
}

/// Where keys of a prefix go.
#[derive(Debug, Default)]
pub struct Route {
    /// `prefix`
    pub prefix: Vec<u8>,
    /// `remove_prefix`: hosts see keys without it.
    pub remove_prefix: bool,
    /// `cluster`
    pub cluster: Arc<str>,
    /// `read_command_policy.cluster`: where commands go that change nothing.
    pub read_cluster: Option<Arc<str>>,
    /// `request_mirror_policy`
    pub mirrors: Vec<Mirror>,
    /// `key_formatter`
    pub key_format: Option<KeyFormat>,
}

/// A cluster that is told of commands, and whose answers nobody sees.
#[derive(Debug)]
pub struct Mirror {
    /// `cluster`
    pub cluster: Arc<str>,
    /// `runtime_fraction`
    pub fraction: Option<RuntimeFraction>,
    /// `exclude_read_commands`
    pub exclude_reads: bool,
}

/// `key_formatter`: what keys are called at hosts.
#[derive(Debug)]
pub struct KeyFormat(pub Vec<KeyPart>);

/// A part of it.
#[derive(Debug)]
pub enum KeyPart {
    /// `%KEY%`
    Key,
    /// Text, and facts of the connection.
    Format(Format),
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The answer comes late.
    Delay,
    /// The answer is a failure, and no host sees the command.
    Error,
}

/// `RedisFault`
#[derive(Debug)]
pub struct Fault {
    /// `fault_type`
    pub kind: FaultKind,
    /// `fault_enabled`
    pub enabled: RuntimeFraction,
    /// `delay`, for both kinds.
    pub delay: Duration,
    /// `commands` in lower case; empty for all.
    pub commands: Vec<String>,
}

/// `RedisProtocolOptions` of a cluster.
#[derive(Debug, Default)]
pub struct RedisOptions {
    /// `auth_username` and `auth_password`
    pub default: Credential,
    /// `credentials`: for some of the hosts.
    pub hosts: Vec<(SocketAddr, Credential)>,
}

/// How we show hosts who we are.
#[derive(Debug, Clone, Default)]
pub struct Credential {
    /// May be empty.
    pub username: Vec<u8>,
    /// Empty: nothing is said.
    pub password: Vec<u8>,
}

impl RedisOptions {
    /// What is said to the host at `address`.
    pub fn credential(&self, address: Option<SocketAddr>) -> &Credential {
        let own = self.hosts.iter().find(|(of, _)| Some(*of) == address);
        own.map_or(&self.default, |(_, credential)| credential)
    }
}
