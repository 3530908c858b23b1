//! A cluster's assignment: its endpoints as targets, and another assignment that takes its place.

use super::cluster::{Cluster, Target};
use super::discovery::Name;
use crate::config::{Assignment, Discovery, EndpointAddress, EndpointHealth};
use crate::host::{HealthFlags, Host};
use nuncio_rt::Address;
use nuncio_stats::{Lane, tables::cluster as stat};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

/// Flags that an assignment sets, and that make a difference to load balancing.
const BY_ASSIGNMENT: u32 =
    HealthFlags::FAILED_EDS_HEALTH.0 | HealthFlags::EDS_STATUS_DRAINING.0 | HealthFlags::DEGRADED_EDS_HEALTH.0;

/// Flags that only tell what an assignment said.
const TOLD: u32 = HealthFlags::EDS_STATUS_HEALTHY.0 | HealthFlags::EDS_STATUS_TIMEOUT.0;

/// The flags of a host that is as well as an assignment says.
pub(super) fn health_flags(told: EndpointHealth) -> u32 {
    match told {
        EndpointHealth::Unknown => 0,
        EndpointHealth::Healthy => HealthFlags::EDS_STATUS_HEALTHY.0,
        EndpointHealth::Unhealthy => HealthFlags::FAILED_EDS_HEALTH.0,
        EndpointHealth::Timeout => HealthFlags::FAILED_EDS_HEALTH.0 | HealthFlags::EDS_STATUS_TIMEOUT.0,
        EndpointHealth::Draining => HealthFlags::FAILED_EDS_HEALTH.0 | HealthFlags::EDS_STATUS_DRAINING.0,
        EndpointHealth::Degraded => HealthFlags::DEGRADED_EDS_HEALTH.0,
    }
}

impl Target {
    /// The addresses it has now: what its name has come to, unless it is an address.
    pub(super) fn now<'a>(&'a self, assignment: &'a Assignment) -> &'a [Address] {
        let locality = assignment.localities.get(self.locality);
        match locality.and_then(|locality| locality.endpoints.get(self.endpoint)).map(|endpoint| &endpoint.address) {
            Some(EndpointAddress::Resolved(address)) => std::slice::from_ref(address),
            _ => &self.addresses,
        }
    }
}

impl Cluster {
    /// Makes targets of the assignment's endpoints; returns those that are names.
    pub(super) fn target(&self) -> Vec<Name> {
        let mut names = Vec::new();
        let mut targets = self.targets.borrow_mut();
        targets.clear();
        targets.reserve_exact(self.assignment.borrow().localities.iter().map(|locality| locality.endpoints.len()).sum());
        let discovery = &self.info.config.discovery;
        for (l, locality) in self.assignment.borrow().localities.iter().enumerate() {
            for (e, endpoint) in locality.endpoints.iter().enumerate() {
                let mut target = Target { locality: l, endpoint: e, ..Target::default() };
                match (&endpoint.address, discovery) {
                    // It is where the assignment says.
                    (EndpointAddress::Resolved(_), _) => {}
                    (EndpointAddress::Name { host, port }, Discovery::StrictDns(_) | Discovery::LogicalDns(_)) => {
                        let first_only = matches!(discovery, Discovery::LogicalDns(_));
                        names.push(Name { target: targets.len(), host: host.clone(), port: *port, first_only, service: false });
                    }
                    (EndpointAddress::Service(name), _) => {
                        names.push(Name { target: targets.len(), host: name.to_string(), port: 0, first_only: false, service: true });
                    }
                    (EndpointAddress::Name { host, port }, _) => {
                        // The configuration has seen to it that this is an address.
                        let ip = host.parse::<IpAddr>().ok();
                        target.addresses.extend(ip.map(|ip| Address::Ip(SocketAddr::new(ip, *port))));
                    }
                }
                targets.push(target);
            }
        }
        names
    }

    /// Counts all hosts by the transport sockets that they fit.
    pub(super) fn count_transports(&self) {
        let assignment = self.assignment.borrow().clone();
        for target in self.targets.borrow().iter() {
            self.count_transport(target, target.now(&assignment).len());
        }
    }

    /// Counts hosts of an endpoint by the transport socket that they fit.
    pub(super) fn count_transport(&self, target: &Target, hosts: usize) {
        let assignment = self.assignment.borrow();
        let locality = assignment.localities.get(target.locality);
        let endpoint = locality.and_then(|locality| locality.endpoints.get(target.endpoint));
        let of_locality = locality.and_then(|locality| locality.metadata.as_deref());
        self.info.count_transport(endpoint.and_then(|endpoint| endpoint.metadata.as_deref()), of_locality, hosts);
    }

    /// Other endpoints came over EDS. Hosts that stay keep their connections, even where they moved to another priority.
    pub(super) fn assign(self: &Rc<Self>, assignment: Assignment) {
        let as_before = **self.assignment.borrow() == assignment;
        self.info.set_drop_overload(assignment.drop_overload);
        *self.assignment.borrow_mut() = Arc::new(assignment);
        self.target();
        self.count_transports();
        let news = self.apply_health();
        if self.rebuild() {
            return;
        }
        if news || !as_before {
            self.publish(self.hosts().hosts().cloned().collect(), 0);
        } else {
            self.info.stats.inc(Lane::MAIN, stat::UPDATE_NO_REBUILD);
        }
    }

    /// Hosts that are there already are as well as the assignment says. Answers whether that is news.
    fn apply_health(&self) -> bool {
        let (set, assignment) = (self.hosts(), self.assignment.borrow().clone());
        let known: HashMap<&Address, &Arc<Host>> = set.hosts().map(|host| (&*host.address, host)).collect();
        let mut news = false;
        for target in self.targets.borrow().iter() {
            let endpoint = assignment.localities.get(target.locality).and_then(|l| l.endpoints.get(target.endpoint));
            let told = endpoint.map_or(0, |endpoint| health_flags(endpoint.health));
            for host in target.now(&assignment).iter().filter_map(|address| known.get(address)) {
                host.state.set_flags(HealthFlags(TOLD & !told), false);
                host.state.set_flags(HealthFlags(TOLD & told), true);
                let counts = BY_ASSIGNMENT & told;
                news |= host.state.set_flags(HealthFlags(BY_ASSIGNMENT & !told), false);
                news |= counts != 0 && host.state.set_flags(HealthFlags(counts), true);
            }
        }
        news
    }
}
