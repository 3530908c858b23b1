//! Sources of dynamic configuration: what must be there before Envoy subscribes.

use crate::codes;
use crate::context::CompileCx;
use crate::finding::Severity;
use nuncio_api::envoy::config::core::v3 as proto;
use proto::api_config_source::ApiType;
use proto::config_source::ConfigSourceSpecifier;
use proto::grpc_service::TargetSpecifier;

/// Any subscription, be it only to a file, needs to know who we are.
#[allow(deprecated)]
pub(super) fn check(cx: &mut CompileCx<'_>, source: &proto::ConfigSource) {
    subscription(cx, source);
    needs_node(cx);
}

/// A secret's source: the server is asked later, and need not be known yet.
pub(super) fn check_sds(cx: &mut CompileCx<'_>, secret: &nuncio_api::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig) {
    let Some(source) = &secret.sds_config else { return };
    cx.at("sds_config", |cx| {
        subscription(cx, source);
        if let Some(ConfigSourceSpecifier::ApiConfigSource(api)) = &source.config_source_specifier {
            cx.at("api_config_source", |cx| shape(cx, api));
        }
        needs_node(cx);
    });
}

#[allow(deprecated)]
fn subscription(cx: &mut CompileCx<'_>, source: &proto::ConfigSource) {
    match &source.config_source_specifier {
        Some(ConfigSourceSpecifier::Path(path)) => cx.at("path", |cx| backing_path(cx, path)),
        Some(ConfigSourceSpecifier::PathConfigSource(file)) => {
            cx.at("path_config_source", |cx| {
                cx.at("path", |cx| backing_path(cx, &file.path));
                let watched = file.watched_directory.as_ref().map_or("", |w| w.path.as_str());
                if !watched.is_empty() && !std::path::Path::new(watched).is_dir() {
                    cx.at("watched_directory", |cx| {
                        cx.error(codes::MISSING_FILE, format!("there is no directory `{watched}`"))
                            .envoy(format!("unable to add filesystem watch for file {watched}/: No such file or directory"));
                    });
                }
            });
        }
        Some(ConfigSourceSpecifier::ApiConfigSource(api)) => cx.at("api_config_source", |cx| subscribable(cx, api)),
        Some(ConfigSourceSpecifier::Self_(_)) | None => {
            cx.error(codes::CONFIG_SOURCE, "no source of configuration is named here")
                .envoy("Missing config source specifier in envoy::config::core::v3::ConfigSource")
                .help("name one of path_config_source, api_config_source, ads");
        }
        Some(ConfigSourceSpecifier::Ads(_)) => {}
    }
}

/// Reports once that `node` is not known.
pub(crate) fn needs_node(cx: &mut CompileCx<'_>) {
    if !cx.identity.id.is_empty() && !cx.identity.cluster.is_empty() {
        return;
    }
    let text = "node 'id' and 'cluster' are required";
    if cx.findings().iter().any(|f| f.envoy.contains(text)) {
        return;
    }
    cx.error(codes::CONFIG_SOURCE, "dynamic configuration needs to know who we are: node.id and node.cluster are not set")
        .envoy(format!("{text}. Set it either in 'node' config or via --service-node and --service-cluster options."))
        .help("add node: { id: …, cluster: … }, or start with --service-node and --service-cluster");
}

fn backing_path(cx: &mut CompileCx<'_>, path: &str) {
    if std::path::Path::new(path).exists() {
        // The directory is watched, and without a slash Envoy finds none.
        if !path.contains('/') {
            cx.error(codes::MISSING_FILE, "the path needs a directory before the file's name")
                .help(format!("write ./{path}"))
                .envoy(format!("invalid file path {path}"));
        }
        return;
    }
    cx.error(codes::MISSING_FILE, format!("there is no file `{path}`"))
        .envoy(format!("paths must refer to an existing path in the system: '{path}' does not exist"));
}

fn refuse(cx: &mut CompileCx<'_>, message: &str, envoy: &str) {
    cx.error(codes::CONFIG_SOURCE, message).envoy(envoy);
}

