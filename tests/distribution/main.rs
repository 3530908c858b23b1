//! Whether choices spread as Envoy's do, host by host: the same weights, priorities, localities, zones, subsets and health,
//! every policy.
//!
//! `cases.yaml` has the clusters, `made` those with zones and subsets, `envoy.tsv` how often Envoy 1.40 chose each host, recorded once. Choices here are made by
//! the same configuration in this process, with a fixed seed, and compared by a chi-square test for two samples: what chance
//! alone would exceed once in a million times is a failure. Hash policies get the same keys, and the same answers.
//!
//! ```text
//! cargo test -p nuncio --test distribution                                   against the recorded counts
//! ENVOY=/path/to/envoy cargo test -p nuncio --test distribution -- --ignored  against an Envoy that is asked now
//! ENVOY=… NUNCIO_DISTRIBUTION_RECORD=1 …                                     and records its counts
//! ```

mod live;
mod made;

use nuncio_api::Syntax;
use nuncio_config::{Input, Mode, Options, Purpose, Snapshot};
use nuncio_core::Worker;
use nuncio_rt::Rng;
use nuncio_stats::{Lane, Store};
use nuncio_upstream::dns::StubResolvers;
use nuncio_upstream::{ClusterManager, PickCx, WorkerClusters, xxh64};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

const CASES: &str = include_str!("cases.yaml");
const RECORDED: &str = include_str!("envoy.tsv");
/// Requests per case.
const REQUESTS: u64 = 5000;
/// The hosts' port. Hash tables depend on it.
const PORT: u16 = 28480;
const SEED: (u64, u64) = (0x6469_7374, 0x7269_6275);
/// Standard deviations that chance exceeds once in a million times.
const ONCE_IN_A_MILLION: f64 = 4.753;

/// How often each host was chosen, by address.
type Counts = BTreeMap<String, u64>;

/// What a request is hashed by.
fn key(n: u64) -> String {
    format!("key-{n}")
}

/// Chooses as often as there are requests, in each cluster.
fn ours() -> BTreeMap<String, Counts> {
    let all: Arc<Mutex<BTreeMap<String, Counts>>> = Arc::default();
    let filled = all.clone();
    nuncio_rt::block_on_worker(async move {
        let store = Store::new(2);
        let manager = ClusterManager::new(store.clone(), StubResolvers::new(&store));
        let mut worker = Worker::new(0, Lane::worker(0));
        Rc::get_mut(&mut worker).expect("nobody else has it").rng = Rng::seeded(SEED.0, SEED.1);
        let clusters = WorkerClusters::start(&worker);
        nuncio_rt::spawn(clusters.clone().follow(manager.subscribe()));
        let snapshot = snapshot();
        let names: Vec<Arc<str>> = names(&snapshot);
        let made = made::all();
        manager.set_local(snapshot.local.clone());
        manager.replace_static(snapshot.clusters.iter().map(|cluster| cluster.config.clone()).collect());
        manager.ready().await;
        tokio::task::yield_now().await;
        for name in names {
            let cluster = clusters.by_name(&name).expect("it serves");
            let mut counts = Counts::new();
            let wanted = made.iter().find(|case| case.name == &*name).and_then(made::Case::wanted);
            for n in 0..REQUESTS {
                let hash = Some(xxh64(key(n).as_bytes(), 0));
                let host = cluster.pick(&PickCx { hash, metadata: wanted.as_ref(), ..PickCx::default() }).expect("a host");
                *counts.entry(host.host.address.to_string()).or_default() += 1;
            }
            filled.lock().expect("no panic").insert(name.to_string(), counts);
        }
    })
    .expect("an executor");
    std::mem::take(&mut *all.lock().expect("no panic"))
}

/// The cases: all clusters but the one that we are in.
fn names(snapshot: &Snapshot) -> Vec<Arc<str>> {
    snapshot.clusters.iter().map(|cluster| cluster.config.name.clone()).filter(|name| **name != *"local").collect()
}

