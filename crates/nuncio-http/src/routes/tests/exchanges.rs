//! What routes make of requests and responses; the expectations are what Envoy 1.40 did.

use super::*;
use nuncio_codec::headers::{HeaderName, Known};
use nuncio_core::format::{Format, FormatCx};
use nuncio_core::{ConnInfo, StreamCx, Worker};
use nuncio_rt::{Address, Time};
use std::rc::Rc;

fn exchange(path: &str, host: &str, headers: &[(&str, &str)]) -> StreamCx {
    let address = || Address::Ip("127.0.0.1:4567".parse().expect("an address"));
    let conn = ConnInfo {
        id: 1,
        start: Time::ORIGIN,
        direct_remote: address(),
        remote: address(),
        local: address(),
        listener: "l".into(),
        filter_chain: "".into(),
        server_name: None,
        tls: false,
        client_certificate: Default::default(),
        tls_facts: None,
        transport_failure: Default::default(),
        fingerprints: None,
        attached: Default::default(),
    };
    let mut cx = StreamCx::new(Worker::new(0, nuncio_stats::Lane(0)), Rc::new(conn));
    cx.request = head(path, host, headers);
    cx
}

/// A table with one route, found by its path.
fn only(route: Route) -> Arc<RouteTable> {
    table(vec![host("v", &["*"], vec![route])])
}

fn route_with(path: PathMatch, change: impl FnOnce(&mut RouteAction)) -> Arc<RouteTable> {
    let mut action = RouteAction::to(ClusterSpecifier::Cluster("c".into()));
    change(&mut action);
    only(Route::new(Matcher::path(path), Action::Forward(Box::new(action))))
}

fn finalized(table: &RouteTable, mut cx: StreamCx, choice: Option<usize>) -> StreamCx {
    let id = table.find(&cx.request, &MatchCx::default()).route().expect("a route");
    let entry = table.get(id).expect("an entry");
    finalize_request(&mut cx, table, entry, Finalize { choice, keep_original: true });
    cx
}

