//! What the router knows of redirects that the route wants followed; following them is the exchange's.

use super::Router;
use crate::routes::InternalRedirect;
use nuncio_core::StreamCx;
use nuncio_stats::tables::cluster as stat;

impl Router {
    pub(super) fn redirects(&self) -> Option<&InternalRedirect> {
        self.action()?.more.as_ref()?.internal_redirect.as_ref()
    }

    /// True if the request is complete, and its body was kept, so that it may be sent elsewhere.
    pub(crate) fn may_redirect(&self) -> bool {
        self.request_ended.is_some() && !self.body_lost
    }

    /// A redirect was followed, or could not be.
    pub(crate) fn count_redirect(&self, followed: bool) {
        let id = if followed { stat::UPSTREAM_INTERNAL_REDIRECT_SUCCEEDED_TOTAL } else { stat::UPSTREAM_INTERNAL_REDIRECT_FAILED_TOTAL };
        self.cluster.iter().for_each(|cluster| cluster.cx().inc(id));
    }

    /// A redirect is followed: ends the attempt, and hands out the request's body.
    pub(crate) fn redirected(&mut self, cx: &mut StreamCx, end: bool) -> Vec<u8> {
        self.attempt.note_bytes(cx);
        self.attempt.discard(end);
        self.finished = true;
        self.replay.take()
    }
}
