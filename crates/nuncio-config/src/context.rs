//! What compiling a configuration knows, and what it finds.
//!
//! A [`CompileCx`] is handed down through every compiling function. Findings are collected, never returned: a function
//! that cannot make its part reports why and gives `None` or a harmless value, so that all errors of a file come out in
//! one run.

use crate::codes;
use crate::finding::{Finding, Severity};
use crate::path::{Path, Step};
use crate::runtime::Runtime;
use nuncio_api::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use nuncio_core::metadata::Metadata;
use nuncio_core::{AccessLogEntry, BuildCx, ConfigError, HttpFilterEntry, LineSink, LogFiles, NetworkFilterEntry};
use nuncio_rt::TcpOptions;
use nuncio_stats::{Lane, Store};
use nuncio_upstream::EventLog;
use nuncio_upstream::config::ResolverConfig;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What the configuration is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// `check`, `--mode validate`: judged as Envoy would, also for features that are not built.
    #[default]
    Check,
    /// It shall run: features that are not built and unsafe to ignore are refused.
    Start,
}

/// How strict to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode {
    /// `--strict` or parity: refuse what Envoy 1.40 refuses.
    pub strict: bool,
    /// `NUNCIO_PARITY=1`: accept everything that Envoy 1.40 accepts, too.
    pub parity: bool,
    /// Checking or starting.
    pub purpose: Purpose,
}

/// Who we are, from `node` and the command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// `node.id`, `--service-node`.
    pub id: Arc<str>,
    /// `node.cluster`, `--service-cluster`.
    pub cluster: Arc<str>,
    /// `node.locality.zone`, `--service-zone`.
    pub zone: Arc<str>,
    /// `node.metadata`.
    pub metadata: Arc<Metadata>,
}

/// A declared name: where it stands and what else references must know about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// Path of the declaration.
    pub path: String,
    /// For a cluster: its endpoints come over EDS, from a server.
    pub eds: bool,
}

/// A secret of the bootstrap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StaticSecret {
    /// Its name.
    pub name: String,
    /// Its kind, in Envoy's words: `TlsCertificate`, `CertificateValidationContext`, …
    pub kind: &'static str,
    /// Where it stands.
    pub path: String,
    /// The encoded `Secret`.
    pub bytes: Vec<u8>,
    /// Something refers to it.
    pub referenced: bool,
}

/// What compiling knows and finds.
pub struct CompileCx<'a> {
    /// How strict to be.
    pub mode: Mode,
    /// Where stats are registered.
    pub stats: Arc<Store>,
    /// HTTP filters that are built, by [`HttpFilterEntry::message`].
    pub http_filters: &'a [HttpFilterEntry],
    /// Network filters that are built, by [`NetworkFilterEntry::message`].
    pub network_filters: &'a [NetworkFilterEntry],
    /// Listener filters that are built and only let connections in or not, by [`NetworkFilterEntry::message`].
    pub listener_filters: &'a [NetworkFilterEntry],
    /// Access loggers that are built, by [`AccessLogEntry::message`].
    pub access_loggers: &'a [&'static AccessLogEntry],
    /// Where access loggers write.
    pub log_files: Arc<dyn LogFiles>,
    /// `bootstrap_extensions` has the one for internal listeners.
    pub internal_listeners: Option<usize>,
    /// `static_resources.secrets`.
    pub static_secrets: Vec<StaticSecret>,
    /// Resolver of clusters that name none.
    pub default_resolver: ResolverConfig,
    /// Source addresses of clusters that name none.
    pub default_bind: TcpOptions,
    /// Where outlier detection writes what it does.
    pub outlier_events: Option<EventLog>,
    /// Files that the TLS context being compiled depends on, where its secrets come from files.
    pub tls_files: Vec<std::path::PathBuf>,
    /// Runtime values of the bootstrap's layers.
    pub runtime: Arc<Runtime>,
    /// Who we are.
    pub identity: Identity,
    /// Caches of names, by name: whoever uses one must configure it alike.
    pub(crate) dns_caches: HashMap<String, DnsCacheConfig>,
    /// What the last cluster had, for the next that has the same.
    pub(crate) last_cluster: crate::clusters::LastCluster,
    clusters: HashMap<Box<str>, Declared>,
    dynamic_clusters: bool,
    path: Path,
    findings: Vec<Finding>,
}

impl fmt::Debug for CompileCx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompileCx").field("mode", &self.mode).field("path", &self.path.text()).field("findings", &self.findings).finish_non_exhaustive()
    }
}

/// Files of a configuration that is only checked: nothing is written.
#[derive(Debug)]
struct NoFiles;

impl LogFiles for NoFiles {
    fn file(&self, _path: &str) -> Arc<dyn LineSink> {
        Arc::new(NoFiles)
    }
}

impl LineSink for NoFiles {
    fn write(&self, _lane: Lane, _line: &[u8]) {}
}

