//! `/config_dump`: the configuration in force, section by section, in Envoy's order.

use super::state::Running;
use nuncio_admin::{ConfigItem, ConfigList, ConfigSection};
use nuncio_api::envoy::admin::v3 as proto;
use nuncio_api::envoy::config::{
    bootstrap::v3::Bootstrap, core::v3 as core, endpoint::v3 as endpoint, listener::v3::Listener, route::v3::RouteConfiguration,
};
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use nuncio_config::Snapshot;
use nuncio_rt::Address;
use nuncio_upstream::config::Discovery;
use nuncio_upstream::{ClusterView, Health, Host};
use prost::{Message, Name};
use prost_types::{Any, Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// All sections; endpoints only if asked for.
pub(super) fn sections(running: &Running, endpoints: bool) -> Vec<ConfigSection> {
    let snapshot = running.loaded();
    let mut sections = vec![bootstrap(running, &snapshot), clusters(&snapshot)];
    if endpoints {
        sections.push(endpoint_section(&running.clusters.view()));
    }
    sections.push(listeners(&snapshot));
    sections.push(scoped_routes(&snapshot));
    sections.push(routes(&snapshot));
    sections.push(empty("envoy.admin.v3.SecretsConfigDump"));
    sections
}

fn empty(type_name: &'static str) -> ConfigSection {
    ConfigSection { type_name, message: Vec::new(), lists: Vec::new() }
}

fn stamp(at: SystemTime) -> Option<Timestamp> {
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    // Envoy shows milliseconds.
    let nanos = since.subsec_millis() as i32 * 1_000_000;
    Some(Timestamp { seconds: i64::try_from(since.as_secs()).ok()?, nanos })
}

fn any<M: Name>(bytes: &[u8]) -> Option<Any> {
    Some(Any { type_url: M::type_url(), value: bytes.to_vec() })
}

fn bootstrap(running: &Running, snapshot: &Snapshot) -> ConfigSection {
    let mut shown = Bootstrap::decode(&*snapshot.bytes).unwrap_or_default();
    shown.node = Some(super::node::shown(running));
    let message = proto::BootstrapConfigDump { bootstrap: Some(shown), last_updated: stamp(snapshot.updated) };
    ConfigSection { type_name: "envoy.admin.v3.BootstrapConfigDump", message: message.encode_to_vec(), lists: Vec::new() }
}

/// A section that is one list; nothing at all when the list is empty.
fn list(type_name: &'static str, field: &'static str, item_type: &'static str, items: Vec<ConfigItem>) -> ConfigSection {
    let lists = if items.is_empty() { Vec::new() } else { vec![ConfigList { field, type_name: item_type, items }] };
    ConfigSection { type_name, message: Vec::new(), lists }
}

fn clusters(snapshot: &Snapshot) -> ConfigSection {
    let mut sorted: Vec<_> = snapshot.clusters.iter().collect();
    sorted.sort_by(|a, b| a.config.name.cmp(&b.config.name));
    let items = sorted.into_iter().map(|cluster| {
        let shown = proto::clusters_config_dump::StaticCluster {
            cluster: any::<nuncio_api::envoy::config::cluster::v3::Cluster>(&cluster.bytes),
            last_updated: stamp(snapshot.updated),
        };
        ConfigItem { name: cluster.config.name.to_string(), message: shown.encode_to_vec() }
    });
    list(
        "envoy.admin.v3.ClustersConfigDump",
        "static_clusters",
        "envoy.admin.v3.ClustersConfigDump.StaticCluster",
        items.collect(),
    )
}

fn listeners(snapshot: &Snapshot) -> ConfigSection {
    let items = snapshot.listeners.iter().map(|listener| {
        let shown = proto::listeners_config_dump::StaticListener {
            listener: any::<Listener>(&listener.bytes),
            last_updated: stamp(snapshot.updated),
        };
        ConfigItem { name: listener.config.name.to_string(), message: shown.encode_to_vec() }
    });
    list(
        "envoy.admin.v3.ListenersConfigDump",
        "static_listeners",
        "envoy.admin.v3.ListenersConfigDump.StaticListener",
        items.collect(),
    )
}

/// The connection managers of all listeners.
fn managers(snapshot: &Snapshot) -> Vec<HttpConnectionManager> {
    use nuncio_api::envoy::config::listener::v3::filter::ConfigType;
    let mut found = Vec::new();
    for listener in &snapshot.listeners {
        let Ok(listener) = Listener::decode(&*listener.bytes) else { continue };
        for filter in listener.filter_chains.iter().chain(&listener.default_filter_chain).flat_map(|chain| &chain.filters) {
            match &filter.config_type {
                Some(ConfigType::TypedConfig(config)) if nuncio_api::any_type(config) == HttpConnectionManager::full_name() => {
                    found.extend(HttpConnectionManager::decode(&*config.value).ok());
                }
                _ => {}
            }
        }
    }
    found
}

/// The route configurations inside connection managers.
fn routes(snapshot: &Snapshot) -> ConfigSection {
    let tables = managers(snapshot).into_iter().filter_map(|manager| match manager.route_specifier {
        Some(RouteSpecifier::RouteConfig(table)) => Some(route_item(&table, snapshot)),
        _ => None,
    });
    list(
        "envoy.admin.v3.RoutesConfigDump",
        "static_route_configs",
        "envoy.admin.v3.RoutesConfigDump.StaticRouteConfig",
        tables.collect(),
    )
}

/// The scopes inside connection managers.
fn scoped_routes(snapshot: &Snapshot) -> ConfigSection {
    use nuncio_api::envoy::config::route::v3::ScopedRouteConfiguration;
    use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::scoped_routes::ConfigSpecifier;
    let items = managers(snapshot).into_iter().filter_map(|manager| {
        let Some(RouteSpecifier::ScopedRoutes(scoped)) = manager.route_specifier else { return None };
        let Some(ConfigSpecifier::ScopedRouteConfigurationsList(list)) = scoped.config_specifier else { return None };
        let scopes = list.scoped_route_configurations.iter().filter_map(|scope| any::<ScopedRouteConfiguration>(&scope.encode_to_vec()));
        let shown = proto::scoped_routes_config_dump::InlineScopedRouteConfigs {
            name: scoped.name.clone(),
            scoped_route_configs: scopes.collect(),
            last_updated: stamp(snapshot.updated),
        };
        Some(ConfigItem { name: scoped.name, message: shown.encode_to_vec() })
    });
    list(
        "envoy.admin.v3.ScopedRoutesConfigDump",
        "inline_scoped_route_configs",
        "envoy.admin.v3.ScopedRoutesConfigDump.InlineScopedRouteConfigs",
        items.collect(),
    )
}

fn route_item(table: &RouteConfiguration, snapshot: &Snapshot) -> ConfigItem {
    let shown = proto::routes_config_dump::StaticRouteConfig {
        route_config: any::<RouteConfiguration>(&table.encode_to_vec()),
        last_updated: stamp(snapshot.updated),
    };
    ConfigItem { name: table.name.clone(), message: shown.encode_to_vec() }
}

fn endpoint_section(clusters: &[ClusterView]) -> ConfigSection {
    let items = clusters.iter().map(|cluster| {
        let name = cluster.info.name().to_string();
        let assignment = assignment(cluster);
        let shown = proto::endpoints_config_dump::StaticEndpointConfig {
            endpoint_config: any::<endpoint::ClusterLoadAssignment>(&assignment.encode_to_vec()),
            last_updated: None,
        };
        ConfigItem { name, message: shown.encode_to_vec() }
    });
    list(
        "envoy.admin.v3.EndpointsConfigDump",
        "static_endpoint_configs",
        "envoy.admin.v3.EndpointsConfigDump.StaticEndpointConfig",
        items.collect(),
    )
}

/// A cluster's hosts as an assignment: one group per priority and locality.
fn assignment(cluster: &ClusterView) -> endpoint::ClusterLoadAssignment {
    let mut groups: Vec<endpoint::LocalityLbEndpoints> = Vec::new();
    for host in cluster.hosts.hosts() {
        let locality = core::Locality {
            region: host.locality.region.clone(),
            zone: host.locality.zone.clone(),
            sub_zone: host.locality.sub_zone.clone(),
        };
        let at = groups.iter().position(|g| g.priority == host.priority && g.locality.as_ref() == Some(&locality));
        let at = at.unwrap_or_else(|| {
            groups.push(endpoint::LocalityLbEndpoints {
                locality: Some(locality),
                priority: host.priority,
                ..Default::default()
            });
            groups.len() - 1
        });
        groups[at].lb_endpoints.push(lb_endpoint(host));
    }
    // Over EDS it is known by the service's name.
    let name = match &cluster.info.config.discovery {
        Discovery::Eds(eds) => &eds.service_name,
        _ => cluster.info.name(),
    };
    endpoint::ClusterLoadAssignment {
        cluster_name: name.to_string(),
        endpoints: groups,
        policy: Some(endpoint::cluster_load_assignment::Policy {
            overprovisioning_factor: Some(cluster.hosts.overprovisioning_factor),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn lb_endpoint(host: &Host) -> endpoint::LbEndpoint {
    let health = match host.state.flags().health() {
        Health::Healthy => core::HealthStatus::Healthy,
        Health::Degraded => core::HealthStatus::Degraded,
        Health::Unhealthy => core::HealthStatus::Unhealthy,
    };
    let shown = endpoint::Endpoint {
        address: Some(address(&host.address)),
        hostname: host.hostname.to_string(),
        health_check_config: Some(endpoint::endpoint::HealthCheckConfig::default()),
        ..Default::default()
    };
    endpoint::LbEndpoint {
        health_status: health as i32,
        metadata: Some(core::Metadata::default()),
        load_balancing_weight: Some(host.weight),
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(shown)),
    }
}

fn address(address: &Address) -> core::Address {
    use core::{address::Address as Kind, socket_address::PortSpecifier};
    let kind = match address {
        Address::Ip(ip) => Kind::SocketAddress(core::SocketAddress {
            address: ip.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(u32::from(ip.port()))),
            ..Default::default()
        }),
        Address::Pipe(path) => Kind::Pipe(core::Pipe { path: path.display().to_string(), mode: 0 }),
        Address::Internal(to) => Kind::EnvoyInternalAddress(core::EnvoyInternalAddress {
            endpoint_id: to.endpoint.to_string(),
            address_name_specifier: Some(core::envoy_internal_address::AddressNameSpecifier::ServerListenerName(to.listener.to_string())),
        }),
    };
    core::Address { address: Some(kind) }
}
