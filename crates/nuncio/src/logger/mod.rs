//! The process log: lines of the `log` crate, written to standard error or a file.
//!
//! On a terminal a line is short and coloured; elsewhere, and in parity mode, it has Envoy's pattern. Levels per
//! component are [`nuncio_core::logging`]'s. [`critical`] writes the lines that `log` has no level for.
//!
//! Writing takes a lock and may wait for the disk: the data path logs at `debug` and below only, which are off.

mod pattern;

pub use pattern::{DEFAULT, Line, Pattern};

use crate::cli::Options;
use log::{Log, Metadata, Record};
use nuncio_core::{
    format::{Civil, DateFormat},
    logging::{self, COMPONENTS, Level},
};
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

/// How lines look.
#[derive(Debug)]
enum Style {
    /// `04:45:36 info  main: hello`, in colour.
    Terminal(DateFormat),
    Pattern(Pattern),
}

/// Where lines go.
#[derive(Debug)]
enum Sink {
    Stderr,
    File(PathBuf, File),
}

/// The process's logger.
#[derive(Debug)]
pub struct Logger {
    style: Style,
    sink: Mutex<Sink>,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts logging as the flags say. Call it once, before anything is logged.
///
/// # Errors
/// The log file cannot be opened.
pub fn start(options: &Options) -> io::Result<()> {
    let sink = if options.log_path.is_empty() {
        Sink::Stderr
    } else {
        let path = PathBuf::from(&options.log_path);
        let file = open(&path)?;
        Sink::File(path, file)
    };
    let person = matches!(sink, Sink::Stderr) && io::stderr().is_terminal() && !options.parity;
    let style = match &options.log_format {
        None if person && !options.log_format_escaped => Style::Terminal(DateFormat::new("%H:%M:%S")),
        format => Style::Pattern(Pattern::new(format.as_deref().unwrap_or(DEFAULT), options.log_format_escaped)),
    };
    logging::set_level(options.log_level);
    for (component, level) in &options.component_levels {
        logging::set_component_level(component, *level);
    }
    let logger = LOGGER.get_or_init(|| Logger { style, sink: Mutex::new(sink) });
    // A logger that is already set stays: tests start several times.
    let _ = log::set_logger(logger);
    Ok(())
}

/// Opens the log file anew, for log rotation.
///
/// # Errors
/// It cannot be opened; lines go on to the old one.
pub fn reopen() -> io::Result<()> {
    let Some(logger) = LOGGER.get() else { return Ok(()) };
    let mut sink = logger.sink.lock().unwrap_or_else(PoisonError::into_inner);
    if let Sink::File(path, file) = &mut *sink {
        *file = open(path)?;
    }
    Ok(())
}

/// Logs a line that says why the process cannot go on as asked.
#[track_caller]
pub fn critical(component: &str, message: fmt::Arguments<'_>) {
    let place = std::panic::Location::caller();
    let index = logging::component_of(component);
    if let Some(logger) = LOGGER.get()
        && logging::enabled(index, Level::Critical)
    {
        logger.write(Level::Critical, COMPONENTS[index], place.file(), place.line(), message);
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The thread's number as the system knows it; 0 if it cannot be had.
fn thread_number() -> u64 {
    thread_local! {
        static NUMBER: u64 = std::fs::read_link("/proc/thread-self")
            .ok()
            .and_then(|link| link.file_name()?.to_str()?.parse().ok())
            .unwrap_or_default();
    }
    NUMBER.with(|number| *number)
}

impl Logger {
    fn write(&self, level: Level, component: &str, file: &str, line: u32, message: fmt::Arguments<'_>) {
        let at = Civil::local(SystemTime::now());
        let mut out = Vec::with_capacity(160);
        match &self.style {
            Style::Terminal(time) => {
                let (on, off) = colour(level);
                time.write(&at, &mut out);
                // Writing to a Vec cannot fail.
                let _ = match level {
                    Level::Info => writeln!(out, " {message}"),
                    _ => writeln!(out, " {on}{level}{off} {component}: {message}"),
                };
            }
            Style::Pattern(pattern) => {
                let message = match message.as_str() {
                    Some(text) => std::borrow::Cow::Borrowed(text),
                    None => std::borrow::Cow::Owned(message.to_string()),
                };
                let thread = thread_number();
                pattern.write(&Line { at: &at, level, component, thread, file, line, message: &message }, &mut out);
            }
        }
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // There is nobody left to tell if the log itself cannot be written.
        let _ = match &mut *sink {
            Sink::Stderr => io::stderr().write_all(&out),
            Sink::File(_, file) => file.write_all(&out),
        };
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        logging::enabled(logging::component_of(metadata.target()), metadata.level().into())
    }

    fn log(&self, record: &Record<'_>) {
        let component = logging::component_of(record.target());
        if logging::enabled(component, record.level().into()) {
            let (file, line) = (record.file().unwrap_or_default(), record.line().unwrap_or_default());
            self.write(record.level().into(), COMPONENTS[component], file, line, *record.args());
        }
    }

    fn flush(&self) {}
}

/// Terminal codes around a level's name.
fn colour(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::Critical | Level::Error => ("\x1b[31m", "\x1b[0m"),
        Level::Warning => ("\x1b[33m", "\x1b[0m"),
        Level::Debug | Level::Trace => ("\x1b[2m", "\x1b[0m"),
        _ => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_log_file_and_follow_a_rotation() {
        let path = std::env::temp_dir().join(format!("nuncio-log-{}", std::process::id()));
        let old = path.with_extension("old");
        let options = Options {
            log_path: path.to_str().unwrap().to_owned(),
            log_format: Some("%l|%n|%v".to_owned()),
            component_levels: vec![("pool".to_owned(), Level::Debug)],
            ..Options::default()
        };
        start(&options).unwrap();
        log::info!(target: "upstream", "one {}", 1);
        log::debug!(target: "upstream", "hidden");
        log::debug!(target: "pool", "shown");
        critical("config", format_args!("bad"));
        std::fs::rename(&path, &old).unwrap();
        reopen().unwrap();
        log::warn!(target: "nuncio_http::engine", "after");
        let text = std::fs::read_to_string(&old).unwrap() + &std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "info|upstream|one 1\ndebug|pool|shown\ncritical|config|bad\nwarning|http|after\n");
        std::fs::remove_file(&old).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
