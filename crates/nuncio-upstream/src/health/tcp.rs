//! TCP health checks: a connection that opens is enough, unless bytes are to be sent and found.

use super::config::TcpHealthCheck;
use super::tally::Verdict;
use crate::transport::Dial;
use nuncio_rt::{Address, Buf, Io, OutQueue, TcpOptions};
use std::{future::poll_fn, rc::Rc, sync::Arc, time::Duration};

/// Longest answer looked through.
const ANSWER_BYTES: usize = 64 * 1024;

/// Asks one host over TCP.
#[derive(Debug)]
pub(super) struct TcpProbe {
    check: TcpHealthCheck,
    to: Address,
    options: Arc<TcpOptions>,
    dial: Dial,
    reuse: bool,
    open: Option<Io>,
}

impl TcpProbe {
    pub(super) fn new(check: TcpHealthCheck, to: Address, options: Arc<TcpOptions>, dial: Dial, reuse: bool) -> TcpProbe {
        TcpProbe { check, to, options, dial, reuse, open: None }
    }

    /// Closes what is open: the last check came to no end.
    pub(super) fn forget(&mut self) {
        self.open = None;
    }

    pub(super) async fn check(&mut self) -> Verdict {
        let mut io = match self.open.take().and_then(|mut io| io.is_quiet().then_some(io)) {
            Some(io) => io,
            None => match nuncio_rt::connect(&self.to, &self.options, Duration::MAX).await {
                Ok(io) => match self.dial.secure(io).await {
                    Ok(io) => io,
                    Err(_) => return Verdict::NetworkFailure,
                },
                Err(_) => return Verdict::NetworkFailure,
            },
        };
        if let Some(send) = &self.check.send {
            let mut out = OutQueue::new(Rc::default());
            out.copy(send);
            let mut written = 0;
            if poll_fn(|cx| out.poll_flush(cx, &mut io, &mut written)).await.is_err() {
                return Verdict::NetworkFailure;
            }
        }
        if !self.check.receive.is_empty() {
            let mut answer = Buf::with_capacity(ANSWER_BYTES);
            while !finds_in_order(answer.filled(), &self.check.receive) {
                match poll_fn(|cx| io.poll_read(cx, &mut answer)).await {
                    Ok(n) if n > 0 && answer.room() > 0 => {}
                    _ => return Verdict::NetworkFailure,
                }
            }
            if self.reuse {
                self.open = Some(io);
            }
        }
        Verdict::Pass { degraded: false }
    }
}

/// Whether the patterns occur in `bytes` one after the other, with anything between.
pub(super) fn finds_in_order<P: AsRef<[u8]>>(bytes: &[u8], patterns: &[P]) -> bool {
    let mut rest = bytes;
    patterns.iter().map(AsRef::as_ref).all(|pattern| {
        let at = match pattern.is_empty() {
            true => Some(0),
            false => rest.windows(pattern.len()).position(|window| window == pattern),
        };
        at.is_some_and(|at| {
            rest = &rest[at + pattern.len()..];
            true
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_in_order() {
        assert!(finds_in_order(b"xxPONG..ok", &[&b"PONG"[..], b"ok"]));
        assert!(!finds_in_order(b"ok..PONG", &[&b"PONG"[..], b"ok"]));
        assert!(!finds_in_order(b"PON", &[b"PONG"]));
        assert!(finds_in_order(b"", &[b""]));
    }
}
