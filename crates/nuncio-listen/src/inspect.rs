//! Listener filters that look at the first bytes of a connection, before its filter chain is chosen.
//!
//! What is read is kept and handed on: whoever serves the connection reads it first.

use crate::{
    config::{Inspectors, TlsLook},
    tls::{
        fingerprint::{self, ClientHello},
        hello::{self, Hello},
    },
};
use nuncio_core::{Fingerprints, Worker};
use nuncio_rt::{Buf, Deadline, Io, Time};
use nuncio_stats::{
    Lane, Scope, Store,
    tables::listener_filters::{
        ALPN_FOUND, ALPN_NOT_FOUND, BYTES_PROCESSED, CLIENT_HELLO_TOO_LARGE, HTTP_INSPECTOR, HTTP_NOT_FOUND,
        HTTP2_FOUND, HTTP10_FOUND, HTTP11_FOUND, SNI_FOUND, SNI_NOT_FOUND, TLS_FOUND, TLS_INSPECTOR, TLS_NOT_FOUND,
    },
};
use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A request line longer than this is no HTTP to us.
const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;

/// What every HTTP/2 connection begins with (`rfc9113#3.4`).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What was found out.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// It is TLS.
    pub(crate) tls: bool,
    /// The server name that the TLS greeting asks for.
    pub(crate) server_name: Option<Arc<str>>,
    /// Application protocols, from the TLS greeting or by the first line of HTTP.
    pub(crate) protocols: Vec<String>,
    /// Of the greeting, where they are wanted.
    pub(crate) fingerprints: Option<Rc<Fingerprints>>,
    /// The bytes read so far.
    pub(crate) first: Option<Buf>,
}

/// Why nothing was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// The client went away.
    Closed,
    /// The greeting is too long.
    TooLarge,
    /// It is no greeting, and nothing else is let in.
    Foreign,
    /// The PROXY protocol says that it goes no further.
    Refused,
}

/// The statistics of the inspectors, each for the whole process.
pub(crate) struct InspectorStats {
    tls: Option<Arc<Scope>>,
    http: Option<Arc<Scope>>,
}

impl InspectorStats {
    pub(crate) fn new(store: &Arc<Store>, inspectors: Inspectors) -> InspectorStats {
        InspectorStats {
            tls: inspectors.tls.then(|| store.scope("tls_inspector.", &TLS_INSPECTOR)),
            http: inspectors.http.then(|| store.scope("http_inspector.", &HTTP_INSPECTOR)),
        }
    }

    fn count(&self, lane: Lane, bytes: &[u8], seen: &Seen) {
        if let Some(tls) = &self.tls {
            tls.record(lane, BYTES_PROCESSED, bytes.len() as u64);
            tls.inc(lane, if seen.tls { TLS_FOUND } else { TLS_NOT_FOUND });
            if seen.tls {
                tls.inc(lane, if seen.server_name.is_some() { SNI_FOUND } else { SNI_NOT_FOUND });
                tls.inc(lane, if seen.protocols.is_empty() { ALPN_NOT_FOUND } else { ALPN_FOUND });
            }
        }
        if let Some(http) = self.http.as_ref().filter(|_| !seen.tls) {
            let found = match seen.protocols.first().map(String::as_str) {
                Some("http/1.0") => HTTP10_FOUND,
                Some("http/1.1") => HTTP11_FOUND,
                Some(_) => HTTP2_FOUND,
                None => HTTP_NOT_FOUND,
            };
            http.inc(lane, found);
        }
    }
}

/// What the first bytes say to the inspectors; `None` if there must be more of them. Each has its own limit.
fn judge(inspectors: Inspectors, bytes: &[u8]) -> Option<Seen> {
    if inspectors.tls {
        let bytes = greeting(inspectors, bytes);
        match hello::parse(bytes) {
            Hello::Complete(greeting) if greeting.well_formed => {
                return Some(Seen {
                    tls: true,
                    server_name: greeting.server_name.map(Arc::from),
                    protocols: greeting.protocols,
                    fingerprints: fingerprints(inspectors, bytes),
                    first: None,
                });
            }
            Hello::Partial => return None,
            Hello::Complete(_) | Hello::Foreign => {}
        }
    }
    let protocols = match inspectors.http.then(|| http_version(bytes)) {
        None => Vec::new(),
        Some(Line::Partial) => return None,
        Some(Line::Foreign) => Vec::new(),
        Some(Line::Http(protocol)) => vec![protocol.to_owned()],
    };
    Some(Seen { protocols, ..Seen::default() })
}

/// As much as `tls_inspector` looks at.
fn greeting(inspectors: Inspectors, bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(inspectors.greeting_bytes_max)]
}

fn fingerprints(inspectors: Inspectors, bytes: &[u8]) -> Option<Rc<Fingerprints>> {
    let TlsLook { ja3, ja4, .. } = inspectors.options;
    let hello = (ja3 || ja4).then(|| fingerprint::read(bytes))??;
    let made = |wanted: bool, make: fn(&ClientHello) -> String| if wanted { make(&hello) } else { String::new() };
    Some(Rc::new(Fingerprints { ja3: made(ja3, ClientHello::ja3), ja4: made(ja4, ClientHello::ja4) }))
}

