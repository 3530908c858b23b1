//! Reading, judging and compiling configuration texts: `nuncio check`, `--mode validate`, starting and reloading.

use crate::bootstrap;
use crate::context::{CompileCx, Identity, Mode, Purpose};
use crate::finding::Finding;
use crate::report::{FileReport, Report, place_findings};
use crate::routes::{self, Origin};
use crate::snapshot::Snapshot;
use nuncio_api::envoy::config::bootstrap::v3::Bootstrap;
use nuncio_api::envoy::config::route::v3::RouteConfiguration;
use nuncio_api::{Diagnostic, Document, Source, Syntax};
use nuncio_core::{AccessLogEntry, HttpFilterEntry, LogFiles, NetworkFilterEntry};
use nuncio_http::routes::RouteTable;
use nuncio_stats::Store;
use prost::Message as _;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A configuration text.
#[derive(Debug, Clone)]
pub struct Input {
    /// What people know it by: a path, `--config-yaml`.
    pub name: String,
    /// The text, or why it could not be read.
    pub text: Result<String, String>,
    /// Its language.
    pub syntax: Syntax,
}

impl Input {
    /// Reads a file; that it cannot be read is reported when it is checked.
    pub fn file(path: &Path) -> Input {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|why| why.to_string());
        let text = text.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned()));
        Input { syntax: Syntax::of(&name), name, text }
    }

    /// The text of `--config-yaml`.
    pub fn inline(text: &str) -> Input {
        Input { name: "--config-yaml".to_owned(), text: Ok(text.to_owned()), syntax: Syntax::Yaml }
    }
}

/// How to read, and what is built into this binary.
#[derive(Clone)]
pub struct Options<'a> {
    /// How strict, and for what.
    pub mode: Mode,
    /// `--allow-unknown-static-fields`.
    pub allow_unknown: bool,
    /// What the command line says of who we are; empty where it says nothing.
    pub identity: Identity,
    /// Built HTTP filters.
    pub http_filters: &'a [HttpFilterEntry],
    /// Network filters that are built.
    pub network_filters: &'a [NetworkFilterEntry],
    /// Listener filters that are built and only let connections in or not.
    pub listener_filters: &'a [NetworkFilterEntry],
    /// Built access loggers.
    pub access_loggers: &'a [&'static AccessLogEntry],
    /// Where access loggers write when starting; nowhere when only checking.
    pub log_files: Option<Arc<dyn LogFiles>>,
    /// Where statistics are registered when starting; nowhere when only checking.
    pub stats: Option<Arc<Store>>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("mode", &self.mode).field("allow_unknown", &self.allow_unknown).finish_non_exhaustive()
    }
}

impl Options<'_> {
    /// Options for checking with nothing built in.
    pub fn checking(mode: Mode) -> Options<'static> {
        Options {
            mode,
            allow_unknown: false,
            identity: Identity::default(),
            http_filters: &[],
            network_filters: &[],
            listener_filters: &[],
            access_loggers: &[],
            log_files: None,
            stats: None,
        }
    }
}

/// What loading gave.
#[derive(Debug)]
pub struct Loaded {
    /// Everything found.
    pub report: Report,
    /// Ready to run; `None` if anything is refused.
    pub snapshot: Option<Snapshot>,
}

/// Reads, judges and compiles a bootstrap made of texts that are merged in their order, as Envoy merges `--config-yaml`
/// over `-c`.
pub fn load(inputs: &[Input], options: &Options<'_>) -> Loaded {
    let mut documents: Vec<Document> = Vec::new();
    let mut unreadable: Vec<FileReport> = Vec::new();
    for input in inputs {
        match parse(input) {
            Ok(document) => documents.push(document),
            Err(report) => unreadable.push(report),
        }
    }
    let decoding = nuncio_api::Options { strict: options.mode.strict, allow_unknown: options.allow_unknown };
    let decoded = nuncio_api::decode_merged::<Bootstrap>(&documents.iter().collect::<Vec<_>>(), &decoding, bootstrap::CLUSTERS);
    // Compiled even where reading found errors: one run shall find everything.
    let message = decoded.message.or_else(|| Bootstrap::decode(decoded.bytes.as_slice()).ok());
    let (snapshot, findings) = match message {
        Some(message) if !documents.is_empty() => compile(&message, &decoded.bytes.into(), options),
        _ => (None, Vec::new()),
    };
    let mut files = place_findings(&documents, decoded.diagnostics, findings);
    files.extend(unreadable);
    let report = Report { files };
    let snapshot = snapshot.filter(|_| report.errors() == 0);
    Loaded { report, snapshot }
}

