//! The proxy's configuration, put together from a script.
//!
//! By default there is one listener `main` on `PORT_main` with a connection manager (`hcm:` is merged over it) whose
//! routes are `routes:`, in one virtual host for every domain (`vhost:` is merged over it; `virtual_hosts:` replaces
//! it). `listeners:` names several instead, each with its own `hcm:`, `routes:` and other fields; `tls:` there is laid over
//! a DownstreamTlsContext with the certificate `server`, and the listener's `stat_prefix` is its name then. `clusters:` are STATIC
//! with the backends in `endpoints:` (default: the backend of the same name, but for types that find hosts themselves);
//! other fields are merged over. `bootstrap:` is merged over everything.

use crate::{
    link::PKI,
    node::{Node, read},
    ports::Ports,
};

/// Format of the access log where a script names none: everything but times.
const LOG: &str = "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% \
    %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER% %UPSTREAM_HOST%";

const HCM: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const FILE_LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";

/// The whole configuration as JSON. The access log goes to `log_path`.
pub fn build(script: &Node, ports: &mut Ports, log_path: &str) -> Result<String, String> {
    let mut listeners = Vec::new();
    match script.get("listeners") {
        None => listeners.push(listener("main", &Node::Map(Vec::new()), script, ports, log_path)?),
        Some(named) => {
            for (name, node) in named.pairs() {
                listeners.push(listener(name, node, script, ports, log_path)?);
            }
        }
    }
    let mut clusters = Vec::new();
    for (name, node) in script.get("clusters").map_or(&[][..], Node::pairs) {
        clusters.push(cluster(name, node, ports)?);
    }
    let mut bootstrap = read(&format!(
        "{{admin: {}, static_resources: {{listeners: {}, clusters: {}}}}}",
        address("admin", ports),
        Node::List(listeners).to_json(),
        Node::List(clusters).to_json()
    ))?;
    if let Some(over) = script.get("bootstrap") {
        bootstrap.merge(over);
    }
    Ok(bootstrap.to_json())
}

fn address(name: &str, ports: &mut Ports) -> String {
    let port = ports.get(name);
    format!("{{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}")
}

/// A node without some of its keys.
fn without(node: &Node, keys: &[&str]) -> Node {
    Node::Map(node.pairs().iter().filter(|(key, _)| !keys.contains(&key.as_str())).cloned().collect())
}

fn listener(name: &str, node: &Node, script: &Node, ports: &mut Ports, log_path: &str) -> Result<Node, String> {
    let pick = |key: &str| node.get(key).or_else(|| script.get(key));
    let mut vhost = read("{name: app, domains: ['*']}")?;
    vhost.merge(&Node::pair("routes", pick("routes").cloned().unwrap_or(Node::List(Vec::new()))));
    if let Some(over) = pick("vhost") {
        vhost.merge(over);
    }
    let vhosts = pick("virtual_hosts").cloned().unwrap_or(Node::List(vec![vhost]));
    let format = Node::Str(format!("{}\n", script.string("log").unwrap_or_else(|| LOG.to_owned())));
    let log = match script.string("log").as_deref() {
        Some("default") => String::new(),
        _ => format!(", log_format: {{text_format_source: {{inline_string: {}}}}}", format.to_json()),
    };
    let mut hcm = read(&format!(
        "{{'@type': {HCM}, stat_prefix: {name},
          route_config: {{name: local, virtual_hosts: {}}},
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{'@type': {ROUTER}}}}}],
          access_log: [{{name: envoy.access_loggers.file,
                        typed_config: {{'@type': {FILE_LOG}, path: '{log_path}'{log}}}}}]}}",
        vhosts.to_json()
    ))?;
    for over in [script.get("hcm"), node.get("hcm")].into_iter().flatten() {
        hcm.merge(over);
    }
    let socket = match node.get("tls") {
        None => String::new(),
        Some(over) => {
            let mut context = read(&format!(
                "{{'@type': {TLS}, common_tls_context: {{tls_certificates: [{{certificate_chain: {{filename: '{PKI}/server.pem'}},
                  private_key: {{filename: '{PKI}/server.key'}}}}]}}}}"
            ))?;
            context.merge(over);
            format!(", transport_socket: {{name: tls, typed_config: {}}}", context.to_json())
        }
    };
    let mut listener = read(&format!(
        "{{name: {name}, stat_prefix: {name}, filter_chains: [{{filters: [{{name: hcm, typed_config: {}}}]{socket}}}]}}",
        hcm.to_json()
    ))?;
    if node.get("tls").is_none() {
        listener = without(&listener, &["stat_prefix"]);
    }
    if node.get("internal_listener").is_none() {
        listener.merge(&read(&address(name, ports))?);
    }
    listener.merge(&without(node, &["hcm", "routes", "vhost", "virtual_hosts", "tls"]));
    Ok(listener)
}

fn cluster(name: &str, node: &Node, ports: &mut Ports) -> Result<Node, String> {
    let own = [Node::from(name)];
    let endpoints: Vec<String> = node
        .get("endpoints")
        .map_or(&own[..], Node::items)
        .iter()
        .map(|backend| match backend {
            Node::Map(_) => backend.to_json(),
            name => format!("{{endpoint: {}}}", address(&name.text(), ports)),
        })
        .collect();
    let mut cluster = read(&format!("{{name: {name}, connect_timeout: 1s}}"))?;
    if node.get("cluster_type").is_none() && node.get("type").is_none() {
        cluster.merge(&read("{type: STATIC}")?);
    }
    // Types that find their hosts themselves have none here.
    let finds = node.get("cluster_type").is_some() || matches!(node.string("type").as_deref(), Some("ORIGINAL_DST" | "EDS"));
    if node.get("endpoints").is_some() || !finds {
        let endpoints = endpoints.join(", ");
        let assignment = format!("{{cluster_name: {name}, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}");
        cluster.merge(&read(&format!("{{load_assignment: {assignment}}}"))?);
    }
    cluster.merge(&without(node, &["endpoints"]));
    Ok(cluster)
}
