//! Files and environment variables that a configuration names are read when it is judged.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3::{DataSource, data_source::Specifier};
use nuncio_api::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use std::path::Path;

pub(super) fn check(cx: &mut CompileCx<'_>, source: &DataSource) {
    match &source.specifier {
        Some(Specifier::Filename(path)) => {
            cx.at("filename", |cx| file(cx, path));
        }
        Some(Specifier::EnvironmentVariable(name)) if std::env::var_os(name).is_none() => cx.at("environment_variable", |cx| {
            cx.error(codes::MISSING, format!("the environment variable `{name}` is not set"))
                .envoy(format!("Environment variable doesn't exist: {name}"));
        }),
        _ => {}
    }
}

/// Envoy opens access logs when it validates; whether ours could be is told without making any.
pub(super) fn log_file(cx: &mut CompileCx<'_>, log: &FileAccessLog) {
    let path = Path::new(&log.path);
    let directory = path.parent().filter(|d| !d.as_os_str().is_empty());
    if directory.is_some_and(|d| !d.is_dir()) || path.is_dir() {
        let shown = &log.path;
        cx.at("path", |cx| {
            cx.error(codes::MISSING_FILE, format!("`{shown}` cannot be written to: there is no such directory"))
                .envoy(format!("unable to open file '{shown}': No such file or directory"));
        });
    }
}

/// Reports a file that cannot be read; false then.
pub(super) fn file(cx: &mut CompileCx<'_>, path: &str) -> bool {
    if Path::new(path).is_file() || std::fs::File::open(path).is_ok() {
        return true;
    }
    cx.error(codes::MISSING_FILE, format!("`{path}` cannot be read: there is no such file")).envoy(format!("Invalid path: {path}"));
    false
}

/// The bytes of a source; `None` if it has none or they cannot be read (reported by [`check`]).
pub(super) fn read(source: Option<&DataSource>) -> Option<Vec<u8>> {
    match source?.specifier.as_ref()? {
        Specifier::Filename(path) => std::fs::read(path).ok(),
        Specifier::InlineBytes(bytes) => Some(bytes.clone()),
        Specifier::InlineString(text) => Some(text.clone().into_bytes()),
        Specifier::EnvironmentVariable(name) => std::env::var(name).ok().map(String::into_bytes),
    }
}

/// How Envoy calls a source in messages.
pub(super) fn shown(source: Option<&DataSource>) -> &str {
    match source.and_then(|s| s.specifier.as_ref()) {
        Some(Specifier::Filename(path)) => path,
        _ => "<inline>",
    }
}
