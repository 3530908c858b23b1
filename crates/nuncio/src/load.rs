//! Reading configuration for starting, reloading and checking, and saying what was found.

use crate::cli::{CheckArgs, CheckFormat, Mode as RunMode, Options};
use nuncio_api::Look;
use nuncio_config::{Identity, Input, Mode, Purpose, Report, Snapshot};
use nuncio_core::{HttpFilterEntry, LogFiles};
use nuncio_ext::{
    access_log::{BackgroundFiles, FlushOptions},
    registry,
};
use nuncio_stats::Store;
use std::{
    fs,
    io::{IsTerminal, Write, stderr, stdout},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

/// A configuration that may run, and what it was built on.
pub(crate) struct Loaded {
    pub(crate) snapshot: Snapshot,
    pub(crate) store: Arc<Store>,
    pub(crate) files: Arc<BackgroundFiles>,
}

/// Loads what the flags name. `None` when they only ask for a judgement, which was good.
pub(crate) fn load(options: &Options, filters: &[HttpFilterEntry]) -> Result<Option<Loaded>, ExitCode> {
    let inputs = inputs(options);
    if inputs.is_empty() {
        eprintln!(
            "error: no configuration: give a file with -c, or a text with --config-yaml\n  \
             nuncio demo runs a ready-made one"
        );
        return Err(ExitCode::FAILURE);
    }
    let validate = options.mode == RunMode::Validate;
    let store = crate::server::store(options.workers());
    let flush = FlushOptions {
        interval: options.file_flush_interval,
        min_bytes: u64::from(options.file_flush_min_size_kb) * 1024,
        ..FlushOptions::default()
    };
    let files = BackgroundFiles::new(&store, crate::server::writer_lane(options.workers()), flush);
    let purpose = if validate { Purpose::Check } else { Purpose::Start };
    let read = reading(options, filters, purpose, &store, &files);
    let loaded = nuncio_config::load(&inputs, &read);
    let name = inputs.first().map(|i| i.name.clone()).unwrap_or_default();
    match loaded.snapshot {
        None => {
            tell(&loaded.report, options.log_level > nuncio_core::logging::Level::Warning);
            let words = loaded.report.envoy_words().unwrap_or_default();
            crate::logger::critical("main", format_args!("error initializing configuration '{name}': {words}"));
            Err(ExitCode::FAILURE)
        }
        Some(_) if validate => {
            tell(&loaded.report, options.log_level > nuncio_core::logging::Level::Warning);
            println!("configuration '{name}' OK");
            Ok(None)
        }
        Some(snapshot) => {
            tell(&loaded.report, options.log_level > nuncio_core::logging::Level::Warning);
            Ok(Some(Loaded { snapshot, store, files }))
        }
    }
}

/// Loads what may not be fit to run here, to answer questions about it. The error is the report for people.
pub(crate) fn judged(options: &Options, filters: &[HttpFilterEntry]) -> Result<Snapshot, String> {
    let store = crate::server::store(1);
    let files = BackgroundFiles::new(&store, crate::server::writer_lane(1), FlushOptions::default());
    let read = reading(options, filters, Purpose::Check, &store, &files);
    let loaded = nuncio_config::load(&inputs(options), &read);
    loaded.snapshot.ok_or_else(|| loaded.report.text(Look { color: false, docs: true }))
}

/// How strict the command line is, for starting.
pub(crate) fn mode(options: &Options) -> Mode {
    Mode { strict: options.strict || options.parity, parity: options.parity, purpose: Purpose::Start }
}

/// Loads again for a server that runs. The error is the report for people.
pub(crate) fn snapshot(
    options: &Options,
    filters: &[HttpFilterEntry],
    store: &Arc<Store>,
    files: &Arc<BackgroundFiles>,
) -> Result<Snapshot, String> {
    let read = reading(options, filters, Purpose::Start, store, files);
    let loaded = nuncio_config::load(&inputs(options), &read);
    loaded.snapshot.ok_or_else(|| loaded.report.text(Look { color: false, docs: true }))
}

fn inputs(options: &Options) -> Vec<Input> {
    let mut inputs = Vec::new();
    if !options.config_path.is_empty() {
        inputs.push(Input::file(Path::new(&options.config_path)));
    }
    if !options.config_yaml.is_empty() {
        inputs.push(Input::inline(&options.config_yaml));
    }
    inputs
}

fn reading<'a>(
    options: &Options,
    filters: &'a [HttpFilterEntry],
    purpose: Purpose,
    store: &Arc<Store>,
    files: &Arc<BackgroundFiles>,
) -> nuncio_config::Options<'a> {
    nuncio_config::Options {
        mode: Mode { purpose, ..mode(options) },
        allow_unknown: options.allow_unknown_static_fields,
        identity: Identity {
            id: options.service_node.as_str().into(),
            cluster: options.service_cluster.as_str().into(),
            zone: options.service_zone.as_str().into(),
            ..Identity::default()
        },
        http_filters: filters,
        network_filters: registry::NETWORK_FILTERS,
        listener_filters: registry::LISTENER_FILTERS,
        access_loggers: registry::ACCESS_LOGGERS,
        log_files: Some(files.clone() as Arc<dyn LogFiles>),
        stats: Some(store.clone()),
    }
}

