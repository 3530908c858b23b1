//! Playing a script.
//!
//! A step is a request line (`GET /path`) or one of
//!
//! ```yaml
//! {req: POST /x, host: h, headers: {}, body: text, body_len: n, body_hex: 00ff, chunked: true, trailers: {}, http: '1.0', conn: name,
//!  to: listener, wait_100: true, abort: true, after_ms: n, tls: {…}}   (`tls`: see link.rs)
//! {http2: [frames], title: text, …}   see http2_client.rs
//! {raw: [bytes, …], gap_ms: n, quiet_ms: n, shutdown: true, plain: true, conn: name, to: listener}    (`plain`: the answer is no HTTP)
//! {admin: GET /path, only: text}  status and body, or its lines with that text
//! {count: GET /path, n: 200, within: {body: [least, most]}}      how often which body came
//! {close: name}                   a kept connection
//! {write: path, content: text}    a file (in TMPDIR)
//! {replace: name, content: text}  a file in TMPDIR is another one from now on
//! {signal: TERM}, {wait_end: seconds}, {sleep_ms: n}
//! {wait_stat: name, value: n}     until a counter has a value
//! {rewrite: {routes: …}}          the configuration file anew, with these keys of the script replaced
//! {until: GET /path, body: text}  the request again and again until that body comes
//! {same: [steps]}                 steps as one: their upstream requests and log lines are shown together, sorted
//! ```
//!
//! After each step the transcript has what came back (`>`), what backends saw (`b1 <`) and the log lines (`log`).

use crate::{
    backend::{self, Seen},
    client::Client,
    config, mask,
    node::Node,
    proxy::{Binary, Proxy},
    script, transcript,
};
use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Wait after a step for lines that the transcript does not promise.
const SETTLE: Duration = Duration::from_millis(40);
/// Longest wait for lines that the transcript promises, or for a counter.
const LIMIT: Duration = Duration::from_secs(5);

/// How a script went, if it did not fail.
pub enum Outcome {
    Passed,
    Skipped,
    Recorded,
}

/// A directory that goes with its run.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Directory, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nuncio-behave-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left behind is in the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Plays a script; the error is a report for people.
pub fn play(path: &Path, workers: u32, binary: &Binary) -> Result<Outcome, String> {
    let directory = Directory::new()?;
    let place = directory.0.display().to_string();
    let script::Script { root, mut ports } = script::load(path, &place)?;
    if root.flag("nuncio") && !binary.ours {
        return Ok(Outcome::Skipped);
    }
    let record = env::var_os("NUNCIO_BEHAVE_RECORD").is_some();
    if record && binary.ours != root.flag("nuncio") {
        return Ok(Outcome::Skipped);
    }
    let transcript_path = path.with_extension("out");
    let expected = if record { String::new() } else { fs::read_to_string(&transcript_path).unwrap_or_default() };

    let seen = Seen::default();
    for (name, rules) in root.get("backends").map_or(&[][..], Node::pairs) {
        backend::start(name, rules, ports.get(name), &seen)?;
    }
    for (name, content) in root.get("files").map_or(&[][..], Node::pairs) {
        fs::write(directory.0.join(name), content.text()).map_err(|error| format!("{name}: {error}"))?;
    }
    let log_path = directory.0.join("access.log");
    let config = config::build(&root, &mut ports, &log_path.display().to_string())?;
    let admin = ports.get("admin");
    let proxy = Proxy::start(binary, &config, workers, &root, admin, &directory.0)?;
    let sections = expected.split("\n# ").map(counts).collect();
    let mut run = Run {
        proxy,
        client: Client::default(),
        ports,
        seen,
        log_path,
        log_read: 0,
        sections,
        over: false,
        root: root.clone(),
        config_path: directory.0.join("config.json"),
    };

    let mut got = String::new();
    for (index, step) in root.get("steps").map_or(&[][..], Node::items).iter().enumerate() {
        if index > 0 {
            got.push('\n');
        }
        let _ = writeln!(got, "# {}", title(step));
        run.step(step, &mut got)?;
        run.aftermath(index, record, &mut got);
    }
    run.stats(&root, &mut got)?;
    if let Some(status) = run.proxy.ended().filter(|_| !run.over) {
        return Err(format!("the proxy ended ({status}):\n{}\nafter\n{got}", run.proxy.said()));
    }
    let got = mask::mask(&got, &run.ports, &place);
    if record {
        fs::write(&transcript_path, got).map_err(|error| error.to_string())?;
        return Ok(Outcome::Recorded);
    }
    match transcript::difference(&expected, &got) {
        None => Ok(Outcome::Passed),
        Some(difference) => {
            let said = run.proxy.said();
            let said = if said.is_empty() { said } else { format!("\nthe proxy said:\n{said}") };
            Err(format!("{}: {}\n{difference}{said}", path.display(), root.string("doc").unwrap_or_default()))
        }
    }
}

