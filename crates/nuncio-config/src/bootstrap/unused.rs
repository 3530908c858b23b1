//! Fields of the bootstrap that have no effect here.

use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::bootstrap::v3 as proto;
use nuncio_api::envoy::extensions::bootstrap::internal_listener::v3::InternalListener;
use prost::Name as _;
use proto::bootstrap::DynamicResources;

#[allow(deprecated)]
pub(super) fn report(cx: &mut CompileCx<'_>, from: &proto::Bootstrap) {
    let proto::Bootstrap {
        node: _,
        node_context_params,
        static_resources: _,
        dynamic_resources,
        cluster_manager: _,
        hds_config,
        flags_path,
        stats_sinks,
        deferred_stat_options,
        stats_config: _,
        stats_flush_interval: _,
        watchdog,
        watchdogs,
        tracing,
        layered_runtime: _,
        admin: _,
        overload_manager,
        enable_dispatcher_stats,
        header_prefix,
        stats_server_version_override,
        use_tcp_for_dns_lookups: _,
        dns_resolution_config: _,
        typed_dns_resolver_config: _,
        bootstrap_extensions,
        fatal_actions,
        config_sources,
        default_config_source,
        default_socket_interface,
        certificate_provider_instances,
        inline_headers,
        perf_tracing_file_path,
        default_regex_engine,
        xds_delegate_extension,
        xds_config_tracker_extension,
        // Listeners are managed in one way.
        listener_manager: _,
        application_log_config,
        grpc_async_client_manager_config,
        memory_allocator_manager,
        enable_worker_cpu_affinity,
        stats_flush: _,
        stats_eviction,
    } = from;
    unbuilt!(
        cx,
        node_context_params,
        hds_config,
        flags_path,
        stats_sinks,
        deferred_stat_options,
        watchdog,
        watchdogs,
        tracing,
        overload_manager,
        enable_dispatcher_stats,
        header_prefix,
        stats_server_version_override,
        fatal_actions,
        config_sources,
        default_config_source,
        default_socket_interface,
        certificate_provider_instances,
        perf_tracing_file_path,
        xds_delegate_extension,
        xds_config_tracker_extension,
        application_log_config,
        grpc_async_client_manager_config,
        memory_allocator_manager,
        enable_worker_cpu_affinity,
        stats_eviction,
    );
    for (index, extension) in bootstrap_extensions.iter().enumerate() {
        if extension.typed_config.as_ref().is_none_or(|config| nuncio_api::any_type(config) != InternalListener::full_name()) {
            let name = &extension.name;
            cx.item("bootstrap_extensions", index, |cx| {
                cx.value_without_effect(&format!("the bootstrap extension `{name}`"));
            });
        }
    }
    application_log(cx, from);
    // Headers are found as fast without; there is one regex engine.
    let _ = (inline_headers, default_regex_engine);
    if let Some(DynamicResources { lds_config, lds_resources_locator, cds_config, cds_resources_locator, ads_config }) = dynamic_resources {
        cx.at("dynamic_resources", |cx| unbuilt!(cx, lds_config, lds_resources_locator, cds_config, cds_resources_locator, ads_config));
    }
}

/// The process log's format; in JSON some of its flags cannot stand.
fn application_log(cx: &mut CompileCx<'_>, from: &proto::Bootstrap) {
    use proto::bootstrap::application_log_config::log_format::LogFormat;
    use prost_types::value::Kind;
    let format = from.application_log_config.as_ref().and_then(|c| c.log_format.as_ref()).and_then(|f| f.log_format.as_ref());
    let Some(LogFormat::JsonFormat(fields)) = format else { return };
    for (name, value) in &fields.fields {
        let Some(Kind::StringValue(text)) = &value.kind else { continue };
        for flag in ["%v", "%_"] {
            if text.contains(flag) {
                cx.step(crate::Step::Text("application_log_config.log_format.json_format".into()), |cx| {
                    cx.step(crate::Step::Text(name.as_str().into()), |cx| {
                        cx.error(crate::codes::BAD_FORMAT, format!("`{flag}` cannot stand in a JSON format; the message is `%j`"))
                            .envoy(format!("setJsonLogFormat error: INVALID_ARGUMENT: Usage of {flag} is unavailable for JSON log formats"));
                    });
                });
            }
        }
    }
}
