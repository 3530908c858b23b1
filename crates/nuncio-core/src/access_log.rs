//! Access logs: who writes lines, where lines go, which exchanges are logged.
//!
//! Building a logger opens no file: it asks [`LogFiles`] for a [`LineSink`] by path; starting opens them.

use crate::{ConfigError, FilterConfig, ResponseFlags, RuntimeUint, StreamCx};
use nuncio_codec::headers::Known;
use nuncio_stats::{Lane, Store};
use std::{fmt, sync::Arc};

/// Writes one line (or message) per exchange. Must not block: a full sink drops and counts.
pub trait AccessLogger: Send + Sync + fmt::Debug + 'static {
    /// Called once, when the exchange is over.
    fn log(&self, stream: &StreamCx);
}

/// Takes finished lines, line end included, and writes them later. Never blocks.
pub trait LineSink: Send + Sync + fmt::Debug + 'static {
    /// Takes a line from the thread that owns `lane`.
    fn write(&self, lane: Lane, line: &[u8]);
}

/// The files that lines are written to in the background.
pub trait LogFiles: Send + Sync + fmt::Debug + 'static {
    /// The sink for a path; the same one for the same path. Opens nothing.
    fn file(&self, path: &str) -> Arc<dyn LineSink>;
}

/// What a builder of access loggers may touch.
#[derive(Debug)]
pub struct AccessLogCx<'a> {
    /// Files to write to.
    pub files: &'a dyn LogFiles,
    /// Where to register stats.
    pub stats: &'a Arc<Store>,
    /// Fields accepted without effect, with their path.
    pub warnings: Vec<ConfigError>,
    /// Fields that are not built and unsafe to ignore, with their path: refused when starting.
    pub unsafe_without: Vec<ConfigError>,
}

impl<'a> AccessLogCx<'a> {
    /// A context for building one logger.
    pub fn new(files: &'a dyn LogFiles, stats: &'a Arc<Store>) -> AccessLogCx<'a> {
        AccessLogCx { files, stats, warnings: Vec::new(), unsafe_without: Vec::new() }
    }
}

/// Builds an access logger from its configuration.
pub type AccessLogBuild = fn(FilterConfig<'_>, &mut AccessLogCx<'_>) -> Result<Arc<dyn AccessLogger>, ConfigError>;

/// One access logger of the registry.
#[derive(Debug, Clone, Copy)]
pub struct AccessLogEntry {
    /// Envoy's name, `envoy.access_loggers.…`.
    pub name: &'static str,
    /// Full name of its configuration message.
    pub message: &'static str,
    /// Builds the logger.
    pub build: AccessLogBuild,
}

/// How a number is compared (`ComparisonFilter.Op`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Greater or equal.
    Ge,
    /// Less or equal.
    Le,
    /// Not equal.
    Ne,
}

impl Comparison {
    fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Comparison::Eq => left == right,
            Comparison::Ge => left >= right,
            Comparison::Le => left <= right,
            Comparison::Ne => left != right,
        }
    }
}

/// A part of all exchanges (`RuntimeFilter`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSample {
    /// How many of `denominator`.
    pub numerator: RuntimeUint,
    /// 100, 10,000 or 1,000,000.
    pub denominator: u32,
    /// `use_independent_randomness`: draws a number of its own instead of the one in `x-request-id`.
    pub independent: bool,
}

impl LogSample {
    fn takes(&self, stream: &StreamCx) -> bool {
        let from_id = || {
            let digits = stream.request.get(Known::XRequestId)?.get(..8)?;
            u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let told = if self.independent { None } else { from_id() };
        let random = told.unwrap_or_else(|| stream.worker.rng.next_u64());
        random % u64::from(self.denominator.max(1)) < self.numerator.now(&stream.worker.runtime.values())
    }
}

/// A test of an exchange that another crate brings (header matchers, CEL, metadata).
pub type StreamTest = Arc<dyn Fn(&StreamCx) -> bool + Send + Sync>;

/// Which exchanges are logged (`AccessLogFilter`).
#[derive(Clone)]
pub enum LogFilter {
    /// The status sent to the client.
    StatusCode(Comparison, RuntimeUint),
    /// Duration of the exchange in whole milliseconds.
    Duration(Comparison, RuntimeUint),
    /// A part of all exchanges (`RuntimeFilter`).
    Sample(LogSample),
    /// Not a request that the health check filter answered.
    NotHealthCheck,
    /// Any of these response flags; any flag at all if the set is empty.
    ResponseFlags(ResponseFlags),
    /// All of them hold.
    And(Vec<LogFilter>),
    /// One of them holds.
    Or(Vec<LogFilter>),
    /// Something else.
    Test(StreamTest),
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogFilter::StatusCode(op, status) => write!(f, "StatusCode({op:?}, {status:?})"),
            LogFilter::Duration(op, duration) => write!(f, "Duration({op:?}, {duration:?})"),
            LogFilter::Sample(sample) => write!(f, "{sample:?}"),
            LogFilter::NotHealthCheck => f.write_str("NotHealthCheck"),
            LogFilter::ResponseFlags(flags) => write!(f, "ResponseFlags({flags})"),
            LogFilter::And(filters) => f.debug_tuple("And").field(filters).finish(),
            LogFilter::Or(filters) => f.debug_tuple("Or").field(filters).finish(),
            LogFilter::Test(_) => f.write_str("Test"),
        }
    }
}

impl LogFilter {
    /// True if the exchange is to be logged.
    pub fn passes(&self, stream: &StreamCx) -> bool {
        let info = &stream.info;
        match self {
            LogFilter::StatusCode(op, status) => op.holds(u64::from(info.status), status.now(&stream.worker.runtime.values())),
            LogFilter::Duration(op, limit) => {
                let taken = stream.duration(nuncio_rt::Time::now()).as_millis();
                op.holds(u64::try_from(taken).unwrap_or(u64::MAX), limit.now(&stream.worker.runtime.values()))
            }
            LogFilter::Sample(sample) => sample.takes(stream),
            LogFilter::NotHealthCheck => !info.health_check,
            LogFilter::ResponseFlags(flags) if flags.is_empty() => !info.flags.is_empty(),
            LogFilter::ResponseFlags(flags) => info.flags.has(*flags),
            LogFilter::And(filters) => filters.iter().all(|filter| filter.passes(stream)),
            LogFilter::Or(filters) => filters.iter().any(|filter| filter.passes(stream)),
            LogFilter::Test(test) => test(stream),
        }
    }
}

/// A logger behind a filter.
#[derive(Debug)]
pub struct FilteredLogger {
    /// Which exchanges pass.
    pub filter: LogFilter,
    /// What logs them.
    pub logger: Arc<dyn AccessLogger>,
}

impl AccessLogger for FilteredLogger {
    fn log(&self, stream: &StreamCx) {
        if self.filter.passes(stream) {
            self.logger.log(stream);
        }
    }
}
