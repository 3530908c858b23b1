//! A listener's TLS context on one worker: greets clients, and counts what came of it.

use super::{
    failure::{self, HandshakeError},
    hello::{self, Greeting, Hello},
    live::Live,
    names,
    note::Note,
    server::TlsConfig,
    stats::TlsStats,
    stream::{Job, Session, Standing, TlsStream},
    verify::Verified,
    x509,
};
use nuncio_core::{Certificate, TlsFacts, Worker};
use nuncio_rt::{Buf, Deadline, Io, Time};
use nuncio_stats::{
    Lane, Scope, Store,
    tables::tls::{DOWNSTREAM_CONTEXT_SECRETS_NOT_READY, SOCKET_FACTORY},
};
use rustls::{CommonState, server::UnbufferedServerConnection};
use std::{
    fmt,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// The TLS side of a filter chain on one worker.
#[derive(Debug)]
pub struct ServerContext {
    config: Arc<Live<TlsConfig>>,
    stats: TlsStats,
    factory: Arc<Scope>,
    lane: Lane,
}

/// A connection that was greeted.
pub struct Greeted {
    /// Plain bytes both ways.
    pub io: Io,
    /// What was agreed.
    pub facts: TlsFacts,
}

impl fmt::Debug for Greeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Greeted({:?})", self.facts)
    }
}

/// A greeting that came to nothing.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: HandshakeError,
    /// `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`; empty for nothing to say.
    pub reason: String,
}

impl ServerContext {
    /// A context that counts under `prefix`, which ends in a dot.
    pub fn new(config: &Arc<Live<TlsConfig>>, store: &Arc<Store>, prefix: &str, lane: Lane) -> Rc<ServerContext> {
        let factory = store.scope(&format!("{prefix}server_ssl_socket_factory."), &SOCKET_FACTORY);
        Rc::new(ServerContext { config: config.clone(), stats: TlsStats::new(store, prefix, lane), factory, lane })
    }

    /// Greets a client, of whose records the first may have been read already.
    ///
    /// # Errors
    /// [`Refused`], and then the connection is to be closed.
    pub async fn accept(&self, mut io: Io, mut first: Option<Buf>, worker: &Worker, timeout: Option<Duration>) -> Result<Greeted, Refused> {
        let Some(current) = self.config.get() else {
            self.factory.inc(self.lane, DOWNSTREAM_CONTEXT_SECRETS_NOT_READY);
            return Err(Refused { error: HandshakeError::Closed(None), reason: failure::NO_SECRET.to_owned() });
        };
        let mut deadline = Deadline::new(worker.timers.clone());
        deadline.set(timeout.map(|timeout| Time::now() + timeout));
        let mut hello = Hello::Partial;
        let mut stream: Option<Box<TlsStream<UnbufferedServerConnection>>> = None;
        let mut done = poll_fn(|cx| match poll_hello(cx, &mut io, &mut first, &mut hello, worker) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => deadline.poll(cx, Time::now()).map(|()| Err(HandshakeError::TimedOut)),
        })
        .await;
        let foreign = hello == Hello::Foreign;
        let hello = match hello {
            Hello::Complete(greeting) => greeting,
            Hello::Partial | Hello::Foreign => Greeting::default(),
        };
        let server_name: Option<Arc<str>> = hello.server_name.as_deref().map(Arc::from);
        // Whoever speaks plain HTTP here is told apart in the log.
        let foreign = first.as_ref().filter(|_| foreign).and_then(|first| failure::foreign(first.filled()));
        if foreign.is_some() {
            // BoringSSL has no word for them either.
            done = done.and(Err(HandshakeError::Tls(rustls::Error::HandshakeNotComplete)));
        }
        let done = match done.and_then(|()| {
            let config = current.for_client(&hello);
            let session = UnbufferedServerConnection::new(config).map_err(HandshakeError::Tls)?;
            Ok(stream.insert(Box::new(TlsStream::new(io, first.take(), session, worker.bufs.clone()))))
        }) {
            Err(error) => Err(error),
            Ok(stream) => {
                poll_fn(|cx| match poll_greet(stream, cx) {
                    Poll::Ready(done) => Poll::Ready(done),
                    Poll::Pending => deadline.poll(cx, Time::now()).map(|()| Err(HandshakeError::TimedOut)),
                })
                .await
            }
        };
        match (done, stream) {
            (Ok(()), Some(stream)) => {
                self.stats.stapled(&stream.note, hello.asks_status);
                self.stats.greeted(stream.session.common(), &stream.note);
                let local = || current.certificates.all.first().and_then(|certificate| certificate.shown.clone());
                let facts = facts(stream.session.common(), &stream.note, server_name, local, current.validates);
                Ok(Greeted { io: Io::Layered(stream), facts })
            }
            (done, stream) => {
                let error = done.err().unwrap_or(HandshakeError::Closed(None));
                let mut note = stream.map_or_else(Note::default, |mut stream| std::mem::take(&mut stream.note));
                note.foreign = foreign;
                self.stats.stapled(&note, hello.asks_status);
                self.stats.failed(&error, &note);
                Err(Refused { reason: error.text(&note), error })
            }
        }
    }
}

