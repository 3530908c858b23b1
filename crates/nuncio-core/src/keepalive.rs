//! `connection_keepalive`: PINGs that find out whether a peer is still there.

use nuncio_rt::{Rng, Time};
use std::time::Duration;

/// `connection_keepalive` of `core.v3.Http2ProtocolOptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// `interval` between two PINGs.
    pub interval: Duration,
    /// `timeout` of the answer.
    pub timeout: Duration,
    /// `interval_jitter`, in percent of the interval.
    pub jitter_percent: u32,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingDue {
    /// Nothing yet.
    Nothing,
    /// A PING with this content.
    Ping([u8; 8]),
    /// The last one was not answered in time.
    Dead,
}

/// When a connection's PINGs are to be sent, and their answers to come.
#[derive(Debug)]
pub struct Pings {
    rules: Option<Keepalive>,
    next: Option<Time>,
    answer_by: Option<Time>,
    sent: u64,
}

impl Pings {
    /// The schedule of a connection that begins now; none without rules.
    pub fn new(rules: Option<Keepalive>, rng: &Rng, now: Time) -> Pings {
        let mut pings = Pings { rules, next: None, answer_by: None, sent: 0 };
        pings.schedule(rng, now);
        pings
    }

    fn schedule(&mut self, rng: &Rng, now: Time) {
        self.next = self.rules.filter(|rules| !rules.interval.is_zero()).map(|rules| {
            let spread = rules.interval.as_millis() as u64 * u64::from(rules.jitter_percent) / 100;
            let jitter = if spread > 0 { rng.below(spread) } else { 0 };
            now + rules.interval + Duration::from_millis(jitter)
        });
    }

    /// The peer has answered.
    pub fn answered(&mut self) {
        self.answer_by = None;
    }

    /// When something is due.
    pub fn due(&self) -> Option<Time> {
        Time::first([self.next, self.answer_by])
    }

    /// What is due at `now`; a PING counts as sent.
    pub fn expire(&mut self, rng: &Rng, now: Time) -> PingDue {
        if self.answer_by.is_some_and(|at| at <= now) {
            return PingDue::Dead;
        }
        let Some(rules) = self.rules.filter(|_| self.next.is_some_and(|at| at <= now)) else { return PingDue::Nothing };
        self.schedule(rng, now);
        self.answer_by = self.answer_by.or(Some(now + rules.timeout));
        self.sent += 1;
        PingDue::Ping(self.sent.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_that_is_not_answered_in_time_ends_the_connection() {
        let rules = Keepalive {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            jitter_percent: 0,
        };
        let (rng, start) = (Rng::default(), Time::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pings = Pings::new(Some(rules), &rng, start);
        assert_eq!(pings.expire(&rng, at(9)), PingDue::Nothing);
        assert_eq!(pings.expire(&rng, at(10)), PingDue::Ping([0, 0, 0, 0, 0, 0, 0, 1]));
        pings.answered();
        assert_eq!(pings.expire(&rng, at(12)), PingDue::Nothing);
        assert!(matches!(pings.expire(&rng, at(20)), PingDue::Ping(_)));
        assert_eq!(pings.expire(&rng, at(22)), PingDue::Dead);
    }
}
