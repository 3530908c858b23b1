//! Files that are written in the background: [`BackgroundFiles`] hands out sinks by path and keeps the one writer.
//!
//! Promises: taking a line never blocks and takes no lock; a disk that does not keep up costs lines, which are counted
//! (`filesystem.write_dropped`); files open with [`BackgroundFiles::open_pending`] and close when nobody refers to them
//! any more. It leaves to the caller: when to reopen (`SIGUSR1`, `/reopen_logs`) and when to stop.

use super::ring::Ring;
use super::writer::{Command, Writer};
use nuncio_core::{LineSink, LogFiles};
use nuncio_stats::{Lane, Scope, Store, tables::filesystem};
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io,
    os::{fd::AsFd, unix::fs::FileTypeExt},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{JoinHandle, Thread},
    time::Duration,
};

/// How often and how eagerly lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushOptions {
    /// Longest a line waits (`--file-flush-interval-msec`, 10 s).
    pub interval: Duration,
    /// A worker's waiting bytes from which on the writer is woken at once (`--file-flush-min-size-kb`, 64 KiB).
    pub min_bytes: u64,
    /// Longest a line waits for a terminal, where a person is watching.
    pub terminal_interval: Duration,
}

impl Default for FlushOptions {
    fn default() -> Self {
        FlushOptions {
            interval: Duration::from_secs(10),
            min_bytes: 64 * 1024,
            terminal_interval: Duration::from_millis(50),
        }
    }
}

/// One file: lines wait in a ring per thread until the writer fetches them.
#[derive(Debug)]
pub(super) struct BackgroundFile {
    pub(super) path: String,
    pub(super) rings: Box<[Ring]>,
    /// A ring has more than the minimum; cleared by the writer before it looks.
    pub(super) due: AtomicBool,
    shared: Arc<Shared>,
}

impl LineSink for BackgroundFile {
    fn write(&self, lane: Lane, line: &[u8]) {
        let (Some(ring), stats) = (self.rings.get(lane.index()), &self.shared.stats) else { return };
        if !ring.push(line) {
            stats.inc(lane, filesystem::WRITE_DROPPED);
            self.shared.wake();
            return;
        }
        stats.inc(lane, filesystem::WRITE_BUFFERED);
        stats.gauge_add(lane, filesystem::WRITE_TOTAL_BUFFERED, i64::try_from(line.len()).unwrap_or_default());
        if ring.waiting() > self.shared.options.min_bytes && !self.due.swap(true, Ordering::Release) {
            self.shared.wake();
        }
    }
}

/// What the writer and the sinks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: FlushOptions,
    pub(super) stats: Arc<Scope>,
    /// Where the writer counts; nobody else may.
    pub(super) lane: Lane,
    pub(super) known: Mutex<HashMap<String, Weak<BackgroundFile>>>,
    pub(super) commands: Mutex<Vec<Command>>,
    thread: OnceLock<Thread>,
}

impl Shared {
    /// Wakes the writer, if it runs.
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn command(&self, command: Command) {
        lock(&self.commands).push(command);
        self.wake();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All files written in the background; see the module.
#[derive(Debug)]
pub struct BackgroundFiles {
    shared: Arc<Shared>,
    lanes: usize,
    /// Files that were asked for and not opened yet.
    pending: Mutex<Vec<Weak<BackgroundFile>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A file that cannot be opened.
#[derive(Debug)]
pub struct OpenError {
    /// Its path.
    pub path: String,
    /// What the system says.
    pub error: io::Error,
}

impl BackgroundFiles {
    /// No files yet. Lines come from the threads of the store's lanes; the writer counts in `writer_lane`, which no
    /// other thread may write to.
    pub fn new(store: &Arc<Store>, writer_lane: Lane, options: FlushOptions) -> Arc<BackgroundFiles> {
        Arc::new(BackgroundFiles {
            shared: Arc::new(Shared {
                options,
                stats: store.scope("filesystem.", &filesystem::FILESYSTEM),
                lane: writer_lane,
                known: Mutex::default(),
                commands: Mutex::default(),
                thread: OnceLock::new(),
            }),
            lanes: store.lanes(),
            pending: Mutex::default(),
            thread: Mutex::default(),
        })
    }

    /// Opens the files that were asked for since the last call and are still wanted. Those that fail are forgotten:
    /// the caller refuses the configuration that wants them.
    ///
    /// # Errors
    /// Every file that could not be opened.
    pub fn open_pending(&self) -> Result<(), Vec<OpenError>> {
        let mut errors = Vec::new();
        for file in lock(&self.pending).drain(..).filter_map(|file| file.upgrade()) {
            let opened = open(&file.path).and_then(|out| self.start().map(|()| out));
            match opened {
                Ok(out) => self.shared.command(Command::Open(file, out)),
                Err(error) => {
                    lock(&self.shared.known).remove(&file.path);
                    errors.push(OpenError { path: file.path.clone(), error });
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Starts the writer if it does not run yet.
    fn start(&self) -> io::Result<()> {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let writer = Writer::new(Arc::clone(&self.shared));
            let handle = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
            // The first one stays the only one, so the cell is always empty here.
            let _ = self.shared.thread.set(handle.thread().clone());
            *thread = Some(handle);
        }
        Ok(())
    }

    /// Writes out what waits and opens every file anew, for log rotation. Returns at once.
    pub fn reopen(&self) {
        self.shared.command(Command::Reopen);
    }

    /// Writes out what waits, and returns when that is done or after `limit`.
    pub fn flush(&self, limit: Duration) {
        if lock(&self.thread).is_none() {
            return;
        }
        let (done, wait) = mpsc::channel();
        self.shared.command(Command::Flush(done));
        // Too late is as good as done: the caller has a limit to keep.
        let _ = wait.recv_timeout(limit);
    }
}

impl LogFiles for BackgroundFiles {
    fn file(&self, path: &str) -> Arc<dyn LineSink> {
        let mut known = lock(&self.shared.known);
        if let Some(file) = known.get(path).and_then(Weak::upgrade) {
            return file;
        }
        let file = Arc::new(BackgroundFile {
            path: path.to_owned(),
            rings: (0..self.lanes).map(|_| Ring::new()).collect(),
            due: AtomicBool::new(false),
            shared: Arc::clone(&self.shared),
        });
        known.insert(path.to_owned(), Arc::downgrade(&file));
        lock(&self.pending).push(Arc::downgrade(&file));
        file
    }
}

/// Opens a file for appending, or a pipe such that neither opening it nor writing to it ever waits for a reader. Where `/dev/stdout` and `/dev/stderr` cannot be opened (sockets, foreign owners), our
/// own descriptor serves.
pub(super) fn open(path: &str) -> io::Result<File> {
    let std = matches!(path, "/dev/stdout" | "/dev/stderr");
    let is_pipe = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo());
    // Who has opened a pipe for reading, too, need not wait for somebody who does.
    let opened = OpenOptions::new().append(true).create(!is_pipe).read(is_pipe && !std).open(path);
    let file: File = match (opened, path) {
        // Shared with others, who may not expect that it does not wait.
        (Err(_), "/dev/stdout") => return Ok(io::stdout().as_fd().try_clone_to_owned()?.into()),
        (Err(_), "/dev/stderr") => return Ok(io::stderr().as_fd().try_clone_to_owned()?.into()),
        (opened, _) => opened?,
    };
    if is_pipe {
        nuncio_rt::never_wait(&file)?;
    }
    Ok(file)
}
