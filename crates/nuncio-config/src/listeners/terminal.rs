//! Network filters: the one that ends the chain, and those before it.

use super::chains::Around;
use super::{redis_proxy, tcp_proxy};
use crate::codes;
use crate::context::CompileCx;
use crate::hcm;
use nuncio_api::envoy::config::listener::v3 as proto;
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use nuncio_api::envoy::extensions::filters::network::redis_proxy::v3::RedisProxy;
use nuncio_api::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use nuncio_core::{BuildCx, Connection, FilterConfig, LocalFuture, NetworkFilter, NetworkPart, Terminal, TerminalWorker, Worker};
use prost::{Message as _, Name as _};
use proto::filter::ConfigType;
use std::rc::Rc;
use std::sync::Arc;

/// Filters that end a chain, by message name.
const TERMINAL: &[&str] = &[
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "envoy.extensions.filters.network.direct_response.v3.Config",
    "envoy.extensions.filters.network.dubbo_proxy.v3.DubboProxy",
    "envoy.extensions.filters.network.echo.v3.Echo",
    "envoy.extensions.filters.network.generic_proxy.v3.GenericProxy",
    "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
    "envoy.extensions.filters.network.reverse_tunnel.v3.ReverseTunnel",
    "envoy.extensions.filters.network.thrift_proxy.v3.ThriftProxy",
];

/// Filters that connections may do without: they only watch.
const WATCHING: &[&str] = &[
    "envoy.extensions.filters.network.geoip.v3.Geoip",
    "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy",
    "envoy.extensions.filters.network.zookeeper_proxy.v3.ZooKeeperProxy",
];

/// The compiled filters of a chain.
pub(super) struct Filters {
    /// Those before the last.
    pub(super) before: Vec<Arc<dyn NetworkFilter>>,
    /// The last.
    pub(super) terminal: Arc<dyn Terminal>,
}

/// Compiles the filters of a chain. What is not built is reported, and leaves one that closes connections.
pub(super) fn compile(cx: &mut CompileCx<'_>, filters: &[proto::Filter], around: &Around) -> Filters {
    check_order(cx, filters);
    let (mut before, mut terminal) = (Vec::new(), None);
    let stats = cx.stats.clone();
    let service_cluster = cx.identity.cluster.clone();
    let node_metadata = cx.identity.metadata.clone();
    let mut build = BuildCx::new(&stats, "");
    build.service_cluster = &service_cluster;
    build.node_metadata = Some(&node_metadata);
    for (index, filter) in filters.iter().enumerate() {
        cx.item("filters", index, |cx| {
            let proto::Filter { name, config_type } = filter;
            let config = match config_type {
                Some(ConfigType::TypedConfig(config)) => config,
                Some(ConfigType::ConfigDiscovery(_)) => {
                    cx.value_unsafe_without(&format!("the discovered network filter `{name}`"));
                    return;
                }
                // Reported when it was read.
                None => return,
            };
            build.filter_name = name;
            match cx.at("typed_config", |cx| one(cx, name, config, around, &mut build)) {
                Some(NetworkPart::Filter(filter)) => before.push(filter),
                Some(NetworkPart::Terminal(last)) => {
                    terminal.get_or_insert(last);
                }
                None => {}
            }
        });
    }
    Filters { before, terminal: terminal.unwrap_or_else(|| Arc::new(Closing)) }
}

/// Whether the connection manager is among the filters.
pub(super) fn is_http(filters: &[proto::Filter]) -> bool {
    filters.iter().any(|filter| match &filter.config_type {
        Some(ConfigType::TypedConfig(config)) => nuncio_api::any_type(config) == HttpConnectionManager::full_name(),
        _ => false,
    })
}

fn one(
    cx: &mut CompileCx<'_>,
    name: &str,
    config: &prost_types::Any,
    around: &Around,
    build: &mut BuildCx<'_>,
) -> Option<NetworkPart> {
    let message = nuncio_api::any_type(config);
    if message == HttpConnectionManager::full_name() {
        let from = HttpConnectionManager::decode(config.value.as_slice()).unwrap_or_default();
        let around_it = hcm::Surroundings { buffer_limit: around.buffer_limit_bytes as usize, quic: around.quic, egress: around.egress };
        let config = hcm::compile(cx, &from, around_it);
        let hcm = nuncio_http::Hcm::new(config, &cx.stats, &around.stat_scope);
        return Some(NetworkPart::Terminal(Arc::new(hcm)));
    }
    if message == TcpProxy::full_name() {
        let from = TcpProxy::decode(config.value.as_slice()).unwrap_or_default();
        return Some(NetworkPart::Terminal(tcp_proxy::compile(cx, &from)));
    }
    if message == RedisProxy::full_name() {
        let from = RedisProxy::decode(config.value.as_slice()).unwrap_or_default();
        return Some(NetworkPart::Terminal(redis_proxy::compile(cx, &from)));
    }
    if let Some(entry) = cx.network_filters.iter().find(|entry| entry.message == message) {
        let built = (entry.build)(FilterConfig { type_url: &config.type_url, value: &config.value }, build);
        cx.extension_findings(std::mem::take(&mut build.warnings));
        cx.extension_refusals(std::mem::take(&mut build.unsafe_without));
        return built
            .map_err(|error| {
                cx.extension_error(codes::BAD_VALUE, error);
            })
            .ok();
    }
    let what = format!("the network filter `{name}`");
    if WATCHING.contains(&message) {
        cx.value_without_effect(&what);
    } else {
        cx.value_unsafe_without(&what);
    }
    None
}

/// The last filter ends the chain, and no other does.
fn check_order(cx: &mut CompileCx<'_>, filters: &[proto::Filter]) {
    for (index, filter) in filters.iter().enumerate() {
        let Some(ConfigType::TypedConfig(config)) = &filter.config_type else { continue };
        let message = nuncio_api::any_type(config);
        // Whether it exists at all is somebody else's finding.
        let Some(extension) = extension(message) else { continue };
        let (terminal, last) = (TERMINAL.contains(&message), index + 1 == filters.len());
        if terminal == last {
            continue;
        }
        let name = &filter.name;
        cx.item("filters", index, |cx| {
            if terminal {
                cx.error(codes::FILTER_ORDER, format!("`{name}` ends the chain, but it is not the last filter"))
                    .help("move it to the end of filters, and have it once")
                    .envoy(format!(
                        "Error: terminal filter named {name} of type {extension} must be the last filter in a network filter chain."
                    ));
            } else {
                cx.error(codes::FILTER_ORDER, format!("`{name}` is the last filter, and does not end the chain"))
                    .help("put a filter behind it that does: envoy.filters.network.tcp_proxy, or the HTTP connection manager")
                    .envoy(format!(
                        "Error: non-terminal filter named {name} of type {extension} is the last filter in a network filter chain."
                    ));
            }
        });
    }
}

fn extension(message: &str) -> Option<&'static str> {
    let mut all = nuncio_api::extensions().iter();
    all.find(|e| e.category == "envoy.filters.network" && e.types.split(',').any(|t| t == message)).map(|e| e.name)
}

/// Closes every connection: a chain without filters, as in Envoy, and what stands for a filter that was refused.
#[derive(Debug)]
pub(super) struct Closing;

impl Terminal for Closing {
    fn on_worker(self: Arc<Self>, _worker: &Rc<Worker>) -> Rc<dyn TerminalWorker> {
        Rc::new(Closing)
    }
}

impl TerminalWorker for Closing {
    fn serve(self: Rc<Self>, connection: Connection) -> LocalFuture<()> {
        drop(connection);
        Box::pin(std::future::ready(()))
    }
}
