//! `nuncio router-check` (or `nuncio test`): does a route configuration do what a list of cases expects?
//!
//! Reads and says what Envoy's router_check_tool reads and says, and adds places to what is wrong with the files. The
//! tables asked are those that serve requests.

mod ask;
mod cases;
mod coverage;

use crate::cli::RouterCheckArgs;
use ask::ask;
use cases::Case;
use coverage::Coverage;
use nuncio_api::Look;
use nuncio_api::envoy::config::route::v3::RouteConfiguration;
use nuncio_config::{Input, Mode, Options, Purpose, RoutesLoaded};
use nuncio_core::{HttpFilterEntry, RuntimeValue};
use nuncio_http::routes::RouteTable;
use std::{collections::BTreeSet, io::IsTerminal, process::ExitCode, sync::Arc};

/// A route configuration to be asked.
struct Tested {
    table: Arc<RouteTable>,
    /// Keys that decide about routes: without a case that names its key, such a route takes nothing.
    runtime_keys: BTreeSet<String>,
}

/// Carries out the command.
pub(crate) fn run(args: &RouterCheckArgs, filters: &[HttpFilterEntry]) -> ExitCode {
    match check(args, filters) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{}\nerror: INVALID_ARGUMENT: the cases were not run", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn check(args: &RouterCheckArgs, filters: &[HttpFilterEntry]) -> Result<bool, String> {
    let tested = load(args, filters)?;
    let cases = cases::read(&Input::file(&args.tests))?;
    let mut coverage = Coverage::default();
    let mut passed = true;
    for case in &cases {
        let failures = failures(&tested, case, &mut coverage);
        passed &= failures.is_empty();
        if args.details && !args.only_show_failures || args.only_show_failures && !failures.is_empty() {
            println!("{}", case.name);
            failures.iter().for_each(|failure| eprintln!("{failure}"));
        }
    }
    if args.detailed_coverage {
        coverage.missing(&tested.table).iter().for_each(|line| println!("{line}"));
    }
    let percent = coverage.percent(&tested.table, args.comprehensive);
    println!("Current route coverage: {}%", coverage::shown(percent));
    if let Some(least) = args.fail_under.filter(|least| percent < *least) {
        eprintln!("Failed to meet coverage requirement: {}%", coverage::shown(least));
        return Ok(false);
    }
    Ok(passed)
}

fn load(args: &RouterCheckArgs, filters: &[HttpFilterEntry]) -> Result<Tested, String> {
    let parity = crate::parity();
    let mut options = Options::checking(Mode { strict: parity, parity, purpose: Purpose::Check });
    options.http_filters = filters;
    let mut runtime_keys = BTreeSet::new();
    let RoutesLoaded { report, table } =
        nuncio_config::load_routes(&Input::file(&args.config), &options, |routes| runtime_keys = testable(routes));
    let look = Look { color: std::io::stderr().is_terminal(), docs: true };
    match table {
        Some(table) => Ok(Tested { table, runtime_keys }),
        None => Err(report.text(look)),
    }
}

/// Makes routes reachable that take no request unless a runtime key says so: a fraction of none becomes one of one, which
/// the random number 0 meets. Answers with the keys.
fn testable(routes: &mut RouteConfiguration) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for route in routes.virtual_hosts.iter_mut().flat_map(|host| &mut host.routes) {
        let fraction = route.r#match.as_mut().and_then(|matched| matched.runtime_fraction.as_mut());
        if let Some(fraction) = fraction {
            keys.insert(fraction.runtime_key.clone());
            if let Some(default) = fraction.default_value.as_mut().filter(|default| default.numerator == 0) {
                default.numerator = 1;
            }
        }
    }
    routes.validate_clusters = None;
    keys
}

impl Tested {
    /// The runtime of a case: its key is as configured, all others say no.
    fn runtime(&self, key: &str) -> nuncio_core::RuntimeValues {
        let off = RuntimeValue {
            number: Some(0.0),
            flag: Some(false),
            fraction: Some(nuncio_core::Fraction { numerator: 0, denominator: 100 }),
        };
        self.runtime_keys.iter().filter(|other| *other != key).map(|other| (other.as_str().into(), off)).collect()
    }
}

/// What a case expects and does not get, in Envoy's words.
fn failures(tested: &Tested, case: &Case, coverage: &mut Coverage) -> Vec<String> {
    let asked = ask(&tested.table, tested.runtime(&case.input.runtime), &case.input);
    let mut failures = Vec::new();
    for (field, expected) in &case.expected.values {
        let actual = asked.value(*field);
        if actual == *expected {
            coverage.cover(&asked, Some(*field));
        } else {
            let actual = if actual.is_empty() { "NONE".to_owned() } else { format!("[{actual}]") };
            failures.push(format!("expected: [{expected}], actual: {actual}, test type: {}", field.name()));
        }
    }
    let sides = [
        (&case.expected.request, &asked.request, "request_header_matches"),
        (&case.expected.response, &asked.response, "response_header_matches"),
    ];
    for (matchers, head, kind) in sides {
        for (text, matcher) in matchers {
            if matcher.matches(head) {
                coverage.cover(&asked, None);
            } else {
                failures.push(format!("expected: [{text}], actual: NONE, test type: {kind}"));
            }
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(tests: &str) -> RouterCheckArgs {
        let file = |name: &str| format!("{}/../../tests/router_check/{name}", env!("CARGO_MANIFEST_DIR")).into();
        RouterCheckArgs { config: file("routes.yaml"), tests: file(tests), ..RouterCheckArgs::default() }
    }

    fn outcome(args: &RouterCheckArgs) -> Result<bool, String> {
        check(args, nuncio_ext::registry::HTTP_FILTERS)
    }

    #[test]
    fn cases_that_hold_pass_and_cover_every_route() {
        let all = RouterCheckArgs { fail_under: Some(100.0), ..args("cases.yaml") };
        assert_eq!(outcome(&all), Ok(true));
        // Most cases look at a part of what there is.
        assert_eq!(outcome(&RouterCheckArgs { comprehensive: true, ..all }), Ok(false));
    }

    #[test]
    fn a_case_that_does_not_hold_says_what_came_instead() {
        let tested = load(&args("cases.yaml"), nuncio_ext::registry::HTTP_FILTERS).expect("routes");
        let mut cases = cases::read(&Input::file(&args("cases.yaml").tests)).expect("cases");
        let case = &mut cases[1];
        case.expected.values[0].1 = "shop_v1".into();
        case.expected.request.truncate(1);
        case.input.path = "/old".into();
        let mut coverage = Coverage::default();
        let failures = failures(&tested, case, &mut coverage);
        assert_eq!(failures[0], "expected: [shop_v1], actual: NONE, test type: cluster_name");
        assert!(failures.last().is_some_and(|last| last.ends_with("test type: request_header_matches")), "{failures:?}");
        assert_eq!(coverage.missing(&tested.table).len(), 4);
        assert_eq!(coverage.missing(&tested.table)[1], "Missing test for host: shop, route name: canary-prefix \"/\"");
    }

    #[test]
    fn slips_in_a_file_of_cases_have_their_place() {
        let why = outcome(&args("broken.yaml")).expect_err("slips");
        for part in ["broken.yaml:3:40", "did you mean `path`", "expected true or false", "unknown field `cluster`", "unknown field `exakt`", "a case needs `input.path`"] {
            assert!(why.contains(part), "{part}\n{why}");
        }
    }
}
