//! Which virtual host a request belongs to, what it asks for, and what a table refuses.

use super::*;
use nuncio_codec::headers::HeaderName;
use std::collections::{BTreeMap, HashMap};

fn any_route() -> Vec<Route> {
    vec![forward(prefix("/"), "c")]
}

fn host_of(table: &RouteTable, name: &str) -> Option<u32> {
    table.host_of(&head("/", name, &[])).map(|(host, _)| host)
}

/// Envoy's way: a map of exact names, then maps of wildcards by length, longest first.
fn by_the_book(domains: &[&str], name: &str) -> Option<u32> {
    let name = name.to_lowercase();
    let numbered = || (0u32..).zip(domains.iter().map(|domain| domain.to_lowercase()));
    let exact: HashMap<String, u32> = numbered().map(|(n, domain)| (domain, n)).collect();
    if let Some(found) = exact.get(&name).filter(|_| name != "*") {
        return Some(*found);
    }
    let mut suffixes: BTreeMap<usize, Vec<(String, u32)>> = BTreeMap::new();
    let mut prefixes = suffixes.clone();
    for (n, domain) in numbered().filter(|(_, domain)| domain != "*") {
        if let Some(rest) = domain.strip_prefix('*') {
            suffixes.entry(rest.len()).or_default().push((rest.to_owned(), n));
        } else if let Some(rest) = domain.strip_suffix('*') {
            prefixes.entry(rest.len()).or_default().push((rest.to_owned(), n));
        }
    }
    let longest = |map: &BTreeMap<usize, Vec<(String, u32)>>, fits: &dyn Fn(&str) -> bool| {
        let shorter = map.iter().rev().filter(|(len, _)| **len < name.len());
        shorter.flat_map(|(_, list)| list).find(|(rest, _)| fits(rest)).map(|(_, n)| *n)
    };
    longest(&suffixes, &|rest| name.ends_with(rest))
        .or_else(|| longest(&prefixes, &|rest| name.starts_with(rest)))
        .or_else(|| numbered().find(|(_, domain)| domain == "*").map(|(n, _)| n))
}

#[test]
fn domains_are_found_as_by_the_book() {
    let mut dice = Dice(77);
    let labels = ["a", "b", "ab", "A", ".", ".a", "a.", "-"];
    for _ in 0..300 {
        let mut domains: Vec<String> = Vec::new();
        for _ in 0..dice.roll(20) {
            let body: String = (0..dice.roll(4)).map(|_| dice.pick(&labels)).collect();
            let domain = match dice.roll(4) {
                0 => format!("*{body}"),
                1 => format!("{body}*"),
                _ => body,
            };
            if !domain.is_empty() && !domains.iter().any(|known| known.eq_ignore_ascii_case(&domain)) {
                domains.push(domain);
            }
        }
        let list: Vec<&str> = domains.iter().map(String::as_str).collect();
        let table = table(list.iter().map(|domain| host("v", &[domain], any_route())).collect());
        for _ in 0..60 {
            let name: String = (0..dice.roll(5)).map(|_| dice.pick(&labels)).collect();
            assert_eq!(host_of(&table, &name), by_the_book(&list, &name), "{name} in {list:?}");
        }
    }
}

#[test]
fn a_port_belongs_to_the_name_unless_it_is_to_be_ignored() {
    let hosts = || vec![host("a", &["a.test"], any_route()), host("v6", &["[::1]"], any_route())];
    let plain = table(hosts());
    assert_eq!((host_of(&plain, "a.test"), host_of(&plain, "a.test:80")), (Some(0), None));
    let config = RouteConfig { virtual_hosts: hosts(), ignore_port_in_host_matching: true, ..RouteConfig::default() };
    let ignoring = RouteTable::compile(config).expect("valid");
    for (name, wanted) in
        [("a.test:80", Some(0)), ("a.test:x", Some(0)), ("A.TEST:", Some(0)), ("[::1]:80", Some(1)), ("[::1]", Some(1))]
    {
        assert_eq!(host_of(&ignoring, name), wanted, "{name}");
    }
}

