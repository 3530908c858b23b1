//! From findings by path to diagnostics in a text.

use crate::finding::{Finding, Severity};
use nuncio_api::{Diagnostic, Document, Fix, Look, Source};
use std::collections::{HashMap, HashSet};

/// A text with what was found in it.
#[derive(Debug)]
pub struct FileReport {
    /// The text; empty for a file that could not be read.
    pub source: Source,
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// What checking one or more files gave.
#[derive(Debug, Default)]
pub struct Report {
    /// Every file, in the order given.
    pub files: Vec<FileReport>,
}

impl Report {
    /// Number of errors.
    pub fn errors(&self) -> usize {
        self.all().filter(|d| d.is_error()).count()
    }

    /// Number of warnings.
    pub fn warnings(&self) -> usize {
        self.all().count() - self.errors()
    }

    /// 1 if anything is refused, else 0.
    pub fn exit_code(&self) -> i32 {
        i32::from(self.errors() > 0)
    }

    /// All diagnostics.
    pub fn all(&self) -> impl Iterator<Item = &Diagnostic> {
        self.files.iter().flat_map(|f| &f.diagnostics)
    }

    /// For people.
    pub fn text(&self, look: Look) -> String {
        let shown = self.files.iter().flat_map(|f| f.diagnostics.iter().map(|d| nuncio_api::render(&f.source, d, look)));
        shown.collect::<Vec<String>>().join("\n")
    }

    /// For programs: one JSON object per line.
    pub fn json(&self) -> String {
        let mut out = String::new();
        for file in &self.files {
            for diagnostic in &file.diagnostics {
                out.push_str(&nuncio_api::json_line(&file.source, diagnostic));
                out.push('\n');
            }
        }
        out
    }

    /// The first error in Envoy's own words where Envoy has some, else in ours.
    pub fn envoy_words(&self) -> Option<String> {
        let error = self.all().find(|d| d.is_error())?;
        let quoted = error.notes.iter().find_map(|n| n.strip_prefix(ENVOY_SAYS));
        Some(quoted.unwrap_or(&error.message).to_owned())
    }

    /// A file's text with all its mechanical repairs made; `None` if it has none.
    pub fn fixed(&self, file: usize) -> Option<String> {
        let file = self.files.get(file)?;
        let fixes: Vec<Fix> = file.diagnostics.iter().filter_map(|d| d.fix.clone()).collect();
        (!fixes.is_empty()).then(|| nuncio_api::apply_fixes(&file.source, &fixes))
    }
}

/// How Envoy's words are introduced.
const ENVOY_SAYS: &str = "Envoy says: ";

/// Lists whose items are appended when a second text is merged over a first.
const MERGED: [&str; 3] = ["static_resources.listeners", "static_resources.clusters", "static_resources.secrets"];

/// Finds the text that a path of the merged configuration comes from, and its path there.
fn place<'d>(documents: &'d [Document], path: &str) -> Option<(usize, &'d Document, String)> {
    let mut path = path.to_owned();
    for (index, document) in documents.iter().enumerate() {
        let last = index + 1 == documents.len();
        if last || document.node_of(&path).is_some() {
            return Some((index, document, path));
        }
        path = without_items_of(document, path);
    }
    None
}

/// The path with a merged list's index counted from the end of this document's items.
fn without_items_of(document: &Document, path: String) -> String {
    for list in MERGED {
        let Some(rest) = path.strip_prefix(list).and_then(|r| r.strip_prefix('[')) else { continue };
        let Some((number, tail)) = rest.split_once(']') else { continue };
        let Ok(number) = number.parse::<usize>() else { continue };
        let here = (0..).take_while(|at| document.node_of(&format!("{list}[{at}]")).is_some()).count();
        return format!("{list}[{}]{tail}", number.saturating_sub(here));
    }
    path
}

