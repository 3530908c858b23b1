//! `ClusterLoadAssignment` → [`Assignment`].

use super::connecting;
use crate::address::{self, Parsed};
use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3::{Cluster, cluster::{ClusterDiscoveryType, DiscoveryType}};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::endpoint::v3 as proto;
use nuncio_rt::Address;
use nuncio_upstream::config::{Assignment, Discovery, Endpoint, EndpointAddress, EndpointHealth, EndpointHealthCheck, Locality, LocalityEndpoints};
use std::collections::HashMap;
use std::sync::Arc;

/// What becomes of host names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// They are refused.
    Refused,
    /// They are looked up, by a cluster of this type.
    LookedUp(&'static str),
    /// They are the business of a cluster type that is not built, or has no use for endpoints.
    Ignored,
}

impl Names {
    /// In a cluster of that discovery.
    pub fn of(cluster: &Cluster, discovery: &Discovery) -> Names {
        match discovery {
            Discovery::StrictDns(_) => Names::LookedUp("STRICT_DNS"),
            Discovery::LogicalDns(_) => Names::LookedUp("LOGICAL_DNS"),
            Discovery::Eds(_) => Names::Refused,
            Discovery::Aggregate(_) | Discovery::Composite(_) | Discovery::OriginalDst(_) | Discovery::Dynamic(_) => Names::Ignored,
            Discovery::Static => match &cluster.cluster_discovery_type {
                None => Names::Refused,
                Some(ClusterDiscoveryType::Type(number)) if *number == DiscoveryType::Static as i32 => Names::Refused,
                Some(ClusterDiscoveryType::ClusterType(custom)) if custom.name == "envoy.cluster.static" => Names::Refused,
                _ => Names::Ignored,
            },
        }
    }
}

/// How many of a million requests are dropped. There is one category at most.
fn dropped(cx: &mut CompileCx<'_>, list: &[proto::cluster_load_assignment::policy::DropOverload]) -> u32 {
    use nuncio_api::envoy::r#type::v3::fractional_percent::DenominatorType;
    if list.len() > 1 {
        let n = list.len();
        cx.at("drop_overloads", |cx| {
            cx.error(codes::CONFLICT, "there is one category of dropped requests at most")
                .envoy(format!("Cluster drop_overloads config has {n} categories. Envoy only support one."));
        });
    }
    let Some(proto::cluster_load_assignment::policy::DropOverload { category: _, drop_percentage: Some(share) }) = list.first() else { return 0 };
    let unit = match DenominatorType::try_from(share.denominator).unwrap_or_default() {
        DenominatorType::Hundred => 10_000,
        DenominatorType::TenThousand => 100,
        DenominatorType::Million => 1,
    };
    let of_a_million = share.numerator.saturating_mul(unit);
    if of_a_million > 1_000_000 {
        let (ratio, numerator, denominator) = (f64::from(of_a_million) / 1e6, share.numerator, 1_000_000 / unit);
        cx.at("drop_overloads", |cx| {
            cx.error(codes::BAD_VALUE, "more than all requests cannot be dropped").envoy(format!(
                "Cluster drop_overloads config is invalid. drop_ratio={ratio}(Numerator {numerator} / Denominator {denominator}). \
                 The valid range is 0~1."
            ));
        });
    }
    of_a_million.min(1_000_000)
}

/// The endpoints of a cluster.
pub(super) fn compile(cx: &mut CompileCx<'_>, cluster: &Cluster, names: Names, from: &proto::ClusterLoadAssignment) -> Assignment {
    let proto::ClusterLoadAssignment { cluster_name: _, endpoints, named_endpoints, policy } = from;
    let named = EndpointsByName { cluster, named: named_endpoints, names };
    let localities = cx.each("endpoints", endpoints, |cx, locality| Some(named.locality(cx, locality)));
    check_locality_weights(cx, &localities);
    let mut assignment = Assignment { localities, ..Assignment::default() };
    if let Some(policy) = policy {
        cx.at("policy", |cx| {
            let proto::cluster_load_assignment::Policy { drop_overloads, overprovisioning_factor, endpoint_stale_after, weighted_priority_health } = policy;
            unbuilt!(cx, endpoint_stale_after);
            assignment.drop_overload = dropped(cx, drop_overloads);
            assignment.overprovisioning_factor = overprovisioning_factor.unwrap_or(140);
            assignment.weighted_priority_health = *weighted_priority_health;
        });
    }
    assignment
}

/// The sum of the locality weights of one priority is a 32-bit number.
fn check_locality_weights(cx: &mut CompileCx<'_>, localities: &[LocalityEndpoints]) {
    let mut sums: HashMap<u32, u64> = HashMap::new();
    for (index, locality) in localities.iter().enumerate() {
        let sum = sums.entry(locality.priority).or_default();
        *sum += u64::from(locality.weight.unwrap_or(0));
        if *sum > u64::from(u32::MAX) {
            cx.item("endpoints", index, |cx| {
                cx.error(codes::BAD_WEIGHTS, "the weights of the localities of one priority add up to more than 4294967295")
                    .envoy("The sum of weights of all localities at the same priority exceeds 4294967295");
            });
            return;
        }
    }
}

