//! A TLS context on one worker: greets clients and counts what came of it.

use super::{
    config::TlsConfig,
    hello::{self, Hello},
    names,
    stream::{Job, Standing, TlsServer},
};
use crate::{config::Transport, stats::ListenerScopes};
use nuncio_core::{ClientCertificate, Worker};
use nuncio_rt::{Buf, Deadline, Io, Time};
use nuncio_stats::{
    CounterId, Lane, Scope, Store,
    tables::tls::{
        CONNECTION_ERROR, FAIL_VERIFY_ERROR, FAIL_VERIFY_NO_CERT, HANDSHAKE, HANDSHAKES, NEGOTIATED, NO_CERTIFICATE,
        SESSION_REUSED, TLS,
    },
};
use rustls::{HandshakeKind, server::UnbufferedServerConnection};
use std::{
    cell::RefCell,
    collections::HashMap,
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// The TLS side of a filter chain on one worker.
pub(crate) struct TlsContext {
    config: Arc<TlsConfig>,
    lane: Lane,
    scope: Arc<Scope>,
    store: Arc<Store>,
    /// Scopes of what handshakes ended with, by full name.
    negotiated: RefCell<HashMap<(&'static str, &'static str), Arc<Scope>>>,
}

/// A connection that was greeted.
pub(crate) struct Greeted {
    pub(crate) io: Io,
    /// The name the client asked for.
    pub(crate) server_name: Option<Arc<str>>,
    /// What it showed of itself.
    pub(crate) client_certificate: ClientCertificate,
}

/// Why a greeting came to nothing.
#[derive(Debug)]
pub(crate) enum GreetError {
    /// It took too long.
    TimedOut,
    /// The client broke the protocol, or has no certificate that we trust.
    Tls(rustls::Error),
    /// The client went away, or the socket failed.
    Closed,
}

impl From<io::Error> for GreetError {
    fn from(_: io::Error) -> Self {
        GreetError::Closed
    }
}

impl TlsContext {
    /// The context of a chain with this transport socket.
    pub(crate) fn of(transport: &Transport, scopes: &ListenerScopes, lane: Lane) -> Option<Rc<TlsContext>> {
        let Transport::Tls(config) = transport else { return None };
        let prefix = format!("{}ssl.", scopes.listener.prefix());
        Some(Rc::new(TlsContext {
            config: config.clone(),
            lane,
            scope: scopes.store.scope(&prefix, &TLS),
            store: scopes.store.clone(),
            negotiated: RefCell::default(),
        }))
    }

    /// Greets a client, of whose records the first may have been read already.
    pub(crate) async fn accept(
        &self,
        io: Io,
        first: Option<Buf>,
        worker: &Worker,
        timeout: Option<Duration>,
    ) -> Result<Greeted, GreetError> {
        let session = UnbufferedServerConnection::new(self.config.server.clone()).map_err(GreetError::Tls)?;
        let mut stream = Box::new(TlsServer::new(io, first, session, worker.bufs.clone()));
        let mut deadline = Deadline::new(worker.timers.clone());
        deadline.set(timeout.map(|timeout| Time::now() + timeout));
        let mut hello = Hello::Partial;
        let done = poll_fn(|cx| match poll_greet(&mut stream, &mut hello, cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => deadline.poll(cx, Time::now()).map(|()| Err(GreetError::TimedOut)),
        })
        .await;
        self.count(&stream.session, &done);
        done?;
        let server_name = match hello {
            Hello::Complete(greeting) => greeting.server_name.map(Arc::from),
            Hello::Partial | Hello::Foreign => None,
        };
        let presented = stream.session.peer_certificates().is_some_and(|certificates| !certificates.is_empty());
        // One that is not trusted ends the handshake.
        let client_certificate = ClientCertificate { presented, validated: presented };
        Ok(Greeted { io: Io::Layered(stream), server_name, client_certificate })
    }

    fn count(&self, session: &UnbufferedServerConnection, done: &Result<(), GreetError>) {
        let inc = |id: CounterId| self.scope.inc(self.lane, id);
        match done {
            Ok(()) => {
                inc(HANDSHAKE);
                if session.handshake_kind() == Some(HandshakeKind::Resumed) {
                    inc(SESSION_REUSED);
                }
                if session.peer_certificates().is_none_or(<[_]>::is_empty) {
                    inc(NO_CERTIFICATE);
                }
                self.count_negotiated(session);
            }
            Err(GreetError::Tls(rustls::Error::NoCertificatesPresented)) => inc(FAIL_VERIFY_NO_CERT),
            Err(GreetError::Tls(rustls::Error::InvalidCertificate(_))) => inc(FAIL_VERIFY_ERROR),
            Err(GreetError::Tls(_)) => inc(CONNECTION_ERROR),
            // Envoy counts these as errors of the connection only when TLS had something to say.
            Err(GreetError::Closed | GreetError::TimedOut) => {}
        }
    }

    fn count_negotiated(&self, session: &UnbufferedServerConnection) {
        let cipher = session.negotiated_cipher_suite().map(|suite| names::cipher(suite.suite()));
        let group = session.negotiated_key_exchange_group().map(|group| names::group(group.name()));
        let version = session.protocol_version().map(names::version);
        let mut negotiated = self.negotiated.borrow_mut();
        for (kind, name) in [("ciphers", cipher), ("curves", group), ("versions", version)] {
            let Some(name) = name else { continue };
            let scope = negotiated.entry((kind, name)).or_insert_with(|| {
                self.store.scope(&format!("{}{kind}.{name}", self.scope.prefix()), &NEGOTIATED)
            });
            scope.inc(self.lane, HANDSHAKES);
        }
    }
}

/// Drives the handshake to its end; an alert for the client is sent as far as it can be at once.
fn poll_greet(stream: &mut TlsServer, hello: &mut Hello, cx: &mut Context<'_>) -> Poll<Result<(), GreetError>> {
    loop {
        if *hello == Hello::Partial {
            *hello = hello::parse(stream.received());
        }
        let standing = match stream.step(&mut Job::Handshake) {
            Ok(standing) => standing,
            Err(error) => {
                let _ = stream.poll_send(cx);
                return Poll::Ready(Err(GreetError::Tls(error)));
            }
        };
        ready!(stream.poll_send(cx))?;
        if standing == Standing::Done {
            return Poll::Ready(Ok(()));
        }
        if !ready!(stream.poll_receive(cx))? {
            return Poll::Ready(Err(GreetError::Closed));
        }
    }
}
