//! Levels of the process log, per component, changeable while it runs.
//!
//! Code logs through the `log` crate with the component as target: `log::debug!(target: "upstream", …)`. Components
//! are Envoy's logger names; a target that is none of them counts by the crate it names. The binary's logger asks
//! [`enabled`]; the admin endpoint lists and changes levels. Writing lines is the binary's affair.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU8, Ordering},
};

/// How important a line is, as Envoy names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Level {
    /// Everything.
    Trace,
    /// For developers.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// Something to look at.
    Warning,
    /// Something failed.
    Error,
    /// The process cannot go on, or not as asked.
    Critical,
    /// Nothing.
    Off,
}

impl Level {
    /// All levels, most talkative first.
    pub const ALL: [Level; 7] =
        [Level::Trace, Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical, Level::Off];

    /// As Envoy spells it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::Critical => "critical",
            Level::Off => "off",
        }
    }

    fn from_index(index: u8) -> Level {
        Level::ALL.get(usize::from(index)).copied().unwrap_or(Level::Off)
    }

    fn filter(self) -> log::LevelFilter {
        match self {
            Level::Trace => log::LevelFilter::Trace,
            Level::Debug => log::LevelFilter::Debug,
            Level::Info => log::LevelFilter::Info,
            Level::Warning => log::LevelFilter::Warn,
            Level::Error => log::LevelFilter::Error,
            Level::Critical | Level::Off => log::LevelFilter::Off,
        }
    }
}

impl From<log::Level> for Level {
    fn from(level: log::Level) -> Level {
        match level {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warning,
            log::Level::Error => Level::Error,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Level, UnknownLevel> {
        if text == "warn" {
            return Ok(Level::Warning);
        }
        Level::ALL.into_iter().find(|level| level.name() == text).ok_or(UnknownLevel)
    }
}

/// Number of components.
const COUNT: usize = 73;

/// The components, in the order `/logging` lists them.
pub static COMPONENTS: [&str; COUNT] = [
    "a2a",
    "admin",
    "ai_protocol_manager",
    "alternate_protocols_cache",
    "aws",
    "assert",
    "backtrace",
    "basic_auth",
    "cache_filter",
    "client",
    "config",
    "connection",
    "conn_handler",
    "compression",
    "credential_injector",
    "decompression",
    "dns",
    "dubbo",
    "envoy_bug",
    "ext_authz",
    "ext_proc",
    "rocketmq",
    "file",
    "filter",
    "forward_proxy",
    "geolocation",
    "grpc",
    "happy_eyeballs",
    "hc",
    "health_checker",
    "http",
    "http2",
    "hystrix",
    "init",
    "io",
    "jwt",
    "json_rpc",
    "kafka",
    "key_value_store",
    "lua",
    "local_rate_limit",
    "main",
    "matcher",
    "mcp",
    "misc",
    "mongo",
    "multi_connection",
    "notification",
    "oauth2",
    "quic",
    "quic_stream",
    "pool",
    "rate_limit_quota",
    "rbac",
    "rds",
    "redis",
    "router",
    "runtime",
    "stats",
    "secret",
    "sse",
    "tap",
    "testing",
    "thrift",
    "tracing",
    "upstream",
    "udp",
    "wasm",
    "websocket",
    "golang",
    "stats_sinks",
    "dynamic_modules",
    "ip_tagging",
];

/// Components of lines whose target is a module path.
const CRATES: &[(&str, &str)] = &[
    ("nuncio_admin", "admin"),
    ("nuncio_api", "config"),
    ("nuncio_config", "config"),
    ("nuncio_ext::http", "filter"),
    ("nuncio_ext", "misc"),
    ("nuncio_http::router", "router"),
    ("nuncio_http", "http"),
    ("nuncio_listen", "conn_handler"),
    ("nuncio_stats", "stats"),
    ("nuncio_upstream", "upstream"),
    ("nuncio", "main"),
];

static LEVELS: [AtomicU8; COUNT] = [const { AtomicU8::new(Level::Info as u8) }; COUNT];

/// The component called `name`: its place among [`COMPONENTS`].
pub fn component(name: &str) -> Option<usize> {
    COMPONENTS.iter().position(|component| *component == name)
}

/// The component that a target belongs to.
pub fn component_of(target: &str) -> usize {
    let owner = || CRATES.iter().find(|(prefix, _)| target.starts_with(prefix)).map_or("misc", |(_, name)| name);
    component(target).or_else(|| component(owner())).unwrap_or_default()
}

/// True if lines of this level are written for a component.
pub fn enabled(component: usize, level: Level) -> bool {
    LEVELS.get(component).is_some_and(|at| at.load(Ordering::Relaxed) <= level as u8)
}

/// Every component and its level, in listing order.
pub fn levels() -> impl Iterator<Item = (&'static str, Level)> {
    COMPONENTS.into_iter().zip(&LEVELS).map(|(name, level)| (name, Level::from_index(level.load(Ordering::Relaxed))))
}

/// Sets the level of all components.
pub fn set_level(level: Level) {
    for at in &LEVELS {
        at.store(level as u8, Ordering::Relaxed);
    }
    publish();
}

/// Sets the level of one component; false if there is none of that name.
pub fn set_component_level(name: &str, level: Level) -> bool {
    let found = component(name).and_then(|index| LEVELS.get(index));
    if let Some(at) = found {
        at.store(level as u8, Ordering::Relaxed);
        publish();
    }
    found.is_some()
}

/// Tells the `log` facade which lines need not even be made.
fn publish() {
    let lowest = levels().map(|(_, level)| level).min().unwrap_or(Level::Off);
    log::set_max_level(lowest.filter());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_belong_to_components() {
        let name = |target| COMPONENTS[component_of(target)];
        for (target, want) in [
            ("upstream", "upstream"),
            ("nuncio_http::router::retry", "router"),
            ("nuncio_http::engine", "http"),
            ("nuncio::cli", "main"),
            ("mio::poll", "misc"),
        ] {
            assert_eq!(name(target), want, "{target}");
        }
        assert!(CRATES.iter().all(|(_, name)| component(name).is_some()));
    }

    #[test]
    fn levels_change_together_and_alone() {
        set_level(Level::Error);
        assert!(set_component_level("pool", Level::Trace) && !set_component_level("no_such", Level::Trace));
        let (pool, main) = (component_of("pool"), component_of("main"));
        assert!(enabled(pool, Level::Trace) && !enabled(main, Level::Warning) && enabled(main, Level::Critical));
        assert_eq!(log::max_level(), log::LevelFilter::Trace);
        set_level(Level::Off);
        assert!(!enabled(main, Level::Critical));
        assert_eq!((levels().count(), log::max_level()), (COUNT, log::LevelFilter::Off));
        set_level(Level::Info);
    }

    #[test]
    fn levels_are_spelled_as_in_envoy() {
        assert_eq!("warn".parse(), Ok(Level::Warning));
        assert_eq!("critical".parse(), Ok(Level::Critical));
        assert_eq!("Info".parse::<Level>(), Err(UnknownLevel));
    }
}
