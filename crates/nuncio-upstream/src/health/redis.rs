//! Redis health checks (`envoy.health_checkers.redis`): PING wants PONG; with a key, EXISTS wants that there is no such key.

use super::config::RedisHealthCheck;
use super::door::Door;
use super::http::read;
use super::tally::Verdict;
use nuncio_rt::{Buf, Io, OutQueue};
use nuncio_stats::{Lane, Scope, tables::health_check::redis as stat};
use std::{future::poll_fn, rc::Rc, sync::Arc};

/// Longest answer looked through.
const ANSWER_BYTES: usize = 4096;

/// Asks one host.
#[derive(Debug)]
pub(super) struct RedisProbe {
    request: Vec<u8>,
    wanted: &'static [u8],
    door: Door,
    open: Option<Io>,
    stats: Arc<Scope>,
}

impl RedisProbe {
    pub(super) fn new(check: &RedisHealthCheck, door: Door, stats: Arc<Scope>) -> RedisProbe {
        let (request, wanted) = match check.key.as_str() {
            "" => (command(&["PING"]), &b"+PONG\r\n"[..]),
            key => (command(&["EXISTS", key]), &b":0\r\n"[..]),
        };
        RedisProbe { request, wanted, door, open: None, stats }
    }

    /// Closes what is open: the last check came to no end.
    pub(super) fn forget(&mut self) {
        self.open = None;
    }

    pub(super) async fn check(&mut self) -> Verdict {
        let Ok(mut io) = self.door.enter(&mut self.open).await else { return Verdict::NetworkFailure };
        let Some(answer) = self.exchange(&mut io).await else { return Verdict::NetworkFailure };
        let passed = answer.filled().starts_with(self.wanted);
        if answer.filled().starts_with(b":1\r\n") && self.wanted.starts_with(b":") {
            self.stats.inc(Lane::MAIN, stat::EXISTS_FAILURE);
        }
        if self.door.reuse {
            self.open = Some(io);
        }
        if passed { Verdict::Pass { degraded: false } } else { Verdict::Fail { retriable: false, status: 0, immediate: false } }
    }

    /// The answer as far as its first line, which is all of it where it is the one that is wanted.
    async fn exchange(&self, io: &mut Io) -> Option<Buf> {
        let mut out = OutQueue::new(Rc::default());
        out.copy(&self.request);
        let mut written = 0;
        poll_fn(|cx| out.poll_flush(cx, io, &mut written)).await.ok()?;
        let mut answer = Buf::with_capacity(ANSWER_BYTES);
        while !answer.filled().contains(&b'\n') {
            if read(io, &mut answer).await? == 0 {
                return None;
            }
        }
        Some(answer)
    }
}

/// A command as an array of bulk strings.
fn command(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| out.push_str(&format!("${}\r\n{word}\r\n", word.len())));
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(command(&["PING"]), b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(command(&["EXISTS", "k\u{e9}y"]), "*2\r\n$6\r\nEXISTS\r\n$4\r\nk\u{e9}y\r\n".as_bytes());
    }
}
