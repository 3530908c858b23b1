//! `envoy.access_loggers.file`, `.stdout` and `.stderr`: a line per exchange.

use crate::line_format::{LineFormat, Options};
use nuncio_api::envoy::extensions::access_loggers::{
    file::v3::{FileAccessLog, file_access_log},
    stream::v3::{StderrAccessLog, StdoutAccessLog, stderr_access_log, stdout_access_log},
};
use nuncio_core::{AccessLogCx, AccessLogEntry, AccessLogger, ConfigError, FilterConfig, LineSink, StreamCx};
use prost::Message;
use std::{cell::RefCell, sync::Arc};

/// Largest line buffer a thread keeps for the next line, in bytes.
const KEPT_LINE_BYTES: usize = 64 * 1024;

/// `envoy.access_loggers.file`.
pub static FILE: AccessLogEntry = AccessLogEntry {
    name: "envoy.access_loggers.file",
    message: "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    build: build_file,
};

/// `envoy.access_loggers.stdout`.
pub static STDOUT: AccessLogEntry = AccessLogEntry {
    name: "envoy.access_loggers.stdout",
    message: "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    build: build_stdout,
};

/// `envoy.access_loggers.stderr`.
pub static STDERR: AccessLogEntry = AccessLogEntry {
    name: "envoy.access_loggers.stderr",
    message: "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
    build: build_stderr,
};

/// Formats exchanges as lines and hands them to a sink.
#[derive(Debug)]
struct LineLogger {
    format: LineFormat,
    sink: Arc<dyn LineSink>,
}

impl AccessLogger for LineLogger {
    fn log(&self, stream: &StreamCx) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            self.format.write(stream, line);
            self.sink.write(stream.worker.lane, line);
            line.shrink_to(KEPT_LINE_BYTES);
        });
    }
}

fn decode<M: Message + Default>(config: FilterConfig<'_>) -> Result<M, ConfigError> {
    M::decode(config.value).map_err(|error| ConfigError::at("", format!("cannot be decoded: {error}")))
}

fn logger(format: LineFormat, path: &str, cx: &AccessLogCx<'_>) -> Result<Arc<dyn AccessLogger>, ConfigError> {
    Ok(Arc::new(LineLogger { format, sink: cx.files.file(path) }))
}

fn build_file(config: FilterConfig<'_>, cx: &mut AccessLogCx<'_>) -> Result<Arc<dyn AccessLogger>, ConfigError> {
    use file_access_log::AccessLogFormat;
    let config: FileAccessLog = decode(config)?;
    #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
    let format = match &config.access_log_format {
        None => LineFormat::default_text(),
        Some(AccessLogFormat::Format(text)) if text.is_empty() => LineFormat::default_text(),
        Some(AccessLogFormat::Format(text)) => LineFormat::text(text, Options::default(), "format", &mut cx.warnings),
        Some(AccessLogFormat::JsonFormat(tree)) => LineFormat::json(tree, Options::default(), "json_format", &mut cx.warnings),
        Some(AccessLogFormat::TypedJsonFormat(tree)) => {
            LineFormat::json(tree, Options::default(), "typed_json_format", &mut cx.warnings)
        }
        Some(AccessLogFormat::LogFormat(format)) => LineFormat::substitution(format, "log_format", &mut cx.warnings),
    }?;
    logger(format, &config.path, cx)
}

fn build_stdout(config: FilterConfig<'_>, cx: &mut AccessLogCx<'_>) -> Result<Arc<dyn AccessLogger>, ConfigError> {
    let config: StdoutAccessLog = decode(config)?;
    let format = match &config.access_log_format {
        Some(stdout_access_log::AccessLogFormat::LogFormat(format)) => {
            LineFormat::substitution(format, "log_format", &mut cx.warnings)
        }
        None => LineFormat::default_text(),
    }?;
    logger(format, "/dev/stdout", cx)
}

fn build_stderr(config: FilterConfig<'_>, cx: &mut AccessLogCx<'_>) -> Result<Arc<dyn AccessLogger>, ConfigError> {
    let config: StderrAccessLog = decode(config)?;
    let format = match &config.access_log_format {
        Some(stderr_access_log::AccessLogFormat::LogFormat(format)) => {
            LineFormat::substitution(format, "log_format", &mut cx.warnings)
        }
        None => LineFormat::default_text(),
    }?;
    logger(format, "/dev/stderr", cx)
}
