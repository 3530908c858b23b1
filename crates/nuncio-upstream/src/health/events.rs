//! The event log of health checks: a line when a host's health changes, and for every check where that is wanted.

use super::Checker;
use super::tally::{Outcome, Verdict};
use crate::config::Locality;
use crate::events::Object;
use crate::host::Host;
use nuncio_rt::Address;
use std::time::SystemTime;

/// What happened, and whether Envoy writes it before the time or after.
struct Event(&'static str, Place, Object);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    BeforeTime,
    AfterTime,
    Last,
}

impl Checker {
    /// Writes down what a check found and did.
    pub(super) fn log(&self, verdict: Verdict, outcome: Outcome, host: &Host) {
        let first = || Object::new().plain("first_check", outcome.first);
        if let Verdict::Pass { .. } = verdict {
            if outcome.transition {
                self.write(host, Event("add_healthy_event", Place::BeforeTime, first()));
            } else if self.config.log_every_success {
                self.write(host, Event("successful_health_check_event", Place::Last, Object::new()));
            }
            match outcome.degraded {
                Some(true) => self.write(host, Event("degraded_healthy_host", Place::AfterTime, Object::new())),
                Some(false) => self.write(host, Event("no_longer_degraded_host", Place::AfterTime, Object::new())),
                None => {}
            }
            return;
        }
        let (kind, status) = match verdict {
            Verdict::Fail { status, .. } => ("ACTIVE", status),
            Verdict::Passive => ("PASSIVE", 0),
            Verdict::Timeout => ("NETWORK_TIMEOUT", 0),
            Verdict::NetworkFailure | Verdict::Pass { .. } => ("NETWORK", 0),
        };
        if outcome.transition {
            let details = Object::new().text("failure_type", kind).plain("http_status_code", status);
            self.write(host, Event("eject_unhealthy_event", Place::BeforeTime, details));
        }
        if outcome.first || self.config.log_every_failure {
            let details = Object::new().text("failure_type", kind).plain("first_check", outcome.first);
            let details = details.plain("http_status_code", status);
            self.write(host, Event("health_check_failure_event", Place::AfterTime, details));
        }
    }

    fn write(&self, host: &Host, Event(name, place, details): Event) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        let kind = self.config.kind.name();
        let mut details = Some(details);
        let mut put = |line: Object, at: Place| match (at == place).then(|| details.take()).flatten() {
            Some(details) => line.object(name, details),
            None => line,
        };
        let line = Object::new().text("health_checker_type", kind).object("host", address(&host.address));
        let line = put(line.text("cluster_name", cluster.info.name()), Place::BeforeTime);
        let line = put(line.time("timestamp", SystemTime::now()), Place::AfterTime);
        let line = put(line.object("locality", locality(&host.locality)), Place::Last);
        line.write(&self.config.events);
    }
}

fn address(address: &Address) -> Object {
    match address {
        Address::Ip(ip) => {
            let socket = Object::new()
                .text("protocol", "TCP")
                .text("address", &ip.ip().to_string())
                .plain("port_value", ip.port())
                .text("resolver_name", "")
                .plain("ipv4_compat", false)
                .text("network_namespace_filepath", "");
            Object::new().object("socket_address", socket)
        }
        Address::Pipe(path) => {
            let pipe = Object::new().text("path", &path.display().to_string()).plain("mode", 0);
            Object::new().object("pipe", pipe)
        }
        Address::Internal(to) => {
            let named = Object::new().text("server_listener_name", &to.listener).text("endpoint_id", &to.endpoint);
            Object::new().object("envoy_internal_address", named)
        }
    }
}

fn locality(of: &Locality) -> Object {
    Object::new().text("region", &of.region).text("zone", &of.zone).text("sub_zone", &of.sub_zone)
}
