//! `/clusters`: every cluster, its limits and its hosts, with their health and counts.

use super::{Choice, Endpoint, Param};
use crate::context::AdminContext;
use crate::request::AdminRequest;
use crate::response::AdminResponse;
use crate::view::{Cluster, Host, HostCounts, HostHealth, Limits};
use nuncio_api::Json;
use nuncio_stats::output::number::{Compact, Shortest};
use std::fmt::Write;

pub(super) const CLUSTERS: Endpoint = Endpoint {
    path: "/clusters",
    help: "upstream cluster status",
    command: false,
    params: &[Param {
        name: "filter",
        help: "Regular expression (Google re2) for filtering clusters by name",
        choice: Choice::Text,
    }],
    answer,
};

fn answer(request: &AdminRequest, cx: &dyn AdminContext) -> AdminResponse {
    let filter = match request
        .params
        .filled("filter")
        .map(|filter| cx.regex(filter))
        .transpose()
    {
        Ok(filter) => filter,
        Err(_) => return AdminResponse::error(400, "Invalid re2 regex"),
    };
    let wanted = |name: &str| filter.as_ref().is_none_or(|filter| filter(name));
    if request.params.get("format") == Some("json") {
        let mut statuses = Vec::new();
        cx.clusters(&wanted, &mut |cluster| statuses.push(json(&cluster)));
        let members = if statuses.is_empty() {
            vec![]
        } else {
            vec![("cluster_statuses", Json::List(statuses))]
        };
        return AdminResponse::json(&Json::object(members));
    }
    let mut out = String::new();
    cx.clusters(&wanted, &mut |cluster| {
        let _ = write_text(&mut out, &cluster);
    });
    AdminResponse::text(out)
}

fn write_text(out: &mut String, cluster: &Cluster) -> std::fmt::Result {
    let name = &cluster.name;
    writeln!(
        out,
        "{name}::observability_name::{}",
        cluster.observability_name
    )?;
    if let Some(outlier) = &cluster.outlier {
        for (what, rate) in [
            ("success_rate_average", outlier.success_rate_average),
            (
                "success_rate_ejection_threshold",
                outlier.success_rate_ejection_threshold,
            ),
            (
                "local_origin_success_rate_average",
                outlier.local_origin_success_rate_average,
            ),
            (
                "local_origin_success_rate_ejection_threshold",
                outlier.local_origin_success_rate_ejection_threshold,
            ),
        ] {
            writeln!(out, "{name}::outlier::{what}::{}", Shortest(rate))?;
        }
    }
    for (priority, limits) in ["default", "high"].iter().zip(&cluster.limits) {
        for (limit, value) in limits_of(limits) {
            writeln!(out, "{name}::{priority}_priority::{limit}::{value}")?;
        }
    }
    writeln!(out, "{name}::added_via_api::{}", cluster.added_via_api)?;
    if !cluster.eds_service_name.is_empty() {
        writeln!(
            out,
            "{name}::eds_service_name::{}",
            cluster.eds_service_name
        )?;
    }
    for host in &cluster.hosts {
        write_host(out, name, host)?;
    }
    Ok(())
}

fn write_host(out: &mut String, cluster: &str, host: &Host) -> std::fmt::Result {
    let head = format!("{cluster}::{}", host.address.text());
    let mut counts = counters(&host.counts)
        .into_iter()
        .chain(gauges(&host.counts))
        .collect::<Vec<_>>();
    counts.sort_unstable();
    for (what, count) in counts {
        writeln!(out, "{head}::{what}::{count}")?;
    }
    let [region, zone, sub_zone] = &host.locality;
    writeln!(out, "{head}::hostname::{}", host.hostname)?;
    writeln!(out, "{head}::health_flags::{}", flags(&host.health))?;
    writeln!(out, "{head}::weight::{}", host.weight)?;
    writeln!(out, "{head}::region::{region}")?;
    writeln!(out, "{head}::zone::{zone}")?;
    writeln!(out, "{head}::sub_zone::{sub_zone}")?;
    writeln!(out, "{head}::canary::{}", host.canary)?;
    writeln!(out, "{head}::priority::{}", host.priority)?;
    writeln!(out, "{head}::success_rate::{}", Shortest(host.success_rate))?;
    writeln!(
        out,
        "{head}::local_origin_success_rate::{}",
        Shortest(host.local_origin_success_rate)
    )
}

