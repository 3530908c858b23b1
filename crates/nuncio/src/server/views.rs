//! Turns what the cluster and listener managers hold into what the admin endpoints show.

use nuncio_listen::tls::CertificateFacts;
use nuncio_admin as admin;
use nuncio_rt::Address;
use nuncio_stats::EndpointStats;
use nuncio_upstream::{Breakers, ClusterView, Health, HealthFlags, Host, HostStat, Resource, RoutingPriority};
use std::sync::Arc;

/// A cluster for `/clusters`.
pub(super) fn cluster(view: &ClusterView) -> admin::Cluster {
    let config = &view.info.config;
    admin::Cluster {
        name: config.name.to_string(),
        observability_name: config.display_name().to_string(),
        added_via_api: config.added_via_api,
        eds_service_name: String::new(),
        outlier: view.success_rates.map(|[external, local]| admin::OutlierRates {
            success_rate_average: external.average,
            success_rate_ejection_threshold: external.ejection_threshold,
            local_origin_success_rate_average: local.average,
            local_origin_success_rate_ejection_threshold: local.ejection_threshold,
        }),
        limits: [RoutingPriority::Default, RoutingPriority::High].map(|p| limits(&view.info.breakers, p)),
        hosts: view.hosts.hosts().map(|h| host(h)).collect(),
    }
}

/// What a cluster's hosts count.
pub(super) fn endpoints(view: &ClusterView) -> Vec<EndpointStats> {
    let cluster = view.info.config.display_name();
    let of = |host: &Arc<Host>| {
        let [failed, total, error, success, timeout, requests, open, active, pending] = HostStat::ALL.map(|stat| host.state.stat(stat));
        let healthy = u64::from(host.state.flags().health() == Health::Healthy);
        EndpointStats {
            cluster: cluster.clone(),
            address: host.observability_name.as_ref().map_or_else(|| host.address.to_string(), |name| name.to_string()),
            hostname: host.hostname.clone(),
            values: [failed, total, error, success, timeout, requests, open, active, pending, healthy],
        }
    };
    view.hosts.hosts().map(of).collect()
}

fn limits(breakers: &Breakers, priority: RoutingPriority) -> admin::Limits {
    let max = |resource| breakers.max(priority, resource);
    admin::Limits {
        max_connections: max(Resource::Connections),
        max_pending_requests: max(Resource::PendingRequests),
        max_requests: max(Resource::Requests),
        max_retries: max(Resource::Retries),
    }
}

fn host(host: &Host) -> admin::Host {
    let stat = |which| host.state.stat(which);
    let [success_rate, local_origin_success_rate] = host.state.success_rates();
    admin::Host {
        address: address(&host.address),
        hostname: host.hostname.to_string(),
        counts: admin::HostCounts {
            cx_active: stat(HostStat::CxActive),
            cx_connect_fail: stat(HostStat::CxConnectFail),
            cx_total: stat(HostStat::CxTotal),
            rq_active: stat(HostStat::RqActive),
            rq_error: stat(HostStat::RqError),
            rq_pending_active: stat(HostStat::RqPendingActive),
            rq_success: stat(HostStat::RqSuccess),
            rq_timeout: stat(HostStat::RqTimeout),
            rq_total: stat(HostStat::RqTotal),
        },
        health: health(host.state.flags()),
        weight: host.weight,
        priority: host.priority,
        locality: [host.locality.region.clone(), host.locality.zone.clone(), host.locality.sub_zone.clone()],
        canary: host.is_canary(),
        success_rate,
        local_origin_success_rate,
    }
}

fn health(flags: HealthFlags) -> admin::HostHealth {
    admin::HostHealth {
        failed_active_hc: flags.has(HealthFlags::FAILED_ACTIVE_HC),
        failed_outlier_check: flags.has(HealthFlags::FAILED_OUTLIER_CHECK),
        failed_eds_health: flags.has(HealthFlags::FAILED_EDS_HEALTH),
        degraded_active_hc: flags.has(HealthFlags::DEGRADED_ACTIVE_HC),
        degraded_eds_health: flags.has(HealthFlags::DEGRADED_EDS_HEALTH),
        pending_dynamic_removal: flags.has(HealthFlags::PENDING_DYNAMIC_REMOVAL),
        pending_active_hc: flags.has(HealthFlags::PENDING_ACTIVE_HC),
        excluded_via_immediate_hc_fail: flags.has(HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL),
        active_hc_timeout: flags.has(HealthFlags::ACTIVE_HC_TIMEOUT),
        eds_status_draining: flags.has(HealthFlags::EDS_STATUS_DRAINING),
        degraded_outlier_detection: flags.has(HealthFlags::DEGRADED_OUTLIER_DETECTION),
    }
}

/// An address as the admin endpoints know them.
pub(super) fn address(address: &Address) -> admin::Address {
    match address {
        Address::Ip(ip) => admin::Address::Socket(*ip),
        Address::Pipe(path) => admin::Address::Pipe(path.clone(), 0),
        Address::Internal(to) => admin::Address::Internal(to.listener.to_string(), to.endpoint.to_string()),
    }
}

/// The certificates of a TLS context.
pub(super) fn certificates(own: &[CertificateFacts], trusted: Option<&CertificateFacts>) -> nuncio_admin::Certificates {
    let certificate = |facts: &CertificateFacts| {
        let time = |seconds| prost_types::Timestamp { seconds, nanos: 0 }.to_string();
        nuncio_admin::Certificate {
            path: facts.path.clone(),
            serial_number: facts.serial_number.clone(),
            subject_alt_names: facts.subject_alt_names.clone(),
            days_until_expiration: days_left(facts.expires),
            valid_from: time(facts.valid_from),
            expiration_time: time(facts.expires),
        }
    };
    nuncio_admin::Certificates {
        ca_cert: trusted.into_iter().map(certificate).collect(),
        cert_chain: own.iter().map(certificate).collect(),
    }
}

/// Whole days until this moment, given in Unix seconds; 0 once it has passed.
pub(super) fn days_left(until: i64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    u64::try_from(until).unwrap_or(0).saturating_sub(now) / 86_400
}
