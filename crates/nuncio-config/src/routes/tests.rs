//! Route configurations as they come, and what is said of them. Envoy's sentences are those of 1.40.

use super::*;
use crate::context::Mode;
use crate::finding::{Finding, Severity};
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::r#type::matcher::v3 as matching;
use nuncio_codec::headers::HeaderMap;
use nuncio_http::routes::{Action, MatchCx, PathRewrite, RouteMatch};
use nuncio_stats::Store;
use proto::route::Action as RouteKind;
use proto::route_action::ClusterSpecifier;
use proto::route_match::PathSpecifier;

fn prefix(text: &str) -> proto::RouteMatch {
    proto::RouteMatch { path_specifier: Some(PathSpecifier::Prefix(text.to_owned())), ..Default::default() }
}

fn regex(text: &str) -> matching::RegexMatcher {
    matching::RegexMatcher { regex: text.to_owned(), engine_type: None }
}

fn route(r#match: proto::RouteMatch, action: proto::RouteAction) -> proto::Route {
    proto::Route { r#match: Some(r#match), action: Some(RouteKind::Route(action)), ..Default::default() }
}

fn forward(cluster: &str) -> proto::RouteAction {
    let cluster_specifier = Some(ClusterSpecifier::Cluster(cluster.to_owned()));
    proto::RouteAction { cluster_specifier, ..Default::default() }
}

fn config(routes: Vec<proto::Route>) -> proto::RouteConfiguration {
    let host = proto::VirtualHost { name: "v".into(), domains: vec!["*".into()], routes, ..Default::default() };
    proto::RouteConfiguration { name: "local_route".into(), virtual_hosts: vec![host], ..Default::default() }
}

/// Compiles with the clusters `a` and `b`.
fn compiled(config: &proto::RouteConfiguration) -> (Option<Arc<RouteTable>>, Vec<Finding>) {
    let mut cx = CompileCx::new(Mode::default(), Store::new(1), &[]);
    for name in ["a", "b"] {
        cx.declare_cluster(name, false);
    }
    let table = cx.at("route_config", |cx| compile(cx, config, Origin::Static));
    (table, cx.into_findings())
}

/// The errors of one route: path below the route, and Envoy's sentence.
fn refused(wrong: proto::Route) -> Vec<(String, String)> {
    let (table, findings) = compiled(&config(vec![wrong]));
    assert!(table.is_none(), "{findings:#?}");
    let errors = findings.into_iter().filter(Finding::is_error);
    let below = |path: &str| path.trim_start_matches("route_config.virtual_hosts[0].routes[0].").to_owned();
    errors.map(|finding| (below(&finding.path), finding.envoy)).collect()
}

fn one(path: &str, envoy: &str) -> Vec<(String, String)> {
    vec![(path.to_owned(), envoy.to_owned())]
}

#[test]
fn a_route_configuration_routes() {
    let mut canary = forward("");
    let weight = |name: &str, weight| proto::weighted_cluster::ClusterWeight {
        name: name.into(),
        weight: Some(weight),
        ..Default::default()
    };
    canary.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(proto::WeightedCluster {
        clusters: vec![weight("a", 90), weight("b", 10)],
        ..Default::default()
    }));
    let mut health = route(prefix("/"), forward("a"));
    health.r#match = Some(proto::RouteMatch {
        path_specifier: Some(PathSpecifier::Path("/health".into())),
        ..Default::default()
    });
    let (table, findings) = compiled(&config(vec![health, route(prefix("/"), canary)]));
    assert_eq!(findings, []);
    let table = table.expect("compiles");
    let route_of = |path: &str| {
        let head: HeaderMap = [(":method", "GET"), (":path", path), (":authority", "h")].into_iter().collect();
        match table.find(&head, &MatchCx::default()) {
            RouteMatch::Route(id) => Some(id.route),
            RouteMatch::None | RouteMatch::RequireTls { .. } => None,
        }
    };
    assert_eq!((route_of("/health?x"), route_of("/health/")), (Some(0), Some(1)));
    let action = &table.hosts()[0].routes[1].route.action;
    let Action::Forward(action) = action else { unreachable!("it forwards: {action:?}") };
    let head = HeaderMap::new();
    assert_eq!((action.pick_cluster(&head, 89, None, &nuncio_core::RuntimeValues::default()).name, action.pick_cluster(&head, 190, None, &nuncio_core::RuntimeValues::default()).name), ("a", "b"));
    assert_eq!(action.timeout.as_secs(), 15);
}

