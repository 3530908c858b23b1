//! `admin.access_log`: a request to the admin interface as access logs see exchanges.

use nuncio_admin::{Answered, Client};
use nuncio_codec::headers::Known;
use nuncio_codec::http1::Version;
use nuncio_core::format::LogMoment;
use nuncio_core::{AccessLogger, ConnInfo, Protocol, ResponseFlags, StreamCx, Worker};
use nuncio_rt::{Address, Time};
use std::{net::SocketAddr, path::PathBuf, rc::Rc, sync::Arc, time::Instant};

/// Writes one request to the loggers.
pub(super) fn write(loggers: &[Arc<dyn AccessLogger>], worker: &Rc<Worker>, client: &Client, answered: Answered) {
    let mut cx = StreamCx::new(worker.clone(), Rc::new(connection(client)));
    let Answered { request, response, violation, version, received, received_wire, sent, sent_wire, headers_sent } = answered;
    cx.request = request;
    if violation.is_none() {
        forwarded(&mut cx, client.remote);
    }
    let now = Time::now();
    let info = &mut cx.info;
    info.start = at(client.since, now);
    info.end = Some(now);
    info.protocol = match version {
        Version::Http10 => Protocol::Http10,
        Version::Http11 => Protocol::Http11,
    };
    info.status = response.status().unwrap_or(0);
    info.details = violation.map_or("admin_filter_response", |violation| violation.details()).into();
    if violation.is_some() {
        info.flags.set(ResponseFlags::DPE);
    }
    info.bytes_received = received;
    info.bytes_sent = sent;
    info.downstream.received = received_wire;
    info.downstream.sent = sent_wire;
    info.downstream.headers_sent = headers_sent;
    info.timings.request_received = Some(info.start);
    info.timings.response_first_tx = Some(now);
    info.timings.response_last_tx = Some(now);
    info.local_reply = true;
    info.moment = LogMoment::DownstreamEnd;
    cx.response = response;
    for logger in loggers {
        logger.log(&cx);
    }
}

/// What the connection manager in front of Envoy's admin interface adds to a request.
fn forwarded(cx: &mut StreamCx, remote: Option<SocketAddr>) {
    cx.request.insert(Known::XForwardedProto, "http");
    let Some(remote) = remote else { return };
    let ip = if remote.ip().is_loopback() { nuncio_http::address_of_this_host() } else { remote.ip() };
    let before = cx.request.get_str(&nuncio_codec::headers::HeaderName::from(Known::XForwardedFor)).unwrap_or_default();
    let all = if before.is_empty() { ip.to_string() } else { format!("{before},{ip}") };
    cx.request.insert(Known::XForwardedFor, all);
}

fn connection(client: &Client) -> ConnInfo {
    let address = |socket: Option<SocketAddr>| socket.map_or_else(|| Address::Pipe(PathBuf::new()), Address::Ip);
    ConnInfo {
        id: client.id,
        start: at(client.connected, Time::now()),
        direct_remote: address(client.remote),
        remote: address(client.remote),
        local: address(client.local),
        listener: "admin".into(),
        filter_chain: "".into(),
        server_name: None,
        tls: false,
        client_certificate: nuncio_core::ClientCertificate::default(),
        tls_facts: None,
        transport_failure: Default::default(),
        fingerprints: None,
        attached: Default::default(),
    }
}

/// A moment of the process's clock on the workers' clock.
fn at(moment: Instant, now: Time) -> Time {
    let ago = u64::try_from(moment.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Time::from_nanos(now.as_nanos().saturating_sub(ago))
}
