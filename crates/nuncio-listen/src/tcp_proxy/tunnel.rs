//! Tunnels: a client's bytes as the body of a request to the next proxy, and the response's body back (`tunneling_config`).
//!
//! * [`Tunneling`]: CONNECT or POST, to whom, with which headers, and what is kept of the answer.
//! * `Tunnel`: a tunnel that stands. It begins with the answer's head: what does not say yes is a failed attempt to
//!   connect. Each way reads only while the other side keeps up.

use super::{
    relay::{End, Patience},
    session::Session,
};
use nuncio_codec::headers::{HeaderMap, HeaderName, Known, Trailers};
use nuncio_core::{
    Protocol, StateObject, StreamCx,
    format::Format,
    metadata::{MetadataValue, set_dynamic},
};
use nuncio_rt::{Buf, BufPool, Io};
use nuncio_upstream::{
    HeadOptions, PoolFailure, Reset, ResetReason, RoutingPriority, TransportOptions, UpPiece, UpstreamConn, WorkerHost,
};
use std::{
    fmt,
    future::poll_fn,
    io::IoSlice,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

/// Where the head of the answer is kept, for filters and logs.
const RESPONSE_HEADERS: &str = "envoy.tcp_proxy.propagate_response_headers";
/// Where its trailers are.
const RESPONSE_TRAILERS: &str = "envoy.tcp_proxy.propagate_response_trailers";
/// Metadata of this filter.
const NAMESPACE: &str = "envoy.filters.network.tcp_proxy";

/// `TunnelingConfig`
#[derive(Debug)]
pub struct Tunneling {
    /// `hostname`: what the request asks for.
    pub hostname: Format,
    /// `use_post`, with `post_path`: the path of a POST request; `None` for CONNECT.
    pub post_path: Option<Box<str>>,
    /// `headers_to_add`.
    pub headers: Option<Arc<dyn TunnelHeaders>>,
    /// `propagate_response_headers`.
    pub keep_headers: bool,
    /// `propagate_response_trailers`.
    pub keep_trailers: bool,
    /// `request_id_extension`: requests have ids.
    pub request_id: Option<TunnelRequestId>,
}

/// What changes the head of the request.
pub trait TunnelHeaders: Send + Sync + fmt::Debug {
    /// Changes `cx.request`.
    fn apply(&self, cx: &mut StreamCx);
}

/// Where the id of a tunnel's request is told.
#[derive(Debug)]
pub struct TunnelRequestId {
    /// `request_id_header`.
    pub header: HeaderName,
    /// `request_id_metadata_key`: under this key of the filter's metadata.
    pub metadata_key: String,
}

impl Tunneling {
    /// The head of the request, made in the place of the exchange's and taken out again.
    fn head(&self, cx: &mut StreamCx, http2: bool, tls: bool) -> HeaderMap {
        let mut host = Vec::new();
        self.hostname.write(cx, &mut host);
        let before = std::mem::take(&mut cx.request);
        match &self.post_path {
            None => cx.request.insert(Known::Method, "CONNECT"),
            Some(path) => {
                cx.request.insert(Known::Method, "POST");
                cx.request.insert(Known::Path, path.as_bytes());
                if http2 {
                    cx.request.insert(Known::Scheme, if tls { "https" } else { "http" });
                }
            }
        }
        cx.request.insert(Known::Authority, &host);
        if let Some(TunnelRequestId { header, metadata_key }) = &self.request_id {
            let id = cx.worker.rng.uuid_text();
            cx.request.insert(header, id);
            let text = String::from_utf8_lossy(&id).into_owned();
            set_dynamic(&mut cx.metadata, NAMESPACE, metadata_key, MetadataValue::Text(text));
        }
        if let Some(headers) = &self.headers {
            headers.apply(cx);
        }
        std::mem::replace(&mut cx.request, before)
    }
}

/// Headers as JSON, in the shape of `core.v3.HeaderMap`.
fn as_json(headers: &HeaderMap) -> Vec<u8> {
    let mut out = b"{\"headers\":[".to_vec();
    for (index, header) in headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        for (field, text) in [(&b"{\"key\":"[..], header.name), (b",\"value\":", header.value)] {
            out.extend_from_slice(field);
            MetadataValue::Text(String::from_utf8_lossy(text).into_owned()).write_json(&mut out);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// A tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    conn: UpstreamConn,
    /// Bytes that have come from the client.
    pub(super) received: u64,
    /// Bytes that have gone to the client.
    pub(super) sent: u64,
    /// What the host has said and the client has not been told yet.
    down: Option<Buf>,
    trailers: Trailers,
    client_ended: bool,
    host_ended: bool,
    /// The client knows.
    told: bool,
    patience: Option<Patience>,
}

impl Session {
    /// A tunnel through `host`.
    pub(super) async fn open_tunnel(
        &mut self,
        tunneling: &Tunneling,
        host: &Rc<WorkerHost>,
        options: Option<TransportOptions>,
    ) -> Result<Tunnel, PoolFailure> {
        let mut acquire = match options {
            None => host.acquire(RoutingPriority::Default, Protocol::Http11),
            Some(options) => host.acquire_with(options, RoutingPriority::Default, Protocol::Http11),
        };
        let mut conn = poll_fn(|cx| acquire.poll(cx)).await?;
        let info = &mut self.stream.info.upstream;
        (info.local, info.connection_id, info.tls) = (conn.local_addr(), conn.connection_id(), conn.tls().cloned());
        let http2 = conn.protocol() == Some(Protocol::Http2);
        let head = tunneling.head(&mut self.stream, http2, conn.tls().is_some());
        let failed = |reset| PoolFailure { reset, host: Some(host.host.clone()) };
        conn.send_head(&head, HeadOptions { end: false }).map_err(failed)?;
        let (mut head, mut trailers) = (HeaderMap::new(), Trailers::default());
        let answer = poll_fn(|cx| {
            if let Poll::Ready(Err(reset)) = conn.poll_flush(cx) {
                return Poll::Ready(Err(reset));
            }
            loop {
                match std::task::ready!(conn.poll_piece(cx, &mut head, &mut trailers)) {
                    Ok(UpPiece::Informational { .. }) => {}
                    Ok(UpPiece::Head { status, end, .. }) => return Poll::Ready(Ok((status, end))),
                    // A message begins with its head.
                    Ok(UpPiece::Data(..) | UpPiece::Trailers) => {}
                    Err(reset) => return Poll::Ready(Err(reset)),
                }
            }
        });
        // However it fails, it is a connection that could not be had.
        let refused = |said| failed(Reset { transport_failure: said, ..Reset::new(ResetReason::RemoteConnectionFailure) });
        let (status, end) = answer.await.map_err(|reset| refused(reset.transport_failure))?;
        if tunneling.keep_headers {
            self.keep(RESPONSE_HEADERS, &head);
        }
        let fits = if http2 { status == 200 } else { (200..300).contains(&status) };
        if !fits || end {
            return Err(refused(format!("tunnel_response:{status}").into()));
        }
        let (down, patience) = (None, None);
        Ok(Tunnel { conn, received: 0, sent: 0, down, trailers, client_ended: false, host_ended: false, told: false, patience })
    }

    fn keep(&mut self, key: &str, headers: &HeaderMap) {
        self.stream.filter_state.set(StateObject { key: key.into(), value: as_json(headers), read_only: true, json: true, ..StateObject::default() });
    }

    /// Keeps the trailers of the answer, if there were any and they are wanted.
    pub(super) fn keep_trailers(&mut self, tunnel: &Tunnel) {
        if !tunnel.trailers.is_empty() && self.proxy.config.tunneling.as_ref().is_some_and(|tunneling| tunneling.keep_trailers) {
            self.keep(RESPONSE_TRAILERS, &tunnel.trailers);
        }
    }
}

impl Tunnel {
    /// Begins with what was read from the client already.
    pub(super) fn begin(&mut self, first: Option<Buf>, patience: Patience) {
        if let Some(first) = first {
            self.received = first.len() as u64;
            self.conn.send_data(first, false);
        }
        self.patience = Some(patience);
    }

    /// Whether nothing is in hand.
    pub(super) fn is_empty(&self) -> bool {
        self.down.is_none() && self.conn.buffered() == 0
    }

    /// Moves what can be moved; ready when both sides have ended, or one is gone.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, client: &mut Io, pool: &Rc<BufPool>) -> Poll<End> {
        let before = self.received + self.sent;
        if let Err(end) = self.poll_up(cx, client, pool).and_then(|()| self.poll_down(cx, client, pool)) {
            return Poll::Ready(end);
        }
        // On HTTP/1 the end of the client's side ends the connection, as nothing else would tell the host of it.
        let alone = self.conn.protocol() == Some(Protocol::Http11);
        if self.client_ended && (self.told || alone) && self.conn.buffered() == 0 {
            return Poll::Ready(End::Complete { by_host: false });
        }
        let Some(patience) = &mut self.patience else { return Poll::Pending };
        if self.received + self.sent != before {
            patience.moved();
        }
        patience.poll(cx)
    }

    /// From the client to the host.
    fn poll_up(&mut self, cx: &mut Context<'_>, client: &mut Io, pool: &Rc<BufPool>) -> Result<(), End> {
        loop {
            let flushed = self.conn.poll_flush(cx);
            if let Poll::Ready(Err(_)) = flushed {
                return Err(End::HostGone);
            }
            if self.client_ended || flushed.is_pending() {
                return Ok(());
            }
            let mut buf = pool.get();
            match client.poll_read(cx, &mut buf) {
                Poll::Pending => {
                    pool.put(buf);
                    return Ok(());
                }
                Poll::Ready(Err(_)) => {
                    pool.put(buf);
                    return Err(End::ClientGone);
                }
                Poll::Ready(Ok(read)) => {
                    self.received += read as u64;
                    self.client_ended = read == 0;
                    self.conn.send_data(buf, self.client_ended);
                }
            }
        }
    }

    /// From the host to the client.
    fn poll_down(&mut self, cx: &mut Context<'_>, client: &mut Io, pool: &Rc<BufPool>) -> Result<(), End> {
        loop {
            while let Some(buf) = &mut self.down {
                match client.poll_writev(cx, &[IoSlice::new(buf.filled())]) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Err(_) | Ok(0)) => return Err(End::ClientGone),
                    Poll::Ready(Ok(written)) => {
                        self.sent += written as u64;
                        buf.consume(written);
                    }
                }
                if let Some(empty) = self.down.take_if(|buf| buf.is_empty()) {
                    pool.put(empty);
                }
            }
            match client.poll_flush(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(End::ClientGone),
                Poll::Ready(Ok(())) => {}
            }
            if self.host_ended {
                if !self.told {
                    // A client that is gone already has no use for our goodbye.
                    self.told = client.poll_shutdown(cx).is_ready();
                }
                return Ok(());
            }
            let mut head = HeaderMap::new();
            match self.conn.poll_piece(cx, &mut head, &mut self.trailers) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(End::HostGone),
                Poll::Ready(Ok(UpPiece::Data(buf, end))) => {
                    self.host_ended = end;
                    if buf.is_empty() {
                        pool.put(buf);
                    } else {
                        self.down = Some(buf);
                    }
                }
                Poll::Ready(Ok(UpPiece::Trailers)) => self.host_ended = true,
                // There is one head.
                Poll::Ready(Ok(UpPiece::Informational { .. } | UpPiece::Head { .. })) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_kept_as_json() {
        let mut map = HeaderMap::new();
        assert_eq!(as_json(&map), b"{\"headers\":[]}");
        map.set_status(200);
        map.append("x-a", "say \"hi\"");
        assert_eq!(String::from_utf8_lossy(&as_json(&map)), r#"{"headers":[{"key":":status","value":"200"},{"key":"x-a","value":"say \"hi\""}]}"#);
    }
}
