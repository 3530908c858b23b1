//! What a lookup and a compilation cost. Run with
//! `cargo test --release -p nuncio-http routes::tests::costs -- --ignored --nocapture --test-threads 1`.

use super::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Best of several rounds of `find`, per call.
fn per_lookup(table: &RouteTable, heads: &[HeaderMap]) -> Duration {
    const CALLS: usize = 200_000;
    let cx = MatchCx::default();
    let round = || {
        let began = Instant::now();
        for call in 0..CALLS {
            black_box(table.find(black_box(&heads[call % heads.len()]), &cx));
        }
        began.elapsed() / CALLS as u32
    };
    (0..7).map(|_| round()).min().unwrap_or_default()
}

fn prefixes(count: usize) -> Vec<VirtualHost> {
    let routes = (0..count).map(|n| forward(prefix(&format!("/service-{n:05}/")), "c")).collect();
    vec![host("v", &["*"], routes)]
}

fn hosts(count: usize) -> Vec<VirtualHost> {
    (0..count).map(|n| host("v", &[&format!("host-{n:05}.example.com")], vec![forward(prefix("/"), "c")])).collect()
}

fn timed_table(name: &str, hosts: Vec<VirtualHost>) -> Arc<RouteTable> {
    let began = Instant::now();
    let table = table(hosts);
    println!("{name}: compiled in {:?}, index {} KiB", began.elapsed(), table.index_bytes() / 1024);
    table
}

#[test]
#[ignore = "measures; only meaningful in a release build"]
fn lookups_among_ten_thousand() {
    // Requests over all of the routes, in no order, so that the caches see what production sees.
    let paths = |count: usize| -> Vec<HeaderMap> {
        (0..4096).map(|n| head(&format!("/service-{:05}/item?id=7", n * 7919 % count), "example.com", &[])).collect()
    };
    let names = |count: usize| -> Vec<HeaderMap> {
        (0..4096).map(|n| head("/item?id=7", &format!("host-{:05}.example.com", n * 7919 % count), &[])).collect()
    };
    for count in [1, 100, 1_000, 10_000] {
        let table = timed_table(&format!("{count} prefixes"), prefixes(count));
        println!("  {:?} per lookup", per_lookup(&table, &paths(count)));
        let table = timed_table(&format!("{count} virtual hosts"), hosts(count));
        println!("  {:?} per lookup", per_lookup(&table, &names(count)));
    }
    let regexes = (0..1_000).map(|n| forward(regex(&format!("/service-{n:05}/[0-9]+")), "c")).collect();
    let table = timed_table("1000 expressions", vec![host("v", &["*"], regexes)]);
    let heads: Vec<HeaderMap> = (0..1000).map(|n| head(&format!("/service-{n:05}/42"), "h", &[])).collect();
    println!("  {:?} per lookup", per_lookup(&table, &heads));
    println!("a route takes {} bytes and what it points to", size_of::<RouteEntry>());
}