fn text(headers: &HeaderMap, name: impl nuncio_codec::headers::Name) -> String {
    String::from_utf8_lossy(headers.get(name).unwrap_or_default()).into_owned()
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn substitution(pattern: &str, with: &str) -> Box<Substitution> {
    Box::new(Substitution::new(pattern, with).expect("valid"))
}

fn formatted(text: &str) -> Value {
    Value::formatted(Format::compile(text).expect("valid").0.omit_empty())
}

#[test]
fn paths_are_rewritten_and_the_old_one_is_kept() {
    let to = |text: &str| PathRewrite::Prefix(text.as_bytes().into());
    let cases: Vec<(PathMatch, PathRewrite, &str, &str)> = vec![
        (prefix("/old/"), to("/new/"), "/old/a/b?c=d", "/new/a/b?c=d"),
        (prefix("/strip"), to("/"), "/strip/x", "//x"),
        (exact("/exact"), to("/rewritten"), "/exact?q=1", "/rewritten?q=1"),
        (PathMatch::Separated(fold("/psp")), to("/to"), "/psp/x", "/to/x"),
        (PathMatch::Prefix(Fold::new(*b"/Ab", true)), to("/new"), "/aBc?q", "/newc?q"),
        (regex("/q.*"), to("/new"), "/qq;p=1?q", "/new?q"),
        (prefix("/rx"), PathRewrite::Regex(substitution("^/rx/([^/]+)/(.*)$", r"/\2/by/\1")), "/rx/a/b?x=y", "/b/by/a?x=y"),
        (prefix("/"), PathRewrite::Regex(substitution("one", "two")), "/one/one?one=one", "/two/two?one=one"),
        (prefix("/"), PathRewrite::Formatted(formatted("/x/%REQ(x-q)%")), "/fmt?query=1", "/x/v?query=1"),
    ];
    for (path, rewrite, from, to) in cases {
        let table = route_with(path, |action| action.path_rewrite = rewrite);
        let cx = finalized(&table, exchange(from, "h.test", &[("x-q", "v")]), None);
        assert_eq!((text(&cx.request, Known::Path).as_str(), text(&cx.request, Known::XEnvoyOriginalPath).as_str()), (to, from));
    }
}

#[test]
fn a_rewrite_to_nothing_changes_nothing() {
    let table = route_with(prefix("/"), |action| action.path_rewrite = PathRewrite::Regex(substitution("^/rxs$", "")));
    let cx = finalized(&table, exchange("/rxs?q", "h.test", &[]), None);
    assert_eq!(text(&cx.request, Known::Path), "/rxs?q");
    assert!(!cx.request.contains(Known::XEnvoyOriginalPath));
}

#[test]
fn a_prefix_that_only_matched_without_parameters_is_not_rewritten() {
    let mut action = RouteAction::to(ClusterSpecifier::Cluster("c".into()));
    action.path_rewrite = PathRewrite::Prefix((*b"/new").into());
    let virtual_hosts = vec![host("v", &["*"], vec![Route::new(Matcher::path(prefix("/b/c")), Action::Forward(Box::new(action)))])];
    let config = RouteConfig { virtual_hosts, ignore_path_parameters_in_path_matching: true, ..RouteConfig::default() };
    let table = RouteTable::compile(config).expect("valid");
    for (from, to) in [("/b;x/c", "/b;x/c"), ("/b/c;x", "/new;x")] {
        let cx = finalized(&table, exchange(from, "h.test", &[]), None);
        assert_eq!((text(&cx.request, Known::Path).as_str(), cx.request.contains(Known::XEnvoyOriginalPath)), (to, from != to));
    }
}

#[test]
fn path_templates_match_and_rewrite() {
    let template = PathTemplate::new("/tpl/{a}/{b=**}").expect("valid");
    let rewrite = PathTemplateRewrite::new("/out/{b}/{a}", &template).expect("valid");
    let table =
        route_with(PathMatch::Template(template), |action| action.path_rewrite = PathRewrite::Template(Box::new(rewrite)));
    let cx = finalized(&table, exchange("/tpl/one/two/three?q", "h", &[]), None);
    assert_eq!(text(&cx.request, Known::Path), "/out/two/three/one?q");
}

#[test]
fn hosts_are_rewritten_and_the_old_one_is_kept() {
    let header = || HostRewrite::Header(HeaderName::new("x-h").expect("valid"));
    let cases: Vec<(HostRewrite, &[(&str, &str)], &str, &str, &str)> = vec![
        (HostRewrite::Literal((*b"lit.test").into()), &[], "lit.test", "h.test", "h.test"),
        (HostRewrite::Literal((*b"h.test").into()), &[], "h.test", "h.test", "h.test"),
        (HostRewrite::Literal((*b"q").into()), &[("x-forwarded-host", "a")], "q", "h.test", "a,h.test"),
        (HostRewrite::Literal((*b"q").into()), &[("x-forwarded-host", "a,h.test")], "q", "h.test", "a,h.test"),
        (HostRewrite::Literal((*b"q").into()), &[("x-forwarded-host", "a, h.test")], "q", "h.test", "a, h.test,h.test"),
        (HostRewrite::Literal((*b"q").into()), &[("x-forwarded-host", "")], "q", "h.test", "h.test"),
        (header(), &[("x-h", "z.test"), ("x-h", "y.test")], "z.test", "h.test", "h.test"),
        (header(), &[("x-h", "")], "h.test", "", ""),
        (header(), &[], "h.test", "", ""),
        (HostRewrite::PathRegex(substitution("^/hp/([a-z]+).*$", r"\1.example")), &[], "abc.example", "h.test", "h.test"),
        (HostRewrite::Formatted(formatted("%REQ(x-q)%.test")), &[("x-q", "v")], "v.test", "h.test", "h.test"),
        (HostRewrite::Auto, &[], "h.test", "", ""),
    ];
    for (rewrite, headers, host, original, forwarded) in cases {
        let shown = format!("{rewrite:?} {headers:?}");
        let table = route_with(prefix("/"), |action| {
            action.host_rewrite = rewrite;
            action.append_x_forwarded_host = true;
        });
        let cx = finalized(&table, exchange("/hp/abc/def?x", "h.test", headers), None);
        assert_eq!(text(&cx.request, Known::Authority), host, "{shown}");
        assert_eq!(text(&cx.request, Known::XEnvoyOriginalHost), original, "{shown}");
        assert_eq!(text(&cx.request, Known::XForwardedHost), forwarded, "{shown}");
    }
}

fn addition(name: &str, value: &str, action: AppendAction) -> HeaderAddition {
    let value = if value.contains('%') { formatted(value) } else { Value::literal(value.as_bytes()) };
    HeaderAddition { name: HeaderName::new(name).expect("valid"), value, action, keep_empty_value: false }
}

use AppendAction::{
    AddIfAbsent as Absent, AppendIfExistsOrAdd as Append, OverwriteIfExists as IfThere, OverwriteIfExistsOrAdd as Overwrite,
};

#[test]
fn one_level_removes_then_overwrites_then_adds() {
    let mutations = HeaderMutations {
        remove_matching: Box::default(), remove: ["x-d", "x-z"].iter().filter_map(|name| HeaderName::new(name)).collect(),
        add: [
            addition("x-a", "1", Append),
            addition("x-a", "2", Overwrite),
            addition("x-a", "3", Append),
            addition("x-a", "4", Absent),
            addition("x-a", "%REQ(x-q)%", Overwrite),
            addition("x-b", "", Append),
            addition("x-b", "%REQ(x-none)%", Append),
            HeaderAddition { keep_empty_value: true, ..addition("x-c", "", Append) },
            addition("x-d", "9", IfThere),
        ]
        .into(),
    };
    let after = |headers: &[(&str, &str)]| {
        let mut cx = exchange("/", "h", headers);
        mutations.apply(&mut cx, Side::Request);
        let added = cx.request.iter().filter(|header| header.name.starts_with(b"x-") && header.known == Known::Other);
        added.map(|header| format!("{header:?}")).collect::<Vec<_>>().join(" | ")
    };
    assert_eq!(after(&[("x-q", "5")]), "x-q: 5 | x-a: 5 | x-a: 1 | x-a: 3 | x-a: 4 | x-c: ");
    let there = [("x-q", "5"), ("x-a", "0"), ("x-z", "1"), ("x-d", "1"), ("x-a", "00")];
    assert_eq!(after(&there), "x-q: 5 | x-a: 5 | x-a: 1 | x-a: 3 | x-c: ");
}

#[test]
fn a_header_of_which_there_is_one_takes_more_values_behind_a_comma() {
    let mutations = HeaderMutations {
        remove_matching: Box::default(), remove: Box::default(),
        add: [addition("user-agent", "b", Append), addition("cookie", "b", Append), addition("etag", "b", Append)].into(),
    };
    let mut cx = exchange("/", "h", &[("user-agent", "a"), ("cookie", "a"), ("etag", "a")]);
    mutations.apply(&mut cx, Side::Request);
    assert_eq!(values(&cx.request, "user-agent"), ["a,b"]);
    assert_eq!(values(&cx.request, "cookie"), ["a", "b"]);
    assert_eq!(values(&cx.request, "etag"), ["a", "b"]);
    // Nothing is no value.
    for (old, new, joined) in [("", "b", "b"), ("a", "", "a"), ("", "", "")] {
        let mut cx = exchange("/", "h", &[("user-agent", old)]);
        let add = HeaderAddition { keep_empty_value: true, ..addition("user-agent", new, Append) };
        HeaderMutations { remove_matching: Box::default(), remove: Box::default(), add: [add].into() }.apply(&mut cx, Side::Request);
        assert_eq!(values(&cx.request, "user-agent"), [joined]);
    }
    for _ in 0..2 {
        mutations.apply(&mut cx, Side::Response);
    }
    assert_eq!(values(&cx.response, "etag"), ["b,b"]);
    assert_eq!(values(&cx.response, "user-agent"), ["b", "b"]);
}

fn level(tag: &str) -> Option<Box<HeaderRules>> {
    let side = || HeaderMutations {
        remove_matching: Box::default(), remove: Box::default(),
        add: [addition("x-o", tag, Append), addition("x-ow", tag, Overwrite), addition("x-if", tag, Absent)].into(),
    };
    HeaderRules { request: side(), response: side() }.boxed()
}

/// A table whose four levels all change headers.
fn leveled(most_specific_header_mutations_wins: bool) -> RouteTable {
    let picked = WeightedCluster {
        metadata_match: None,
        cluster: ClusterName::Name("c".into()),
        weight: 1.into(),
        headers: level("W"),
        host_rewrite: Some((*b"w.test").into()),
        filters: FilterOverrides::default(),
    };
    let weighted = WeightedClusters {
        clusters: Box::new([picked]),
        random_header: None,
        use_hash_policy: false,
        changeable: false,
    };
    let mut action = RouteAction::to(ClusterSpecifier::Weighted(Box::new(weighted)));
    action.append_x_forwarded_host = true;
    let mut route = Route::new(Matcher::path(prefix("/")), Action::Forward(Box::new(action)));
    route.headers = level("R");
    let virtual_hosts = vec![VirtualHost { headers: level("V"), ..host("v", &["*"], vec![route]) }];
    let headers = level("C");
    let config = RouteConfig { virtual_hosts, headers, most_specific_header_mutations_wins, ..RouteConfig::default() };
    RouteTable::compile(config).expect("valid")
}

#[test]
fn levels_change_headers_from_the_route_outwards_or_inwards() {
    for (inwards, order, last) in [(false, ["W", "R", "V", "C"], "C"), (true, ["W", "C", "V", "R"], "R")] {
        let table = leveled(inwards);
        let mut cx = finalized(&table, exchange("/", "h", &[]), Some(0));
        let entry = table.get(nuncio_core::RouteId { virtual_host: 0, route: 0 }).expect("an entry");
        finalize_response(&mut cx, &table, entry, Some(0));
        for headers in [&cx.request, &cx.response] {
            assert_eq!(values(headers, "x-o"), order);
            assert_eq!((values(headers, "x-ow"), values(headers, "x-if")), (vec![last.to_owned()], vec!["W".to_owned()]));
        }
    }
}

#[test]
fn the_host_of_a_weighted_cluster_leaves_no_trace_of_the_old_one() {
    let cx = finalized(&leveled(false), exchange("/", "h.test", &[]), Some(0));
    assert_eq!(text(&cx.request, Known::Authority), "w.test");
    assert!(!cx.request.contains(Known::XEnvoyOriginalHost) && !cx.request.contains(Known::XForwardedHost));
}

#[test]
fn weights_divide_the_random_number_or_the_one_a_header_holds() {
    let cluster = |name: &str, weight: u64| WeightedCluster {
        metadata_match: None,
        cluster: ClusterName::Name(name.into()),
        weight: weight.into(),
        headers: None,
        host_rewrite: None,
        filters: FilterOverrides::default(),
    };
    let weighted = WeightedClusters {
        clusters: [cluster("a", 50), cluster("none", 0), cluster("b", 30), cluster("c", 20)].into(),
        random_header: HeaderName::new("x-r"),
        use_hash_policy: false,
        changeable: false,
    };
    let action = RouteAction::to(ClusterSpecifier::Weighted(Box::new(weighted)));
    let pick = |random, headers: &[(&str, &str)]| {
        let head = head("/", "h", headers);
        let picked = action.pick_cluster(&head, random, None, &nuncio_core::RuntimeValues::default());
        (picked.name.to_owned(), picked.choice)
    };
    for (random, name, choice) in [(0, "a", 0), (49, "a", 0), (50, "b", 2), (79, "b", 2), (80, "c", 3), (199, "c", 3), (100, "a", 0)] {
        assert_eq!(pick(random, &[]), (name.to_owned(), Some(choice)), "{random}");
    }
    assert_eq!(pick(0, &[("x-r", "160")]).0, "b");
    assert_eq!(pick(0, &[("x-r", "+99")]).0, "c");
    // What is no number, or is there twice, is not believed.
    for headers in [&[("x-r", "99x")][..], &[("x-r", "-1")], &[("x-r", "18446744073709551616")], &[("x-r", "99"), ("x-r", "99")]] {
        assert_eq!(pick(0, headers).0, "a", "{headers:?}");
    }
}

#[test]
fn a_header_may_name_the_cluster() {
    let action = RouteAction::to(ClusterSpecifier::Header(HeaderName::new("x-c").expect("valid")));
    assert_eq!(action.pick_cluster(&head("/", "h", &[("x-c", "b")]), 0, None, &nuncio_core::RuntimeValues::default()).name, "b");
    assert_eq!(action.pick_cluster(&head("/", "h", &[]), 0, None, &nuncio_core::RuntimeValues::default()).name, "");
}

fn redirected(path: &str, host: &str, headers: &[(&str, &str)], redirect: Redirect) -> (String, StreamCx) {
    let table = only(Route::new(Matcher::path(prefix("/p")), Action::Redirect(Box::new(redirect))));
    let mut cx = exchange(path, host, headers);
    let id = table.find(&cx.request, &MatchCx::default()).route().expect("a route");
    let entry = table.get(id).expect("an entry");
    let reply = redirect_reply(&mut cx, entry, true).expect("a redirect");
    assert_eq!((&*reply.details, &*reply.headers[0].0), ("direct_response", "location"));
    (reply.headers[0].1.clone(), cx)
}

#[test]
fn redirects_are_put_together() {
    let bytes = |text: &str| Some(Box::<[u8]>::from(text.as_bytes()));
    let https = || Redirect { scheme: bytes("https"), ..Redirect::default() };
    let replace = |path: &str| Redirect { path: RedirectPath::Replace(path.as_bytes().into()), ..Redirect::default() };
    let port = || Redirect { port: Some(8443), ..Redirect::default() };
    let rewrite = |rewrite| Redirect { path: RedirectPath::rewrite(rewrite), ..Redirect::default() };
    let cases: Vec<(Redirect, &str, &str, &str)> = vec![
        (https(), "/p/x?y=1", "e.test", "https://e.test/p/x?y=1"),
        (https(), "/p", "e.test:8080", "https://e.test:8080/p"),
        (https(), "/p", "e.test:80", "https://e.test/p"),
        (https(), "/p", "e.test:443", "https://e.test:443/p"),
        (replace("/new"), "/p?keep=1", "e.test", "http://e.test/new?keep=1"),
        (replace("/new?fixed=1"), "/p?drop", "e.test", "http://e.test/new?fixed=1"),
        (Redirect { strip_query: true, ..replace("/new?fixed=1") }, "/p?drop", "e.test", "http://e.test/new?fixed=1"),
        (Redirect { strip_query: true, ..replace("/new") }, "/p?drop", "e.test", "http://e.test/new"),
        (Redirect { host: bytes("o.test"), ..port() }, "/p?q", "e.test:1", "http://o.test:8443/p?q"),
        (port(), "/p", "e.test:1", "http://e.test:8443/p"),
        (port(), "/p", "[::1]:80", "http://[::1]:8443/p"),
        (port(), "/p", "[::1]", "http://[::1]:8443/p"),
        (port(), "/p", "::1", "http://::8443/p"),
        (Redirect { strip_query: true, ..rewrite(PathRewrite::Prefix((*b"/new").into())) }, "/px?a", "e", "http://e/newx"),
        (rewrite(PathRewrite::Regex(substitution("x", "K"))), "/pxx?x", "e", "http://e/pKK?x"),
        (rewrite(PathRewrite::Prefix((*b"new").into())), "/px?a", "e", "http://e/newx?a"),
        (rewrite(PathRewrite::Formatted(formatted("/f%REQ(x-q)%"))), "/p?z=1", "e", "http://e/fv?z=1"),
    ];
    for (redirect, path, host, location) in cases {
        let shown = format!("{redirect:?} {path} {host}");
        assert_eq!(redirected(path, host, &[("x-q", "v")], redirect).0, location, "{shown}");
    }
}

#[test]
fn only_rewritten_redirects_show_in_logs() {
    let rewrite = |rewrite| Redirect { path: RedirectPath::rewrite(rewrite), ..Redirect::default() };
    let (_, cx) = redirected("/p?a", "e", &[], rewrite(PathRewrite::Prefix((*b"/new").into())));
    assert_eq!((text(&cx.request, Known::Path), text(&cx.request, Known::XEnvoyOriginalPath)), ("/new?a".into(), "/p?a".into()));
    let (_, cx) = redirected("/p?a", "e", &[], rewrite(PathRewrite::Formatted(formatted("/f"))));
    assert_eq!((text(&cx.request, Known::Path), text(&cx.request, Known::XEnvoyOriginalPath)), ("/p?a".into(), String::new()));
}

#[test]
fn direct_responses_have_a_location_where_the_status_wants_one() {
    let answer = |status, body: &str, body_format| {
        let response = DirectResponse { status, body: body.into(), body_format, content_type: None };
        let table = only(Route::new(Matcher::path(prefix("/")), Action::DirectResponse(Box::new(response))));
        let entry = table.get(nuncio_core::RouteId { virtual_host: 0, route: 0 }).expect("an entry");
        direct_reply(&exchange("/d?a=b", "h.test", &[]), entry).expect("a reply")
    };
    for (status, location) in [(200, None), (201, Some("http://h.test/d?a=b")), (304, Some("http://h.test/d?a=b")), (404, None)] {
        let reply = answer(status, "hello", None);
        assert_eq!((reply.status, &*reply.body), (status, "hello"));
        assert_eq!(reply.headers.first().map(|(_, value)| value.as_str()), location);
    }
    assert_eq!(&*answer(200, "in", Some(formatted("%LOCAL_REPLY_BODY%! %REQ(:path)%"))).body, "in! /d?a=b");
}

#[derive(Debug)]
struct Length;

impl FormatValue for Length {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(cx.stream.request.len().to_string().as_bytes());
    }
}

#[test]
fn values_are_worked_out_before_any_is_added() {
    let with = |name: &str| HeaderAddition { value: Value::Formatted(Arc::new(Length)), ..addition(name, "", Append) };
    let mutations = HeaderMutations { remove_matching: Box::default(), remove: Box::default(), add: [with("x-1"), with("x-2")].into() };
    let mut cx = exchange("/", "h", &[]);
    let before = cx.request.len().to_string();
    mutations.apply(&mut cx, Side::Request);
    assert_eq!((text(&cx.request, "x-1"), text(&cx.request, "x-2")), (before.clone(), before));
}
