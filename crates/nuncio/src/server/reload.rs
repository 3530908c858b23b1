//! Reloading: the configuration is read again on a helper thread, compared, and only what changed is touched.
//!
//! Clusters first (new ones warm while the old ones serve), then listeners; clusters that are gone go last, so that
//! nothing ever points to a cluster that is not there. Anything wrong leaves everything as it is.

use super::{listeners_of, load_again, state::Shared};
use crate::cli::Options;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How often a watched file is looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Longest time that a reload waits for the workers to take it over before it says that it is done.
const SETTLE: Duration = Duration::from_secs(5);

/// Longest wait for new clusters before listeners are changed all the same.
const WARM_PATIENCE: Duration = Duration::from_secs(15);

/// Reads the configuration again and puts it to work. The outcome, which the log has, too: what changed, or why all stays.
pub(super) async fn reload(running: &Shared) -> Result<String, String> {
    log::info!(target: "main", "reloading {}", running.options.config_path);
    let outcome = match load_again(running).await {
        Ok(snapshot) => apply(running, snapshot).await,
        Err(report) => Err(report),
    };
    match &outcome {
        Ok(changes) => log::info!(target: "main", "{changes}"),
        Err(why) => log::error!(target: "config", "reload refused, the running configuration stays:\n{}", why.trim_end()),
    }
    outcome
}

async fn apply(running: &Shared, snapshot: nuncio_config::Snapshot) -> Result<String, String> {
    let before = running.loaded();
    let changes = nuncio_config::diff(&before, &snapshot);
    for part in &changes.needs_restart {
        log::warn!(target: "config", "a change of `{part}` takes a restart");
    }
    running.files.open_pending().map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(|e| format!("cannot open access log `{}`: {}", e.path, e.error)).collect();
        texts.join("\n")
    })?;
    for index in &changes.clusters_put {
        running.clusters.put(snapshot.clusters[*index].config.clone());
    }
    if tokio::time::timeout(WARM_PATIENCE, running.clusters.ready()).await.is_err() {
        log::warn!(target: "config", "new clusters are not warm after {} s; going on", WARM_PATIENCE.as_secs());
    }
    match running.listeners.apply_at(listeners_of(&snapshot), running.reload_pace()) {
        Ok(applied) => {
            if !changes.clusters_removed.is_empty() {
                nuncio_rt::spawn(remove_when_unused(running.clone(), changes.clusters_removed.clone()));
            }
            applied.warnings.iter().for_each(|warning| log::warn!(target: "config", "{warning}"));
            let runtime = snapshot.runtime.keeping_admin_of(&running.runtime.borrow());
            running.set_runtime(Arc::new(runtime));
            // Who is told that it is done may ask for the new at once.
            let _ = tokio::time::timeout(SETTLE, running.listeners.settled()).await;
            *running.snapshot.borrow_mut() = Arc::new(snapshot);
            let mut told = format!(
                "reloaded: listeners {} added, {} updated, {} removed, {} unchanged; clusters {} added or updated, {} removed",
                applied.added.len(),
                applied.updated.len(),
                applied.removed.len(),
                applied.unchanged,
                changes.clusters_put.len(),
                changes.clusters_removed.len()
            );
            if !changes.needs_restart.is_empty() {
                told.push_str(&format!("; takes a restart: {}", changes.needs_restart.join(", ")));
            }
            Ok(told)
        }
        Err(errors) => {
            running.clusters.replace_static(before.clusters.iter().map(|c| c.config.clone()).collect());
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(texts.join("\n"))
        }
    }
}

/// Removes clusters once no connection is left that was opened under the old listeners: their routes still lead there.
async fn remove_when_unused(running: Shared, names: Vec<String>) {
    let longest = running.reload_pace().time;
    let _ = tokio::time::timeout(longest, running.listeners.drained()).await;
    let loaded = running.loaded();
    for name in names.iter().filter(|name| loaded.clusters.iter().all(|c| *c.config.name != ***name)) {
        running.clusters.remove(name);
    }
}

/// `--watch`: notices that the configuration file has changed.
pub(super) struct Watch {
    path: Option<PathBuf>,
    seen: Option<SystemTime>,
}

impl Watch {
    pub(super) fn new(options: &Options) -> Watch {
        let path = (options.watch && !options.config_path.is_empty()).then(|| PathBuf::from(&options.config_path));
        let seen = path.as_ref().and_then(modified);
        Watch { path, seen }
    }

    /// Waits until the file is another one than before, and has settled.
    pub(super) async fn changed(&mut self) {
        let Some(path) = &self.path else { return std::future::pending().await };
        let mut last = self.seen;
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let now = modified(path);
            if now.is_some() && now != self.seen && now == last {
                self.seen = now;
                return;
            }
            last = now;
        }
    }
}

fn modified(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}
