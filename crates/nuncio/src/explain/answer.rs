//! What there is to say about a request, before it is put into words.

use nuncio_http::Outlook;

/// What would become of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// Name and address of the listener.
    pub(crate) listener: String,
    /// Which filter chain, and out of how many.
    pub(crate) chain: String,
    /// The path and host after clean-up, where that changed them.
    pub(crate) cleaned: Vec<String>,
    /// The virtual host and the domain that matched.
    pub(crate) virtual_host: Option<String>,
    /// The routes looked at, the last being the match if there is one.
    pub(crate) routes: Vec<Tried>,
    /// What happens.
    pub(crate) outcome: String,
    /// HTTP filters on the way.
    pub(crate) filters: Vec<String>,
    /// Clusters it may go to, each with its share in percent.
    pub(crate) clusters: Vec<Destination>,
    /// How long things may take.
    pub(crate) patience: Option<Outlook>,
    /// What is worth knowing beside.
    pub(crate) notes: Vec<String>,
}

/// A route that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tried {
    /// Its index in the virtual host.
    pub(crate) index: u32,
    /// Its name; may be empty.
    pub(crate) name: String,
    /// Its path condition.
    pub(crate) condition: String,
    /// What kept it from matching.
    pub(crate) failed: Option<String>,
}

/// A cluster that a request may go to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Destination {
    /// Its name.
    pub(crate) name: String,
    /// Share of the route's requests in percent.
    pub(crate) share: f64,
    /// Discovery type and policy; `None` if there is no such cluster.
    pub(crate) kind: Option<String>,
    /// Its hosts.
    pub(crate) hosts: Vec<KnownHost>,
    /// Where it has none there is none: they neither come from other clusters nor with requests.
    pub(crate) listed: bool,
    /// Circuit breakers of the route's priority: connections, pending, requests, retries.
    pub(crate) limits: [u32; 4],
    /// Whether anybody checks its hosts.
    pub(crate) checked: bool,
}

/// A host and how it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KnownHost {
    /// Where it is.
    pub(crate) address: String,
    /// `/clusters`' health flags, `healthy` for none; `None` when only the configuration was read.
    pub(crate) health: Option<String>,
}

/// Who knows a cluster's hosts.
pub(crate) trait Hosts {
    /// The hosts of a cluster.
    fn of(&self, cluster: &str) -> Vec<KnownHost>;
}
