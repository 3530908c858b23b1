//! `nuncio explain`: what would become of a request, and why.
//!
//! It asks the very tables that serve requests ([`nuncio_http::routes::RouteTable::explain`]), of a configuration file
//! or, through `/explain`, of a running process, and sends nothing.

mod answer;
mod question;
mod search;
mod show;

pub(crate) use answer::{Answer, Hosts, KnownHost};
pub(crate) use question::Question;
pub(crate) use search::{Facts, explain};

use crate::admin_client;
use crate::cli::{ExplainArgs, Invocation};
use nuncio_config::Snapshot;
use nuncio_core::HttpFilterEntry;
use nuncio_upstream::config::EndpointAddress;
use std::process::ExitCode;

/// Carries out the command.
pub(crate) fn run(args: &ExplainArgs, filters: &[HttpFilterEntry]) -> ExitCode {
    let outcome = match &args.admin {
        Some(address) => ask(address, args),
        None => question(&args.method, &args.url, &args.headers, args.random, args.listener.as_deref())
            .and_then(|question| from_file(args, &question, filters)),
    };
    match outcome {
        Ok(text) => crate::say(&text),
        Err(why) => {
            eprintln!("error: {}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Puts a question together.
///
/// # Errors
/// What is wrong with the URL or a header.
pub(crate) fn question<S: AsRef<str>>(
    method: &str,
    url: &str,
    headers: &[S],
    random: Option<u64>,
    listener: Option<&str>,
) -> Result<Question, String> {
    let mut question = Question::new(method, url)?;
    for line in headers {
        question.header(line.as_ref())?;
    }
    question.random = random;
    question.listener = listener.map(str::to_owned);
    Ok(question)
}

/// The answer as the command prints it.
pub(crate) fn shown(answer: &Answer, json: bool) -> String {
    if json { show::json(answer).indented() } else { show::text(answer) }
}

fn from_file(args: &ExplainArgs, question: &Question, filters: &[HttpFilterEntry]) -> Result<String, String> {
    let Some(file) = &args.file else {
        return Err("say which configuration: -c FILE, or --admin ADDRESS for one that runs".into());
    };
    let words = ["-c".to_owned(), file.display().to_string()];
    let options = match crate::cli::parse(&words, crate::parity()) {
        Ok(Invocation::Run(options)) => options,
        _ => return Err(format!("{} cannot be a file's name", file.display())),
    };
    let snapshot = crate::load::judged(&options, filters)?;
    let facts = Facts { snapshot: &snapshot, hosts: &Configured(&snapshot) };
    Ok(shown(&explain(question, &facts)?, args.json))
}

fn ask(address: &str, args: &ExplainArgs) -> Result<String, String> {
    let mut target = format!("/explain?method={}&url={}", encoded(&args.method), encoded(&args.url));
    for line in &args.headers {
        target += &format!("&header={}", encoded(line));
    }
    if let Some(random) = args.random {
        target += &format!("&random={random}");
    }
    if let Some(listener) = &args.listener {
        target += &format!("&listener={}", encoded(listener));
    }
    if args.json {
        target += "&format=json";
    }
    match admin_client::ask(address, "GET", &target) {
        Ok((true, text)) => Ok(text),
        Ok((false, why)) => Err(why),
        Err(error) => Err(format!("cannot ask the admin interface at {address}: {error}")),
    }
}

/// Percent-encodes what is not plainly a part of a value in a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// The hosts that the configuration names; nobody has looked how they are.
struct Configured<'a>(&'a Snapshot);

impl Hosts for Configured<'_> {
    fn of(&self, cluster: &str) -> Vec<KnownHost> {
        let Some(found) = self.0.clusters.iter().find(|c| *c.config.name == *cluster) else { return Vec::new() };
        let endpoints = found.config.assignment.localities.iter().flat_map(|locality| &locality.endpoints);
        let name = |address: &EndpointAddress| match address {
            EndpointAddress::Resolved(address) => address.to_string(),
            EndpointAddress::Service(name) => format!("srv://{name}"),
        EndpointAddress::Name { host, port } => format!("{host}:{port}"),
        };
        endpoints.map(|endpoint| KnownHost { address: name(&endpoint.address), health: None }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(url: &str, headers: &[&str], random: Option<u64>, json: bool) -> Result<String, String> {
        let args = ExplainArgs {
            file: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/canary/envoy.yaml").into()),
            json,
            ..ExplainArgs::default()
        };
        let question = question("GET", url, headers, random, None)?;
        from_file(&args, &question, nuncio_ext::registry::HTTP_FILTERS)
    }

    #[test]
    fn a_canary_is_explained_with_its_trap() {
        let text = canary("http://localhost:10000/api?x=1", &["x-user: 7"], None, false).expect("an answer");
        for line in [
            "  ✗        route 0  path \"/health\"   — the path is \"/api?x=1\"",
            "  ✓        route 1  prefix \"/\"",
            "cluster    backend_v1   90 %   STRICT_DNS ROUND_ROBIN   → 127.0.0.1:8081",
            "timeouts   request 15s · per try 1s · idle 300s · up to 3 attempts on 5xx → at worst 3.075s",
            "about 10 % of requests fail",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn headers_change_timeouts_and_retries() {
        let of = |headers: &[&str]| {
            let text = canary("http://localhost:10000/", headers, None, false).expect("an answer");
            text.lines().find_map(|line| line.strip_prefix("timeouts   ")).expect("timeouts").to_owned()
        };
        let told = of(&["x-envoy-upstream-rq-timeout-ms: 900", "x-envoy-max-retries: 1"]);
        assert_eq!(told, "request 900ms · idle 300s · up to 2 attempts on 5xx → at worst 900ms");
        let told = of(&["x-envoy-hedge-on-per-try-timeout: true"]);
        assert_eq!(told, "request 15s · per try 1s, then another beside it · idle 300s · up to 3 attempts on 5xx → at worst 15s");
        assert_eq!(of(&["x-forwarded-proto: http"]), of(&[]));
    }

    #[test]
    fn a_request_without_a_scheme_has_no_route() {
        let text = canary("http://localhost:10000/", &["x-forwarded-proto: "], None, false).expect("an answer");
        assert!(text.contains("none is looked for: x-forwarded-proto is empty") && text.contains("404: no route takes it"), "{text}");
    }

    #[test]
    fn a_random_number_picks_the_cluster() {
        let of = |random| canary("http://localhost:10000/", &[], Some(random), true).expect("an answer");
        assert!(of(3).contains("\"outcome\": \"to cluster backend_v1\""), "{}", of(3));
        assert!(of(95).contains("\"outcome\": \"to cluster backend_v2\""), "{}", of(95));
    }

    #[test]
    fn a_port_without_a_listener_lists_those_there_are() {
        let why = canary("http://localhost:1/", &[], None, false).expect_err("no listener");
        assert!(why.contains("no listener is at port 1; there are: main_listener 127.0.0.1:10000"), "{why}");
    }

    #[test]
    fn values_in_queries_are_encoded() {
        assert_eq!(encoded("http://a/?b=c d"), "http%3A//a/%3Fb%3Dc%20d");
    }
}
