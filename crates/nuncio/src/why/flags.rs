//! What each response flag means, what usually causes it, and where to look: one table of all of them.

/// A flag for people.
pub(super) struct Known {
    /// As `%RESPONSE_FLAGS%` prints it.
    pub(super) flag: &'static str,
    /// What happened.
    pub(super) meaning: &'static str,
    /// Why that happens, the likeliest first.
    pub(super) causes: &'static str,
    /// Statistics that move with it; `<cluster>` stands for the cluster's name, `<prefix>` for the connection manager's.
    pub(super) stat: &'static str,
    /// Fields that decide it.
    pub(super) field: &'static str,
}

const fn known(flag: &'static str, meaning: &'static str, causes: &'static str, stat: &'static str, field: &'static str) -> Known {
    Known { flag, meaning, causes, stat, field }
}

/// Every flag, in Envoy's order.
pub(super) const TABLE: &[Known] = &[
    known("LH", "this proxy failed its own health check", "/healthcheck/fail was posted, or the health check filter found too few healthy hosts", "http.<prefix>.health_check.*", "health_check filter: cluster_min_healthy_percentages"),
    known("UH", "the cluster had no healthy host to send to", "every host fails its health checks or is ejected; DNS found no address; the assignment is empty", "cluster.<cluster>.membership_healthy, upstream_cx_none_healthy", "health_checks, outlier_detection, load_assignment, common_lb_config.healthy_panic_threshold"),
    known("UT", "the upstream took longer than the request may", "a slow upstream; a timeout that is too short (15 s unless the route says otherwise)", "cluster.<cluster>.upstream_rq_timeout", "route.timeout, retry_policy.per_try_timeout, x-envoy-upstream-rq-timeout-ms"),
    known("LR", "the stream was reset here", "a filter or a limit ended it", "cluster.<cluster>.upstream_rq_tx_reset", "the limits of connection manager and filters"),
    known("UR", "the upstream reset the stream", "the upstream crashed, restarted or refused the stream", "cluster.<cluster>.upstream_rq_rx_reset", "retry_policy.retry_on: reset"),
    known("UF", "no connection to the upstream could be made", "nothing listens there; a firewall; a TLS handshake that failed; connect_timeout passed", "cluster.<cluster>.upstream_cx_connect_fail, upstream_cx_connect_timeout", "connect_timeout, transport_socket, retry_policy.retry_on: connect-failure"),
    known("UC", "the upstream closed the connection in the middle of the exchange", "the upstream crashed, or closes idle connections sooner than we do", "cluster.<cluster>.upstream_cx_destroy_remote_with_active_rq", "common_http_protocol_options.idle_timeout (shorter than the upstream's), retry_policy.retry_on: reset"),
    known("UO", "a circuit breaker was open", "more requests at a time than the cluster's limits allow", "cluster.<cluster>.upstream_rq_pending_overflow, circuit_breakers.*.rq_open", "circuit_breakers.thresholds"),
    known("NR", "no route took the request", "host or path match nothing; no filter chain fits", "http.<prefix>.no_route", "route_config.virtual_hosts (nuncio explain shows every route tried)"),
    known("DI", "the fault filter delayed the request on purpose", "fault injection is configured", "http.<prefix>.fault.delays_injected", "fault filter: delay"),
    known("FI", "the fault filter aborted the request on purpose", "fault injection is configured", "http.<prefix>.fault.aborts_injected", "fault filter: abort"),
    known("RL", "the request was over a rate limit", "more requests than the limit in its interval", "http_local_rate_limit.*, cluster.<cluster>.ratelimit.over_limit", "local_ratelimit, rate_limits"),
    known("UAEX", "the authorization service said no, or could not be asked", "the service denies it; it is down and failure_mode_allow is false", "cluster.<cluster>.ext_authz.denied, ext_authz.error", "ext_authz filter"),
    known("RLSE", "the rate limit service could not be asked", "it is down or slow, and failure_mode_deny is set", "cluster.<cluster>.ratelimit.error", "ratelimit filter: failure_mode_deny, timeout"),
    known("DC", "the client went away before the response was complete", "the client's own timeout; a user who left; a balancer in front that gave up", "http.<prefix>.downstream_rq_rx_reset, downstream_cx_destroy_remote_active_rq", "nothing here: see how long it had waited"),
    known("URX", "the retries allowed were used up", "the upstream fails throughout; too few retries", "cluster.<cluster>.upstream_rq_retry_limit_exceeded", "retry_policy.num_retries; tcp_proxy.max_connect_attempts"),
    known("SI", "nothing moved on the stream for too long", "a client or upstream that stalls; a long poll longer than the timeout", "http.<prefix>.downstream_rq_idle_timeout", "stream_idle_timeout, route.idle_timeout"),
    known("IH", "an x-envoy-* request header had an invalid value", "a client that sends what only proxies should", "http.<prefix>.downstream_rq_4xx", "router filter: strict_check_headers"),
    known("DPE", "the client broke the protocol", "a malformed or oversized request; bytes of another protocol (TLS to a plain port)", "http.<prefix>.downstream_cx_protocol_error", "http_protocol_options, max_request_headers_kb"),
    known("UMSDR", "the stream lived as long as it may upstream", "max_stream_duration passed", "cluster.<cluster>.upstream_rq_max_duration_reached", "max_stream_duration"),
    known("RFCF", "the response came from the cache", "the cache filter had it", "the cache filter's statistics", "cache filter"),
    known("NFCF", "a filter's configuration has not arrived", "extension configuration discovery is late or failed", "extension_config_discovery.*", "config_discovery"),
    known("DT", "the connection or stream was older than it may be", "a maximum duration passed", "http.<prefix>.downstream_cx_max_duration_reached", "max_connection_duration, max_stream_duration"),
    known("UPE", "the upstream broke the protocol", "a malformed response; another protocol than expected (HTTP/2 against HTTP/1)", "cluster.<cluster>.upstream_cx_protocol_error", "typed_extension_protocol_options (HttpProtocolOptions)"),
    known("NC", "the cluster that the route names does not exist", "cluster_header names an unknown cluster; the cluster has not arrived or was removed", "http.<prefix>.no_cluster", "route.cluster, cluster_header, cluster_not_found_response_code"),
    known("OM", "the overload manager ended the stream", "memory or another resource is above its limit", "overload.*", "overload_manager"),
    known("DF", "a name could not be resolved", "DNS does not answer, or does not know the name", "dns_cache.*, cluster.<cluster>.update_failure", "dynamic forward proxy: dns_cache_config"),
    known("DO", "dropped: the cluster's drop_overload takes a share of the requests", "the control plane sheds load", "cluster.<cluster>.upstream_rq_drop_overload", "load_assignment.policy.drop_overloads"),
    known("DR", "the client reset the stream", "the client cancelled it", "http.<prefix>.downstream_rq_rx_reset", "nothing here: see how long it had waited"),
    known("UDO", "dropped: the cluster's drop_overload takes every request", "the control plane sheds all load", "cluster.<cluster>.upstream_rq_drop_overload", "load_assignment.policy.drop_overloads"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_explained_in_order() {
        let all: Vec<&str> = nuncio_core::FLAGS.iter().map(|(_, name)| name.short).collect();
        let explained: Vec<&str> = TABLE.iter().map(|known| known.flag).collect();
        assert_eq!(explained, all);
        for Known { flag, meaning, causes, stat, field } in TABLE {
            assert!([meaning, causes, stat, field].iter().all(|text| text.len() > 8), "{flag}");
        }
    }
}
