//! `nuncio why`: what went wrong with a request, in sentences.
//!
//! Every worker keeps its last failed requests ([`nuncio_core::FailureLog`]); `/why` of the admin interface shows them,
//! with what their response flags mean and where to look.

mod flags;

use crate::admin_client;
use crate::cli::WhyArgs;
use nuncio_core::FailedRequest;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::SystemTime;

/// Requests in a list.
const LISTED: usize = 20;

/// Carries out the command.
pub(crate) fn run(args: &WhyArgs) -> ExitCode {
    let target = match &args.id {
        Some(id) => format!("/why?id={}", crate::explain::encoded(id)),
        None => "/why".to_owned(),
    };
    match admin_client::ask(&args.admin, "GET", &target) {
        Ok((true, text)) => crate::say(&text),
        Ok((false, why)) => {
            eprintln!("error: {}", why.trim_end());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: cannot ask the admin interface at {}: {error}", args.admin);
            ExitCode::FAILURE
        }
    }
}

/// What went wrong: a list of the last requests, or the one of this id explained. `failed` is in order of time.
///
/// # Errors
/// No request of this id is kept.
pub(crate) fn told(failed: &[FailedRequest], id: Option<&str>) -> Result<String, String> {
    let Some(id) = id else { return Ok(list(failed)) };
    match failed.iter().rev().find(|request| request.id == id) {
        Some(request) => Ok(explained(request)),
        None => Err(format!("no failed request {id} is known: it went well, or it is not among the {} that are kept", failed.len())),
    }
}

fn list(failed: &[FailedRequest]) -> String {
    if failed.is_empty() {
        return "no request has gone wrong of late\n".into();
    }
    let mut out = String::new();
    for request in failed.iter().rev().take(LISTED) {
        let id = if request.id.is_empty() { "(no x-request-id)" } else { &request.id };
        _ = writeln!(out, "{} ago  {}  {}  {}  {id}", ago(request.at), request.status, request.flags, line(request));
    }
    if failed.len() > LISTED {
        _ = writeln!(out, "and {} before these", failed.len() - LISTED);
    }
    out + "nuncio why REQUEST-ID explains one of them\n"
}

fn ago(at: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(at).map_or(0, |passed| passed.as_secs());
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

fn line(request: &FailedRequest) -> String {
    format!("{} {}{}", request.method, request.host, request.path)
}

/// One request, in sentences.
fn explained(request: &FailedRequest) -> String {
    let mut out = String::new();
    let mut say = |label: &str, text: &str| _ = writeln!(out, "{label:<9} {text}");
    let status = if request.status == 0 { "no response".to_owned() } else { format!("status {}", request.status) };
    say("request", &format!("{}   {status}, {:?} after it began, {} ago", line(request), request.took, ago(request.at)));
    if !request.virtual_host.is_empty() {
        let route = if request.route.is_empty() { "a route without a name".to_owned() } else { format!("route {}", request.route) };
        say("route", &format!("{route} of virtual host {}", request.virtual_host));
    }
    if !request.cluster.is_empty() {
        let host = if request.upstream.is_empty() { "no host was picked".to_owned() } else { format!("last host {}", request.upstream) };
        let attempts = if request.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", request.attempts) };
        say("upstream", &format!("cluster {}: {attempts}, {host}", request.cluster));
    }
    for name in request.flags.names() {
        let Some(known) = flags::TABLE.iter().find(|known| known.flag == name.short) else { continue };
        say(known.flag, known.meaning);
        say("  causes", known.causes);
        say("  look at", &known.stat.replace("<cluster>", if request.cluster.is_empty() { "<cluster>" } else { &request.cluster }));
        say("  field", known.field);
    }
    if request.flags.is_empty() {
        say("who", if request.upstream.is_empty() { "answered here, without an upstream" } else { "the upstream answered so itself" });
    }
    if !request.details.is_empty() {
        say("details", &request.details);
    }
    if !request.transport_failure.is_empty() {
        say("transport", &request.transport_failure);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_core::ResponseFlags;
    use std::time::Duration;

    fn request(id: &str, flags: ResponseFlags) -> FailedRequest {
        FailedRequest {
            at: SystemTime::now(),
            id: id.into(),
            method: "GET".into(),
            host: "example.com".into(),
            path: "/api".into(),
            status: 503,
            flags,
            details: "upstream_reset_before_response_started{connection_failure}".into(),
            route: String::new(),
            virtual_host: "app".into(),
            cluster: "backend".into(),
            upstream: "127.0.0.1:8082".into(),
            transport_failure: String::new(),
            attempts: 3,
            took: Duration::from_millis(2),
        }
    }

    #[test]
    fn a_request_is_explained_by_its_flags() {
        let mut both = ResponseFlags::UF;
        both.set(ResponseFlags::URX);
        let text = told(&[request("a", both)], Some("a")).expect("it is known");
        for part in ["cluster backend: 3 attempts, last host 127.0.0.1:8082", "UF  ", "URX ", "cluster.backend.upstream_cx_connect_fail"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn the_latest_stand_first_and_strangers_are_told() {
        let failed = [request("a", ResponseFlags::UH), request("b", ResponseFlags::NR)];
        let text = told(&failed, None).expect("a list");
        assert!(text.find("  b\n") < text.find("  a\n"), "{text}");
        assert!(told(&failed, Some("c")).is_err_and(|why| why.contains("no failed request c")));
        assert_eq!(told(&[], None), Ok("no request has gone wrong of late\n".into()));
    }
}
