//! An answer for people, and for programs.

use super::answer::{Answer, Destination};
use nuncio_api::Json;
use nuncio_http::Outlook;
use std::fmt::Write;
use std::time::Duration;

/// Lines under labels, as wide as the longest of them.
pub(super) fn text(answer: &Answer) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| _ = writeln!(out, "{label:<10} {text}");
    line("listener", &format!("{}   ({})", answer.listener, answer.chain));
    for cleaned in &answer.cleaned {
        line("", cleaned);
    }
    if let Some(host) = &answer.virtual_host {
        line("vhost", host);
    }
    for tried in &answer.routes {
        let name = if tried.name.is_empty() { String::new() } else { format!(" ({})", tried.name) };
        match &tried.failed {
            Some(why) => line("  ✗", &format!("route {}{name}  {}   — {why}", tried.index, tried.condition)),
            None => line("  ✓", &format!("route {}{name}  {}", tried.index, tried.condition)),
        }
    }
    line("→", &answer.outcome);
    if !answer.filters.is_empty() {
        line("filters", &answer.filters.join(" · "));
    }
    for cluster in &answer.clusters {
        line("cluster", &destination(cluster));
        if cluster.kind.is_some() {
            let [connections, pending, requests, retries] = cluster.limits;
            line("  limits", &format!("{connections} connections · {pending} pending · {requests} requests · {retries} retries at a time"));
        }
    }
    if let Some(patience) = &answer.patience {
        line("timeouts", &waits(patience));
    }
    for note in &answer.notes {
        line("note", note);
    }
    out
}

fn destination(cluster: &Destination) -> String {
    let share = if cluster.share < 100.0 { format!("   {}", percent(cluster.share)) } else { String::new() };
    let Some(kind) = &cluster.kind else { return format!("{}{share}   does not exist", cluster.name) };
    let hosts: Vec<String> = cluster.hosts.iter().take(MANY).map(|host| match &host.health {
        Some(health) => format!("{} {health}", host.address),
        None => host.address.clone(),
    }).collect();
    let rest = cluster.hosts.len().saturating_sub(MANY);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let to = match (hosts.is_empty(), cluster.listed) {
        (true, true) => "   → no hosts".to_owned(),
        (true, false) => String::new(),
        (false, _) => format!("   → {}{more}", hosts.join(", ")),
    };
    format!("{}{share}   {kind}{to}", cluster.name)
}

/// Hosts shown of a cluster.
const MANY: usize = 5;

fn percent(share: f64) -> String {
    let rounded = (share * 100.0).round() / 100.0;
    format!("{rounded} %")
}

fn waits(outlook: &Outlook) -> String {
    let mut text = match outlook.timeout {
        Duration::ZERO => "no limit for the request".to_owned(),
        limit => format!("request {limit:?}"),
    };
    if !outlook.max_stream.is_zero() {
        _ = write!(text, " · stream {:?}", outlook.max_stream);
    }
    if !outlook.per_try.is_zero() {
        let then = if outlook.hedged { ", then another beside it" } else { "" };
        _ = write!(text, " · per try {:?}{then}", outlook.per_try);
    }
    let idle = [outlook.per_try_idle, outlook.idle].into_iter().filter(|idle| !idle.is_zero()).min();
    if let Some(idle) = idle {
        _ = write!(text, " · idle {idle:?}");
    }
    if outlook.retries > 0 {
        _ = write!(text, " · up to {} attempts on {}", outlook.retries.saturating_add(1), outlook.retry_on);
    }
    match outlook.worst() {
        Some(worst) => _ = write!(text, " → at worst {worst:?}"),
        None => text += " → at worst for ever",
    }
    text
}

/// The same as one object.
pub(super) fn json(answer: &Answer) -> Json {
    let texts = |list: &[String]| Json::List(list.iter().map(Json::text).collect());
    let number = |value: &dyn std::fmt::Display| Json::Number(value.to_string());
    let routes = answer.routes.iter().map(|tried| {
        Json::object(vec![
            ("index", number(&tried.index)),
            ("name", Json::text(&tried.name)),
            ("condition", Json::text(&tried.condition)),
            ("failed", tried.failed.as_ref().map_or(Json::Null, Json::text)),
        ])
    });
    let clusters = answer.clusters.iter().map(|cluster| {
        let hosts = cluster.hosts.iter().map(|host| {
            let health = host.health.as_ref().map_or(Json::Null, Json::text);
            Json::object(vec![("address", Json::text(&host.address)), ("health", health)])
        });
        let limit = |at: usize| number(&cluster.limits[at]);
        Json::object(vec![
            ("name", Json::text(&cluster.name)),
            ("percent", number(&cluster.share)),
            ("kind", cluster.kind.as_ref().map_or(Json::Null, Json::text)),
            ("hosts", Json::List(hosts.collect())),
            ("max_connections", limit(0)),
            ("max_pending_requests", limit(1)),
            ("max_requests", limit(2)),
            ("max_retries", limit(3)),
        ])
    });
    let ms = |time: Duration| number(&time.as_millis());
    let patience = answer.patience.as_ref().map_or(Json::Null, |patience| {
        Json::object(vec![
            ("timeout_ms", ms(patience.timeout)),
            ("per_try_timeout_ms", ms(patience.per_try)),
            ("idle_timeout_ms", ms(patience.idle)),
            ("max_stream_duration_ms", ms(patience.max_stream)),
            ("hedged", Json::Bool(patience.hedged)),
            ("attempts", number(&patience.retries.saturating_add(1))),
            ("retry_on", Json::text(&patience.retry_on)),
            ("worst_case_ms", patience.worst().map_or(Json::Null, ms)),
        ])
    });
    Json::object(vec![
        ("listener", Json::text(&answer.listener)),
        ("filter_chain", Json::text(&answer.chain)),
        ("cleaned", texts(&answer.cleaned)),
        ("virtual_host", answer.virtual_host.as_ref().map_or(Json::Null, Json::text)),
        ("routes", Json::List(routes.collect())),
        ("outcome", Json::text(&answer.outcome)),
        ("filters", texts(&answer.filters)),
        ("clusters", Json::List(clusters.collect())),
        ("timeouts", patience),
        ("notes", texts(&answer.notes)),
    ])
}