/// What kinds of sources can be subscribed to by themselves.
#[allow(deprecated)]
fn subscribable(cx: &mut CompileCx<'_>, api: &proto::ApiConfigSource) {
    let kind = ApiType::try_from(api.api_type).unwrap_or_default();
    match kind {
        ApiType::DeprecatedAndUnavailableDoNotUse => refuse(
            cx,
            "api_type is missing",
            "REST_LEGACY no longer a supported ApiConfigSource. Please specify an explicit supported api_type in the following config:",
        ),
        ApiType::AggregatedGrpc | ApiType::AggregatedDeltaGrpc => {
            let name = kind.as_str_name();
            refuse(cx, "an aggregated source stands in dynamic_resources.ads_config, and `ads: {}` here", &format!("Unsupported config source {name}"));
        }
        ApiType::Rest if api.refresh_delay.is_none() && !api.cluster_names.is_empty() => {
            refuse(cx, "a REST source needs refresh_delay", "refresh_delay is required for REST API configuration sources");
        }
        _ => {}
    }
}

/// Services and clusters of an API, wherever it stands.
pub(super) fn check_api(cx: &mut CompileCx<'_>, api: &proto::ApiConfigSource) {
    let before = cx.findings().len();
    shape(cx, api);
    if cx.findings().len() == before {
        servers(cx, api);
    }
}

/// Services or clusters, as the kind of API wants them.
#[allow(deprecated)]
fn shape(cx: &mut CompileCx<'_>, api: &proto::ApiConfigSource) {
    let kind = ApiType::try_from(api.api_type).unwrap_or_default();
    if kind == ApiType::DeprecatedAndUnavailableDoNotUse {
        return;
    }
    let source = "envoy.config.core.v3.ApiConfigSource";
    let grpc = kind != ApiType::Rest;
    if api.cluster_names.is_empty() && api.grpc_services.is_empty() {
        return refuse(cx, "no server is named", "API configs must have either a gRPC service or a cluster name defined:");
    }
    if grpc && !api.cluster_names.is_empty() {
        let text = format!("{source}::(AGGREGATED_)(DELTA_)GRPC must not have a cluster name specified:");
        return cx.at("cluster_names", |cx| refuse(cx, "a gRPC source names its server in grpc_services", &text));
    }
    if grpc && api.grpc_services.len() > 1 {
        let text = format!("{source}::(AGGREGATED_)(DELTA_)GRPC must have no more than 1 gRPC services specified:");
        return cx.at("grpc_services", |cx| refuse(cx, "one gRPC service at most", &text));
    }
    if !grpc && !api.grpc_services.is_empty() {
        let text = format!("{source}, if not a gRPC type, must not have a gRPC service specified:");
        return cx.at("grpc_services", |cx| refuse(cx, "a REST source names its server in cluster_names", &text));
    }
    if !grpc && api.cluster_names.len() != 1 {
        let text = format!("{source} must have a singleton cluster name specified:");
        return cx.at("cluster_names", |cx| refuse(cx, "one cluster exactly", &text));
    }
    if api.transport_api_version == proto::ApiVersion::V2 as i32 {
        cx.at("transport_api_version", |cx| {
            refuse(cx, "xDS v2 was removed; write V3", "The v2 xDS major version has been removed and is no longer supported.");
        });
    }
}

fn servers(cx: &mut CompileCx<'_>, api: &proto::ApiConfigSource) {
    for (index, service) in api.grpc_services.iter().enumerate() {
        let Some(TargetSpecifier::EnvoyGrpc(target)) = &service.target_specifier else { continue };
        let path = |cx: &mut CompileCx<'_>| known_cluster(cx, &target.cluster_name);
        cx.item("grpc_services", index, |cx| cx.at("envoy_grpc", |cx| cx.at("cluster_name", path)));
    }
    for (index, name) in api.cluster_names.iter().enumerate() {
        cx.item("cluster_names", index, |cx| known_cluster(cx, name));
    }
}

fn known_cluster(cx: &mut CompileCx<'_>, name: &str) {
    if cx.cluster(name).is_none_or(|declared| declared.eds) {
        cx.unknown_cluster(Severity::Error, name).envoy(format!(
            "envoy.config.core.v3.ApiConfigSource must have a statically defined non-EDS cluster: '{name}' does not exist, was added via \
             api, or is an EDS cluster"
        ));
    }
}