/// Upstream requests and log lines that a section of a transcript has.
fn counts(section: &str) -> (usize, usize) {
    let upstream = section.lines().filter(|line| {
        line.split_once(" < ").is_some_and(|(name, rest)| !name.contains(' ') && !rest.starts_with(' '))
    });
    (upstream.count(), section.lines().filter(|line| line.starts_with("log ")).count())
}

fn title(step: &Node) -> String {
    for kind in ["req", "admin", "count", "close", "write", "replace", "signal", "wait_end", "sleep_ms", "wait_stat", "until"] {
        if let Some(what) = step.string(kind) {
            return if kind == "req" { what } else { format!("{kind} {what}") };
        }
    }
    match step {
        Node::Str(line) => line.clone(),
        _ if step.has("rewrite") => "rewrite".to_owned(),
        _ if step.has("http2") => format!("http2 {}", step.string("title").unwrap_or_default()).trim_end().to_owned(),
        _ if step.has("raw") => {
            let first = step.get("raw").and_then(|raw| raw.items().first()).map(Node::text).unwrap_or_default();
            format!("raw {}", first.split(['\r', '\n']).next().unwrap_or_default().escape_debug())
        }
        _ => "steps".to_owned(),
    }
}

struct Run {
    proxy: Proxy,
    client: Client,
    ports: crate::ports::Ports,
    seen: Seen,
    log_path: PathBuf,
    log_read: usize,
    sections: Vec<(usize, usize)>,
    /// The proxy was told to end.
    over: bool,
    root: Node,
    config_path: PathBuf,
}

impl Run {
    fn step(&mut self, step: &Node, out: &mut String) -> Result<(), String> {
        if let Node::Str(line) = step {
            return self.client.request(&Node::pair("req", line.as_str()), &mut self.ports, out);
        }
        if step.has("req") {
            return self.client.request(step, &mut self.ports, out);
        }
        if step.has("raw") {
            return self.client.raw(step, &mut self.ports, out);
        }
        if step.has("http2") {
            return self.client.http2(step, &mut self.ports, out);
        }
        if let Some(steps) = step.get("same") {
            return steps.items().iter().try_for_each(|step| {
                let _ = writeln!(out, "## {}", title(step));
                self.step(step, out)
            });
        }
        self.other(step, out)
    }

    fn other(&mut self, step: &Node, out: &mut String) -> Result<(), String> {
        if let Some(line) = step.string("admin") {
            let (method, path) = line.split_once(' ').unwrap_or(("GET", &line));
            let (status, body) = self.proxy.admin(method, path)?;
            let _ = writeln!(out, "> {status}");
            let only = step.string("only");
            for line in body.lines().filter(|line| only.as_ref().is_none_or(|text| line.contains(text))) {
                let _ = writeln!(out, "> {line}");
            }
        } else if step.has("count") {
            self.count(step, out)?;
        } else if let Some(name) = step.string("close") {
            self.client.close(&name);
        } else if let Some(path) = step.string("write") {
            fs::write(&path, step.string("content").unwrap_or_default()).map_err(|error| error.to_string())?;
        } else if let Some(name) = step.string("replace") {
            let path = self.config_path.with_file_name(&name);
            let new = self.config_path.with_file_name(format!("{name}.new"));
            let written = fs::write(&new, step.string("content").unwrap_or_default()).and_then(|()| fs::rename(&new, &path));
            written.map_err(|error| error.to_string())?;
        } else if let Some(name) = step.string("signal") {
            self.over |= name == "TERM";
            self.proxy.signal(&name)?;
        } else if let Some(seconds) = step.number("wait_end") {
            let status = self.proxy.wait_end(Duration::from_secs(seconds))?;
            let _ = writeln!(out, "> {status}");
        } else if let Some(ms) = step.number("sleep_ms") {
            thread::sleep(Duration::from_millis(ms));
        } else if let Some(name) = step.string("wait_stat") {
            self.wait_stat(&name, step.number("value").unwrap_or_default())?;
        } else if let Some(over) = step.get("rewrite") {
            let mut root = self.root.clone();
            for (key, value) in over.pairs() {
                root.replace(key, value);
            }
            let config = config::build(&root, &mut self.ports, &self.log_path.display().to_string())?;
            // As editors do: a whole new file in the place of the old one.
            let new = self.config_path.with_extension("new");
            fs::write(&new, config).and_then(|()| fs::rename(&new, &self.config_path)).map_err(|e| e.to_string())?;
        } else if step.has("until") {
            self.until(step)?;
        } else {
            return Err(format!("unknown step {}", step.to_json()));
        }
        Ok(())
    }

