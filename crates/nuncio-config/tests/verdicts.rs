//! Configurations are judged as Envoy 1.40 judged them: 250 recorded verdicts, and Envoy's words in our reports.

use nuncio_api::Syntax;
use nuncio_config::{Input, Mode, Options, Purpose, Report};

struct Case {
    name: String,
    refused: bool,
    /// Envoy's words that the report must hold; empty for any.
    words: String,
    text: String,
}

/// Reads `verdicts.txt`; its head says how it is written.
fn cases() -> Vec<Case> {
    let file = include_str!("verdicts.txt");
    let macros: Vec<(&str, &str)> = file.lines().filter_map(|l| l.strip_prefix('$')?.split_once(" = ")).collect();
    let read = |section: &str| {
        let mut lines = section.lines();
        let name = lines.next().unwrap_or_default().to_owned();
        let verdict = lines.next().unwrap_or_default();
        let mut text: String = lines.map(|line| format!("{line}\n")).collect();
        for (name, meaning) in &macros {
            text = text.replace(&format!("${name}"), meaning);
        }
        let words = verdict.strip_prefix("refused: ").unwrap_or_default().to_owned();
        Case { name, refused: verdict.starts_with("refused"), words, text }
    };
    file.split("\n= ").skip(1).map(read).collect()
}

fn judge(text: &str) -> Report {
    let mode = Mode { strict: true, parity: true, purpose: Purpose::Check };
    let options = Options {
        http_filters: nuncio_ext::registry::HTTP_FILTERS,
        network_filters: nuncio_ext::registry::NETWORK_FILTERS,
        listener_filters: nuncio_ext::registry::LISTENER_FILTERS,
        access_loggers: nuncio_ext::registry::ACCESS_LOGGERS,
        ..Options::checking(mode)
    };
    let input = Input { name: "case.yaml".to_owned(), text: Ok(text.to_owned()), syntax: Syntax::Yaml };
    nuncio_config::load(&[input], &options).report
}

/// Everything an error says, in one line.
fn said(report: &Report) -> String {
    let errors = report.all().filter(|d| d.is_error());
    let texts = errors.flat_map(|d| d.notes.iter().chain([&d.message]).cloned().collect::<Vec<_>>());
    texts.collect::<Vec<_>>().join(" | ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_verdict_is_envoys() {
    let cases = cases();
    assert!(cases.len() > 200, "only {} cases were read", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let report = judge(&case.text);
        let said = said(&report);
        if (report.exit_code() != 0) != case.refused {
            wrong.push(format!("{}: Envoy {}, we say: {said}", case.name, if case.refused { "refuses" } else { "accepts" }));
        } else if !said.contains(&case.words) {
            wrong.push(format!("{}: Envoy says `{}`, we say: {said}", case.name, case.words));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_error_has_a_place() {
    for case in cases().iter().filter(|c| c.refused) {
        for diagnostic in judge(&case.text).all().filter(|d| d.is_error()) {
            assert!(diagnostic.span.is_some(), "{}: {}", case.name, diagnostic.message);
        }
    }
}

#[test]
fn all_errors_of_a_file_come_out_in_one_run() {
    let text = "\
static_resources:
  clusters:
  - { name: a, conect_timeout: 1s }
  - { name: b, lb_policy: MAGLEV, maglev_lb_config: { table_size: 4 } }
  - { name: b }
  - { name: c, load_assignment: { cluster_name: c, endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: web, port_value: 80 } } } }] }] } }
admin: { address: { socket_address: { address: localhost, port_value: 99999 } } }
";
    let report = judge(text);
    let errors: Vec<&str> = report.all().filter(|d| d.is_error()).map(|d| d.code).collect();
    assert_eq!(errors.len(), 6, "{:?}", report.all().map(|d| &d.message).collect::<Vec<_>>());
    let lines: Vec<usize> = report.files[0].diagnostics.iter().filter(|d| d.is_error()).map(|d| report.files[0].source.position(d.span.unwrap_or_default().start).line).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7, 7]);
}

#[test]
fn what_only_follows_from_an_error_is_not_reported() {
    let text = "static_resources: { clusters: [{ name: a, typ: STRICT_DNS }], listeners: [{ name: l, address: { socket_address: { address: 127.0.0.1, port_value: 80, prot: 1 } } }] }\n";
    let messages: Vec<String> = judge(text).all().filter(|d| d.is_error()).map(|d| d.message.clone()).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
}