#[test]
fn what_envoy_refuses_is_refused_at_its_place() {
    let with = |change: &dyn Fn(&mut proto::RouteAction)| {
        let mut action = forward("a");
        change(&mut action);
        refused(route(prefix("/"), action))
    };
    assert_eq!(refused(route(prefix("/"), forward("zz"))), one("route.cluster", "route: unknown cluster 'zz'"));
    let two = with(&|action| {
        action.prefix_rewrite = "/x".into();
        action.path_rewrite = "/y".into();
    });
    assert_eq!(two, one("route", "Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy"));
    let weights = |weights: &[Option<u32>]| {
        let cluster = |weight: &Option<u32>| proto::weighted_cluster::ClusterWeight {
            name: "a".into(),
            weight: *weight,
            ..Default::default()
        };
        let clusters = weights.iter().map(cluster).collect();
        let weighted = proto::WeightedCluster { clusters, ..Default::default() };
        with(&|action| action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(weighted.clone())))
    };
    let sum = "Sum of weights in the weighted_cluster must be greater than 0.";
    assert_eq!(weights(&[Some(0)]), one("route.weighted_clusters", sum));
    let most = "The sum of weights of all weighted clusters of route  exceeds 4294967295";
    assert_eq!(weights(&[Some(u32::MAX), Some(1)]), one("route.weighted_clusters", most));
    assert_eq!(weights(&[None])[0].0, "route.weighted_clusters.clusters[0]");
    let back_off = with(&|action| {
        let back_off = proto::retry_policy::RetryBackOff {
            base_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
            max_interval: Some(prost_types::Duration { seconds: 0, nanos: 1 }),
        };
        action.retry_policy = Some(proto::RetryPolicy { retry_back_off: Some(back_off), ..Default::default() });
    });
    let words = "retry_policy.max_interval must greater than or equal to the base_interval";
    assert_eq!(back_off, one("route.retry_policy.retry_back_off.max_interval", words));
    let direct = |specifier| {
        let body = core::DataSource { specifier: Some(specifier), ..Default::default() };
        let action = proto::DirectResponseAction { status: 200, body: Some(body), body_format: None };
        let action = Some(RouteKind::DirectResponse(action));
        refused(proto::Route { r#match: Some(prefix("/")), action, ..Default::default() })
    };
    use core::data_source::Specifier;
    let long = "response body size is 5000 bytes; maximum is 4096";
    assert_eq!(direct(Specifier::InlineString("x".repeat(5000))), one("direct_response.body.inline_string", long));
    let nowhere = "file /nope/nowhere does not exist";
    assert_eq!(direct(Specifier::Filename("/nope/nowhere".into())), one("direct_response.body.filename", nowhere));
}

#[test]
fn expressions_are_refused_in_the_words_of_re2() {
    let with = |text: &str| proto::RouteMatch {
        path_specifier: Some(PathSpecifier::SafeRegex(regex(text))),
        ..Default::default()
    };
    assert_eq!(refused(route(with("/h("), forward("a"))), one("match.safe_regex.regex", "missing ): /h("));
    assert_eq!(refused(route(with("(?!x)"), forward("a"))), one("match.safe_regex.regex", "invalid perl operator: (?!"));
}

#[test]
fn headers_that_routing_needs_cannot_be_changed() {
    let addition = |key: &str, value: &str| core::HeaderValueOption {
        header: Some(core::HeaderValue { key: key.into(), value: value.into(), raw_value: Vec::new() }),
        ..Default::default()
    };
    let mut wrong = route(prefix("/"), forward("a"));
    wrong.request_headers_to_add = vec![addition("Host", "x"), addition("x-a", "100%"), addition("x-ok", "%REQ(x)%")];
    wrong.response_headers_to_remove = vec![":status".into()];
    assert_eq!(
        refused(wrong),
        [
            ("request_headers_to_add[0].header.key", ":-prefixed or host headers may not be modified"),
            ("request_headers_to_add[1].header.value", "Incorrect configuration: 100%. Couldn't find valid command at position 3"),
            ("response_headers_to_remove[0]", ":-prefixed or host headers may not be removed"),
        ]
        .map(|(path, envoy)| (path.to_owned(), envoy.to_owned()))
    );
}

#[test]
fn domains_are_refused_when_they_are_taken() {
    let mut twice = config(vec![route(prefix("/"), forward("a"))]);
    twice.virtual_hosts[0].domains = vec!["*".into(), "*".into()];
    let (table, findings) = compiled(&twice);
    assert!(table.is_none());
    assert_eq!(findings[0].path, "route_config.virtual_hosts[0].domains[1]");
    assert_eq!(findings[0].envoy, "Only a single wildcard domain is permitted in route local_route");
    assert_eq!(findings[0].also[0].0, "route_config.virtual_hosts[0].domains[0]");
    let mut two = config(vec![route(prefix("/"), forward("a"))]);
    two.virtual_hosts[0].domains = vec!["x.test".into()];
    two.virtual_hosts.push(proto::VirtualHost { name: "w".into(), domains: vec!["X.test".into()], ..Default::default() });
    let (_, findings) = compiled(&two);
    assert_eq!(findings[0].message, "the virtual hosts `v` and `w` both have the domain `x.test`");
    let unique = "Only unique values for domains are permitted. Duplicate entry of domain x.test in route local_route";
    assert_eq!(findings[0].envoy, unique);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let wrong = config(vec![
        route(prefix("/a"), forward("zz")),
        route(prefix("/b"), forward("yy")),
        proto::Route { request_headers_to_remove: vec!["host".into()], ..route(prefix("/c"), forward("a")) },
    ]);
    let (_, findings) = compiled(&wrong);
    let places: Vec<&str> = findings.iter().map(|f| f.path.trim_start_matches("route_config.virtual_hosts[0].")).collect();
    assert_eq!(places, ["routes[0].route.cluster", "routes[1].route.cluster", "routes[2].request_headers_to_remove[0]"]);
}

#[test]
fn clusters_may_be_unknown_where_the_configuration_says_so() {
    let mut loose = config(vec![route(prefix("/"), forward("backend"))]);
    loose.validate_clusters = Some(false);
    let (table, findings) = compiled(&loose);
    assert!(table.is_some());
    assert_eq!((findings.len(), findings[0].severity), (1, Severity::Warning));
}

#[test]
fn what_most_likely_is_a_mistake_is_warned_of() {
    let mut behind = forward("a");
    let retry = proto::RetryPolicy { retry_on: "5xx,gatway-error".into(), ..Default::default() };
    behind.retry_policy = Some(retry);
    let (table, findings) = compiled(&config(vec![route(prefix("/"), forward("a")), route(prefix("/b"), behind)]));
    assert!(table.is_some());
    let said: Vec<(&str, &str)> = findings.iter().map(|f| (f.path.as_str(), f.code)).collect();
    assert_eq!(
        said,
        [
            ("route_config.virtual_hosts[0].routes[1].route.retry_policy.retry_on", codes::SUSPICIOUS),
            ("route_config.virtual_hosts[0].routes[1].match", codes::UNREACHABLE),
        ]
    );
    let words = "Unknown retry_on policy token(s) [gatway-error] in retry_on config '5xx,gatway-error'. \
                 These tokens will be silently ignored.";
    assert_eq!((findings[0].envoy.as_str(), findings[0].help.as_slice()), (words, &["did you mean `gateway-error`?".to_owned()][..]));
}

#[test]
fn fields_without_effect_are_told() {
    let mut hedged = forward("a");
    hedged.hedge_policy = Some(proto::HedgePolicy { initial_requests: Some(2), ..Default::default() });
    let (table, findings) = compiled(&config(vec![route(prefix("/"), hedged)]));
    assert!(table.is_some());
    let told: Vec<&str> = findings.iter().map(|f| f.path.rsplit('.').next().unwrap_or_default()).collect();
    assert_eq!(told, ["initial_requests"]);
    assert!(findings.iter().all(|finding| finding.code == codes::WITHOUT_EFFECT));
}

#[test]
fn rewrites_come_out_as_they_went_in() {
    let mut action = forward("a");
    let pattern = Some(regex("^/rx/(.*)$"));
    action.regex_rewrite = Some(matching::RegexMatchAndSubstitute { pattern, substitution: r"/\2".into() });
    let (table, findings) = compiled(&config(vec![route(prefix("/"), action)]));
    // A group that is not there: Envoy takes it and never rewrites.
    assert_eq!(findings.iter().map(|f| f.code).collect::<Vec<_>>(), [codes::SUSPICIOUS]);
    let table = table.expect("compiles");
    let Action::Forward(action) = &table.hosts()[0].routes[0].route.action else { unreachable!("it forwards") };
    assert!(matches!(action.path_rewrite, PathRewrite::Regex(_)));
}
