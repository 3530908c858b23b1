//! What is counted of a connection from its beginning to its end, whatever it speaks.

use crate::hcm::HcmWorker;
use nuncio_core::{ConnInfo, Protocol};
use nuncio_rt::Time;
use nuncio_stats::tables::http_connection_manager as stat;
use std::rc::Rc;

/// A connection that is open, in the statistics.
pub(super) struct Life {
    hcm: Rc<HcmWorker>,
    info: Rc<ConnInfo>,
    protocol: Option<Protocol>,
    /// The client closed it.
    pub(super) remote_close: bool,
    ends_with_response: bool,
}

impl Life {
    pub(super) fn new(hcm: &Rc<HcmWorker>, info: &Rc<ConnInfo>) -> Life {
        let (stats, lane) = (&hcm.stats, hcm.worker.lane);
        stats.inc(lane, stat::DOWNSTREAM_CX_TOTAL);
        stats.gauge_add(lane, stat::DOWNSTREAM_CX_ACTIVE, 1);
        if info.tls {
            stats.inc(lane, stat::DOWNSTREAM_CX_SSL_TOTAL);
            stats.gauge_add(lane, stat::DOWNSTREAM_CX_SSL_ACTIVE, 1);
        }
        Life { hcm: hcm.clone(), info: info.clone(), protocol: None, remote_close: false, ends_with_response: false }
    }

    /// The connection's protocol is known.
    pub(super) fn speaks(&mut self, protocol: Protocol) {
        let (stats, lane) = (&self.hcm.stats, self.hcm.worker.lane);
        let (total, active) = match protocol {
            Protocol::Http2 => (stat::DOWNSTREAM_CX_HTTP2_TOTAL, stat::DOWNSTREAM_CX_HTTP2_ACTIVE),
            _ => (stat::DOWNSTREAM_CX_HTTP1_TOTAL, stat::DOWNSTREAM_CX_HTTP1_ACTIVE),
        };
        stats.inc(lane, total);
        stats.gauge_add(lane, active, 1);
        self.protocol = Some(protocol);
    }

    /// The connection has lived long enough: it ends with the response to its next request.
    pub(super) fn end_with_response(&mut self) {
        self.ends_with_response = true;
        self.hcm.stats.gauge_add(self.hcm.worker.lane, stat::DOWNSTREAM_CX_HTTP1_SOFT_DRAIN, 1);
    }

    /// Whether that is so.
    pub(super) fn ends_with_response(&self) -> bool {
        self.ends_with_response
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let (stats, lane) = (&self.hcm.stats, self.hcm.worker.lane);
        stats.gauge_add(lane, stat::DOWNSTREAM_CX_ACTIVE, -1);
        match self.protocol {
            Some(Protocol::Http2) => stats.gauge_add(lane, stat::DOWNSTREAM_CX_HTTP2_ACTIVE, -1),
            Some(_) => stats.gauge_add(lane, stat::DOWNSTREAM_CX_HTTP1_ACTIVE, -1),
            None => {}
        }
        if self.ends_with_response {
            stats.gauge_add(lane, stat::DOWNSTREAM_CX_HTTP1_SOFT_DRAIN, -1);
        }
        if self.info.tls {
            stats.gauge_add(lane, stat::DOWNSTREAM_CX_SSL_ACTIVE, -1);
        }
        stats.inc(lane, stat::DOWNSTREAM_CX_DESTROY);
        stats.inc(lane, if self.remote_close { stat::DOWNSTREAM_CX_DESTROY_REMOTE } else { stat::DOWNSTREAM_CX_DESTROY_LOCAL });
        let ms = Time::now().millis_since(self.info.start);
        stats.record(lane, stat::DOWNSTREAM_CX_LENGTH_MS, ms);
    }
}
