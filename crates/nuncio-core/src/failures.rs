//! The last requests that went wrong, kept for whoever asks why.
//!
//! Each worker has a [`FailureLog`] of [`KEPT`] requests; the oldest goes when another comes. A request that went well
//! costs one comparison; of a flood of failures (rate limits, an upstream that is gone) only [`KEPT`] a second cost more.
//! No body is kept, and of path and host no more than [`TEXT_BYTES`] bytes.

use crate::{ResponseFlags, StreamCx};
use nuncio_codec::headers::Known;
use nuncio_rt::Time;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// Requests kept for each worker, and taken in each second.
pub const KEPT: usize = 128;
/// Most bytes kept of a text that clients choose.
pub const TEXT_BYTES: usize = 256;

/// A request that went wrong.
#[derive(Debug, Clone)]
pub struct FailedRequest {
    /// When it was over.
    pub at: SystemTime,
    /// `x-request-id`; empty if it had none.
    pub id: String,
    /// Method.
    pub method: String,
    /// Host as the client said it.
    pub host: String,
    /// Path as it was when the request was over, without its query.
    pub path: String,
    /// The status that was sent; 0 for none.
    pub status: u16,
    /// Response flags.
    pub flags: ResponseFlags,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
    /// Name of the route; empty for none.
    pub route: String,
    /// Name of the virtual host; empty for none.
    pub virtual_host: String,
    /// Name of the cluster; empty for none.
    pub cluster: String,
    /// Address of the last host tried; empty for none.
    pub upstream: String,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub transport_failure: String,
    /// Attempts made upstream.
    pub attempts: u32,
    /// From the first byte of the request to its end.
    pub took: Duration,
}

/// What went wrong of late on one worker.
#[derive(Debug, Default)]
pub struct FailureLog {
    // Locked by its worker when a request fails, and by who asks: hardly ever by both.
    requests: Mutex<VecDeque<FailedRequest>>,
    /// Seconds of the clock in the upper half, and how many were taken in that second in the lower. One thread writes.
    taken: AtomicU64,
}

impl FailureLog {
    /// Keeps a finished exchange that went wrong: with a response flag, without a response, with a server error, or
    /// refused here.
    #[inline]
    pub fn note(&self, cx: &StreamCx) {
        let info = &cx.info;
        let failed = !info.flags.is_empty() || info.status >= 500 || info.status == 0 || (info.local_reply && info.status >= 400);
        if failed && self.has_room(info.end.unwrap_or(info.start)) {
            self.keep(cx);
        }
    }

    /// Whether fewer than [`KEPT`] were taken in this second; takes one more.
    fn has_room(&self, now: Time) -> bool {
        let second = now.as_millis() / 1000;
        let before = self.taken.load(Relaxed);
        let taken = if before >> 32 == second { before & u64::from(u32::MAX) } else { 0 };
        let room = taken < KEPT as u64;
        if room {
            self.taken.store(second << 32 | (taken + 1), Relaxed);
        }
        room
    }

    #[cold]
    fn keep(&self, cx: &StreamCx) {
        let info = &cx.info;
        let text = |bytes: Option<&[u8]>| {
            let bytes = bytes.unwrap_or_default();
            String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES)]).into_owned()
        };
        let path = cx.request.path().map(|path| path.split(|b| *b == b'?').next().unwrap_or_default());
        let route = cx.route.as_ref().and_then(|route| route.view());
        let failed = FailedRequest {
            at: SystemTime::now(),
            id: text(cx.request.get(Known::XRequestId)),
            method: text(cx.request.method()),
            host: text(cx.request.authority()),
            path: text(path),
            status: info.status,
            flags: info.flags,
            details: info.details.to_string(),
            route: route.map_or_else(String::new, |route| route.name().to_owned()),
            virtual_host: route.map_or_else(String::new, |route| route.virtual_host_name().to_owned()),
            cluster: info.upstream.cluster.as_ref().map_or_else(String::new, |cluster| cluster.name.to_string()),
            upstream: info.upstream.host.as_ref().map_or_else(String::new, |host| host.address.to_string()),
            transport_failure: info.upstream.transport_failure.to_string(),
            attempts: info.attempts,
            took: info.end.map_or(Duration::ZERO, |end| end.since(info.start)),
        };
        let Ok(mut requests) = self.requests.lock() else { return };
        if requests.len() == KEPT {
            requests.pop_front();
        }
        requests.push_back(failed);
    }

    /// What is kept, the oldest first.
    pub fn requests(&self) -> Vec<FailedRequest> {
        self.requests.lock().map_or_else(|_| Vec::new(), |requests| requests.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failures_is_kept_in_part_only_and_the_next_second_begins_anew() {
        let log = FailureLog::default();
        let at = |ms: u64| Time::from_nanos(ms * 1_000_000);
        assert!((0..KEPT).all(|_| log.has_room(at(5_000))));
        assert!(!log.has_room(at(5_999)));
        assert!(log.has_room(at(6_000)));
    }
}
