//! How long the parts of an exchange took.

use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written},
    write,
};
use crate::StreamInfo;
use nuncio_rt::Time;

fn millis(out: &mut Vec<u8>, from: Option<Time>, to: Option<Time>) -> Written {
    span(out, from, to, 1_000_000)
}

/// The time between two moments in units of so many nanoseconds; absent if one of them did not happen.
fn span(out: &mut Vec<u8>, from: Option<Time>, to: Option<Time>, unit_ns: u64) -> Written {
    match (from, to) {
        (Some(from), Some(to)) if to >= from => write::decimal(out, (to.as_nanos() - from.as_nanos()) / unit_ns),
        _ => Written::Absent,
    }
}

/// From the first byte received to the end; to now while it lasts.
pub(super) fn whole(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    let info = &cx.stream.info;
    millis(out, Some(info.start), Some(info.end.unwrap_or_else(Time::now)))
}

pub(super) fn request(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    millis(out, Some(cx.stream.info.start), cx.stream.info.timings.request_received)
}

pub(super) fn request_sent(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    millis(out, Some(cx.stream.info.start), cx.stream.info.timings.upstream_last_tx)
}

pub(super) fn response(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    millis(out, Some(cx.stream.info.start), cx.stream.info.timings.upstream_first_rx)
}

pub(super) fn response_sent(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    let timings = &cx.stream.info.timings;
    millis(out, timings.upstream_first_rx, timings.response_last_tx)
}

/// How long the last attempt waited for a connection.
pub(super) fn pool_ready(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    match cx.stream.info.timings.upstream_pool_wait {
        Some(wait) => write::decimal(out, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        None => Written::Absent,
    }
}

type Moment = fn(&FormatCx<'_>) -> Option<Time>;

/// Finds a moment by Envoy's name for it. Names it does not know never happen, as in Envoy, where an extension
/// may add moments while the exchange lasts.
fn moment(name: &str) -> Moment {
    macro_rules! info {
        (|$info:ident| $time:expr) => {
            |cx| {
                let $info: &StreamInfo = &cx.stream.info;
                $time
            }
        };
    }
    match name {
        "DS_CX_BEG" => |cx| Some(cx.stream.conn.start),
        "DS_RX_BEG" => info!(|info| Some(info.start)),
        "DS_RX_END" => info!(|info| info.timings.request_received),
        "US_CX_BEG" => info!(|info| info.timings.upstream_connect_start),
        "US_CX_END" => info!(|info| info.timings.upstream_connected),
        "US_TX_BEG" => info!(|info| info.timings.upstream_first_tx),
        "US_TX_END" => info!(|info| info.timings.upstream_last_tx),
        "US_RX_BEG" => info!(|info| info.timings.upstream_first_rx),
        "US_RX_END" => info!(|info| info.timings.upstream_last_rx),
        "DS_TX_BEG" => info!(|info| info.timings.response_first_tx),
        "DS_TX_END" => info!(|info| info.timings.response_last_tx),
        _ => |_| None,
    }
}

/// `%COMMON_DURATION(from:to[:ms|us|ns])%`.
#[derive(Debug)]
struct Common {
    from: Moment,
    to: Moment,
    unit_ns: u64,
}

pub(super) fn common(args: Args<'_>) -> Result<Command, String> {
    let mut parts = args.params.split(':');
    let (Some(from), Some(to)) = (parts.next(), parts.next()) else {
        return Err(format!("Invalid common duration configuration: {}.", args.params));
    };
    let unit_ns = match parts.next() {
        None | Some("ms") => 1_000_000,
        Some("us") => 1_000,
        Some("ns") => 1,
        Some(other) => return Err(format!("Invalid common duration precision: {other}.")),
    };
    if parts.next().is_some() {
        return Err(format!("Invalid common duration configuration: {}.", args.params));
    }
    Ok(Command::with(Common { from: moment(from), to: moment(to), unit_ns }))
}

impl Parametric for Common {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        span(out, (self.from)(cx), (self.to)(cx), self.unit_ns)
    }
}
