//! The router's own log (`upstream_log`): a line for each attempt, about that attempt alone.
//!
//! An attempt carries a [`Record`] where there is such a log, and nothing where there is none. Wherever an attempt ends, its
//! record goes to the list of what is to be written, which is done when the exchange is at hand: before the next attempt
//! begins, before an answer of our own, or before the exchange itself is logged.

use super::Router;
use super::attempt::Attempt;
use crate::config::UpstreamLog;
use nuncio_codec::headers::{HeaderMap, Trailers};
use nuncio_core::format::LogMoment;
use nuncio_core::{ConnInfo, Protocol, ResponseFlags, StreamCx, StreamInfo, UpstreamFacts, WireBytes};
use nuncio_rt::{Address, Time};
use nuncio_upstream::{Reset, UpPiece, WorkerCluster, WorkerHost};
use std::{cell::RefCell, fmt, mem, path::PathBuf, rc::Rc, sync::Arc};

/// Where the attempts of one exchange are logged.
#[derive(Clone)]
pub(super) struct Log {
    config: Arc<UpstreamLog>,
    /// Who is told as the client, where that is nobody: of copies.
    nobody: Option<Rc<ConnInfo>>,
    ended: Rc<RefCell<Vec<Facts>>>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    pub(super) fn new(config: Arc<UpstreamLog>) -> Log {
        Log { config, nobody: None, ended: Rc::default() }
    }

    /// That of a copy of the request.
    pub(super) fn of_copy(&self) -> Log {
        let nowhere = Address::Pipe(PathBuf::new());
        let nobody = ConnInfo { direct_remote: nowhere.clone(), remote: nowhere.clone(), local: nowhere, ..ConnInfo::nobody() };
        Log { config: self.config.clone(), nobody: Some(Rc::new(nobody)), ended: Rc::default() }
    }

    /// Writes lines: `facts` stand in the place of the exchange's own.
    fn write(&self, cx: &mut StreamCx, facts: &mut Facts, moment: LogMoment) {
        let info = &mut facts.info;
        info.moment = moment;
        info.upstream.bytes = cx.info.upstream.bytes;
        // Until it has a connection it knows nothing of the client's.
        info.downstream = if info.upstream.is_connected() { cx.info.downstream } else { WireBytes::default() };
        info.remote.clone_from(&cx.info.remote);
        info.health_check = cx.info.health_check;
        mem::swap(&mut cx.info, info);
        mem::swap(&mut cx.response, &mut facts.head);
        mem::swap(&mut cx.response_trailers, &mut facts.trailers);
        let (metadata, state) = (mem::take(&mut cx.metadata), mem::take(&mut cx.filter_state));
        let conn = self.nobody.as_ref().map(|nobody| mem::replace(&mut cx.conn, nobody.clone()));
        for log in &self.config.logs {
            log.log(cx);
        }
        if let Some(conn) = conn {
            cx.conn = conn;
        }
        (cx.metadata, cx.filter_state) = (metadata, state);
        mem::swap(&mut cx.response_trailers, &mut facts.trailers);
        mem::swap(&mut cx.response, &mut facts.head);
        mem::swap(&mut cx.info, &mut facts.info);
    }
}

/// What is known of an attempt.
#[derive(Debug, Default)]
struct Facts {
    info: StreamInfo,
    head: HeaderMap,
    trailers: Trailers,
}

/// An attempt that will be logged: at its end, whenever this is dropped.
#[derive(Debug)]
pub(super) struct Record {
    log: Log,
    facts: Facts,
    next: Option<Time>,
}

impl Record {
    pub(super) fn new(log: &Log, cluster: &WorkerCluster, host: &WorkerHost, now: Time) -> Record {
        let upstream = UpstreamFacts { cluster: Some(cluster.cx().facts.clone()), host: Some(host.facts.clone()), ..UpstreamFacts::default() };
        let info = StreamInfo { start: now, protocol: Protocol::None, upstream, ..StreamInfo::default() };
        let next = log.config.interval.map(|interval| now + interval);
        Record { log: log.clone(), facts: Facts { info, ..Facts::default() }, next }
    }

    /// The connection in `cx` stands.
    pub(super) fn connected(&mut self, cx: &mut StreamCx, now: Time) {
        let (info, of) = (&mut self.facts.info, &cx.info);
        info.protocol = of.upstream.protocol.unwrap_or(Protocol::None);
        info.upstream = UpstreamFacts { cluster: info.upstream.cluster.take(), ..of.upstream.clone() };
        info.timings.upstream_connect_start = of.timings.upstream_connect_start;
        info.timings.upstream_connected = of.timings.upstream_connected;
        info.timings.upstream_pool_wait = of.timings.upstream_pool_wait;
        if self.log.config.on_stream {
            let log = self.log.clone();
            log.write(cx, &mut self.facts, LogMoment::UpstreamPoolReady);
        }
        self.facts.info.timings.upstream_first_tx = Some(now);
    }

    /// So much of the request's body goes to the upstream.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.facts.info.bytes_sent += bytes as u64;
    }

    pub(super) fn wrote(&mut self, now: Time) {
        self.facts.info.timings.upstream_last_tx = Some(now);
    }

    pub(super) fn received(&mut self, piece: &UpPiece, cx: &StreamCx, now: Time) {
        let Facts { info, head, trailers } = &mut self.facts;
        info.timings.upstream_first_rx.get_or_insert(now);
        match piece {
            UpPiece::Informational { .. } => {}
            UpPiece::Head { status, end, .. } => {
                info.status = *status;
                head.clone_from(&cx.response);
                info.timings.upstream_last_rx = end.then_some(now);
            }
            UpPiece::Data(bytes, end) => {
                info.bytes_received += bytes.len() as u64;
                info.timings.upstream_last_rx = end.then_some(now);
            }
            UpPiece::Trailers => {
                trailers.clone_from(&cx.response_trailers);
                info.timings.upstream_last_rx = Some(now);
            }
        }
    }

    /// Why the attempt fails.
    pub(super) fn failed(&mut self, flag: ResponseFlags) {
        self.facts.info.flags.set(flag);
    }

    pub(super) fn reset(&mut self, reset: &Reset) {
        self.failed(reset.reason.flag());
        self.facts.info.upstream.transport_failure = reset.transport_failure.clone();
    }

    /// When it is logged next.
    pub(super) fn next(&self) -> Option<Time> {
        self.next
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let mut facts = mem::take(&mut self.facts);
        facts.info.end = Some(Time::now());
        self.log.ended.borrow_mut().push(facts);
    }
}

impl Attempt {
    /// Logs it where it goes on for long.
    pub(super) fn log_if_due(&mut self, cx: &mut StreamCx, now: Time) {
        let Some(next) = self.record().and_then(|record| record.next).filter(|next| *next <= now) else { return };
        self.note_bytes(cx);
        if let Some(record) = self.record() {
            record.next = record.log.config.interval.map(|interval| (next + interval).max(now));
            let log = record.log.clone();
            log.write(cx, &mut record.facts, LogMoment::UpstreamPeriodic);
        }
    }
}

impl Router {
    /// Logs the attempts that have ended.
    pub(crate) fn log_attempts(&mut self, cx: &mut StreamCx) {
        let Some(log) = &self.log else { return };
        let ended = log.ended.take();
        for mut facts in ended {
            log.write(cx, &mut facts, LogMoment::UpstreamEnd);
        }
    }
}
