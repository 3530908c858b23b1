//! Signals, as one stream of requests.

use std::{future::poll_fn, io, task::Poll};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What somebody outside asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM, SIGINT: end, after what is in flight.
    Terminate,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open log files again.
    ReopenLogs,
}

/// The signals that mean something to us.
pub(super) struct Signals(Vec<(Signal, Asked)>);

impl Signals {
    /// Takes them over from the system.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn new() -> io::Result<Signals> {
        let wanted = [
            (SignalKind::terminate(), Asked::Terminate),
            (SignalKind::interrupt(), Asked::Terminate),
            (SignalKind::hangup(), Asked::Reload),
            (SignalKind::user_defined1(), Asked::ReopenLogs),
        ];
        wanted.into_iter().map(|(kind, asked)| Ok((signal(kind)?, asked))).collect::<io::Result<_>>().map(Signals)
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Asked {
        poll_fn(|cx| {
            for (signal, asked) in &mut self.0 {
                if let Poll::Ready(Some(())) = signal.poll_recv(cx) {
                    return Poll::Ready(*asked);
                }
            }
            Poll::Pending
        })
        .await
    }
}
