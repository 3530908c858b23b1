//! The request's side of a stream: heads, chunks and trailers into the queue, the queue into the socket.

use super::{Http1Stream, header_lines};
use crate::conn::HeadOptions;
use crate::reset::{Reset, ResetReason};
use nuncio_codec::headers::HeaderMap;
use nuncio_codec::http1::{
    CHUNK_SUFFIX, Encoding, RequestEncoding, ResponseContext, chunk_end, chunk_prefix, connection, encode_request_head,
    encode_trailers,
};
use nuncio_codec::method::Method;
use nuncio_rt::Buf;
use nuncio_stats::tables::cluster as stat;
use std::task::{Context, Poll, ready};

impl Http1Stream {
    pub(in crate::conn) fn send_head(&mut self, head: &HeaderMap, options: HeadOptions) -> Result<(), Reset> {
        let Some(conn) = self.conn.as_mut() else { return Ok(()) };
        let cluster = self.host.cluster();
        let method = head.method_kind();
        conn.decoder.begin(ResponseContext {
            to_head: method == Method::Head,
            to_connect: method.is_connect(),
            to_upgrade: connection::is_upgrade(head),
        });
        let how = RequestEncoding {
            end_stream: options.end,
            case: cluster.info.config.http.header_case,
            full_url: cluster.info.config.http.send_fully_qualified_url,
        };
        let mut scratch = cluster.scratch.borrow_mut();
        scratch.clear();
        match encode_request_head(head, how, &mut scratch) {
            Ok(encoding) => {
                self.bytes.sent += scratch.len() as u64;
                self.bytes.headers_sent = header_lines(&scratch);
                conn.out.copy(&scratch);
                self.encoding = encoding;
                self.request_sent = options.end;
                Ok(())
            }
            Err(_) => {
                conn.spent = true;
                Err(Reset { details: "missing_required_request_headers", ..Reset::new(ResetReason::LocalReset) })
            }
        }
    }

    #[inline]
    pub(in crate::conn) fn send_data(&mut self, data: Buf, end: bool) {
        let Some(conn) = self.conn.as_mut() else { return };
        let cluster = self.host.cluster();
        self.request_sent |= end;
        match self.encoding {
            Encoding::Chunked => {
                let mut scratch = cluster.scratch.borrow_mut();
                if !data.is_empty() {
                    scratch.clear();
                    chunk_prefix(data.len(), &mut scratch);
                    self.bytes.sent += (scratch.len() + data.len() + CHUNK_SUFFIX.len()) as u64;
                    conn.out.copy(&scratch);
                    conn.out.push(data);
                    conn.out.copy(CHUNK_SUFFIX);
                } else {
                    cluster.worker.bufs.put(data);
                }
                if end {
                    scratch.clear();
                    chunk_end(&mut scratch);
                    self.bytes.sent += scratch.len() as u64;
                    conn.out.copy(&scratch);
                }
            }
            Encoding::Raw | Encoding::UntilClose => {
                self.bytes.sent += data.len() as u64;
                conn.out.push(data);
                self.closing_write |= end && self.tunnel;
            }
            Encoding::None => cluster.worker.bufs.put(data),
        }
    }

    pub(in crate::conn) fn send_trailers(&mut self, trailers: &HeaderMap) {
        let Some(conn) = self.conn.as_mut() else { return };
        let cluster = self.host.cluster();
        self.request_sent = true;
        if self.encoding == Encoding::Chunked {
            let options = &cluster.info.config.http;
            let mut scratch = cluster.scratch.borrow_mut();
            scratch.clear();
            match options.enable_trailers {
                true => encode_trailers(trailers, options.header_case, &mut scratch),
                false => chunk_end(&mut scratch),
            }
            self.bytes.sent += scratch.len() as u64;
            conn.out.copy(&scratch);
        }
    }

    #[inline]
    pub(in crate::conn) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reset>> {
        let Some(conn) = self.conn.as_mut() else { return Poll::Ready(Ok(())) };
        let mut written = 0;
        let flushed = conn.out.poll_flush(cx, &mut conn.io, &mut written);
        if written > 0 {
            self.host.cluster().add(stat::UPSTREAM_CX_TX_BYTES_TOTAL, written);
        }
        match flushed {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => {
                // The peer takes no more. It may have answered all the same.
                conn.out.clear();
                conn.spent = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) if self.closing_write => {
                let _ = ready!(conn.io.poll_shutdown(cx));
                self.closing_write = false;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
        }
    }

    #[inline]
    pub(in crate::conn) fn buffered(&self) -> usize {
        self.conn.as_ref().map_or(0, |conn| conn.out.len())
    }
}
