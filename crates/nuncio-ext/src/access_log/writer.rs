//! The one thread that writes log files.
//!
//! It sleeps until a file's interval is over, a ring fills up or a command comes; then it fetches the lines of all
//! rings and writes them in large pieces. A file nobody refers to any more is written out and closed.

use super::files::{BackgroundFile, Shared, lock, open};
use nuncio_stats::tables::filesystem;
use std::{
    fs::File,
    io::{ErrorKind, IsTerminal, Write},
    sync::{Arc, atomic::Ordering, mpsc::Sender},
    time::{Duration, Instant},
};

/// Bytes gathered before a write.
const WRITE_BYTES: usize = 64 * 1024;
/// When a pipe is tried again that took no more.
const RETRY: Duration = Duration::from_millis(20);
/// Sleep when there is no file.
const IDLE: Duration = Duration::from_secs(3600);

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Command {
    /// A file to write to from now on.
    Open(Arc<BackgroundFile>, File),
    /// Write out what waits, then open all files anew.
    Reopen,
    /// Write out what waits, then answer.
    Flush(Sender<()>),
}

struct OpenFile {
    file: Arc<BackgroundFile>,
    out: File,
    interval: Duration,
    next_flush: Instant,
    /// What a pipe that nobody reads did not take. Lines behind it wait in their rings, and are dropped there.
    left: Vec<u8>,
}

/// The thread's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    files: Vec<OpenFile>,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Writer {
        Writer { shared, files: Vec::new(), buffer: Vec::new() }
    }

    /// Writes until the process ends.
    pub(super) fn run(mut self) {
        loop {
            let commands = std::mem::take(&mut *lock(&self.shared.commands));
            for command in commands {
                self.obey(command);
            }
            let now = Instant::now();
            for index in 0..self.files.len() {
                let open = &mut self.files[index];
                let by_timer = now >= open.next_flush;
                if by_timer {
                    open.next_flush = now + open.interval;
                    self.shared.stats.inc(self.shared.lane, filesystem::FLUSHED_BY_TIMER);
                }
                if open.file.due.swap(false, Ordering::Acquire) || by_timer {
                    self.write_out(index);
                }
            }
            self.close_unused();
            let wake_at = self.files.iter().map(|open| open.next_flush).min();
            std::thread::park_timeout(wake_at.map_or(IDLE, |at| at.saturating_duration_since(Instant::now())));
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(file, out) => {
                let options = &self.shared.options;
                let interval =
                    if out.is_terminal() { options.interval.min(options.terminal_interval) } else { options.interval };
                self.files.push(OpenFile { file, out, interval, next_flush: Instant::now() + interval, left: Vec::new() });
            }
            Command::Reopen => {
                for index in 0..self.files.len() {
                    self.write_out(index);
                    let file = &mut self.files[index];
                    match open(&file.file.path) {
                        Ok(out) => file.out = out,
                        // The old file goes on being written: better there than nowhere.
                        Err(error) => {
                            self.shared.stats.inc(self.shared.lane, filesystem::REOPEN_FAILED);
                            log::warn!(target: "file", "cannot reopen {}: {error}", file.file.path);
                        }
                    }
                }
            }
            Command::Flush(done) => {
                for index in 0..self.files.len() {
                    self.write_out(index);
                }
                // The asker may have given up.
                let _ = done.send(());
            }
        }
    }

    /// Writes all lines that wait for a file, or as many as it takes.
    fn write_out(&mut self, index: usize) {
        let OpenFile { file, out, left, next_flush, .. } = &mut self.files[index];
        let (stats, lane) = (&self.shared.stats, self.shared.lane);
        self.buffer.clear();
        self.buffer.append(left);
        let mut rings = file.rings.iter();
        let mut ring = rings.next();
        loop {
            while let Some(waiting) = ring {
                if self.buffer.len() >= WRITE_BYTES {
                    break;
                }
                waiting.drain(&mut self.buffer, WRITE_BYTES);
                if waiting.waiting() == 0 {
                    ring = rings.next();
                }
            }
            if self.buffer.is_empty() {
                return;
            }
            let before = self.buffer.len();
            let outcome = write_all(out, &mut self.buffer);
            let gone = i64::try_from(before - self.buffer.len()).unwrap_or_default();
            stats.gauge_add(lane, filesystem::WRITE_TOTAL_BUFFERED, -gone);
            match outcome {
                Outcome::Written => stats.inc(lane, filesystem::WRITE_COMPLETED),
                Outcome::Failed => stats.inc(lane, filesystem::WRITE_FAILED),
                Outcome::Full => {
                    left.append(&mut self.buffer);
                    *next_flush = (*next_flush).min(Instant::now() + RETRY);
                    return;
                }
            }
        }
    }

    /// Closes files that only the writer still knows.
    fn close_unused(&mut self) {
        for index in (0..self.files.len()).rev() {
            let unused = {
                let mut known = lock(&self.shared.known);
                let unused = Arc::strong_count(&self.files[index].file) == 1;
                if unused {
                    known.remove(&self.files[index].file.path);
                }
                unused
            };
            if unused {
                self.write_out(index);
                self.files.swap_remove(index);
            }
        }
    }
}

/// What came of a write.
enum Outcome {
    Written,
    /// The bytes are lost: the disk is full, the reader has gone.
    Failed,
    /// A pipe takes no more for now.
    Full,
}

/// Writes bytes; those that have not been taken, and may be later, stay.
fn write_all(out: &mut File, bytes: &mut Vec<u8>) -> Outcome {
    let mut done = 0;
    while done < bytes.len() {
        match out.write(&bytes[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                bytes.drain(..done);
                return Outcome::Full;
            }
            Err(_) => break,
        }
    }
    let whole = done == bytes.len();
    bytes.clear();
    if whole { Outcome::Written } else { Outcome::Failed }
}
