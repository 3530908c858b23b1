//! Calls of gRPC as filters count them: `cluster.<name>.grpc.<service>.<method>.…`.

use crate::service::scopes::{self, ClusterScopes};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::StreamCx;
use nuncio_stats::{CounterId, Scope, Store, stats_table};
use std::sync::Arc;

stats_table! {
    /// `cluster.<name>.grpc.` and `cluster.<name>.grpc.<service>.<method>.`
    pub GRPC_CALLS: "grpc_calls" {
        /// Calls that ended OK.
        counter OK_0 = "0" [lazy],
        /// Calls that ended CANCELLED.
        counter CANCELLED_1 = "1" [lazy],
        /// Calls that ended UNKNOWN.
        counter UNKNOWN_2 = "2" [lazy],
        /// Calls that ended INVALID_ARGUMENT.
        counter INVALID_ARGUMENT_3 = "3" [lazy],
        /// Calls that ended DEADLINE_EXCEEDED.
        counter DEADLINE_EXCEEDED_4 = "4" [lazy],
        /// Calls that ended NOT_FOUND.
        counter NOT_FOUND_5 = "5" [lazy],
        /// Calls that ended ALREADY_EXISTS.
        counter ALREADY_EXISTS_6 = "6" [lazy],
        /// Calls that ended PERMISSION_DENIED.
        counter PERMISSION_DENIED_7 = "7" [lazy],
        /// Calls that ended RESOURCE_EXHAUSTED.
        counter RESOURCE_EXHAUSTED_8 = "8" [lazy],
        /// Calls that ended FAILED_PRECONDITION.
        counter FAILED_PRECONDITION_9 = "9" [lazy],
        /// Calls that ended ABORTED.
        counter ABORTED_10 = "10" [lazy],
        /// Calls that ended OUT_OF_RANGE.
        counter OUT_OF_RANGE_11 = "11" [lazy],
        /// Calls that ended UNIMPLEMENTED.
        counter UNIMPLEMENTED_12 = "12" [lazy],
        /// Calls that ended INTERNAL.
        counter INTERNAL_13 = "13" [lazy],
        /// Calls that ended UNAVAILABLE.
        counter UNAVAILABLE_14 = "14" [lazy],
        /// Calls that ended DATA_LOSS.
        counter DATA_LOSS_15 = "15" [lazy],
        /// Calls that ended UNAUTHENTICATED.
        counter UNAUTHENTICATED_16 = "16" [lazy],
        /// Calls that did not end OK.
        counter FAILURE = "failure" [lazy],
        /// Messages of requests.
        counter REQUEST_MESSAGE_COUNT = "request_message_count" [lazy],
        /// Messages of responses.
        counter RESPONSE_MESSAGE_COUNT = "response_message_count" [lazy],
        /// Calls that ended OK.
        counter SUCCESS = "success" [lazy],
        /// Calls whose end was told.
        counter TOTAL = "total" [lazy],
        /// Milliseconds from the end of the request to the end of the response.
        histogram UPSTREAM_RQ_TIME(ms) = "upstream_rq_time",
    }
}

/// By status.
const BY_STATUS: [CounterId; 17] = [
    OK_0,
    CANCELLED_1,
    UNKNOWN_2,
    INVALID_ARGUMENT_3,
    DEADLINE_EXCEEDED_4,
    NOT_FOUND_5,
    ALREADY_EXISTS_6,
    PERMISSION_DENIED_7,
    RESOURCE_EXHAUSTED_8,
    FAILED_PRECONDITION_9,
    ABORTED_10,
    OUT_OF_RANGE_11,
    UNIMPLEMENTED_12,
    INTERNAL_13,
    UNAVAILABLE_14,
    DATA_LOSS_15,
    UNAUTHENTICATED_16,
];

/// Where calls are counted.
#[derive(Debug)]
pub(super) struct Calls(ClusterScopes);

/// Service and method of a path, `/pkg.Service/Method`.
pub(super) fn names(head: &HeaderMap) -> Option<(&str, &str)> {
    let path = std::str::from_utf8(head.path()?).ok()?;
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some((service, method))
}

impl Calls {
    /// Under `cluster.<name>.<kind>.`.
    pub(super) fn new(store: &Arc<Store>, kind: &str) -> Calls {
        Calls(ClusterScopes::new(store, &GRPC_CALLS, &format!("{kind}.")))
    }

    /// The scope of a call, for the cluster the route leads to; of one method, if one is named.
    pub(super) fn scope(&self, cx: &StreamCx, method: Option<(&str, &str)>) -> Option<Arc<Scope>> {
        let part = method.map(|(service, method)| format!("{service}.{method}.")).unwrap_or_default();
        self.0.of(cx, &scopes::cluster_of(cx)?, &part)
    }
}

/// Counts the end of a call, if these headers or trailers tell of it.
pub(super) fn count_end(cx: &StreamCx, scope: &Scope, map: &HeaderMap) {
    let Some(status) = map.get_str(Known::GrpcStatus).and_then(|text| text.trim().parse::<usize>().ok()) else { return };
    let lane = cx.worker.lane;
    if let Some(id) = BY_STATUS.get(status) {
        scope.inc(lane, *id);
    }
    scope.inc(lane, if status == 0 { SUCCESS } else { FAILURE });
    scope.inc(lane, TOTAL);
}

/// Finds the messages in a stream of bytes: each is a flag, a length, and so many bytes.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes of the prefix so far.
    prefix: usize,
    length: u32,
    /// Bytes of the message that are still to come.
    rest: usize,
}

impl Frames {
    /// How many messages begin in these bytes.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut begun = 0;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let taken = self.rest.min(bytes.len());
                self.rest -= taken;
                bytes = &bytes[taken..];
                continue;
            }
            if self.prefix == 0 {
                begun += 1;
                self.length = 0;
            } else {
                self.length = self.length << 8 | u32::from(bytes[0]);
            }
            self.prefix += 1;
            bytes = &bytes[1..];
            if self.prefix == 5 {
                self.prefix = 0;
                self.rest = self.length as usize;
            }
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let bytes = b"\0\0\0\0\x02hi\0\0\0\0\0\x01\0\0\0\x01x";
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            assert_eq!(frames.count(&bytes[..cut]) + frames.count(&bytes[cut..]), 3, "{cut}");
        }
    }
}