impl<'a> CompileCx<'a> {
    /// Static secrets that are just texts, encoded, by name.
    pub(crate) fn generic_secrets(&self) -> Vec<(String, Vec<u8>)> {
        let generic = self.static_secrets.iter().filter(|secret| secret.kind == "GenericSecret");
        generic.map(|secret| (secret.name.clone(), secret.bytes.clone())).collect()
    }

    /// A context without clusters and findings.
    pub fn new(mode: Mode, stats: Arc<Store>, http_filters: &'a [HttpFilterEntry]) -> CompileCx<'a> {
        CompileCx {
            mode,
            stats,
            http_filters,
            network_filters: &[],
            listener_filters: &[],
            access_loggers: &[],
            log_files: Arc::new(NoFiles),
            internal_listeners: None,
            static_secrets: Vec::new(),
            dns_caches: HashMap::new(),
            default_resolver: ResolverConfig::default(),
            default_bind: TcpOptions::default(),
            outlier_events: None,
            tls_files: Vec::new(),
            runtime: Arc::default(),
            identity: Identity::default(),
            last_cluster: crate::clusters::LastCluster::default(),
            clusters: HashMap::new(),
            dynamic_clusters: false,
            path: Path::default(),
            findings: Vec::new(),
        }
    }

    // --- where we are ---

    /// Runs `part` one field deeper.
    pub fn at<T>(&mut self, field: &'static str, part: impl FnOnce(&mut Self) -> T) -> T {
        self.step(Step::Field(field), part)
    }

    /// Runs `part` for item `index` of the list `field`.
    pub fn item<T>(&mut self, field: &'static str, index: usize, part: impl FnOnce(&mut Self) -> T) -> T {
        self.at(field, |cx| cx.step(Step::Index(index), part))
    }

    /// Runs `part` for the entry `key` of the map `field`.
    pub fn entry<T>(&mut self, field: &'static str, key: &str, part: impl FnOnce(&mut Self) -> T) -> T {
        self.at(field, |cx| cx.step(Step::Key(key.into()), part))
    }

    /// Runs `part` for each item of the list `field`, and collects what is made.
    pub fn each<'i, I, T>(&mut self, field: &'static str, items: &'i [I], mut part: impl FnMut(&mut Self, &'i I) -> Option<T>) -> Vec<T> {
        self.path.push(Step::Field(field));
        let mut made = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            made.extend(self.step(Step::Index(index), |cx| part(cx, item)));
        }
        self.path.pop();
        made
    }

    /// Runs `part` one step deeper.
    pub fn step<T>(&mut self, step: Step, part: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let made = part(self);
        self.path.pop();
        made
    }

    /// The current path, written out.
    pub fn path(&self) -> String {
        self.path.text()
    }

    // --- what is found ---

    /// An error at the current path.
    pub fn error(&mut self, code: &'static str, message: impl Into<String>) -> &mut Finding {
        self.report(Severity::Error, code, message)
    }

    /// A warning at the current path.
    pub fn warn(&mut self, code: &'static str, message: impl Into<String>) -> &mut Finding {
        self.report(Severity::Warning, code, message)
    }

    /// Envoy refuses it, we take it by default: an error when strict, else a warning.
    pub fn refused_if_strict(&mut self, code: &'static str, message: impl Into<String>) -> &mut Finding {
        let severity = if self.mode.strict { Severity::Error } else { Severity::Warning };
        self.report(severity, code, message)
    }

    /// Envoy takes it, we refuse it by default: a warning in parity, else an error.
    pub fn refused_unless_parity(&mut self, code: &'static str, message: impl Into<String>) -> &mut Finding {
        let severity = if self.mode.parity { Severity::Warning } else { Severity::Error };
        self.report(severity, code, message)
    }

    /// The field of the current message is accepted without effect. Mostly through [`crate::unbuilt!`].
    pub fn without_effect(&mut self, field: &'static str) -> &mut Finding {
        self.at_field(field, Severity::Warning, codes::WITHOUT_EFFECT, format!("`{field}` is accepted without effect")).on_key()
    }

    /// The value of the current field is accepted without effect; `what` is the sentence's subject: "lb_policy MAGLEV".
    pub fn value_without_effect(&mut self, what: &str) -> &mut Finding {
        self.warn(codes::WITHOUT_EFFECT, format!("{what} is accepted without effect"))
    }

    /// The field is unsafe to ignore and not built: refused when starting. Mostly through [`crate::unsafe_unbuilt!`].
    pub fn unsafe_without(&mut self, field: &'static str) -> &mut Finding {
        let severity = self.unsafe_severity();
        self.at_field(field, severity, codes::NOT_BUILT, format!("`{field}` is not built yet, and unsafe to ignore")).on_key()
    }

    /// The value of the current field is unsafe to ignore and not built; `what` is the sentence's subject.
    pub fn value_unsafe_without(&mut self, what: &str) -> &mut Finding {
        let severity = self.unsafe_severity();
        self.report(severity, codes::NOT_BUILT, format!("{what} is not built yet, and unsafe to ignore"))
    }

    /// An extension's own error, below the current path.
    pub fn extension_error(&mut self, code: &'static str, error: ConfigError) -> &mut Finding {
        self.path.push(Step::Text(error.path.into()));
        let path = self.path.text();
        self.path.pop();
        self.push(Finding::new(Severity::Error, code, path, error.message))
    }

    /// The warnings that building an HTTP filter left behind, below the current path.
    pub fn extension_warnings(&mut self, built: &mut BuildCx<'_>) {
        self.extension_findings(std::mem::take(&mut built.warnings));
    }

    /// The warnings that building an extension left behind, below the current path: fields without effect.
    pub fn extension_findings(&mut self, warnings: Vec<ConfigError>) {
        for warning in warnings {
            let finding = self.extension_error(codes::WITHOUT_EFFECT, warning);
            finding.severity = Severity::Warning;
        }
    }

    /// What an extension cannot do and is unsafe to ignore, below the current path: refused when starting.
    pub fn extension_refusals(&mut self, refusals: Vec<ConfigError>) {
        for refusal in refusals {
            let severity = self.unsafe_severity();
            self.extension_error(codes::NOT_BUILT, refusal).severity = severity;
        }
    }

    /// A finding made elsewhere.
    pub fn push(&mut self, finding: Finding) -> &mut Finding {
        self.findings.push(finding);
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// True once anything is refused.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }

    /// What was found so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Everything found, for the report.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    fn unsafe_severity(&self) -> Severity {
        match self.mode.purpose {
            Purpose::Check => Severity::Warning,
            Purpose::Start => Severity::Error,
        }
    }

    fn at_field(&mut self, field: &'static str, severity: Severity, code: &'static str, message: String) -> &mut Finding {
        self.path.push(Step::Field(field));
        let path = self.path.text();
        self.path.pop();
        self.push(Finding::new(severity, code, path, message))
    }

    fn report(&mut self, severity: Severity, code: &'static str, message: impl Into<String>) -> &mut Finding {
        let path = self.path.text();
        self.push(Finding::new(severity, code, path, message))
    }

    // --- clusters ---

    /// Makes a cluster known to references; the declaration is the current path. `Some` is the path of an earlier
    /// declaration of the same name, which stays.
    pub fn declare_cluster(&mut self, name: &str, eds: bool) -> Option<String> {
        if let Some(earlier) = self.clusters.get(name) {
            return Some(earlier.path.clone());
        }
        let declared = Declared { path: self.path.text(), eds };
        self.clusters.insert(name.into(), declared);
        None
    }

    /// Clusters may also come over CDS: an unknown name is no error.
    pub fn set_dynamic_clusters(&mut self) {
        self.dynamic_clusters = true;
    }

    /// Clusters may also come over CDS.
    pub fn dynamic_clusters(&self) -> bool {
        self.dynamic_clusters
    }

    /// The declaration of a cluster.
    pub fn cluster(&self, name: &str) -> Option<&Declared> {
        self.clusters.get(name)
    }

    /// Reports that the cluster named at the current path is not declared, with the nearest name. Whether that is an
    /// error is the caller's knowledge: static routes refuse, dynamic ones warn.
    pub fn unknown_cluster(&mut self, severity: Severity, name: &str) -> &mut Finding {
        let near = crate::nearest::nearest(name, self.clusters.keys().map(AsRef::as_ref));
        let near = near.and_then(|near| Some((near.to_owned(), self.clusters.get(near)?.path.clone())));
        let finding = self.report(severity, codes::UNKNOWN_CLUSTER, format!("unknown cluster `{name}`"));
        finding.label("no cluster of that name is declared");
        if let Some((near, declared)) = near {
            finding.help(format!("did you mean `{near}`?"));
            finding.also(format!("{declared}.name"), format!("`{near}` is declared here"));
        }
        finding
    }

    // --- values ---

    /// A duration field of the current message; `None` if it is not set. Envoy refuses negative ones.
    pub fn duration(&mut self, field: &'static str, value: Option<&prost_types::Duration>) -> Option<Duration> {
        let value = value?;
        match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
            (Ok(seconds), Ok(nanos)) => Some(Duration::new(seconds, nanos.min(999_999_999))),
            _ => {
                let text = format!("a duration here cannot be negative, this is {}s", value.seconds as f64 + f64::from(value.nanos) / 1e9);
                let envoy = format!("Invalid duration: Expected positive duration: seconds: {}", value.seconds);
                self.at_field(field, Severity::Error, codes::BAD_VALUE, text).envoy(envoy);
                None
            }
        }
    }
}