/// A finding as a diagnostic, with the index of its text.
fn locate(documents: &[Document], finding: Finding) -> (usize, Diagnostic) {
    let Some((index, document, path)) = place(documents, &finding.path) else {
        return (0, plain(None, &finding));
    };
    let span = if finding.at_key { document.key_span_of(&path) } else { document.span_of(&path) };
    let mut diagnostic = plain(Some(span), &finding);
    for (other, text) in &finding.also {
        match place(documents, other) {
            Some((at, document, path)) if at == index => diagnostic = diagnostic.also(document.span_of(&path), text.clone()),
            Some((_, document, path)) => {
                let start = document.source().position(document.span_of(&path).start);
                diagnostic = diagnostic.note(format!("{text}: {}:{}:{}", document.source().name, start.line, start.column));
            }
            None => {}
        }
    }
    if let Some(value) = &finding.replacement {
        diagnostic = diagnostic.fix(Fix::replace(format!("write {value}"), span, value.clone()));
    }
    (index, diagnostic)
}

fn plain(span: Option<nuncio_api::Span>, finding: &Finding) -> Diagnostic {
    let mut diagnostic = match finding.severity {
        Severity::Error => Diagnostic::error(finding.code, span, finding.message.clone()),
        Severity::Warning => Diagnostic::warning(finding.code, span, finding.message.clone()),
    };
    diagnostic = diagnostic.label(finding.label.clone()).path(finding.path.clone());
    diagnostic.notes.clone_from(&finding.notes);
    diagnostic.help.clone_from(&finding.help);
    if !finding.envoy.is_empty() && finding.envoy != finding.message {
        diagnostic = diagnostic.note(format!("{ENVOY_SAYS}{}", finding.envoy));
    }
    diagnostic
}

/// Places findings in their texts, beside what reading found there.
pub(crate) fn place_findings(documents: &[Document], read: Vec<Vec<Diagnostic>>, findings: Vec<Finding>) -> Vec<FileReport> {
    let broken: Vec<String> = read.iter().flatten().filter(|d| d.is_error()).map(|d| d.path.clone()).collect();
    let findings = collapse(follow_ups_removed(&broken, findings));
    let mut files: Vec<FileReport> = documents
        .iter()
        .zip(read)
        .map(|(document, diagnostics)| FileReport { source: document.source().clone(), diagnostics })
        .collect();
    for finding in findings {
        let (index, diagnostic) = locate(documents, finding);
        if let Some(file) = files.get_mut(index) {
            file.diagnostics.push(diagnostic);
        }
    }
    for file in &mut files {
        file.diagnostics.sort_by_key(|d| d.span.unwrap_or_default());
    }
    files
}

/// Drops what only follows from a part that could not be read, and what was found twice.
fn follow_ups_removed(broken: &[String], findings: Vec<Finding>) -> Vec<Finding> {
    let clusters_broken = broken.iter().any(|p| p.starts_with("static_resources.clusters") || p.starts_with("staticResources.clusters"));
    let mut seen: HashSet<(String, &'static str)> = HashSet::new();
    let keep = |finding: &Finding| {
        let related = |path: &String| path.starts_with(&finding.path) || finding.path.starts_with(path.as_str());
        let follows = broken.iter().any(related) && (finding.is_error() || !broken.is_empty());
        let unknown = clusters_broken && finding.code == crate::codes::UNKNOWN_CLUSTER;
        !follows && !unknown
    };
    findings.into_iter().filter(keep).filter(|f| seen.insert((f.path.clone(), f.code))).collect()
}

/// The same remark at many places is made once, with their number.
fn collapse(findings: Vec<Finding>) -> Vec<Finding> {
    let mut first: HashMap<(&'static str, String), usize> = HashMap::new();
    let mut more: HashMap<usize, usize> = HashMap::new();
    let mut kept: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        if !finding.is_error() && finding.code == crate::codes::WITHOUT_EFFECT {
            let key = (finding.code, finding.message.clone());
            if let Some(index) = first.get(&key) {
                *more.entry(*index).or_default() += 1;
                continue;
            }
            first.insert(key, kept.len());
        }
        kept.push(finding);
    }
    for (index, count) in more {
        let places = if count == 1 { "place".to_owned() } else { "places".to_owned() };
        kept[index].note(format!("the same at {count} more {places}"));
    }
    kept
}