#[test]
fn a_header_may_choose_the_virtual_host() {
    let hosts = vec![host("m", &["m"], any_route()), host("any", &["*"], any_route())];
    let vhost_header = HeaderName::new("x-vh");
    let config = RouteConfig { virtual_hosts: hosts, vhost_header, ..RouteConfig::default() };
    let table = RouteTable::compile(config).expect("valid");
    let of = |headers: &[(&str, &str)]| table.host_of(&head("/", "m", headers)).map(|(host, _)| host);
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[("x-vh", "m")]), Some(0));
    assert_eq!(of(&[("x-vh", "q")]), Some(1));
}

#[test]
fn tls_may_be_asked_for() {
    for (wanted, internal, forwarded, redirected) in [
        (TlsRequirement::None, "false", "http", false),
        (TlsRequirement::All, "true", "http", true),
        (TlsRequirement::All, "false", "https", false),
        (TlsRequirement::ExternalOnly, "false", "http", true),
        (TlsRequirement::ExternalOnly, "true", "http", false),
    ] {
        let table = table(vec![VirtualHost { require_tls: wanted, ..host("v", &["*"], any_route()) }]);
        let mut head = head("/x?y", "h.test", &[("x-envoy-internal", internal)]);
        head.insert("x-forwarded-proto", forwarded);
        let outcome = table.find(&head, &MatchCx::default());
        assert_eq!(outcome == RouteMatch::RequireTls { virtual_host: 0 }, redirected, "{wanted:?} {internal} {forwarded}");
    }
    let reply = tls_redirect(&head("/x?y", "h.test:80", &[]));
    assert_eq!((reply.status, &*reply.headers[0].1), (301, "https://h.test:80/x?y"));
}

#[test]
fn a_table_refuses_domains_that_are_taken_in_envoys_words() {
    let hosts = vec![host("a", &["x.test", "*", "*"], any_route()), host("b", &["X.test"], any_route())];
    let config = RouteConfig { name: "local_route".into(), virtual_hosts: hosts, ..RouteConfig::default() };
    let errors: Vec<(String, String)> =
        RouteTable::compile(config).expect_err("taken").into_iter().map(|error| (error.path, error.message)).collect();
    let only = "Only a single wildcard domain is permitted in route local_route";
    let unique = "Only unique values for domains are permitted. Duplicate entry of domain x.test in route local_route";
    assert_eq!(
        errors,
        [
            ("virtual_hosts[0].domains[2]".to_owned(), only.to_owned()),
            ("virtual_hosts[1].domains[0]".to_owned(), unique.to_owned()),
        ]
    );
}

#[test]
fn virtual_clusters_are_tried_in_order() {
    let cluster = |name: &str, start: &str| VirtualCluster {
        name: name.into(),
        headers: Box::new([HeaderMatch {
            name: HeaderName::new(":path").expect("valid"),
            test: HeaderTest::Text(TextMatch::Prefix(fold(start))),
            invert: false,
            missing_as_empty: false,
        }]),
    };
    let host = VirtualHost { virtual_clusters: vec![cluster("one", "/a/b"), cluster("two", "/a")], ..VirtualHost::default() };
    let of = |path: &str| host.virtual_cluster(&head(path, "h", &[])).map(|cluster| &*cluster.name);
    assert_eq!((of("/a/b/c"), of("/a/c"), of("/c")), (Some("one"), Some("two"), None));
}

#[test]
fn filter_settings_come_from_the_most_specific_level() {
    let setting = |number: u32| {
        let config = Some(Arc::new(number) as Arc<dyn std::any::Any + Send + Sync>);
        FilterOverrides::new(vec![(format!("f{}", number / 10).into(), FilterOverride { config, disabled: None })])
    };
    let mut routes = any_route();
    routes[0].filters = setting(11);
    let hosts = vec![VirtualHost { filters: setting(21), ..host("v", &["*"], routes) }];
    let config = RouteConfig { virtual_hosts: hosts, filters: setting(22), ..RouteConfig::default() };
    let table = Arc::new(RouteTable::compile(config).expect("valid")).pin();
    let route = nuncio_core::RouteRef::new(table, nuncio_core::RouteId { virtual_host: 0, route: 0 }, None);
    let number = |name: &str| route.filter_config::<u32>(name).copied();
    assert_eq!((number("f1"), number("f2"), number("f3")), (Some(11), Some(21), None));
    assert_eq!(route.filter_configs::<u32>("f2").collect::<Vec<_>>(), [&21, &22]);
    assert_eq!(route.view().map(|view| view.virtual_host_name()), Some("v"));
}