fn limits_of(limits: &Limits) -> [(&'static str, u64); 4] {
    [
        ("max_connections", limits.max_connections),
        ("max_pending_requests", limits.max_pending_requests),
        ("max_requests", limits.max_requests),
        ("max_retries", limits.max_retries),
    ]
}

fn counters(counts: &HostCounts) -> [(&'static str, u64); 6] {
    [
        ("cx_connect_fail", counts.cx_connect_fail),
        ("cx_total", counts.cx_total),
        ("rq_error", counts.rq_error),
        ("rq_success", counts.rq_success),
        ("rq_timeout", counts.rq_timeout),
        ("rq_total", counts.rq_total),
    ]
}

fn gauges(counts: &HostCounts) -> [(&'static str, u64); 3] {
    [
        ("cx_active", counts.cx_active),
        ("rq_active", counts.rq_active),
        ("rq_pending_active", counts.rq_pending_active),
    ]
}

/// `healthy`, or every reason why not.
fn flags(health: &HostHealth) -> String {
    let flags: String = [
        (health.failed_active_hc, "/failed_active_hc"),
        (health.failed_outlier_check, "/failed_outlier_check"),
        (health.failed_eds_health, "/failed_eds_health"),
        (health.degraded_active_hc, "/degraded_active_hc"),
        (health.degraded_eds_health, "/degraded_eds_health"),
        (health.pending_dynamic_removal, "/pending_dynamic_removal"),
        (health.pending_active_hc, "/pending_active_hc"),
        (
            health.excluded_via_immediate_hc_fail,
            "/excluded_via_immediate_hc_fail",
        ),
        (health.active_hc_timeout, "/active_hc_timeout"),
        (health.eds_status_draining, "/eds_status_draining"),
        (
            health.degraded_outlier_detection,
            "/degraded_outlier_detection",
        ),
    ]
    .iter()
    .filter_map(|(set, flag)| set.then_some(*flag))
    .collect();
    if flags.is_empty() {
        "healthy".to_owned()
    } else {
        flags
    }
}

/// `envoy.admin.v3.ClusterStatus`.
fn json(cluster: &Cluster) -> Json {
    let mut members = vec![("name", Json::text(&cluster.name))];
    if cluster.added_via_api {
        members.push(("added_via_api", Json::Bool(true)));
    }
    let outlier = cluster.outlier.as_ref();
    push_rate(
        &mut members,
        "success_rate_ejection_threshold",
        outlier.map(|outlier| outlier.success_rate_ejection_threshold),
    );
    if !cluster.hosts.is_empty() {
        members.push((
            "host_statuses",
            Json::List(cluster.hosts.iter().map(host_json).collect()),
        ));
    }
    push_rate(
        &mut members,
        "local_origin_success_rate_ejection_threshold",
        outlier.map(|outlier| outlier.local_origin_success_rate_ejection_threshold),
    );
    members.push(("circuit_breakers", limits_json(&cluster.limits)));
    members.push((
        "observability_name",
        Json::text(&cluster.observability_name),
    ));
    if !cluster.eds_service_name.is_empty() {
        members.push(("eds_service_name", Json::text(&cluster.eds_service_name)));
    }
    Json::object(members)
}

fn limits_json(limits: &[Limits; 2]) -> Json {
    let thresholds = limits
        .iter()
        .zip([None, Some("HIGH")])
        .map(|(limits, priority)| {
            let priority = priority.map(|priority| ("priority", Json::text(priority)));
            let values = limits_of(limits).map(|(name, value)| (name, Json::from(value)));
            Json::object(priority.into_iter().chain(values).collect())
        });
    Json::object(vec![("thresholds", Json::List(thresholds.collect()))])
}

/// A percentage, unless it is unknown (negative).
fn push_rate(members: &mut Vec<(&'static str, Json)>, name: &'static str, rate: Option<f64>) {
    if let Some(rate) = rate.filter(|rate| *rate >= 0.0) {
        let value = if rate == 0.0 {
            vec![]
        } else {
            vec![("value", Json::Number(Compact(rate).to_string()))]
        };
        members.push((name, Json::object(value)));
    }
}

/// `envoy.admin.v3.HostStatus`.
fn host_json(host: &Host) -> Json {
    let metric = |kind: Option<&str>, name: &str, value: u64| {
        let kind = kind.map(|kind| ("type", Json::text(kind)));
        let value = (value > 0).then(|| ("value", Json::text(value.to_string())));
        Json::object(
            kind.into_iter()
                .chain(value)
                .chain([("name", Json::text(name))])
                .collect(),
        )
    };
    let counters = counters(&host.counts).map(|(name, value)| metric(None, name, value));
    let gauges = gauges(&host.counts).map(|(name, value)| metric(Some("GAUGE"), name, value));
    let mut members = vec![
        ("address", host.address.json()),
        (
            "stats",
            Json::List(counters.into_iter().chain(gauges).collect()),
        ),
        ("health_status", health_json(&host.health)),
    ];
    push_rate(&mut members, "success_rate", Some(host.success_rate));
    if host.weight != 0 {
        members.push(("weight", Json::from(u64::from(host.weight))));
    }
    if !host.hostname.is_empty() {
        members.push(("hostname", Json::text(&host.hostname)));
    }
    if host.priority != 0 {
        members.push(("priority", Json::from(u64::from(host.priority))));
    }
    push_rate(
        &mut members,
        "local_origin_success_rate",
        Some(host.local_origin_success_rate),
    );
    let locality = ["region", "zone", "sub_zone"]
        .into_iter()
        .zip(&host.locality);
    let locality = locality
        .filter(|(_, part)| !part.is_empty())
        .map(|(name, part)| (name, Json::text(part)));
    members.push(("locality", Json::object(locality.collect())));
    Json::object(members)
}

/// `envoy.admin.v3.HostHealthStatus`.
fn health_json(health: &HostHealth) -> Json {
    let eds = match health {
        HostHealth {
            failed_eds_health: true,
            ..
        } => "UNHEALTHY",
        HostHealth {
            degraded_eds_health: true,
            ..
        } => "DEGRADED",
        HostHealth {
            eds_status_draining: true,
            ..
        } => "DRAINING",
        _ => "HEALTHY",
    };
    let flag = |name: &'static str, set: bool| set.then_some((name, Json::Bool(true)));
    let members = [
        flag("failed_active_health_check", health.failed_active_hc),
        flag("failed_outlier_check", health.failed_outlier_check),
        Some(("eds_health_status", Json::text(eds))),
        flag("failed_active_degraded_check", health.degraded_active_hc),
        flag("pending_dynamic_removal", health.pending_dynamic_removal),
        flag("pending_active_hc", health.pending_active_hc),
        flag(
            "excluded_via_immediate_hc_fail",
            health.excluded_via_immediate_hc_fail,
        ),
        flag("active_hc_timeout", health.active_hc_timeout),
        flag(
            "failed_degraded_outlier_detection",
            health.degraded_outlier_detection,
        ),
    ];
    Json::object(members.into_iter().flatten().collect())
}
