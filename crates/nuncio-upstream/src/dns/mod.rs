//! Names to addresses.
//!
//! [`Resolve`] is the seam: clusters ask it and never see a socket. [`StubResolver`] is what asks real servers:
//! `/etc/hosts` first, then the servers of `/etc/resolv.conf` or of the configuration. That of clusters runs on the main thread.

mod message;
mod stub;
mod system;

pub use message::Reader;
pub use stub::{StubResolver, StubResolvers};

use crate::config::LookupFamily;
use nuncio_core::LocalFuture;
use std::{net::IpAddr, rc::Rc, time::Duration};

/// What a lookup came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Addresses, in the order in which they are to be used.
    Found {
        /// At least one.
        addresses: Vec<IpAddr>,
        /// How long they hold; `None` for ever (address literals, the hosts file).
        ttl: Option<Duration>,
    },
    /// The name does not exist, or has no address of the families asked for.
    NotFound,
    /// Nobody could tell.
    Failed(LookupError),
}

/// Why nobody could tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupError {
    /// No server answered in time.
    Timeout,
    /// Servers answered with an error.
    Server,
    /// Servers could not be reached.
    Unreachable,
    /// The name cannot be one.
    BadName,
}

/// A server of a service (SRV, RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Lower ones are to be used first.
    pub priority: u16,
    /// Share among those of the same priority.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Name of the server.
    pub target: String,
}

/// Servers of a service and how long they hold; `None` where there is no such service.
pub type Services = Result<Option<(Vec<Service>, Duration)>, LookupError>;

/// Looks names up.
pub trait Resolve {
    /// The addresses of `name`, of the families asked for.
    fn resolve(&self, name: &str, family: LookupFamily) -> LocalFuture<Answer>;

    /// The servers of the service `name`, such as `_http._tcp.example.com`.
    fn services(&self, name: &str) -> LocalFuture<Services>;
}

/// What a name is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    Addresses(Family),
    Services,
}

/// One family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    fn holds(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }
}

/// Which families are asked for, and whether the second only if the first has nothing.
pub(crate) fn plan(family: LookupFamily) -> (Family, Option<Family>, bool) {
    match family {
        LookupFamily::V4Only => (Family::V4, None, false),
        LookupFamily::V6Only => (Family::V6, None, false),
        LookupFamily::Auto => (Family::V6, Some(Family::V4), true),
        LookupFamily::V4Preferred => (Family::V4, Some(Family::V6), true),
        LookupFamily::All => (Family::V4, Some(Family::V6), false),
    }
}

/// Picks from addresses that are known all at once (a literal, the hosts file).
pub(crate) fn select(known: &[IpAddr], family: LookupFamily) -> Vec<IpAddr> {
    let (first, second, only_if_empty) = plan(family);
    let of = |family: Family| known.iter().copied().filter(move |a| family.holds(*a));
    let mut chosen: Vec<IpAddr> = of(first).collect();
    if let Some(second) = second
        && (chosen.is_empty() || !only_if_empty)
    {
        chosen.extend(of(second));
    }
    chosen
}

/// Makes resolvers: clusters with the same resolver configuration share one.
pub trait Resolvers {
    /// The resolver for this configuration.
    fn resolver(&self, config: &crate::config::ResolverConfig) -> Rc<dyn Resolve>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_preferred_as_configured() {
        let both: Vec<IpAddr> = ["127.0.0.1", "::1"].iter().map(|a| a.parse().expect("an address")).collect();
        let (v4, v6) = (both[0], both[1]);
        assert_eq!(select(&both, LookupFamily::Auto), [v6]);
        assert_eq!(select(&both, LookupFamily::V4Preferred), [v4]);
        assert_eq!(select(&both, LookupFamily::All), [v4, v6]);
        assert_eq!(select(&both[..1], LookupFamily::Auto), [v4]);
        assert!(select(&both[..1], LookupFamily::V6Only).is_empty());
    }
}
