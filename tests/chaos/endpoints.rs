//! Endpoints that change under load: no request fails because of it.

use crate::load::{self, Clients, get};
use crate::proxy::Proxy;
use std::{fs, net::SocketAddr, path::Path, thread, time::Duration};

/// Times the file is replaced.
const REPLACEMENTS: usize = 30;
/// Clients that send one request after the other meanwhile.
const CLIENTS: usize = 8;

fn write(path: &Path, hosts: &[SocketAddr]) {
    let endpoint = |host: &SocketAddr| {
        format!("{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}", host.ip(), host.port())
    };
    let endpoints: Vec<String> = hosts.iter().map(endpoint).collect();
    let text = format!(
        "resources: [{{'@type': type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: app, \
         endpoints: [{{lb_endpoints: [{}]}}]}}]",
        endpoints.join(", ")
    );
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn no_request_fails_while_endpoints_come_and_go() {
    let backends = [load::backend("one"), load::backend("two")];
    let file = std::env::temp_dir().join(format!("nuncio-chaos-endpoints-{}.yaml", std::process::id()));
    write(&file, &backends[..1]);
    let proxy = Proxy::start_with("endpoints", &backends, |front| {
        format!(
            r#"{{"node": {{"id": "n", "cluster": "c"}}, "admin": {{"address": {{"socket_address": {{"address": "127.0.0.1", "port_value": 0}}}}}},
            "static_resources": {{
              "listeners": [{{"name": "main", "address": {{"socket_address": {{"address": "{}", "port_value": {}}}}}, "filter_chains": [{{"filters": [{{"name": "hcm",
                "typed_config": {{"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "main", "route_config": {{"virtual_hosts": [{{"name": "v", "domains": ["*"], "routes": [{{"match": {{"prefix": "/"}}, "route": {{"cluster": "app"}}}}]}}]}},
                "http_filters": [{{"name": "router", "typed_config": {{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}}}]}}}}]}}]}}],
              "clusters": [{{"name": "app", "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {{"eds_config": {{"path_config_source":
                {{"path": "{}", "poll_interval": "0.01s"}}}}}}}}]}}}}"#,
            front.ip(),
            front.port(),
            file.display()
        )
    });
    let clients = Clients::start(CLIENTS, proxy.front, "/x");
    for round in 0..REPLACEMENTS {
        let hosts: &[SocketAddr] = match round % 3 {
            0 => &backends,
            1 => &backends[1..],
            _ => &backends[..1],
        };
        write(&file, hosts);
        proxy.wait_for_gauge("cluster.app.update_success", round as u64 + 2);
        thread::sleep(Duration::from_millis(5));
    }
    let (answered, failures) = clients.stop();
    assert!(failures.is_empty(), "{} of {answered} requests failed, first: {}", failures.len(), failures[0]);
    assert!(answered > REPLACEMENTS, "{answered} requests are no load");
    assert_eq!(get(proxy.front, "/x").map(|answer| answer.body).as_deref(), Ok("one"));
    proxy.gauges_return_to_zero();
    fs::remove_file(&file).unwrap();
}