/// What a first line is.
enum Line {
    Partial,
    Http(&'static str),
    Foreign,
}

/// The application protocol by the first line, as Envoy's inspector names it.
fn http_version(bytes: &[u8]) -> Line {
    let common = bytes.len().min(HTTP2_PREFACE.len());
    if bytes[..common] == HTTP2_PREFACE[..common] {
        return if common == HTTP2_PREFACE.len() { Line::Http("h2c") } else { Line::Partial };
    }
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
        let printable = bytes.iter().all(|b| *b == b'\r' || (0x20..0x7f).contains(b) || *b >= 0x80);
        return if printable && bytes.len() <= REQUEST_LINE_BYTES_MAX { Line::Partial } else { Line::Foreign };
    };
    let mut words = bytes[..end].trim_ascii_end().split(|b| *b == b' ');
    let (method, target, version, rest) = (words.next(), words.next(), words.next(), words.next());
    if method.is_none_or(<[u8]>::is_empty) || target.is_none_or(<[u8]>::is_empty) || rest.is_some() {
        return Line::Foreign;
    }
    match version {
        Some(b"HTTP/1.1") => Line::Http("http/1.1"),
        Some(b"HTTP/1.0") => Line::Http("http/1.0"),
        _ => Line::Foreign,
    }
}

/// Looks at the first bytes of a connection, of which some may have been read. At the deadline it gives up: what was seen by then is nothing but the bytes,
/// and the second value says so.
///
/// # Errors
/// [`Unseen`], and then the connection is to be closed.
pub(crate) async fn inspect(
    io: &mut Io,
    inspectors: Inspectors,
    stats: &InspectorStats,
    worker: &Worker,
    first: Option<Buf>,
    deadline: &mut Deadline,
) -> Result<(Seen, bool), Unseen> {
    let mut bytes = first.unwrap_or_else(|| worker.bufs.get());
    let looked = poll_fn(|cx| match poll_look(cx, io, inspectors, &mut bytes) {
        Poll::Ready(looked) => Poll::Ready(looked.map(Some)),
        Poll::Pending => deadline.poll(cx, Time::now()).map(|()| Ok(None)),
    })
    .await;
    match &looked {
        Ok(Some(seen)) => stats.count(worker.lane, bytes.filled(), seen),
        Err(Unseen::TooLarge) => {
            stats.tls.iter().for_each(|tls| tls.inc(worker.lane, CLIENT_HELLO_TOO_LARGE));
        }
        Err(Unseen::Foreign) => stats.tls.iter().for_each(|tls| tls.inc(worker.lane, TLS_NOT_FOUND)),
        Ok(None) | Err(Unseen::Closed | Unseen::Refused) => {}
    }
    let first = if bytes.is_empty() {
        worker.bufs.put(bytes);
        None
    } else {
        Some(bytes)
    };
    let seen = looked?;
    let timed_out = seen.is_none();
    Ok((Seen { first, ..seen.unwrap_or_default() }, timed_out))
}

fn poll_look(cx: &mut Context<'_>, io: &mut Io, inspectors: Inspectors, bytes: &mut Buf) -> Poll<Result<Seen, Unseen>> {
    loop {
        let over = bytes.len() >= inspectors.greeting_bytes_max;
        if over && inspectors.tls && hello::parse(greeting(inspectors, bytes.filled())) == Hello::Partial {
            return Poll::Ready(Err(Unseen::TooLarge));
        }
        if !bytes.is_empty()
            && let Some(seen) = judge(inspectors, bytes.filled())
        {
            let refused = inspectors.options.required && inspectors.tls && !seen.tls;
            return Poll::Ready(if refused { Err(Unseen::Foreign) } else { Ok(seen) });
        }
        match ready!(io.poll_read(cx, bytes)) {
            Ok(0) | Err(_) => return Poll::Ready(Err(Unseen::Closed)),
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Inspectors =
        Inspectors { tls: true, http: true, options: TlsLook { ja3: false, ja4: false, required: false }, greeting_bytes_max: 16 * 1024 };

    fn protocol(bytes: &[u8]) -> Option<String> {
        judge(BOTH, bytes).expect("enough bytes").protocols.first().cloned()
    }

    #[test]
    fn first_lines_tell_which_http_it_is() {
        assert_eq!(protocol(b"GET / HTTP/1.1\r\n").as_deref(), Some("http/1.1"));
        assert_eq!(protocol(b"GET /a HTTP/1.0\n").as_deref(), Some("http/1.0"));
        assert_eq!(protocol(HTTP2_PREFACE).as_deref(), Some("h2c"));
        assert_eq!(protocol(b"EHLO there\r\n"), None);
        assert_eq!(protocol(b"\x05\x01\x00"), None);
    }

    #[test]
    fn too_little_is_waited_for_and_cut_anywhere_it_says_the_same() {
        for whole in [&b"POST /x HTTP/1.1\r\n"[..], HTTP2_PREFACE] {
            for end in 1..whole.len() {
                assert!(judge(BOTH, &whole[..end]).is_none(), "cut at {end}");
            }
        }
        assert!(judge(BOTH, &[22, 3, 1, 0]).is_none());
    }

    #[test]
    fn a_request_line_may_be_longer_than_a_greeting() {
        let short = Inspectors { greeting_bytes_max: 256, ..BOTH };
        let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(1000));
        assert!(judge(short, &line.as_bytes()[..500]).is_none());
        assert_eq!(judge(short, line.as_bytes()).map(|seen| seen.protocols), Some(vec!["http/1.1".to_owned()]));
        let endless = [b'a'; REQUEST_LINE_BYTES_MAX + 1];
        assert!(judge(short, &endless).is_some_and(|seen| seen.protocols.is_empty()), "no line is longer than this");
    }
}
