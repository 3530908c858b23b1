//! Statistics sinks and tracers: the clusters that they send to.

use super::config_source::needs_node;
use crate::codes;
use crate::context::CompileCx;
use crate::finding::Severity;
use nuncio_api::envoy::config::core::v3::{GrpcService, address::Address, grpc_service::TargetSpecifier};
use nuncio_api::envoy::config::metrics::v3::{MetricsServiceConfig, StatsdSink, statsd_sink::StatsdSpecifier};
use nuncio_api::envoy::config::trace::v3::{DatadogConfig, ZipkinConfig};
use nuncio_api::envoy::extensions::stat_sinks::open_telemetry::v3 as otel;

pub(super) fn statsd(cx: &mut CompileCx<'_>, sink: &StatsdSink) {
    match &sink.statsd_specifier {
        Some(StatsdSpecifier::TcpClusterName(name)) => {
            cx.at("tcp_cluster_name", |cx| cluster(cx, name, "tcp statsd"));
            needs_node(cx);
        }
        Some(StatsdSpecifier::Address(address)) => {
            if let Some(Address::SocketAddress(socket)) = &address.address
                && socket.address.parse::<std::net::IpAddr>().is_err() {
                    cx.at("address", |cx| {
                        cx.at("socket_address", |cx| {
                            crate::address::not_an_ip(cx, &socket.address, "");
                        });
                    });
                }
        }
        None => {}
    }
}

fn cluster(cx: &mut CompileCx<'_>, name: &str, who: &str) {
    if cx.cluster(name).is_none() {
        cx.unknown_cluster(Severity::Error, name).envoy(format!("{who}: unknown cluster '{name}'"));
    }
}

fn service(cx: &mut CompileCx<'_>, service: Option<&GrpcService>) {
    let Some(TargetSpecifier::EnvoyGrpc(target)) = service.and_then(|s| s.target_specifier.as_ref()) else { return };
    let name = &target.cluster_name;
    if cx.cluster(name).is_none() {
        cx.at("grpc_service", |cx| {
            cx.at("envoy_grpc", |cx| {
                cx.at("cluster_name", |cx| {
                    cx.unknown_cluster(Severity::Error, name).envoy(format!("Unknown gRPC client cluster '{name}'"));
                });
            });
        });
    }
}

pub(super) fn metrics_service(cx: &mut CompileCx<'_>, sink: &MetricsServiceConfig) {
    service(cx, sink.grpc_service.as_ref());
}

pub(super) fn open_telemetry(cx: &mut CompileCx<'_>, sink: &otel::SinkConfig) {
    if let Some(otel::sink_config::ProtocolSpecifier::GrpcService(grpc)) = &sink.protocol_specifier {
        service(cx, Some(grpc));
    }
}

pub(super) fn zipkin(cx: &mut CompileCx<'_>, tracer: &ZipkinConfig) {
    // Without a connection manager that traces, nothing is made of the bootstrap's.
    if cx.path().starts_with("tracing.") {
        return;
    }
    if tracer.collector_service.is_none() && (tracer.collector_cluster.is_empty() || tracer.collector_endpoint.is_empty()) {
        cx.error(codes::MISSING, "spans need somewhere to go: collector_cluster and collector_endpoint, or collector_service")
            .envoy("collector_cluster and collector_endpoint must be specified when not using collector_service");
    }
    if !tracer.collector_cluster.is_empty() {
        cx.at("collector_cluster", |cx| cluster(cx, &tracer.collector_cluster, "envoy.tracers.zipkin"));
    }
}

pub(super) fn datadog(cx: &mut CompileCx<'_>, tracer: &DatadogConfig) {
    if tracer.collector_cluster.is_empty() {
        cx.error(codes::MISSING, "collector_cluster is not set");
        return;
    }
    cx.at("collector_cluster", |cx| cluster(cx, &tracer.collector_cluster, "envoy.tracers.datadog"));
}
