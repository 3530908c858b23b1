//! Load reports beside requests (`enable_oob_load_report`): each host is asked for a stream of them
//! (`xds.service.orca.v3.OpenRcaService/StreamCoreMetrics`), by one task per host on the main thread.
//!
//! A stream that ends or breaks off begins anew after a while that grows; a host that has no such service is not asked again.
//! Connections are its own, and count nowhere.

use super::{LoadReport, OrcaConfig, OutOfBand, note};
use crate::config::DnsConfig;
use crate::health::{Door, Http2Client};
use crate::host::{Host, HostState};
use crate::manager::{Backoff, Cluster, Task};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_rt::Rng;
use nuncio_stats::{Lane, Scope, Store, tables::orca as stat};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Longest report that is read, in bytes.
const REPORT_BYTES: usize = 64 * 1024;
/// Flag and length before a message.
const PREFIX_BYTES: usize = 5;
/// gRPC's status of methods that are not there.
const UNIMPLEMENTED: &[u8] = b"12";
/// A stream that says nothing for so many of the periods in which it should is given up.
const PERIODS_OF_SILENCE: u32 = 3;
/// Longer is for ever.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// The first wait after a failure, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The streams of one cluster's hosts.
#[derive(Debug)]
pub(crate) struct Follower {
    config: Arc<OrcaConfig>,
    stats: Arc<Scope>,
    connect_timeout: Duration,
    sessions: RefCell<HashMap<*const HostState, Session>>,
}

/// One host that is asked. Its end counts, whatever brings it.
#[derive(Debug)]
struct Session {
    _task: Task,
    active: Rc<Active>,
}

/// Counts a session for as long as it is active.
#[derive(Debug)]
struct Active(Arc<Scope>, Cell<bool>);

impl Active {
    fn end(&self) {
        if self.1.replace(false) {
            self.0.gauge_add(Lane::MAIN, stat::ACTIVE_SESSIONS, -1);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Broken,
    Unimplemented,
}

impl Follower {
    /// Of a cluster; `None` where hosts are not asked.
    pub(crate) fn new(cluster: &Cluster, store: &Store) -> Option<Rc<Follower>> {
        let config = cluster.info.config.orca.clone().filter(|config| config.out_of_band.is_some())?;
        Some(Rc::new(Follower {
            config,
            stats: store.scope(&format!("{}lb_orca_oob.", cluster.info.stats.prefix()), &stat::ORCA_OOB),
            connect_timeout: cluster.info.config.connect_timeout,
            sessions: RefCell::default(),
        }))
    }

    /// Asks these hosts from now on, and no others.
    pub(crate) fn set_hosts(self: &Rc<Self>, cluster: &Cluster, hosts: &[Arc<Host>]) {
        let Some(wanted) = &self.config.out_of_band else { return };
        let mut before = std::mem::take(&mut *self.sessions.borrow_mut());
        let mut now = HashMap::with_capacity(hosts.len());
        for host in hosts {
            let key = Arc::as_ptr(&host.state);
            let session = before.remove(&key).unwrap_or_else(|| {
                self.stats.gauge_add(Lane::MAIN, stat::ACTIVE_SESSIONS, 1);
                let active = Rc::new(Active(self.stats.clone(), Cell::new(true)));
                let door = Door::http2(host, cluster, wanted.port, wanted.transport_criteria.as_deref());
                let client = Http2Client::new(door);
                let asked = Asked { client, head: head(wanted, host), body: request(wanted.period), host: host.clone(), active: active.clone() };
                Session { _task: Task::spawn(asked.follow(Rc::downgrade(self))), active }
            });
            now.insert(key, session);
        }
        before.values().for_each(|gone| gone.active.end());
        *self.sessions.borrow_mut() = now;
    }

    /// How long a stream may say nothing.
    fn silence(&self) -> Duration {
        self.config.out_of_band.as_ref().map_or(Duration::ZERO, |wanted| wanted.period.saturating_mul(PERIODS_OF_SILENCE).min(LONGEST))
    }

    /// Takes a report into account. `None`: it cannot be read.
    fn take(&self, host: &Host, message: &[u8]) -> Option<()> {
        let report = LoadReport::from_message(message)?;
        self.stats.inc(Lane::MAIN, stat::REPORTS_RECEIVED);
        if !host.state.reported().is_some_and(|reported| note(reported, &report, &self.config)) {
            self.stats.inc(Lane::MAIN, stat::REPORT_ERRORS);
        }
        Some(())
    }
}

/// What one host is asked.
struct Asked {
    client: Http2Client,
    head: HeaderMap,
    body: Vec<u8>,
    host: Arc<Host>,
    active: Rc<Active>,
}

impl Asked {
    async fn follow(self, follower: Weak<Follower>) {
        let rng = Rng::default();
        let mut backoff = Backoff::new(&DnsConfig { failure_refresh_rate: Some(WAITS), ..DnsConfig::default() });
        loop {
            let Some((connect_timeout, silence)) = follower.upgrade().map(|follower| (follower.connect_timeout, follower.silence())) else { return };
            let heard = Cell::new(Instant::now());
            let mut reports = Reports::default();
            let mut told = false;
            let wanted = |bytes: &[u8]| {
                heard.set(Instant::now());
                let taken = follower.upgrade().and_then(|follower| reports.read(bytes, |message| follower.take(&self.host, message)));
                told |= taken == Some(true);
                taken.is_some()
            };
            let stream = self.client.follow(connect_timeout, &self.head, &self.body, wanted);
            let answer = unless_silent(silence, &heard, stream).await;
            let end = answer.map_or(End::Broken, |answer| {
                let status = answer.trailers.get(Known::GrpcStatus).or_else(|| answer.head.get(Known::GrpcStatus));
                if status == Some(UNIMPLEMENTED) { End::Unimplemented } else { End::Broken }
            });
            let Some(held) = follower.upgrade() else { return };
            if end == End::Unimplemented {
                held.stats.inc(Lane::MAIN, stat::STREAM_TERMINATED);
                return self.active.end();
            }
            held.stats.inc(Lane::MAIN, stat::STREAM_FAILURES);
            drop(held);
            if told {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next(&rng)).await;
        }
    }
}

/// Waits for a stream's end, but not when nothing has been heard of it for this long.
async fn unless_silent<T>(limit: Duration, heard: &Cell<Instant>, stream: impl Future<Output = Option<T>>) -> Option<T> {
    let mut stream = std::pin::pin!(stream);
    loop {
        let until = heard.get() + limit;
        match tokio::time::timeout_at(until, &mut stream).await {
            Ok(end) => return end,
            Err(_) if heard.get() + limit <= Instant::now() => return None,
            Err(_) => {}
        }
    }
}

/// Messages out of a stream's bytes.
#[derive(Debug, Default)]
struct Reports {
    rest: Vec<u8>,
}

impl Reports {
    /// Reads what has come; answers whether there was a message. `None`: it is no stream of reports.
    fn read(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8]) -> Option<()>) -> Option<bool> {
        self.rest.extend_from_slice(bytes);
        let mut any = false;
        loop {
            let Some(([compressed, length @ ..], after)) = self.rest.split_first_chunk::<PREFIX_BYTES>() else { return Some(any) };
            let length = u32::from_be_bytes(*length) as usize;
            if *compressed != 0 || length > REPORT_BYTES {
                return None;
            }
            let Some(message) = after.get(..length) else { return Some(any) };
            take(message)?;
            any = true;
            self.rest.drain(..PREFIX_BYTES + length);
        }
    }
}

