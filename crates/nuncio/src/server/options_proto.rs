//! The command line as `/server_info` shows it (`envoy.admin.v3.CommandLineOptions`).

use crate::cli::{IpVersion, Mode, Options};
use nuncio_api::envoy::admin::v3::{CommandLineOptions, command_line_options as proto};
use prost::Message;
use std::time::Duration;

fn duration(d: Duration) -> Option<prost_types::Duration> {
    let seconds = i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    Some(prost_types::Duration { seconds, nanos: d.subsec_nanos() as i32 })
}

/// The flags, encoded.
pub(super) fn encode(options: &Options) -> Vec<u8> {
    let o = options.clone();
    let mode = match o.mode {
        Mode::Serve => proto::Mode::Serve,
        Mode::Validate => proto::Mode::Validate,
        Mode::InitOnly => proto::Mode::InitOnly,
    };
    let ip = match o.local_address_ip_version {
        IpVersion::V4 => proto::IpVersion::V4,
        IpVersion::V6 => proto::IpVersion::V6,
    };
    let strategy = match o.drain_strategy {
        crate::cli::DrainStrategy::Gradual => proto::DrainStrategy::Gradual,
        crate::cli::DrainStrategy::Immediate => proto::DrainStrategy::Immediate,
    };
    CommandLineOptions {
        base_id: u64::from(o.base_id),
        use_dynamic_base_id: o.use_dynamic_base_id,
        base_id_path: o.base_id_path.clone(),
        concurrency: o.workers(),
        config_path: o.config_path.clone(),
        config_yaml: o.config_yaml.clone(),
        allow_unknown_static_fields: o.allow_unknown_static_fields,
        reject_unknown_dynamic_fields: o.reject_unknown_dynamic_fields,
        ignore_unknown_dynamic_fields: o.ignore_unknown_dynamic_fields,
        admin_address_path: o.admin_address_path.clone(),
        local_address_ip_version: ip as i32,
        log_level: o.log_level.name().to_owned(),
        component_log_level: o.component_log_level.clone(),
        log_format: o.log_format.clone().unwrap_or_else(|| "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v".into()),
        log_format_escaped: o.log_format_escaped,
        log_path: o.log_path.clone(),
        service_cluster: o.service_cluster.clone(),
        service_node: o.service_node.clone(),
        service_zone: o.service_zone.clone(),
        file_flush_interval: duration(o.file_flush_interval),
        drain_time: duration(o.drain_time),
        drain_strategy: strategy as i32,
        parent_shutdown_time: duration(o.parent_shutdown_time),
        mode: mode as i32,
        disable_hot_restart: o.disable_hot_restart,
        enable_mutex_tracing: o.enable_mutex_tracing,
        restart_epoch: o.restart_epoch,
        cpuset_threads: o.cpuset_threads,
        disabled_extensions: o.disabled_extensions.clone(),
        enable_fine_grain_logging: o.enable_fine_grain_logging,
        socket_path: o.socket_path.clone(),
        socket_mode: o.socket_mode,
        enable_core_dump: o.enable_core_dump,
        skip_hot_restart_on_no_parent: o.skip_hot_restart_on_no_parent,
        skip_hot_restart_parent_stats: o.skip_hot_restart_parent_stats,
        stats_tag: o.stats_tags.iter().map(|(tag, value)| format!("{tag}:{value}")).collect(),
        ..CommandLineOptions::default()
    }
    .encode_to_vec()
}
