//! How long a stream may live: the route's `max_stream_duration`, what a gRPC client asks for where the route believes
//! it, else the connection manager's. As Envoy's `refreshDurationTimeout`.

use crate::hcm::HcmWorker;
use crate::routes::{Action, MaxStreamDuration, grpc_timeout, is_grpc, set_grpc_timeout};
use nuncio_core::StreamCx;
use nuncio_rt::Time;

/// When the stream of `cx` ends at the latest. Where the route limits streams, `grpc-timeout` tells a
/// gRPC upstream.
pub(super) fn end_of_life(cx: &mut StreamCx, hcm: &HcmWorker) -> Option<Time> {
    let start = cx.info.start;
    let of_manager = hcm.config.timeouts.max_stream;
    let entry = cx.route.as_ref().and_then(|route| hcm.routes.table().get(route.id));
    let limits = entry.and_then(|entry| match &entry.route.action {
        Action::Forward(action) => action.more.as_ref()?.max_stream_duration,
        _ => None,
    });
    if of_manager.is_none() && limits.is_none() {
        return None;
    }
    let asked = grpc_timeout(&cx.request);
    let life = match (asked, limits) {
        (Some(asked), Some(MaxStreamDuration { grpc_timeout_header_max: Some(most), grpc_timeout_header_offset, .. })) => {
            let granted = if most.is_zero() { asked } else { asked.min(most) };
            Some(granted.saturating_sub(grpc_timeout_header_offset.unwrap_or_default()))
        }
        (_, limits) => limits.and_then(|limits| limits.max).or(of_manager).filter(|max| !max.is_zero()),
    };
    if limits.is_some() && is_grpc(&cx.request) {
        match life {
            Some(life) => set_grpc_timeout(&mut cx.request, u64::try_from(life.as_millis()).unwrap_or(u64::MAX)),
            None => drop(cx.request.remove("grpc-timeout")),
        }
    }
    life.map(|life| start + life)
}