/// The clusters of all cases.
fn clusters() -> String {
    format!("{}{CASES}{}", made::HERE, made::clusters())
}

fn snapshot() -> Snapshot {
    let options = Options {
        http_filters: nuncio_ext::registry::HTTP_FILTERS,
        ..Options::checking(Mode { purpose: Purpose::Start, ..Mode::default() })
    };
    let input = Input { name: "cases.yaml".to_owned(), text: Ok(clusters()), syntax: Syntax::Yaml };
    let loaded = nuncio_config::load(&[input], &options);
    loaded.snapshot.unwrap_or_else(|| panic!("{}", loaded.report.text(nuncio_api::Look::default())))
}

fn recorded() -> BTreeMap<String, Counts> {
    let line = |line: &str| {
        let mut parts = line.split('\t');
        let name = parts.next()?.to_owned();
        let counts = parts.filter_map(|part| part.split_once('=')).filter_map(|(host, n)| Some((host.to_owned(), n.parse().ok()?)));
        Some((name, counts.collect()))
    };
    RECORDED.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

/// Distance of two samples, and how far it may be by chance.
fn chi_square(a: &Counts, b: &Counts) -> (f64, f64) {
    let total = |counts: &Counts| counts.values().sum::<u64>() as f64;
    let (scale_a, scale_b) = ((total(b) / total(a)).sqrt(), (total(a) / total(b)).sqrt());
    let mut hosts: Vec<&String> = a.keys().chain(b.keys()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let of = |counts: &Counts, host: &String| counts.get(host).copied().unwrap_or(0) as f64;
    let both = |host: &&String| of(a, host) + of(b, host);
    let terms = hosts.iter().filter(|host| both(host) > 0.0).map(|host| (scale_a * of(a, host) - scale_b * of(b, host)).powi(2) / both(host));
    let freedom = (hosts.iter().filter(|host| both(host) > 0.0).count().max(2) - 1) as f64;
    // Wilson and Hilferty's approximation.
    let share = 2.0 / (9.0 * freedom);
    (terms.sum(), freedom * (1.0 - share + ONCE_IN_A_MILLION * share.sqrt()).powi(3))
}

/// The cases in which the counts are not alike.
fn differences(ours: &BTreeMap<String, Counts>, envoys: &BTreeMap<String, Counts>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, counts) in ours {
        let Some(envoy) = envoys.get(name) else {
            wrong.push(format!("{name}: not recorded"));
            continue;
        };
        let (distance, limit) = chi_square(counts, envoy);
        println!("seed {SEED:x?}  {name:<36} chi square {distance:8.2}, at most {limit:.1}");
        if distance > limit {
            wrong.push(format!("{name}: {distance:.1} > {limit:.1}\n  here  {counts:?}\n  Envoy {envoy:?}"));
        }
        let hashes = ["ring", "maglev", "murmur", "small_maglev"].iter().any(|policy| name.starts_with(policy));
        // Priorities, localities and panic are left to chance for hash policies, too.
        let certain = name.ends_with("_even") || name.ends_with("_weights") || !name.contains('_');
        if hashes && certain && counts != envoy {
            wrong.push(format!("{name}: the same keys do not reach the same hosts"));
        }
    }
    wrong
}

#[test]
fn choices_spread_as_envoys_did() {
    let wrong = differences(&ours(), &recorded());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "asks a real Envoy, on fixed ports: -- --ignored live"]
fn live_choices_spread_as_envoys_do() {
    let Some(envoy) = std::env::var_os("ENVOY") else {
        eprintln!("SKIPPED: no Envoy to compare with; ENVOY=/path/to/envoy names one");
        return;
    };
    let counts = live::counts(&envoy);
    if std::env::var_os("NUNCIO_DISTRIBUTION_RECORD").is_some() {
        live::record(&counts);
    }
    let wrong = differences(&ours(), &counts);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
