//! What a cluster counts about attempts where somebody asks for it (`track_cluster_stats`): how large messages are, and how
//! much of its time an attempt, or the whole, took. Attempts that were overtaken by others are not counted.

use super::{Failure, Router};
use nuncio_core::StreamCx;
use nuncio_rt::Time;
use nuncio_stats::tables::cluster as stat;
use std::time::Duration;

impl Router {
    /// The head of a response has come, in `cx.response`.
    pub(super) fn track_head(&mut self, cx: &StreamCx) {
        self.response_body = Some(0);
        let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.info().config.track.sizes) else { return };
        cluster.cx().record(stat::UPSTREAM_RS_HEADERS_COUNT, cx.response.len() as u64);
        cluster.cx().record(stat::UPSTREAM_RS_HEADERS_SIZE, cx.response.byte_size() as u64);
    }

    /// The attempt is over; `failure` says which time has passed, if it was that.
    #[inline]
    pub(super) fn track_attempt(&mut self, cx: &StreamCx, failure: Option<Failure>, now: Time) {
        let body = self.response_body.take();
        let Some(cluster) = self.cluster.as_ref() else { return };
        let (track, cluster) = (cluster.info().config.track, cluster.cx());
        if track.sizes {
            cluster.record(stat::UPSTREAM_RQ_HEADERS_COUNT, cx.request.len() as u64);
            cluster.record(stat::UPSTREAM_RQ_HEADERS_SIZE, cx.request.byte_size() as u64);
            cluster.record(stat::UPSTREAM_RQ_BODY_SIZE, self.request_body);
            body.inspect(|body| cluster.record(stat::UPSTREAM_RS_BODY_SIZE, *body));
        }
        if track.timeout_budgets && failure != Some(Failure::GlobalTimeout) {
            let percent = percent(now.since(self.attempt.asked_at()), self.timeouts.per_try);
            cluster.record(stat::UPSTREAM_RQ_TIMEOUT_BUDGET_PER_TRY_PERCENT_USED, percent);
        }
    }

    /// The response is complete, or has taken too long.
    #[inline]
    pub(super) fn track_whole(&self, now: Time) {
        let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.info().config.track.timeout_budgets) else { return };
        let taken = self.request_ended.map_or(Duration::ZERO, |ended| now.since(ended));
        cluster.cx().record(stat::UPSTREAM_RQ_TIMEOUT_BUDGET_PERCENT_USED, percent(taken, self.timeouts.global));
    }
}

/// Whole percent of a timeout; 0 where there is none.
fn percent(taken: Duration, timeout: Duration) -> u64 {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    ms(taken).saturating_mul(100).checked_div(ms(timeout)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_is_never_used_up() {
        let ms = Duration::from_millis;
        assert_eq!((percent(ms(255), ms(1000)), percent(ms(100), ms(100)), percent(ms(5), Duration::ZERO)), (25, 100, 0));
    }
}