    /// Sends the same request many times and tells whether each body came about as often as it should.
    fn count(&mut self, step: &Node, out: &mut String) -> Result<(), String> {
        let line = step.string("count").unwrap_or_default();
        let mut request = Node::pair("req", line.as_str());
        request.merge(&Node::pair("conn", "count"));
        let mut came: Vec<(String, u64)> = Vec::new();
        for _ in 0..step.number("n").unwrap_or(100) {
            let mut answer = String::new();
            self.client.request(&request, &mut self.ports, &mut answer)?;
            let body = answer.lines().filter_map(|line| line.strip_prefix(">   | ")).collect::<Vec<_>>().join("\n");
            match came.iter_mut().find(|(known, _)| *known == body) {
                Some((_, times)) => *times += 1,
                None => came.push((body, 1)),
            }
        }
        self.client.close("count");
        for (body, range) in step.get("within").map_or(&[][..], Node::pairs) {
            let times = came.iter().position(|(known, _)| known == body).map_or(0, |at| came.swap_remove(at).1);
            let bound = |at: usize| range.items().get(at).and_then(|n| n.text().parse::<u64>().ok());
            let fits = bound(0).is_none_or(|least| times >= least) && bound(1).is_none_or(|most| times <= most);
            let _ = match fits {
                true => writeln!(out, "> {body}: as often as it should"),
                false => writeln!(out, "> {body}: {times} times"),
            };
        }
        for (body, times) in came {
            let _ = writeln!(out, "> {body}: {times} times, not expected");
        }
        self.forget();
        Ok(())
    }

    /// Sends a request until it is answered with a body.
    fn until(&mut self, step: &Node) -> Result<(), String> {
        let request = Node::pair("req", step.string("until").unwrap_or_default().as_str());
        let body = format!("  | {}\n", step.string("body").unwrap_or_default());
        let start = Instant::now();
        loop {
            let mut answer = String::new();
            self.client.request(&request, &mut self.ports, &mut answer)?;
            if answer.contains(&body) {
                self.forget();
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                return Err(format!("still answered\n{answer}\nthe proxy said:\n{}", self.proxy.said()));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Leaves what backends saw and what was logged until now out of the transcript.
    fn forget(&mut self) {
        thread::sleep(SETTLE);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.log_read = self.log_lines().len();
    }

    fn log_lines(&self) -> Vec<String> {
        let text = fs::read(&self.log_path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        // A line that is still being written does not count yet.
        let whole = text.rfind('\n').map_or("", |at| &text[..at]);
        if whole.is_empty() { Vec::new() } else { whole.split('\n').map(str::to_owned).collect() }
    }

    /// Shows what backends saw and what was logged since the last step.
    fn aftermath(&mut self, index: usize, record: bool, out: &mut String) {
        let (upstream, lines) = self.sections.get(index).copied().unwrap_or_default();
        let start = Instant::now();
        let count = |seen: &Arc<Mutex<Vec<String>>>| seen.lock().unwrap_or_else(PoisonError::into_inner).len();
        while start.elapsed() < LIMIT
            && (count(&self.seen) < upstream || self.log_lines().len() < self.log_read + lines)
        {
            thread::sleep(Duration::from_millis(2));
        }
        if record || lines == 0 {
            thread::sleep(if record { SETTLE * 5 } else { SETTLE });
        }
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let mut log = self.log_lines().split_off(self.log_read.min(self.log_lines().len()));
        self.log_read += log.len();
        seen.sort();
        log.sort();
        seen.iter().for_each(|request| out.push_str(request));
        for line in log {
            let _ = writeln!(out, "log {line}");
        }
    }

    fn stat(&self, name: &str) -> Result<Option<String>, String> {
        let (_, body) = self.proxy.admin("GET", "/stats")?;
        let found = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(found.map(str::to_owned))
    }

    fn wait_stat(&self, name: &str, value: u64) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let now = self.stat(name)?;
            if now.as_deref() == Some(&value.to_string()) {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                return Err(format!("{name} is {now:?}, not {value}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Shows the counters a script asks for.
    fn stats(&self, root: &Node, out: &mut String) -> Result<(), String> {
        let names = root.get("stats").map_or(&[][..], Node::items);
        if names.is_empty() {
            return Ok(());
        }
        out.push_str("\n# stats\n");
        let (_, body) = self.proxy.admin("GET", "/stats")?;
        for name in names.iter().map(Node::text) {
            let value = body.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(": ")).unwrap_or("absent");
            let _ = writeln!(out, "{name}: {value}");
        }
        Ok(())
    }
}
