//! The response's side of a stream: bytes from the socket into pieces, and what their end means.

use super::{Http1Stream, Phase, header_lines};
use crate::conn::UpPiece;
use crate::reset::{Reset, ResetReason};
use nuncio_codec::headers::{HeaderMap, Known, Trailers};
use nuncio_codec::http1::{BodyState, Eof, Framing, Version, connection};
use nuncio_rt::Buf;
use nuncio_stats::tables::{cluster as stat, http1 as codec_stat};
use std::task::{Context, Poll, ready};

impl Http1Stream {
    pub(in crate::conn) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut HeaderMap,
        trailers: &mut Trailers,
    ) -> Poll<Result<UpPiece, Reset>> {
        loop {
            let phase = self.phase;
            let decoded = match phase {
                Phase::Head => self.decode_head(head),
                Phase::Body => self.decode_body(),
                Phase::Trailers => self.decode_trailers(trailers),
                Phase::Done => return Poll::Pending,
            };
            match decoded {
                Ok(Some(piece)) => return Poll::Ready(Ok(piece)),
                Err(reset) => return Poll::Ready(Err(self.broken(reset))),
                // The body ended without bytes for the caller: the trailers may be here already.
                Ok(None) if self.phase != phase => continue,
                Ok(None) => {}
            }
            if !ready!(self.poll_read(cx))? {
                return Poll::Ready(self.ended());
            }
        }
    }

    fn decode_head(&mut self, head: &mut HeaderMap) -> Result<Option<UpPiece>, Reset> {
        let Some(conn) = self.conn.as_mut() else { return Ok(None) };
        let Some(input) = conn.input.as_mut().filter(|input| !input.is_empty()) else { return Ok(None) };
        let decoded = conn.decoder.decode_head(input.filled(), head);
        let Some(found) = decoded.map_err(|v| Reset::protocol_error(v.details()))? else { return Ok(None) };
        self.bytes.received += found.consumed as u64;
        let lines = header_lines(&input.filled()[..found.consumed]);
        // Envoy counts three bytes per received line beside name and value.
        self.bytes.headers_received += lines.saturating_sub(head.len().saturating_sub(1) as u64);
        input.consume(found.consumed);
        if found.dropped_headers > 0
            && let Some(codec) = self.host.cluster().info.codec_stats()
        {
            let lane = self.host.cluster().worker.lane;
            codec.add(lane, codec_stat::DROPPED_HEADERS_WITH_UNDERSCORES, u64::from(found.dropped_headers));
        }
        if found.is_interim() {
            return Ok(Some(UpPiece::Informational { status: found.status }));
        }
        if !found.keep_alive {
            conn.spent = true;
            if announces_close(head, found.version) {
                self.host.cluster().inc(stat::UPSTREAM_CX_CLOSE_NOTIFY);
            }
        }
        self.tunnel = found.framing == Framing::Tunnel;
        let end = found.end_stream();
        self.phase = if end { Phase::Done } else { Phase::Body };
        Ok(Some(UpPiece::Head { status: found.status, end, tunnel: self.tunnel }))
    }

    /// Hands on what is there of the body: the buffer that was read into, with the framing taken out.
    fn decode_body(&mut self) -> Result<Option<UpPiece>, Reset> {
        let Some(conn) = self.conn.as_mut() else { return Ok(None) };
        let Some(mut input) = conn.input.take_if(|input| !input.is_empty()) else { return Ok(None) };
        let body = conn.decoder.decode_body(input.filled_mut()).map_err(|v| Reset::protocol_error(v.details()))?;
        self.bytes.received += body.consumed as u64;
        if body.consumed < input.len() {
            let mut rest = self.host.cluster().worker.bufs.get();
            let left = &input.filled()[body.consumed..];
            if left.len() > rest.room() {
                rest = Buf::copy_of(left);
            } else {
                rest.append(left);
            }
            conn.input = Some(rest);
        }
        input.consume(body.payload.start);
        input.truncate(body.payload.len());
        let end = match body.state {
            BodyState::More => false,
            BodyState::Trailers => {
                self.phase = Phase::Trailers;
                false
            }
            BodyState::Done => {
                self.phase = Phase::Done;
                true
            }
        };
        if input.is_empty() && !end {
            self.host.cluster().worker.bufs.put(input);
            return Ok(None);
        }
        Ok(Some(UpPiece::Data(input, end)))
    }

    fn decode_trailers(&mut self, trailers: &mut Trailers) -> Result<Option<UpPiece>, Reset> {
        let Some(conn) = self.conn.as_mut() else { return Ok(None) };
        let Some(input) = conn.input.as_mut().filter(|input| !input.is_empty()) else { return Ok(None) };
        let decoded = conn.decoder.decode_trailers(input.filled(), trailers);
        let Some(consumed) = decoded.map_err(|v| Reset::protocol_error(v.details()))? else { return Ok(None) };
        input.consume(consumed);
        self.bytes.received += consumed as u64;
        if !trailers.is_empty() {
            // Counted as those of heads: three bytes a line besides name and value.
            self.bytes.headers_received += consumed.saturating_sub(trailers.len() + 2) as u64;
        }
        self.phase = Phase::Done;
        Ok(Some(match trailers.is_empty() {
            true => UpPiece::Data(Buf::with_capacity(0), true),
            false => UpPiece::Trailers,
        }))
    }

    /// Reads once, appending to what is there. `false`: the peer has closed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Reset>> {
        let Some(conn) = self.conn.as_mut() else { return Poll::Ready(Ok(false)) };
        let bufs = &self.host.cluster().worker.bufs;
        // Borrowing a buffer costs less than asking for readiness first; it goes back at once when there is nothing.
        match &mut conn.input {
            Some(input) if input.is_empty() => input.clear_for_reading(),
            Some(_) => {}
            None => conn.input = Some(bufs.get_for_reading()),
        }
        let Some(input) = conn.input.as_mut() else { return Poll::Pending };
        if input.room() == 0 {
            make_room(input, conn.decoder.rules().max_head_bytes);
        }
        match conn.io.poll_read(cx, input) {
            Poll::Pending => {
                if let Some(empty) = conn.input.take_if(|input| input.is_empty()) {
                    bufs.put(empty);
                }
                Poll::Pending
            }
            Poll::Ready(Ok(n)) => {
                self.host.cluster().add(stat::UPSTREAM_CX_RX_BYTES_TOTAL, n as u64);
                Poll::Ready(Ok(n > 0))
            }
            // A reset is a way of closing: what it does depends on how much of the response is here.
            Poll::Ready(Err(_)) => Poll::Ready(Ok(false)),
        }
    }

    /// The peer has closed: that may be how the body ends, or it cuts the response off.
    fn ended(&mut self) -> Result<UpPiece, Reset> {
        self.peer_closed = true;
        let Some(conn) = self.conn.as_mut() else { return Err(Reset::new(ResetReason::ConnectionTermination)) };
        conn.spent = true;
        if self.phase == Phase::Head && conn.input.as_ref().is_some_and(|input| !input.is_empty()) {
            return Err(self.broken(Reset::protocol_error("http1.truncated_response")));
        }
        match conn.decoder.eof() {
            // Nothing says where a tunnel ends: it breaks off.
            Eof::Completes if self.tunnel => Err(Reset::new(ResetReason::ConnectionTermination)),
            Eof::Completes => {
                self.phase = Phase::Done;
                Ok(UpPiece::Data(Buf::with_capacity(0), true))
            }
            Eof::Idle => Err(Reset::new(ResetReason::ConnectionTermination)),
            Eof::Truncated => Err(self.broken(Reset::protocol_error("http1.truncated_response"))),
        }
    }

    fn broken(&mut self, reset: Reset) -> Reset {
        if let Some(conn) = self.conn.as_mut() {
            conn.spent = true;
            self.bytes.received += conn.input.as_ref().map_or(0, |input| input.len() as u64);
        }
        if reset.reason == ResetReason::ProtocolError {
            self.host.cluster().inc(stat::UPSTREAM_CX_PROTOCOL_ERROR);
        }
        reset
    }
}

/// Whether the response says that the connection will close, rather than its framing implying it.
fn announces_close(head: &HeaderMap, version: Version) -> bool {
    let says = |token| head.get(Known::Connection).is_some_and(|value| connection::has_token(value, token));
    says("close") || (version == Version::Http10 && !says("keep-alive"))
}

/// A head that fills its buffer gets more room, up to the limit on heads, at which the decoder will complain.
fn make_room(input: &mut Buf, max_head_bytes: usize) {
    input.compact();
    if input.room() == 0 {
        let larger = (input.capacity() * 2).min(max_head_bytes + 1).max(input.len() + 1);
        *input = input.enlarged(larger);
    }
}