struct EndpointsByName<'p> {
    cluster: &'p Cluster,
    named: &'p HashMap<String, proto::Endpoint>,
    names: Names,
}

impl EndpointsByName<'_> {
    fn locality(&self, cx: &mut CompileCx<'_>, from: &proto::LocalityLbEndpoints) -> LocalityEndpoints {
        let proto::LocalityLbEndpoints { locality, metadata, lb_endpoints, load_balancing_weight, priority, proximity, lb_config } = from;
        unbuilt!(cx, proximity);
        if let Some(proto::locality_lb_endpoints::LbConfig::LedsClusterLocalityConfig(_)) = lb_config {
            cx.without_effect("leds_cluster_locality_config");
            cx.at("leds_cluster_locality_config", |cx| {
                cx.error(codes::CONFLICT, "endpoints over LEDS need a cluster of type EDS")
                    .envoy("LEDS is only supported when EDS is used. Static cluster cannot use LEDS.");
            });
        }
        #[allow(deprecated)]
        if let Some(proto::locality_lb_endpoints::LbConfig::LoadBalancerEndpoints(_)) = lb_config {
            cx.without_effect("load_balancer_endpoints");
        }
        let endpoints = cx.each("lb_endpoints", lb_endpoints, |cx, endpoint| self.endpoint(cx, endpoint));
        let sum: u64 = endpoints.iter().map(|e| u64::from(e.weight)).sum();
        if sum > u64::from(u32::MAX) {
            cx.at("lb_endpoints", |cx| {
                cx.error(codes::BAD_WEIGHTS, "the weights of the endpoints of one locality add up to more than 4294967295")
                    .envoy("The sum of weights of all upstream hosts in a locality exceeds 4294967295");
            });
        }
        let metadata = super::metadata::compile(cx, metadata.as_ref());
        LocalityEndpoints { locality: Arc::new(place(locality.as_ref())), priority: *priority, metadata, weight: *load_balancing_weight, endpoints }
    }

    fn endpoint(&self, cx: &mut CompileCx<'_>, from: &proto::LbEndpoint) -> Option<Endpoint> {
        let proto::LbEndpoint { health_status, metadata, load_balancing_weight, host_identifier } = from;
        let metadata = super::metadata::compile(cx, metadata.as_ref());
        let Some(identifier) = host_identifier else {
            self.no_address(cx);
            return None;
        };
        let mut endpoint = match identifier {
            proto::lb_endpoint::HostIdentifier::Endpoint(endpoint) => cx.at("endpoint", |cx| self.host(cx, endpoint)),
            proto::lb_endpoint::HostIdentifier::EndpointName(name) => cx.at("endpoint_name", |cx| match self.named.get(name) {
                Some(endpoint) => self.host(cx, endpoint),
                None => {
                    cx.warn(codes::SUSPICIOUS, format!("no entry `{name}` in named_endpoints: this endpoint is left out"));
                    None
                }
            }),
        }?;
        endpoint.weight = load_balancing_weight.unwrap_or(1).max(1);
        endpoint.health = health(*health_status);
        endpoint.metadata = metadata;
        Some(endpoint)
    }

    fn host(&self, cx: &mut CompileCx<'_>, from: &proto::Endpoint) -> Option<Endpoint> {
        let proto::Endpoint { address, health_check_config, hostname, additional_addresses, observability_name } = from;
        let health_check = health_check_config.as_ref().map(|c| cx.at("health_check_config", |cx| Arc::new(check_of(cx, c))));
        let health_check = health_check.unwrap_or_else(EndpointHealthCheck::none);
        let Some(address) = address else {
            self.no_address(cx);
            return None;
        };
        let address = cx.at("address", |cx| self.address(cx, address))?;
        let attempts = self.attempts(cx, &address, additional_addresses);
        // Most have none, and the empty one is shared.
        let hostname = if hostname.is_empty() { Arc::default() } else { hostname.as_str().into() };
        let observability_name = (!observability_name.is_empty()).then(|| observability_name.as_str().into());
        Some(Endpoint { hostname, observability_name, health_check, attempts, ..Endpoint::at(address) })
    }

    /// All addresses of a host in the order in which they are tried; none where there is only one.
    fn attempts(&self, cx: &mut CompileCx<'_>, first: &EndpointAddress, more: &[proto::endpoint::AdditionalAddress]) -> Arc<[Address]> {
        let EndpointAddress::Resolved(first) = first else {
            if !more.is_empty() {
                cx.without_effect("additional_addresses").note("the name's own addresses are used");
            }
            return Arc::default();
        };
        let more = cx.each("additional_addresses", more, |cx, from| {
            let proto::endpoint::AdditionalAddress { address } = from;
            match cx.at("address", |cx| self.address(cx, address.as_ref()?))? {
                EndpointAddress::Resolved(address) => Some(address),
                EndpointAddress::Name { .. } | EndpointAddress::Service(_) => None,
            }
        });
        if more.is_empty() {
            return Arc::default();
        }
        connecting::in_turn(self.cluster, std::iter::once(first.clone()).chain(more).collect()).into()
    }

    /// Envoy's names resolve to nothing then; addresses it wants.
    fn no_address(&self, cx: &mut CompileCx<'_>) {
        if self.names == Names::Refused {
            cx.error(codes::MISSING, "an endpoint needs an address")
                .envoy("Address must be set: . Consider setting resolver_name or setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'");
        }
    }

    fn address(&self, cx: &mut CompileCx<'_>, address: &core::Address) -> Option<EndpointAddress> {
        if let (Names::LookedUp(kind), true) = (self.names, has_resolver(address)) {
            cx.at("socket_address", |cx| {
                cx.at("resolver_name", |cx| {
                    cx.error(codes::BAD_ADDRESS, format!("a cluster of type {kind} resolves names itself"))
                        .envoy(format!("{kind} clusters must NOT have a custom resolver name set"));
                });
            });
            return None;
        }
        match (address::parse(cx, address)?, self.names) {
            (Parsed::Name { host, .. }, Names::LookedUp(kind)) if host.starts_with(SERVICE) => service(cx, &host, kind),
            (Parsed::Ready(Address::Ip(ip)), Names::LookedUp(_)) => {
                // Kept as a name: it is shown as the host's name, and never looked up.
                Some(EndpointAddress::Name { host: ip.ip().to_string(), port: ip.port() })
            }
            (Parsed::Ready(ready), _) => Some(EndpointAddress::Resolved(ready)),
            (Parsed::Name { host, port }, Names::LookedUp(_)) => Some(EndpointAddress::Name { host, port }),
            (Parsed::Name { .. }, Names::Ignored) => None,
            (Parsed::Name { host, .. }, Names::Refused) => {
                cx.at("socket_address", |cx| {
                    let advice = ". Consider setting resolver_name or setting cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'";
                    address::not_an_ip(cx, &host, advice);
                });
                None
            }
        }
    }
}

