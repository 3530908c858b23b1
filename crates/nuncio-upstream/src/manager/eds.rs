//! Endpoints from a file: read at once, and again whenever the file is another one.
//!
//! A file that cannot be read, or is refused, changes nothing; the cluster goes on with what it has. What a file means is the
//! business of an [`EndpointFiles`], for the messages are not known here.

use super::{Cluster, Task};
use crate::config::{Assignment, EdsConfig};
use crate::lb::xxh64;
use nuncio_stats::{Lane, tables::cluster as stat};
use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    rc::{Rc, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Reads files of endpoints.
pub trait EndpointFiles {
    /// The assignment in a file, for a cluster of this name.
    ///
    /// # Errors
    /// [`FileFault`] says what is wrong.
    fn read(&self, cluster: &str, eds: &EdsConfig) -> Result<ReadEndpoints, FileFault>;
    /// Says that a cluster goes on without what a file says.
    fn refused(&self, cluster: &str, eds: &EdsConfig, why: &str);
}

/// What a file says.
#[derive(Debug)]
pub struct ReadEndpoints {
    /// `version_info`
    pub version: String,
    /// `None` where it has no resource at all, which changes nothing.
    pub assignment: Option<Assignment>,
    /// `policy.endpoint_stale_after`: how long that counts.
    pub stale_after: Option<Duration>,
}

/// Why a file says nothing.
#[derive(Debug)]
pub enum FileFault {
    /// It cannot be read as a response (`update_failure`).
    Unreadable(String),
    /// What it says is refused (`update_rejected`).
    Refused(String),
}

impl Cluster {
    /// Reads the endpoints, and follows the file.
    pub(super) fn follow_endpoints(self: &Rc<Self>, eds: &EdsConfig) {
        self.info.stats.open(Lane::MAIN, stat::EDS);
        let seen = stamp(&eds.path);
        self.read_endpoints(eds);
        self.discovered();
        let task = Task::spawn(follow(Rc::downgrade(self), eds.clone(), seen));
        self.discovery.borrow_mut().push(task);
    }

    fn read_endpoints(self: &Rc<Self>, eds: &EdsConfig) {
        let Some(files) = self.shared.upgrade().and_then(|shared| shared.files.borrow().clone()) else { return };
        let stats = self.info.stats.clone();
        stats.inc(Lane::MAIN, stat::UPDATE_ATTEMPT);
        let (fault, why) = match files.read(self.info.name(), eds) {
            Ok(read) => return self.updated(read),
            Err(FileFault::Unreadable(why)) => (stat::UPDATE_FAILURE, why),
            Err(FileFault::Refused(why)) => (stat::UPDATE_REJECTED, why),
        };
        stats.inc(Lane::MAIN, fault);
        files.refused(self.info.name(), eds, &why);
    }

    fn updated(self: &Rc<Self>, read: ReadEndpoints) {
        let stats = self.info.stats.clone();
        match read.assignment {
            Some(assignment) => {
                *self.stale.borrow_mut() = read.stale_after.map(|after| {
                    stats.inc(Lane::MAIN, stat::ASSIGNMENT_TIMEOUT_RECEIVED);
                    Task::spawn(Cluster::grow_stale(Rc::downgrade(self), after))
                });
                self.assign(assignment);
            }
            None => stats.inc(Lane::MAIN, stat::UPDATE_EMPTY),
        }
        stats.inc(Lane::MAIN, stat::UPDATE_SUCCESS);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        stats.gauge_set(stat::UPDATE_TIME, u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        stats.gauge_set(stat::VERSION, xxh64(read.version.as_bytes(), 0));
        stats.text_set(stat::VERSION_TEXT, read.version);
    }
}

impl Cluster {
    /// What was assigned counts no longer: there are no endpoints until there is another assignment.
    async fn grow_stale(cluster: Weak<Cluster>, after: Duration) {
        tokio::time::sleep(after).await;
        if let Some(cluster) = cluster.upgrade() {
            cluster.assign(Assignment::default());
            cluster.info.stats.inc(Lane::MAIN, stat::ASSIGNMENT_STALE);
        }
    }
}

async fn follow(cluster: Weak<Cluster>, eds: EdsConfig, mut seen: Option<Stamp>) {
    let mut last = seen;
    loop {
        tokio::time::sleep(eds.poll_interval).await;
        let now = stamp(&eds.path);
        // A file that is written in its place is read when it has settled; one that came whole is read at once.
        let whole = now.is_some_and(|now| seen.is_none_or(|seen| seen.inode != now.inode)) || now == last;
        last = now;
        if now.is_none() || now == seen || !whole {
            continue;
        }
        let Some(cluster) = cluster.upgrade() else { return };
        seen = now;
        cluster.read_endpoints(&eds);
    }
}

/// What tells that a file is another one, or has other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    modified: (i64, i64),
    length: u64,
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        inode: (metadata.dev(), metadata.ino()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        length: metadata.len(),
    })
}