/// What loading a route configuration gave.
#[derive(Debug)]
pub struct RoutesLoaded {
    /// Everything found.
    pub report: Report,
    /// The table; `None` if anything is refused.
    pub table: Option<Arc<RouteTable>>,
}

/// Reads and compiles a file that is one `RouteConfiguration`, which `adjust` may change before. Its clusters are not
/// looked for.
pub fn load_routes(input: &Input, options: &Options<'_>, adjust: impl FnOnce(&mut RouteConfiguration)) -> RoutesLoaded {
    let document = match parse(input) {
        Ok(document) => document,
        Err(report) => return RoutesLoaded { report: Report { files: vec![report] }, table: None },
    };
    let decoding = nuncio_api::Options { strict: options.mode.strict, allow_unknown: options.allow_unknown };
    let decoded = nuncio_api::decode::<RouteConfiguration>(&document, &decoding);
    let mut cx = context(options, Store::new(1));
    let table = decoded.message.and_then(|mut routes| {
        adjust(&mut routes);
        routes::compile(&mut cx, &routes, Origin::Dynamic)
    });
    let report = Report { files: place_findings(&[document], vec![decoded.diagnostics], cx.into_findings()) };
    let table = table.filter(|_| report.errors() == 0);
    RoutesLoaded { report, table }
}

/// Checks files, each for itself.
pub fn check(inputs: &[Input], options: &Options<'_>) -> Report {
    let files = inputs.iter().flat_map(|input| load(std::slice::from_ref(input), options).report.files);
    Report { files: files.collect() }
}

/// Compiles, on trial first: a configuration that is refused must leave no trace in the statistics and log files of the
/// one that runs.
fn compile(message: &Bootstrap, bytes: &Arc<[u8]>, options: &Options<'_>) -> (Option<Snapshot>, Vec<Finding>) {
    let mut trial = context(options, Store::new(1));
    let snapshot = bootstrap::compile(&mut trial, message, bytes);
    let findings = trial.into_findings();
    let Some(stats) = options.stats.as_ref().filter(|_| options.mode.purpose == Purpose::Start) else {
        return (Some(snapshot), findings);
    };
    if findings.iter().any(Finding::is_error) {
        return (None, findings);
    }
    // It may be large, and is made once more.
    drop(snapshot);
    let mut cx = context(options, stats.clone());
    if let Some(files) = &options.log_files {
        cx.log_files = files.clone();
    }
    let snapshot = bootstrap::compile(&mut cx, message, bytes);
    (Some(snapshot), cx.into_findings())
}

fn context<'a>(options: &Options<'a>, stats: Arc<Store>) -> CompileCx<'a> {
    let mut cx = CompileCx::new(options.mode, stats, options.http_filters);
    cx.network_filters = options.network_filters;
    cx.listener_filters = options.listener_filters;
    cx.access_loggers = options.access_loggers;
    cx.identity = options.identity.clone();
    cx
}

fn parse(input: &Input) -> Result<Document, FileReport> {
    let (source, diagnostics) = match &input.text {
        Ok(text) => {
            let source = Source::new(&input.name, text);
            match Document::parse(source.clone(), input.syntax) {
                Ok(document) => return Ok(document),
                Err(diagnostics) => (source, diagnostics),
            }
        }
        Err(why) => {
            let error = Diagnostic::error(crate::codes::MISSING_FILE, None, format!("cannot read `{}`: {why}", input.name));
            (Source::new(&input.name, ""), vec![error.note(format!("Envoy says: Invalid path: {}", input.name))])
        }
    };
    Err(FileReport { source, diagnostics })
}