fn head(wanted: &OutOfBand, host: &Host) -> HeaderMap {
    let authority = match (wanted.authority.as_str(), &*host.hostname) {
        ("", "") => host.address.to_string(),
        ("", name) => name.to_owned(),
        (authority, _) => authority.to_owned(),
    };
    let mut map = HeaderMap::default();
    map.insert(Known::Method, b"POST");
    map.insert(Known::Path, b"/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics");
    map.insert(Known::Authority, authority);
    map.insert(Known::Scheme, b"http");
    map.insert(Known::Te, b"trailers");
    map.insert(Known::ContentType, b"application/grpc");
    map
}

/// `OrcaLoadReportRequest { report_interval }` with its prefix.
fn request(period: Duration) -> Vec<u8> {
    let mut interval = Vec::new();
    for (tag, number) in [(0x08, period.as_secs()), (0x10, period.subsec_nanos().into())] {
        if number > 0 {
            interval.push(tag);
            varint(&mut interval, number);
        }
    }
    // Two numbers of at most ten bytes each.
    let length = interval.len() as u8;
    [&[0, 0, 0, 0, length + 2, 0x0a, length][..], &interval].concat()
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_the_interval() {
        // As Envoy asks for 300 ms.
        assert_eq!(request(Duration::from_millis(300)), b"\0\0\0\0\x08\x0a\x06\x10\x80\xc6\x86\x8f\x01");
        assert_eq!(request(Duration::from_secs(10)), b"\0\0\0\0\x04\x0a\x02\x08\x0a");
    }

    #[test]
    fn messages_come_whole_in_pieces_or_not_at_all() {
        let mut seen = Vec::new();
        let mut reports = Reports::default();
        let mut read = |bytes: &[u8]| reports.read(bytes, |message| { seen.push(message.to_vec()); Some(()) });
        assert_eq!(read(b"\0\0\0\0\x02a"), Some(false));
        assert_eq!(read(b"b\0\0\0\0\0\0\0"), Some(true));
        assert_eq!(read(b"\0\0\x01c"), Some(true));
        assert_eq!(read(b"\x01\0\0\0\x01"), None);
        assert_eq!(seen, [&b"ab"[..], b"", b"c"]);
        assert_eq!(Reports::default().read(b"\0\x7f\0\0\0", |_| Some(())), None);
        assert_eq!(Reports::default().read(b"\0\0\0\0\x01x", |_| None), None);
    }
}
