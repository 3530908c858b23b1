//! What the process was asked to do: the flags' values, with Envoy's defaults.

use nuncio_core::logging::Level;
use std::time::Duration;

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Serve traffic.
    #[default]
    Serve,
    /// Judge the configuration and exit.
    Validate,
    /// Initialise, then exit.
    InitOnly,
}

impl Mode {
    /// As `/server_info` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Serve => "Serve",
            Mode::Validate => "Validate",
            Mode::InitOnly => "InitOnly",
        }
    }
}

/// `--drain-strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DrainStrategy {
    /// Connections are asked to close with growing probability over the drain time.
    #[default]
    Gradual,
    /// All at once.
    Immediate,
}

impl DrainStrategy {
    /// As `/server_info` prints it.
    pub fn name(self) -> &'static str {
        match self {
            DrainStrategy::Gradual => "Gradual",
            DrainStrategy::Immediate => "Immediate",
        }
    }
}

/// `--local-address-ip-version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpVersion {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// As `/server_info` prints it.
    pub fn name(self) -> &'static str {
        match self {
            IpVersion::V4 => "v4",
            IpVersion::V6 => "v6",
        }
    }
}

/// The flags' values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `-c`, `--config-path`; empty for none.
    pub config_path: String,
    /// `--config-yaml`; empty for none.
    pub config_yaml: String,
    /// `--mode`.
    pub mode: Mode,
    /// `--concurrency`: worker threads; `None` for one per hardware thread.
    pub concurrency: Option<u32>,
    /// `--cpuset-threads`.
    pub cpuset_threads: bool,
    /// `-l`, `--log-level`.
    pub log_level: Level,
    /// `--component-log-level`, as given and taken apart.
    pub component_log_level: String,
    /// The levels in it, in order.
    pub component_levels: Vec<(String, Level)>,
    /// `--log-format`; `None` for the default.
    pub log_format: Option<String>,
    /// `--log-format-escaped`.
    pub log_format_escaped: bool,
    /// `--log-path`; empty for standard error.
    pub log_path: String,
    /// `--enable-fine-grain-logging`.
    pub enable_fine_grain_logging: bool,
    /// `--log-stacktrace-single-entry`.
    pub log_stacktrace_single_entry: bool,
    /// `--skip-deprecated-logs`.
    pub skip_deprecated_logs: bool,
    /// `--admin-address-path`; empty for none.
    pub admin_address_path: String,
    /// `--local-address-ip-version`.
    pub local_address_ip_version: IpVersion,
    /// `--allow-unknown-static-fields`, `--allow-unknown-fields`.
    pub allow_unknown_static_fields: bool,
    /// `--reject-unknown-dynamic-fields`.
    pub reject_unknown_dynamic_fields: bool,
    /// `--ignore-unknown-dynamic-fields`.
    pub ignore_unknown_dynamic_fields: bool,
    /// `--service-cluster`.
    pub service_cluster: String,
    /// `--service-node`.
    pub service_node: String,
    /// `--service-zone`.
    pub service_zone: String,
    /// `--file-flush-interval-msec`.
    pub file_flush_interval: Duration,
    /// `--file-flush-min-size-kb`.
    pub file_flush_min_size_kb: u32,
    /// `--drain-time-s`.
    pub drain_time: Duration,
    /// `--drain-strategy`.
    pub drain_strategy: DrainStrategy,
    /// `--parent-shutdown-time-s`.
    pub parent_shutdown_time: Duration,
    /// `--base-id`.
    pub base_id: u32,
    /// `--use-dynamic-base-id`.
    pub use_dynamic_base_id: bool,
    /// `--base-id-path`.
    pub base_id_path: String,
    /// `--restart-epoch`.
    pub restart_epoch: u32,
    /// `--disable-hot-restart`.
    pub disable_hot_restart: bool,
    /// `--skip-hot-restart-on-no-parent`.
    pub skip_hot_restart_on_no_parent: bool,
    /// `--skip-hot-restart-parent-stats`.
    pub skip_hot_restart_parent_stats: bool,
    /// `--socket-path`.
    pub socket_path: String,
    /// `--socket-mode`, permission bits.
    pub socket_mode: u32,
    /// `--disable-extensions`.
    pub disabled_extensions: Vec<String>,
    /// `--enable-core-dump`.
    pub enable_core_dump: bool,
    /// `--enable-mutex-tracing`.
    pub enable_mutex_tracing: bool,
    /// `--stats-tag`, names and values in order.
    pub stats_tags: Vec<(String, String)>,
    /// `--strict`: refuse what Envoy 1.40 refuses. Also set in parity mode.
    pub strict: bool,
    /// `--watch`: reload when the configuration file changes.
    pub watch: bool,
    /// `NUNCIO_PARITY=1`: Envoy's behaviour also where Nuncio's is better, for comparison tests.
    pub parity: bool,
    /// Flags that were given and do nothing yet, with the reason; for the log.
    pub without_effect: Vec<(&'static str, &'static str)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            config_path: String::new(),
            config_yaml: String::new(),
            mode: Mode::Serve,
            concurrency: None,
            cpuset_threads: false,
            log_level: Level::Info,
            component_log_level: String::new(),
            component_levels: Vec::new(),
            log_format: None,
            log_format_escaped: false,
            log_path: String::new(),
            enable_fine_grain_logging: false,
            log_stacktrace_single_entry: false,
            skip_deprecated_logs: false,
            admin_address_path: String::new(),
            local_address_ip_version: IpVersion::V4,
            allow_unknown_static_fields: false,
            reject_unknown_dynamic_fields: false,
            ignore_unknown_dynamic_fields: false,
            service_cluster: String::new(),
            service_node: String::new(),
            service_zone: String::new(),
            file_flush_interval: Duration::from_secs(10),
            file_flush_min_size_kb: 64,
            drain_time: Duration::from_secs(600),
            drain_strategy: DrainStrategy::Gradual,
            parent_shutdown_time: Duration::from_secs(900),
            base_id: 0,
            use_dynamic_base_id: false,
            base_id_path: String::new(),
            restart_epoch: 0,
            disable_hot_restart: false,
            skip_hot_restart_on_no_parent: false,
            skip_hot_restart_parent_stats: false,
            socket_path: "@envoy_domain_socket".to_owned(),
            socket_mode: 0,
            disabled_extensions: Vec::new(),
            enable_core_dump: false,
            enable_mutex_tracing: false,
            stats_tags: Vec::new(),
            strict: false,
            watch: false,
            parity: false,
            without_effect: Vec::new(),
        }
    }
}

impl Options {
    /// Worker threads to run: as asked, at least one; else one per hardware thread this process may use.
    pub fn workers(&self) -> u32 {
        let hardware =
            || std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
        self.concurrency.unwrap_or_else(hardware).max(1)
    }

    /// Checks what flags say together.
    ///
    /// # Errors
    /// In Envoy's words.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.use_dynamic_base_id && self.restart_epoch > 0 {
            return Err(format!("cannot use --restart-epoch={} with --use-dynamic-base-id", self.restart_epoch));
        }
        if self.enable_fine_grain_logging && !self.component_log_level.is_empty() {
            return Err("--component-log-level will not work with --enable-fine-grain-logging".to_owned());
        }
        Ok(())
    }
}
