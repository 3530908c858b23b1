//! Whole-binary tests: scripts in, transcripts out.
//!
//! A script (`scripts/**/NAME.yaml`) says how the proxy is configured, what its backends do and what is sent to it. The
//! runner starts the real binary, plays the script and compares what came back, what the backends saw, the access log
//! and the counters with the transcript beside it (`NAME.out`), after masking ports, times and random numbers.
//!
//! ```text
//! cargo test -p nuncio --test behave                 all scripts, in parallel
//! cargo test -p nuncio --test behave -- retries      those whose name contains "retries"
//! NUNCIO_BEHAVE_BIN=/path/to/envoy …                 the same scripts on Envoy: the transcripts are its answers
//! NUNCIO_BEHAVE_RECORD=1 …                           write the transcripts instead of comparing (Envoy's; Nuncio's
//!                                                    own only for scripts about Nuncio)
//! ```
//!
//! Scripts marked `nuncio: true` are about what Nuncio does differently and are skipped on another binary.

mod backend;
mod client;
mod config;
mod frames;
mod http2_backend;
mod http2_client;
mod link;
mod mask;
mod message;
mod names;
mod node;
mod play;
mod ports;
mod processor;
mod proxy;
mod redis;
mod script;
mod transcript;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// Scripts played at the same time when none is asked for by name. They mostly wait.
const PARALLEL: usize = 6;

/// One script with one number of workers.
struct Case {
    name: String,
    path: PathBuf,
    workers: u32,
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let mut cases = match find_cases() {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let names = names(&args);
    if !names.is_empty() {
        let wanted = |case: &Case| {
            names.iter().any(|name| if has("--exact") { case.name == **name } else { case.name.contains(*name) })
        };
        cases.retain(wanted);
    }
    if has("--ignored") {
        cases.clear();
    }
    if has("--list") {
        for case in &cases {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    run(&cases)
}

/// The words that are neither flags nor values of flags of Rust's test harness.
fn names(args: &[String]) -> Vec<&String> {
    const WITH_VALUE: [&str; 5] = ["--format", "--test-threads", "--skip", "--color", "-Z"];
    let mut names = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if WITH_VALUE.contains(&arg.as_str()) {
            args.next();
        } else if !arg.starts_with('-') {
            names.push(arg);
        }
    }
    names
}

/// Every script, once per number of workers it asks for.
fn find_cases() -> Result<Vec<Case>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/behave/scripts");
    let mut files = Vec::new();
    collect(&root, &mut files).map_err(|error| format!("{}: {error}", root.display()))?;
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let name = path.strip_prefix(&root).unwrap_or(&path).with_extension("").display().to_string();
        for workers in script::workers_of(&path)? {
            let name = if workers == 1 { name.clone() } else { format!("{name}@{workers}") };
            cases.push(Case { name, path: path.clone(), workers });
        }
    }
    Ok(cases)
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|ext| ext == "yaml") {
            into.push(path);
        }
    }
    Ok(())
}

fn run(cases: &[Case]) -> ExitCode {
    let start = Instant::now();
    let binary = proxy::Binary::from_env();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let parallel = env::var("NUNCIO_BEHAVE_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(PARALLEL);
    std::thread::scope(|scope| {
        for _ in 0..parallel.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let outcome = play::play(&case.path, case.workers, &binary);
                    let took = start.elapsed().as_millis();
                    match &outcome {
                        Ok(play::Outcome::Passed) => println!("test {} ... ok ({took} ms)", case.name),
                        Ok(play::Outcome::Skipped) => println!("test {} ... ignored", case.name),
                        Ok(play::Outcome::Recorded) => println!("test {} ... recorded ({took} ms)", case.name),
                        Err(_) => println!("test {} ... FAILED ({took} ms)", case.name),
                    }
                    if let Err(report) = outcome {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(format!("---- {} ----\n{report}", case.name));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    for report in &failed {
        println!("\n{report}");
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; {:.1} s",
        cases.len() - failed.len(),
        failed.len(),
        start.elapsed().as_secs_f32()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
