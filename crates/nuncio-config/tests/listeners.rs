//! Listeners as people write them: what becomes of them, and what is said about those that cannot be.

use nuncio_api::Syntax;
use nuncio_config::{Input, Loaded, Mode, Options, Purpose, load};
use nuncio_listen::Transport;

/// A bootstrap with one listener: its fields besides name and address, indented by four.
fn one_listener(fields: &str) -> String {
    format!(
        "static_resources:
  listeners:
  - name: main
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 10000 }} }}
{fields}
  clusters:
  - {{ name: known, type: STATIC, load_assignment: {{ cluster_name: known }} }}
"
    )
}

/// The fields of a listener whose only chain has a TCP proxy and `more`, indented by six.
fn chain(more: &str) -> String {
    format!(
        "    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          cluster: known
{more}"
    )
}

/// The same with a TLS context of these fields, indented by ten.
fn tls(fields: &str) -> String {
    chain(&format!(
        "      transport_socket:
        name: tls
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
{fields}"
    ))
}

fn pki(name: &str) -> String {
    format!("{}/../nuncio-listen/tests/pki/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn certificate() -> String {
    let (chain, key) = (pki("server.pem"), pki("server.key"));
    format!("tls_certificates: [{{ certificate_chain: {{ filename: {chain} }}, private_key: {{ filename: {key} }} }}]")
}

fn loaded(listener: &str, purpose: Purpose) -> Loaded {
    let text = one_listener(listener);
    let input = Input { name: "test.yaml".into(), text: Ok(text), syntax: Syntax::Yaml };
    load(&[input], &Options::checking(Mode { purpose, ..Mode::default() }))
}

/// Everything found: code, path below the listener, severity; with what Envoy says.
fn found(listener: &str, purpose: Purpose) -> Vec<String> {
    let report = loaded(listener, purpose).report;
    let mut found: Vec<_> = report.files[0]
        .diagnostics
        .iter()
        .map(|d| {
            let path = d.path.trim_start_matches("static_resources.listeners[0]").trim_start_matches('.');
            format!("{} {}{path}", if d.is_error() { "E" } else { "W" }, d.code.trim_start_matches("NUN"))
                .replacen(path, &format!(" {path}"), usize::from(!path.is_empty()))
        })
        .collect();
    found.dedup();
    found
}

#[test]
fn a_tcp_proxy_behind_tls_is_ready_to_run() {
    let loaded = loaded(&tls(&format!("          common_tls_context: {{ alpn_protocols: [h2], {} }}", certificate())), Purpose::Start);
    assert_eq!(loaded.report.errors() + loaded.report.warnings(), 0, "{:?}", loaded.report);
    let snapshot = loaded.snapshot.expect("ready");
    let config = &snapshot.listeners[0].config;
    assert_eq!((&*config.name, config.stat_scope().as_str()), ("main", "listener.127.0.0.1_10000."));
    assert!(matches!(config.filter_chains[0].transport, Transport::Tls(_)));
    assert!(config.filter_chains[0].transport_timeout.is_some(), "nobody may greet for ever");
}

#[test]
fn what_guards_the_door_is_never_left_out_when_starting() {
    let ca = pki("ca.pem");
    let cases = [
        (
            format!("          common_tls_context: {{ {}, validation_context: {{ trusted_ca: {{ filename: {ca} }}, require_signed_certificate_timestamp: true }} }}", certificate()),
            "require_signed_certificate_timestamp",
        ),
        (
            format!("          common_tls_context: {{ tls_certificate_sds_secret_configs: [{{ name: s, sds_config: {{ ads: {{}} }} }}] }}"),
            "tls_certificate_sds_secret_configs",
        ),
    ];
    for (fields, what) in cases {
        let refused = found(&tls(&fields), Purpose::Start);
        assert!(refused.iter().any(|f| f.starts_with("E 0502") && f.contains(what)), "{what}: {refused:?}");
        let accepted = found(&tls(&fields), Purpose::Check);
        assert!(!accepted.iter().any(|f| f.starts_with("E 0502")), "{what}: {accepted:?}");
    }
}

#[test]
fn client_certificates_are_asked_for_where_that_is_all_there_is_to_it() {
    let ca = pki("ca.pem");
    let fields = format!(
        "          require_client_certificate: true\n          common_tls_context: {{ {}, validation_context: {{ trusted_ca: {{ filename: {ca} }} }} }}",
        certificate()
    );
    assert_eq!(found(&tls(&fields), Purpose::Start), Vec::<String>::new());
}

#[test]
fn a_bad_certificate_is_reported_once_and_where_it_stands() {
    let key = pki("client.key");
    let missing = tls("          common_tls_context: { tls_certificates: [{ certificate_chain: { filename: /nope.pem }, private_key: { inline_string: x } }] }");
    let at = "filter_chains[0].transport_socket.typed_config.common_tls_context.tls_certificates[0]";
    let missing = found(&missing, Purpose::Check);
    assert_eq!(missing[0], format!("E 0411 {at}.certificate_chain.filename"));
    assert_eq!(missing.iter().filter(|f| f.contains("certificate_chain")).count(), 1, "{missing:?}");
    let chain = pki("server.pem");
    let foreign = tls(&format!("          common_tls_context: {{ tls_certificates: [{{ certificate_chain: {{ filename: {chain} }}, private_key: {{ filename: {key} }} }}] }}"));
    assert_eq!(found(&foreign, Purpose::Check), [format!("E 0417 {at}.private_key")]);
    assert_eq!(found(&tls("          common_tls_context: {}"), Purpose::Check), ["E 0419 filter_chains[0].transport_socket.typed_config"]);
}

#[test]
fn filters_that_are_not_built_stop_the_start_if_they_guard_and_warn_if_they_watch() {
    let with = |filter: &str| chain("").replacen("    - filters:\n", &format!("    - filters:\n      - {filter}\n"), 1);
    let rbac = with("{ name: rbac, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC, stat_prefix: r } }");
    assert_eq!(found(&rbac, Purpose::Start), ["E 0502 filter_chains[0].filters[0].typed_config"]);
    assert_eq!(found(&rbac, Purpose::Check), ["W 0502 filter_chains[0].filters[0].typed_config"]);
    let mongo = with("{ name: mongo, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy, stat_prefix: m } }");
    assert_eq!(found(&mongo, Purpose::Start), ["W 0501 filter_chains[0].filters[0].typed_config"]);
}

#[test]
fn what_ends_a_chain_stands_at_its_end() {
    let twice = chain("      - { name: again, typed_config: { '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: known } }\n");
    assert_eq!(found(&twice, Purpose::Check), ["E 0407 filter_chains[0].filters[0]"]);
}

#[test]
fn a_cluster_that_nobody_declares_is_worth_a_word() {
    let found = found(&chain("").replace("cluster: known", "cluster: knwon"), Purpose::Start);
    assert_eq!(found, ["W 0401 filter_chains[0].filters[0].typed_config.cluster"]);
}

#[test]
fn chains_that_take_the_same_connections_are_refused() {
    let two = format!("{}{}", chain("      name: a\n"), chain("      name: b\n").replace("    filter_chains:\n", ""));
    assert_eq!(found(&two, Purpose::Check), ["E 0414 filter_chains[1]"]);
}

#[test]
fn redirected_connections_and_those_of_a_proxy_in_front_are_taken() {
    let redirecting = format!("    use_original_dst: true\n{}", chain(""));
    assert_eq!(found(&redirecting, Purpose::Start), Vec::<String>::new());
    let proxy_protocol = format!(
        "    listener_filters: [{{ name: pp, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol }} }}]\n{}",
        chain("")
    );
    assert_eq!(found(&proxy_protocol, Purpose::Start), Vec::<String>::new());
}

#[test]
fn chains_chosen_by_server_name_get_the_inspector_they_need() {
    let by_name = chain("      filter_chain_match: { server_names: [\"*.example.com\"] }\n");
    assert_eq!(found(&by_name, Purpose::Start), ["W 0422 filter_chains[0].filter_chain_match"]);
    let listed = format!(
        "    listener_filters: [{{ name: tls, typed_config: {{ '@type': type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }} }}]\n{by_name}"
    );
    let loaded = loaded(&listed, Purpose::Start);
    assert_eq!(loaded.report.errors() + loaded.report.warnings(), 0, "{:?}", loaded.report);
    assert!(loaded.snapshot.expect("ready").listeners[0].config.inspectors.tls);
}