/// Names of services, an addition to Envoy. Envoy takes them for names of hosts, which they cannot be.
const SERVICE: &str = "srv://";

/// `srv://_http._tcp.example.com`: the servers that DNS has for a service.
fn service(cx: &mut CompileCx<'_>, host: &str, kind: &str) -> Option<EndpointAddress> {
    if kind == "STRICT_DNS" {
        return host.strip_prefix(SERVICE).map(|name| EndpointAddress::Service(name.into()));
    }
    cx.at("socket_address", |cx| {
        cx.at("address", |cx| {
            cx.error(codes::CONFLICT, format!("`{host}` is a service of several hosts: a cluster of type {kind} has one"))
                .help("a cluster of `type: STRICT_DNS` takes services");
        });
    });
    None
}

fn has_resolver(address: &core::Address) -> bool {
    matches!(&address.address, Some(core::address::Address::SocketAddress(a)) if !a.resolver_name.is_empty())
}

fn check_of(cx: &mut CompileCx<'_>, from: &proto::endpoint::HealthCheckConfig) -> EndpointHealthCheck {
    let proto::endpoint::HealthCheckConfig { port_value, hostname, address, disable_active_health_check } = from;
    let address = address.as_ref().and_then(|address| {
        cx.at("address", |cx| match address::parse(cx, address)? {
            Parsed::Ready(ready) => Some(ready),
            Parsed::Name { host, .. } => {
                cx.at("socket_address", |cx| {
                address::not_an_ip(cx, &host, "");
            });
                None
            }
        })
    });
    EndpointHealthCheck {
        port: u16::try_from(*port_value).unwrap_or_default(),
        address,
        hostname: (!hostname.is_empty()).then(|| hostname.as_str().into()),
        disable_active: *disable_active_health_check,
    }
}

/// `HealthStatus`.
pub(super) fn health(number: i32) -> EndpointHealth {
    match core::HealthStatus::try_from(number).unwrap_or_default() {
        core::HealthStatus::Unknown => EndpointHealth::Unknown,
        core::HealthStatus::Healthy => EndpointHealth::Healthy,
        core::HealthStatus::Unhealthy => EndpointHealth::Unhealthy,
        core::HealthStatus::Timeout => EndpointHealth::Timeout,
        core::HealthStatus::Draining => EndpointHealth::Draining,
        core::HealthStatus::Degraded => EndpointHealth::Degraded,
    }
}

/// A locality.
pub(crate) fn place(from: Option<&core::Locality>) -> Locality {
    let Some(core::Locality { region, zone, sub_zone }) = from else { return Locality::default() };
    Locality { region: region.clone(), zone: zone.clone(), sub_zone: sub_zone.clone() }
}
