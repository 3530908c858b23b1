//! The executor of one thread: tokio's single-threaded local runtime, whose tasks need not be `Send`.

use std::{future::Future, io};

/// Runs `main` to its end on this thread, as a task, with everything it spawns.
///
/// # Errors
/// When the runtime cannot be made (no file descriptors left) or the task panicked.
pub fn block_on_worker<F>(main: F) -> io::Result<()>
where
    F: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async move {
        let ended = tokio::task::spawn_local(main).await.map_err(|e| io::Error::other(e.to_string()));
        // What was said last leaves too.
        crate::outbox::flush();
        ended
    })
}

/// Starts a task on this thread's executor. Must be called from inside [`block_on_worker`].
pub fn spawn<F>(task: F)
where
    F: Future<Output = ()> + 'static,
{
    drop(tokio::task::spawn_local(task));
}
