//! The index finds what a scan from the first route to the last finds.

use super::*;
use nuncio_codec::headers::HeaderName;

const SEGMENTS: [&str; 9] = ["/", "/a", "/ab", "/A", "/b", "a", "b", ";p", "/c/"];

fn path(dice: &mut Dice, most: usize) -> String {
    let mut path = String::from("/");
    for _ in 0..dice.roll(most) {
        path.push_str(dice.pick(&SEGMENTS));
    }
    path
}

fn condition(dice: &mut Dice) -> PathMatch {
    let text = path(dice, 4);
    let fold = Fold::new(text.as_bytes(), dice.roll(4) == 0);
    match dice.roll(8) {
        0 => PathMatch::Exact(fold),
        1 => PathMatch::Separated(fold),
        2 => regex(&format!("{}{}", text, dice.pick(&[".*", "b?", "[ab]*", "(/a|b)", ""]))),
        3 => regex(dice.pick(&[".*a", "/a|/b.*", "(?i)/a.*", "/+a*"])),
        4 if dice.roll(4) == 0 => PathMatch::Connect,
        _ => PathMatch::Prefix(fold),
    }
}

fn route(dice: &mut Dice) -> Route {
    let mut route = forward(condition(dice), "c");
    // Many routes with a condition, so that the first candidate often does not match.
    if dice.roll(2) == 0 {
        let value = dice.pick(&["0", "1", "2"]);
        route.matcher.headers = Box::new([HeaderMatch {
            name: HeaderName::new("x-n").expect("valid"),
            test: HeaderTest::Text(TextMatch::Exact(fold(value))),
            invert: false,
            missing_as_empty: false,
        }]);
    }
    route
}

#[test]
fn the_index_finds_what_the_scan_finds() {
    let mut dice = Dice(0x5eed);
    let (mut hits, mut misses) = (0, 0);
    for round in 0..400 {
        let routes = (0..dice.roll(60)).map(|_| route(&mut dice)).collect();
        let config = RouteConfig {
            virtual_hosts: vec![host("v", &["*"], routes)],
            ignore_path_parameters_in_path_matching: round % 3 == 0,
            ..RouteConfig::default()
        };
        let table = RouteTable::compile(config).expect("valid");
        for _ in 0..80 {
            let mut path = path(&mut dice, 6);
            path.push_str(dice.pick(&["", "", "?q", "?/a/b", "#f"]));
            let head = head(&path, "h", &[("x-n", dice.pick(&["0", "1", "2"]))]);
            let cx = MatchCx::default();
            let scanned = table.explain(&head, &cx).outcome;
            assert_eq!(table.find(&head, &cx), scanned, "{path} in {table:#?}");
            if scanned == RouteMatch::None { misses += 1 } else { hits += 1 }
        }
    }
    assert!(hits > 5000 && misses > 1000, "the test tests too little: {hits} hits, {misses} misses");
}

#[test]
fn deeply_nested_prefixes_are_all_candidates() {
    // More lists on one path than are merged without allocating.
    let mut routes: Vec<Route> = (1..=60).rev().map(|depth| forward(prefix(&"/a".repeat(depth)), "c")).collect();
    routes.push(forward(prefix("/"), "c"));
    let table = table(vec![host("v", &["*"], routes)]);
    for depth in 1..=60 {
        assert_eq!(found(&table, &head(&format!("{}/x", "/a".repeat(depth)), "h", &[])), Some(60 - depth as u32));
    }
    assert_eq!(found(&table, &head("/b", "h", &[])), Some(60));
}

#[test]
fn path_parameters_may_be_left_out_of_matching() {
    let template = PathMatch::Template(PathTemplate::new("/t;v/{x}").expect("valid"));
    let routes = vec![
        forward(exact("/a"), "c"),
        forward(prefix("/b/c"), "c"),
        forward(regex("/r[a-z]"), "c"),
        forward(PathMatch::Separated(fold("/s")), "c"),
        forward(template, "c"),
        forward(prefix("/only/for/an/index"), "c"),
        forward(prefix("/only/for/an/index"), "c"),
        forward(prefix("/only/for/an/index"), "c"),
    ];
    let virtual_hosts = vec![host("v", &["*"], routes)];
    let config = RouteConfig { virtual_hosts, ignore_path_parameters_in_path_matching: true, ..RouteConfig::default() };
    let table = RouteTable::compile(config).expect("valid");
    for (path, wanted) in [
        ("/a;x=1", Some(0)),
        ("/a;x=1/b", None),
        ("/b;x/c", Some(1)),
        ("/b/c;1?q;r", Some(1)),
        ("/rr;x", Some(2)),
        ("/s;y/z", Some(3)),
        // Templates are matched with the path as it is.
        ("/t;v/1", Some(4)),
        ("/t/1", None),
    ] {
        assert_eq!(found(&table, &head(path, "h", &[])), wanted, "{path}");
    }
}

#[test]
fn routes_that_nothing_reaches_are_told() {
    let with_header = |mut route: Route| {
        let name = HeaderName::new("x").expect("valid");
        let test = HeaderTest::Present(true);
        route.matcher.headers = Box::new([HeaderMatch { name, test, invert: false, missing_as_empty: false }]);
        route
    };
    let ignoring_case = |text: &str| PathMatch::Prefix(Fold::new(text.as_bytes(), true));
    let routes = vec![
        forward(exact("/x"), "c"),               // 0
        with_header(forward(prefix("/"), "c")),  // 1 takes only some
        forward(prefix("/a"), "c"),              // 2
        forward(prefix("/ab"), "c"),             // 3 dead
        with_header(forward(exact("/a/x"), "c")), // 4 dead
        forward(regex("/a[0-9]"), "c"),          // 5 dead
        forward(exact("/x"), "c"),               // 6 dead
        forward(prefix("/x"), "c"),              // 7
        forward(ignoring_case("/a"), "c"),       // 8 takes /A
        forward(regex("(/a|/b).*"), "c"),        // 9 takes /b
        forward(PathMatch::Connect, "c"),        // 10
        forward(prefix("/"), "c"),               // 11
        forward(regex(".*"), "c"),               // 12 dead
        forward(ignoring_case("/q"), "c"),       // 13 dead
        forward(PathMatch::Connect, "c"),        // 14
    ];
    let table = table(vec![host("v", &["*"], routes)]);
    let dead: Vec<(u32, u32)> = table.dead_routes().iter().map(|dead| (dead.route.route, dead.taken_by.route)).collect();
    assert_eq!(dead, [(3, 2), (4, 2), (5, 2), (6, 0), (12, 11), (13, 11)]);
}