/// Writes a report to standard error; without its warnings when only errors are wanted.
fn tell(report: &Report, errors_only: bool) {
    let look = Look { color: stderr().is_terminal(), docs: true };
    for file in &report.files {
        for diagnostic in file.diagnostics.iter().filter(|d| d.is_error() || !errors_only) {
            eprintln!("{}", nuncio_api::render(&file.source, diagnostic, look).trim_end());
        }
    }
    if report.errors() > 0 || (report.warnings() > 0 && !errors_only) {
        eprintln!("{}", tally(report));
    }
}

/// `2 errors, 1 warning`, or that all is well.
fn tally(report: &Report) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (report.errors(), report.warnings()) {
        (0, 0) => "no errors, no warnings".to_owned(),
        (0, warnings) => count(warnings, "warning"),
        (errors, 0) => count(errors, "error"),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    }
}

/// `nuncio check FILE…`.
pub(crate) fn check(args: &CheckArgs, filters: &[HttpFilterEntry]) -> ExitCode {
    let parity = crate::parity();
    let inputs: Vec<Input> = args.files.iter().map(|file| Input::file(file)).collect();
    let mut options = nuncio_config::Options::checking(Mode { strict: args.strict || parity, parity, purpose: Purpose::Check });
    options.http_filters = filters;
    options.network_filters = registry::NETWORK_FILTERS;
    options.listener_filters = registry::LISTENER_FILTERS;
    options.access_loggers = registry::ACCESS_LOGGERS;
    let report = nuncio_config::check(&inputs, &options);
    if args.fix {
        fix(args, &report);
    }
    let mut out = stdout();
    let text = match args.format {
        CheckFormat::Json => report.json(),
        CheckFormat::Text => {
            let shown = report.text(Look { color: out.is_terminal(), docs: true });
            format!("{shown}{}\n", tally(&report))
        }
    };
    // Nobody to tell if standard output is closed.
    let _ = out.write_all(text.as_bytes());
    if report.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Applies the mechanical fixes; the file as it was stays beside it as `.orig`.
fn fix(args: &CheckArgs, report: &Report) {
    for (index, file) in args.files.iter().enumerate() {
        let Some(fixed) = report.fixed(index) else { continue };
        let kept = file.with_extension(match file.extension() {
            Some(extension) => format!("{}.orig", extension.to_string_lossy()),
            None => "orig".to_owned(),
        });
        match fs::copy(file, &kept).and_then(|_| fs::write(file, fixed)) {
            Ok(()) => eprintln!("fixed {} (as it was: {}); check it again", file.display(), kept.display()),
            Err(error) => eprintln!("error: cannot write {}: {error}", file.display()),
        }
    }
}
