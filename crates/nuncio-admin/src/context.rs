//! What the endpoints show and command: implemented by the process, seen by the endpoints.
//!
//! Everything here is called on the main thread. Views are made for one answer and thrown away; the endpoints give them
//! Envoy's spellings.

use crate::exchange::Answered;
use crate::request::Params;
use crate::view::{
    Certificates, Client, Cluster, ConfigSection, Drain, Listener, Logger, Memory, Runtime, ServerInfo,
    State, UnreadyTargets,
};
use nuncio_stats::{EndpointStats, OutputRules, Store};
use std::pin::Pin;

/// Whether a text matches, anywhere in it.
pub type Search = Box<dyn Fn(&str) -> bool>;

/// The process, as the admin interface sees it.
pub trait AdminContext {
    /// Whether the server takes traffic. Cheap: `/ready` asks often.
    fn state(&self) -> State;

    /// What `/server_info` tells.
    fn server_info(&self) -> ServerInfo;

    /// All statistics.
    fn stats(&self) -> &Store;

    /// How statistics are named and shown.
    fn stats_output(&self) -> &OutputRules;

    /// Brings the statistics up to date that are computed when asked for: `server.uptime`, `server.memory_allocated`, …
    fn refresh_stats(&self);

    /// Hands every cluster to `each` whose name is `wanted`. Nothing of the others is gathered.
    fn clusters(&self, wanted: &dyn Fn(&str) -> bool, each: &mut dyn FnMut(Cluster));

    /// The statistics of hosts, of clusters that want them (`track_cluster_stats.per_endpoint_stats`).
    fn endpoint_stats(&self) -> Vec<EndpointStats> {
        Vec::new()
    }

    /// The listeners that have sockets, in the order they were added.
    fn listeners(&self) -> Vec<Listener>;

    /// The certificates in use, one entry per TLS context.
    fn certificates(&self) -> Vec<Certificates>;

    /// The configuration in force: bootstrap, clusters, endpoints (if asked for), listeners, scoped routes, routes,
    /// secrets, in Envoy's order.
    fn config_dump(&self, endpoints: bool) -> Vec<ConfigSection>;

    /// Memory in use.
    fn memory(&self) -> Memory;

    /// Runtime layers and keys.
    fn runtime(&self) -> Runtime;

    /// What start-up still waits for.
    fn unready_targets(&self) -> Vec<UnreadyTargets>;

    /// The components that log, and their levels.
    fn loggers(&self) -> Vec<Logger>;

    /// Compiles an RE2 expression that is looked for anywhere in a text. The error is RE2's sentence, such as
    /// `missing ): (`.
    fn regex(&self, pattern: &str) -> Result<Search, String>;

    /// Sets the level of one component, or of all. Both exist: they were looked up.
    fn set_log_level(&self, component: Option<&str>, level: &str);

    /// Adds, changes or (with an empty value) removes overrides of the admin layer.
    ///
    /// # Errors
    /// There is no admin layer; the message is sent with 503.
    fn modify_runtime(&self, overrides: &[(&str, &str)]) -> Result<(), String>;

    /// Makes `/ready` and the health check filter fail, or pass again.
    fn fail_health_checks(&self, fail: bool);

    /// Drains listeners.
    fn drain_listeners(&self, drain: Drain);

    /// Opens access logs anew.
    fn reopen_logs(&self);

    /// Reads the configuration again. The outcome says what changed, or why it was refused.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + '_>>;

    /// What would become of the request that the parameters describe (`method`, `url`, `header`, …).
    ///
    /// # Errors
    /// They describe none, or nothing takes it.
    fn explain(&self, _params: &Params) -> Result<String, String> {
        Err("not here".into())
    }

    /// What went wrong of late: a list, or the request of this id explained.
    ///
    /// # Errors
    /// Nothing is known of such a request.
    fn why(&self, _id: Option<&str>) -> Result<String, String> {
        Err("not here".into())
    }

    /// Whether requests for this path (query included) are answered: `allow_paths`.
    fn allows(&self, _target: &str) -> bool {
        true
    }

    /// Whether there are access logs: then [`AdminContext::log`] is told of every request.
    fn logs(&self) -> bool {
        false
    }

    /// Writes a request to the access logs.
    fn log(&self, _client: &Client, _answered: Answered) {}

    /// Stops the process; called after the answer was sent.
    fn quit(&self);
}
