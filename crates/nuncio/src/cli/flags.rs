//! All flags: name, value, meaning, what they do to the options. Parsing, help and completion derive from this table.

use super::options::{DrainStrategy, IpVersion, Mode, Options};
use nuncio_core::logging::{self, Level};
use std::time::Duration;

/// Under which heading help lists a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Configuration,
    Process,
    Logging,
    Node,
    Draining,
    HotRestart,
    Other,
}

impl Group {
    pub(super) const ALL: [(Group, &'static str); 7] = [
        (Group::Configuration, "Configuration"),
        (Group::Process, "Process"),
        (Group::Logging, "Logging"),
        (Group::Node, "Who we are (node)"),
        (Group::Draining, "Draining and flushing"),
        (Group::HotRestart, "Hot restart"),
        (Group::Other, "Other"),
    ];
}

/// What a flag does to the options.
#[derive(Clone, Copy)]
pub(super) enum Set {
    /// It stands alone.
    Switch(fn(&mut Options)),
    /// It takes a text; the error says what is wrong with it.
    Text(fn(&mut Options, &str) -> Result<(), String>),
    /// It takes a number.
    Number(fn(&mut Options, u32)),
}

/// A flag.
pub(super) struct Flag {
    /// `--concurrency` without the dashes.
    pub(super) long: &'static str,
    /// `c` for `-c`.
    pub(super) short: Option<char>,
    /// What its value is called in help; empty for switches.
    pub(super) value: &'static str,
    /// One line.
    pub(super) help: &'static str,
    pub(super) group: Group,
    pub(super) set: Set,
    /// May be given more than once.
    pub(super) repeats: bool,
    /// Why it does nothing yet.
    pub(super) without_effect: Option<&'static str>,
}

const HOT_RESTART: &str = "hot restart is not built yet";

/// All flags, in the order help lists them within their group.
pub(super) static FLAGS: &[Flag] = &[
    Flag {
        short: Some('c'),
        ..text("config-path", "PATH", Group::Configuration, "Configuration file (YAML or JSON)", |o, v| {
            put(&mut o.config_path, v)
        })
    },
    text(
        "config-yaml",
        "YAML",
        Group::Configuration,
        "Configuration given inline, merged over --config-path",
        |o, v| put(&mut o.config_yaml, v),
    ),
    text(
        "mode",
        "MODE",
        Group::Configuration,
        "serve (default), validate (judge the configuration and exit) or init_only",
        mode,
    ),
    switch("strict", Group::Configuration, "Refuse every configuration that Envoy 1.40 refuses", |o| o.strict = true),
    switch("watch", Group::Configuration, "Reload when the configuration file changes", |o| o.watch = true),
    switch(
        "allow-unknown-static-fields",
        Group::Configuration,
        "Accept unknown fields in the configuration file",
        |o| o.allow_unknown_static_fields = true,
    ),
    switch("allow-unknown-fields", Group::Configuration, "The same (deprecated name)", |o| {
        o.allow_unknown_static_fields = true
    }),
    switch(
        "reject-unknown-dynamic-fields",
        Group::Configuration,
        "Refuse unknown fields in configuration that arrives by xDS",
        |o| o.reject_unknown_dynamic_fields = true,
    ),
    switch("ignore-unknown-dynamic-fields", Group::Configuration, "Accept them without a word", |o| {
        o.ignore_unknown_dynamic_fields = true
    }),
    switch("skip-deprecated-logs", Group::Configuration, "Do not warn about deprecated fields", |o| {
        o.skip_deprecated_logs = true
    }),
    number("concurrency", "N", Group::Process, "Worker threads (default: one per hardware thread)", |o, n| {
        o.concurrency = Some(n)
    }),
    switch(
        "cpuset-threads",
        Group::Process,
        "Count the CPUs this process may use for --concurrency's default (always so)",
        |o| o.cpuset_threads = true,
    ),
    text("admin-address-path", "PATH", Group::Process, "File to write the admin address to", |o, v| {
        put(&mut o.admin_address_path, v)
    }),
    unbuilt(
        switch("enable-core-dump", Group::Process, "Dump core on a crash", |o| o.enable_core_dump = true),
        "core dumps are left to the system's limits",
    ),
    unbuilt(
        switch("enable-mutex-tracing", Group::Process, "Count waits for locks", |o| o.enable_mutex_tracing = true),
        "the workers take no locks that could be traced",
    ),
    Flag {
        short: Some('l'),
        ..text(
            "log-level",
            "LEVEL",
            Group::Logging,
            "trace, debug, info (default), warning, error, critical, off",
            |o, v| {
                o.log_level = level(v)?;
                Ok(())
            },
        )
    },
    text(
        "component-log-level",
        "LIST",
        Group::Logging,
        "Levels of components: upstream:debug,config:trace",
        component_levels,
    ),
    text("log-path", "PATH", Group::Logging, "File to log to (default: standard error)", |o, v| {
        put(&mut o.log_path, v)
    }),
    text(
        "log-format",
        "PATTERN",
        Group::Logging,
        "Pattern of a line, as spdlog's (default on a terminal: short; else [%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v)",
        |o, v| {
            o.log_format = Some(v.to_owned());
            Ok(())
        },
    ),
    switch("log-format-escaped", Group::Logging, "Escape line ends and control characters in messages", |o| {
        o.log_format_escaped = true
    }),
    unbuilt(
        switch("enable-fine-grain-logging", Group::Logging, "Levels per source file", |o| {
            o.enable_fine_grain_logging = true
        }),
        "levels per source file are not built yet",
    ),
    unbuilt(
        switch("log-stacktrace-single-entry", Group::Logging, "Write a stack trace as one line", |o| {
            o.log_stacktrace_single_entry = true
        }),
        "no stack traces are logged",
    ),
    text("service-node", "NAME", Group::Node, "Node ID", |o, v| put(&mut o.service_node, v)),
    text("service-cluster", "NAME", Group::Node, "Cluster this node belongs to", |o, v| put(&mut o.service_cluster, v)),
    text("service-zone", "NAME", Group::Node, "Zone this node is in", |o, v| put(&mut o.service_zone, v)),
    text("local-address-ip-version", "V", Group::Node, "v4 (default) or v6", ip_version),
    number("drain-time-s", "SECONDS", Group::Draining, "Longest that connections may take to drain (600)", |o, n| {
        o.drain_time = Duration::from_secs(n.into())
    }),
    text("drain-strategy", "STRATEGY", Group::Draining, "gradual (default) or immediate", drain_strategy),
    number(
        "file-flush-interval-msec",
        "MS",
        Group::Draining,
        "Longest that access-log lines wait to be written (10000)",
        |o, n| o.file_flush_interval = Duration::from_millis(n.into()),
    ),
    number(
        "file-flush-min-size-kb",
        "KB",
        Group::Draining,
        "Waiting access-log lines from which on they are written at once (64)",
        |o, n| o.file_flush_min_size_kb = n,
    ),
    switch("disable-hot-restart", Group::HotRestart, "Do not take part in hot restarts", |o| {
        o.disable_hot_restart = true
    }),
    unbuilt(
        number("base-id", "N", Group::HotRestart, "Number that sets several processes on one machine apart", |o, n| {
            o.base_id = n
        }),
        HOT_RESTART,
    ),
    unbuilt(
        switch("use-dynamic-base-id", Group::HotRestart, "Choose the base ID", |o| o.use_dynamic_base_id = true),
        HOT_RESTART,
    ),
    unbuilt(
        text("base-id-path", "PATH", Group::HotRestart, "File to write the base ID to", |o, v| {
            put(&mut o.base_id_path, v)
        }),
        HOT_RESTART,
    ),
    unbuilt(
        number("restart-epoch", "N", Group::HotRestart, "How many times this process was restarted", |o, n| {
            o.restart_epoch = n
        }),
        HOT_RESTART,
    ),
    unbuilt(
        number("parent-shutdown-time-s", "SECONDS", Group::HotRestart, "When the old process ends (900)", |o, n| {
            o.parent_shutdown_time = Duration::from_secs(n.into())
        }),
        HOT_RESTART,
    ),
    unbuilt(
        switch(
            "skip-hot-restart-on-no-parent",
            Group::HotRestart,
            "Start even if the old process does not answer",
            |o| o.skip_hot_restart_on_no_parent = true,
        ),
        HOT_RESTART,
    ),
    unbuilt(
        switch("skip-hot-restart-parent-stats", Group::HotRestart, "Do not take over the old process's stats", |o| {
            o.skip_hot_restart_parent_stats = true
        }),
        HOT_RESTART,
    ),
    unbuilt(
        text("socket-path", "PATH", Group::HotRestart, "Socket the processes talk over", |o, v| {
            put(&mut o.socket_path, v)
        }),
        HOT_RESTART,
    ),
    unbuilt(text("socket-mode", "MODE", Group::HotRestart, "Its permissions, octal", socket_mode), HOT_RESTART),
    Flag {
        repeats: true,
        ..text("stats-tag", "NAME:VALUE", Group::Other, "Tag for every statistic; may be repeated", stats_tag)
    },
    unbuilt(
        text("disable-extensions", "LIST", Group::Other, "Extensions to switch off, separated by commas", |o, v| {
            o.disabled_extensions = v.split(',').map(str::to_owned).collect();
            Ok(())
        }),
        "extensions cannot be switched off yet",
    ),
];

const fn flag(long: &'static str, value: &'static str, group: Group, help: &'static str, set: Set) -> Flag {
    Flag { long, short: None, value, help, group, set, repeats: false, without_effect: None }
}

const fn switch(long: &'static str, group: Group, help: &'static str, set: fn(&mut Options)) -> Flag {
    flag(long, "", group, help, Set::Switch(set))
}

const fn text(
    long: &'static str,
    value: &'static str,
    group: Group,
    help: &'static str,
    set: fn(&mut Options, &str) -> Result<(), String>,
) -> Flag {
    flag(long, value, group, help, Set::Text(set))
}

const fn number(
    long: &'static str,
    value: &'static str,
    group: Group,
    help: &'static str,
    set: fn(&mut Options, u32),
) -> Flag {
    flag(long, value, group, help, Set::Number(set))
}

const fn unbuilt(flag: Flag, reason: &'static str) -> Flag {
    Flag { without_effect: Some(reason), ..flag }
}

fn put(into: &mut String, value: &str) -> Result<(), String> {
    value.clone_into(into);
    Ok(())
}

fn mode(options: &mut Options, value: &str) -> Result<(), String> {
    options.mode = match value {
        "serve" => Mode::Serve,
        "validate" => Mode::Validate,
        "init_only" => Mode::InitOnly,
        _ => return Err(format!("unknown mode '{value}': expected serve, validate or init_only")),
    };
    Ok(())
}

fn drain_strategy(options: &mut Options, value: &str) -> Result<(), String> {
    options.drain_strategy = match value {
        "gradual" => DrainStrategy::Gradual,
        "immediate" => DrainStrategy::Immediate,
        _ => return Err(format!("unknown drain-strategy '{value}': expected gradual or immediate")),
    };
    Ok(())
}

fn ip_version(options: &mut Options, value: &str) -> Result<(), String> {
    options.local_address_ip_version = match value {
        "v4" => IpVersion::V4,
        "v6" => IpVersion::V6,
        _ => return Err(format!("unknown IP address version '{value}': expected v4 or v6")),
    };
    Ok(())
}

fn level(value: &str) -> Result<Level, String> {
    value.parse().map_err(|_| {
        let names = Level::ALL.map(Level::name).join(", ");
        format!("invalid log level specified '{value}': expected one of {names}")
    })
}

fn component_levels(options: &mut Options, value: &str) -> Result<(), String> {
    value.clone_into(&mut options.component_log_level);
    options.component_levels.clear();
    for pair in value.split(',').filter(|pair| !pair.is_empty()) {
        let Some((name, level_name)) = pair.split_once(':').filter(|(_, level)| !level.contains(':')) else {
            return Err(format!("component log level not correctly specified '{pair}': expected component:level"));
        };
        let level = level(level_name)?;
        if logging::component(name).is_none() {
            let close = super::suggest::closest(name, logging::COMPONENTS.into_iter());
            let hint = close.map_or(String::new(), |close| format!(": did you mean '{close}'?"));
            return Err(format!("invalid component specified '{name}'{hint}"));
        }
        options.component_levels.push((name.to_owned(), level));
    }
    Ok(())
}

fn socket_mode(options: &mut Options, value: &str) -> Result<(), String> {
    options.socket_mode =
        u32::from_str_radix(value, 8).map_err(|_| format!("error: socket-mode '{value}' is not an octal number"))?;
    Ok(())
}

fn stats_tag(options: &mut Options, value: &str) -> Result<(), String> {
    let Some((name, tag)) = value.split_once(':') else {
        return Err(format!("misformatted stats-tag '{value}': expected name:value"));
    };
    let fit = |text: &str, ok: fn(char) -> bool| !text.is_empty() && text.chars().all(ok);
    if !fit(name, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err(format!("misformatted stats-tag '{value}' contains invalid char in '{name}'"));
    }
    if !fit(tag, |c| c != '.') {
        return Err(format!("misformatted stats-tag '{value}' contains invalid char in '{tag}'"));
    }
    options.stats_tags.push((name.to_owned(), tag.to_owned()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Envoy 1.40's options but for --help, --version and --hot-restart-version, which are answered without options,
    /// and the `--` that ends them.
    const ENVOY: &str = "admin-address-path allow-unknown-fields allow-unknown-static-fields base-id base-id-path \
        component-log-level concurrency config-path config-yaml cpuset-threads disable-extensions disable-hot-restart \
        drain-strategy drain-time-s enable-core-dump enable-fine-grain-logging enable-mutex-tracing \
        file-flush-interval-msec file-flush-min-size-kb ignore-unknown-dynamic-fields local-address-ip-version \
        log-format log-format-escaped log-level log-path log-stacktrace-single-entry mode parent-shutdown-time-s \
        reject-unknown-dynamic-fields restart-epoch service-cluster service-node service-zone skip-deprecated-logs \
        skip-hot-restart-on-no-parent skip-hot-restart-parent-stats socket-mode socket-path stats-tag \
        use-dynamic-base-id";

    #[test]
    fn every_flag_of_envoy_is_there_once() {
        let ours: HashSet<_> = FLAGS.iter().map(|flag| flag.long).collect();
        assert_eq!(ours.len(), FLAGS.len(), "a name twice");
        for name in ENVOY.split_whitespace() {
            assert!(ours.contains(name), "{name}");
        }
        assert_eq!(ours.len(), ENVOY.split_whitespace().count() + 2, "ours are --strict and --watch");
    }
}