/// What a handshake came to. `validates` says whether certificates of resumed sessions had been checked.
pub(crate) fn facts(
    session: &CommonState,
    note: &Note,
    server_name: Option<Arc<str>>,
    local: impl FnOnce() -> Option<Arc<Certificate>>,
    validates: bool,
) -> TlsFacts {
    let peer: Vec<_> =
        session.peer_certificates().unwrap_or_default().iter().filter_map(|der| x509::read(der)).map(Arc::new).collect();
    let validated = match note.verified {
        Some(verified) => verified == Verified::Yes,
        None => validates,
    };
    TlsFacts {
        version: session.protocol_version().map_or("", names::version),
        cipher: session.negotiated_cipher_suite().map_or("", |suite| names::cipher(suite.suite())),
        group: session.negotiated_key_exchange_group().map_or("", |group| names::group(group.name())),
        server_name,
        protocol: session.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into()),
        local: note.chosen.clone().or_else(local),
        validated: validated && !peer.is_empty(),
        peer,
    }
}

/// Greetings longer than this are left to rustls to refuse.
const HELLO_BYTES_MAX: usize = 64 * 1024;

/// Reads until the greeting is complete, or none.
fn poll_hello(
    cx: &mut Context<'_>,
    io: &mut Io,
    first: &mut Option<Buf>,
    hello: &mut Hello,
    worker: &Worker,
) -> Poll<Result<(), HandshakeError>> {
    loop {
        if let Some(received) = first {
            *hello = hello::parse(received.filled());
            if *hello != Hello::Partial || received.len() >= HELLO_BYTES_MAX {
                return Poll::Ready(Ok(()));
            }
        }
        let mut buf = first.take().unwrap_or_else(|| worker.bufs.get());
        if buf.room() == 0 {
            let larger = buf.enlarged(buf.capacity() * 2);
            worker.bufs.put(std::mem::replace(&mut buf, larger));
        }
        let read = io.poll_read(cx, &mut buf);
        if buf.is_empty() {
            worker.bufs.put(buf);
        } else {
            *first = Some(buf);
        }
        if ready!(read)? == 0 {
            return Poll::Ready(Err(HandshakeError::Closed(None)));
        }
    }
}

/// Drives the handshake to its end; an alert for the peer is sent as far as it can be at once.
pub(crate) fn poll_greet<S: Session>(stream: &mut TlsStream<S>, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
    loop {
        let standing = match stream.step(&mut Job::Handshake) {
            Ok(standing) => standing,
            Err(error) => {
                let _ = stream.poll_send(cx);
                return Poll::Ready(Err(HandshakeError::Tls(error)));
            }
        };
        ready!(stream.poll_send(cx))?;
        if standing == Standing::Done {
            return Poll::Ready(Ok(()));
        }
        if !ready!(stream.poll_receive(cx))? {
            return Poll::Ready(Err(HandshakeError::Closed(None)));
        }
    }
}
