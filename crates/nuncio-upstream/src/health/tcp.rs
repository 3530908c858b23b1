//! TCP health checks: a connection that opens is enough, unless bytes are to be found. Where none are, none are sent, as in
//! Envoy.

use super::config::TcpHealthCheck;
use super::door::Door;
use super::tally::Verdict;
use nuncio_core::proxy_protocol::{ProxyVersion, encode_v1, encode_v2};
use nuncio_rt::{Buf, Io, OutQueue};
use std::{future::poll_fn, rc::Rc};

/// Longest answer looked through.
const ANSWER_BYTES: usize = 64 * 1024;

/// Asks one host over TCP.
#[derive(Debug)]
pub(super) struct TcpProbe {
    check: TcpHealthCheck,
    door: Door,
    open: Option<Io>,
}

impl TcpProbe {
    pub(super) fn new(check: TcpHealthCheck, door: Door) -> TcpProbe {
        TcpProbe { check, door, open: None }
    }

    /// Closes what is open: the last check came to no end.
    pub(super) fn forget(&mut self) {
        self.open = None;
    }

    pub(super) async fn check(&mut self) -> Verdict {
        let kept = self.door.kept(&mut self.open);
        let fresh = kept.is_none();
        let Some(mut io) = (match kept {
            Some(io) => Some(io),
            None => self.door.open().await.ok(),
        }) else {
            return Verdict::NetworkFailure;
        };
        if self.check.receive.is_empty() {
            return Verdict::Pass { degraded: false };
        }
        let mut out = OutQueue::new(Rc::default());
        if fresh {
            out.copy(&self.proxy_header(&io));
        }
        out.copy(self.check.send.as_deref().unwrap_or_default());
        if !out.is_empty() {
            let mut written = 0;
            if poll_fn(|cx| out.poll_flush(cx, &mut io, &mut written)).await.is_err() {
                return Verdict::NetworkFailure;
            }
        }
        let mut answer = Buf::with_capacity(ANSWER_BYTES);
        while !finds_in_order(answer.filled(), &self.check.receive) {
            match poll_fn(|cx| io.poll_read(cx, &mut answer)).await {
                Ok(n) if n > 0 && answer.room() > 0 => {}
                _ => return Verdict::NetworkFailure,
            }
        }
        if self.door.reuse {
            self.open = Some(io);
        }
        Verdict::Pass { degraded: false }
    }

    fn proxy_header(&self, io: &Io) -> Vec<u8> {
        match self.check.proxy {
            None => Vec::new(),
            Some(ProxyVersion::V1) => encode_v1(io.local_addr().zip(self.door.socket_addr())),
            Some(ProxyVersion::V2) => encode_v2(None, &[]),
        }
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
