//! A byte stream over TLS: records in, plain bytes out, and back.
//!
//! Drives rustls over [`Io`] with the worker's pooled buffers: one read of up to 32 KiB from the socket whatever the
//! size of records, records decrypted where they lie, several records to one write. Buffers are held only while bytes
//! are in hand, so an idle connection holds none.

use nuncio_rt::{Buf, BufPool, ByteStream, Io, OutQueue};
use super::note::{self, Note};
use rustls::{
    CommonState,
    client::{ClientConnectionData, UnbufferedClientConnection},
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{
        ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus, WriteTraffic,
    },
};
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, ready},
};

/// Plain bytes of one record at most (`rfc8446#5.1`).
const RECORD_BYTES: usize = 16 * 1024;

/// Encrypted bytes that may wait for the socket before writing stops taking more.
const BACKLOG_BYTES: usize = 64 * 1024;

/// Handshake messages beyond this end the connection: certificates of clients included.
const INCOMING_BYTES_MAX: usize = 256 * 1024;

/// Less room than this is not worth a system call.
const READ_BYTES_MIN: usize = 4096;

/// One side of a TLS connection as rustls has it.
pub(crate) trait Session {
    type Data;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn common(&self) -> &CommonState;
}

impl Session for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(records)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl Session for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(records)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

/// One side of a TLS connection.
pub(crate) struct TlsStream<S> {
    io: Io,
    pub(super) session: S,
    /// What was found out about the peer.
    pub(super) note: Note,
    pool: Rc<BufPool>,
    /// Records as received; `None` while there are none.
    incoming: Option<Buf>,
    /// Decrypted bytes that nobody has read yet.
    plain: VecDeque<Buf>,
    outgoing: OutQueue,
    /// The peer has said that it sends no more, by close_notify or by closing.
    ended: bool,
    said_goodbye: bool,
    /// What ended the session; it is not asked again.
    failed: Option<rustls::Error>,
}

/// What the session is driven for.
pub(super) enum Job<'a> {
    /// To greet.
    Handshake,
    /// To decrypt into this, which holds so many bytes already; the rest is kept in `plain`.
    Read(&'a mut [u8], usize),
    /// To encrypt this, at most one record of it.
    Write(&'a [u8]),
    /// To say that nothing more comes.
    Goodbye,
}

/// Where the session stands when it cannot go on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The handshake needs records from the peer.
    Waiting,
    /// Plain bytes were decrypted; there may be more.
    Decrypted,
    /// The job is done as far as it can be without the peer.
    Done,
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: Session> TlsStream<S> {
    pub(super) fn new(io: Io, first: Option<Buf>, session: S, pool: Rc<BufPool>) -> TlsStream<S> {
        TlsStream {
            io,
            note: Note::default(),
            session,
            outgoing: OutQueue::new(pool.clone()),
            pool,
            incoming: first,
            plain: VecDeque::new(),
            ended: false,
            said_goodbye: false,
            failed: None,
        }
    }

    /// Lets the session work on what was received and on the job. What is to be sent waits in `outgoing`.
    ///
    /// # Errors
    /// A break of the protocol; the alert for the peer waits in `outgoing` then.
    pub(super) fn step(&mut self, job: &mut Job<'_>) -> Result<Standing, rustls::Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let stepped = self.step_on(job);
        if self.session.common().is_handshaking() || stepped.is_err() || matches!(job, Job::Handshake) {
            note::collect(&mut self.note);
        }
        self.failed = stepped.as_ref().err().cloned();
        stepped
    }

    fn step_on(&mut self, job: &mut Job<'_>) -> Result<Standing, rustls::Error> {
        loop {
            let records = self.incoming.as_mut().map_or(&mut [][..], Buf::filled_mut);
            let UnbufferedStatus { mut discard, state } = self.session.process(records);
            let mut standing = None;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        let rest = job.deliver(record.payload);
                        keep(&mut self.plain, &self.pool, rest);
                    }
                    standing = matches!(job, Job::Read(..)).then_some(Standing::Decrypted);
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &self.pool, &mut self.outgoing)?,
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::Closed) => {
                    self.ended = true;
                    standing = Some(Standing::Done);
                }
                Ok(ConnectionState::BlockedHandshake) => standing = Some(Standing::Waiting),
                Ok(ConnectionState::WriteTraffic(mut writer)) => {
                    job.write(&mut writer, &self.pool, &mut self.outgoing)?;
                    standing = Some(Standing::Done);
                }
                // Early data is not accepted, so the session never has any.
                Ok(_) => return Err(rustls::Error::General("unexpected state of the TLS session".into())),
                Err(error) => {
                    self.encode_alert();
                    return Err(error);
                }
            }
            self.discard(discard);
            if let Some(standing) = standing {
                return Ok(standing);
            }
        }
    }

    /// Puts the alert that tells the peer of an error behind what waits to be sent.
    fn encode_alert(&mut self) {
        // No step more than there is to send: the session would look at the bad records again. It remembers where
        // messages lie in them, so they must be there as before.
        while self.session.common().wants_write() {
            let records = self.incoming.as_mut().map_or(&mut [][..], Buf::filled_mut);
            let Ok(ConnectionState::EncodeTlsData(mut data)) = self.session.process(records).state else {
                return;
            };
            if encode(&mut data, &self.pool, &mut self.outgoing).is_err() {
                return;
            }
        }
    }

    /// Forgets processed records, and the buffer once it is empty.
    fn discard(&mut self, n: usize) {
        if let Some(mut incoming) = self.incoming.take() {
            incoming.consume(n);
            if incoming.is_empty() {
                self.pool.put(incoming);
            } else {
                self.incoming = Some(incoming);
            }
        }
    }

    /// Reads records from the socket; false at the end of the stream.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut incoming = self.incoming.take().unwrap_or_else(|| self.pool.get());
        if incoming.room() < READ_BYTES_MIN {
            incoming.compact();
        }
        if incoming.room() < READ_BYTES_MIN {
            if incoming.capacity() >= INCOMING_BYTES_MAX {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "TLS handshake message too large")));
            }
            let larger = incoming.enlarged(incoming.capacity() * 2);
            self.pool.put(std::mem::replace(&mut incoming, larger));
        }
        let read = self.io.poll_read(cx, &mut incoming);
        if incoming.is_empty() {
            self.pool.put(incoming);
        } else {
            self.incoming = Some(incoming);
        }
        read.map_ok(|n| n > 0)
    }

    /// Sends what waits to be sent.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        self.outgoing.poll_flush(cx, &mut self.io, &mut written)
    }

    /// Moves kept plain bytes into `into`.
    fn take_plain(&mut self, into: &mut [u8]) -> usize {
        let mut taken = 0;
        while let Some(front) = self.plain.front_mut() {
            let n = front.len().min(into.len() - taken);
            into[taken..taken + n].copy_from_slice(&front.filled()[..n]);
            front.consume(n);
            taken += n;
            if !front.is_empty() {
                break;
            }
            if let Some(empty) = self.plain.pop_front() {
                self.pool.put(empty);
            }
        }
        taken
    }

    /// Decrypts what was received into `into`, as much as fits; a break of the protocol is told to the peer.
    fn decrypt(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> io::Result<usize> {
        let mut job = Job::Read(into, 0);
        while self.incoming.is_some() && self.plain.is_empty() && !self.ended {
            match self.step(&mut job) {
                Ok(Standing::Decrypted) => {}
                Ok(_) => break,
                Err(error) => {
                    let _ = self.poll_send(cx);
                    return Err(broken(error));
                }
            }
        }
        if !self.outgoing.is_empty() && let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Err(error);
        }
        match job {
            Job::Read(_, taken) => Ok(taken),
            _ => Ok(0),
        }
    }

    /// Encrypts one record's worth of the bytes that start at `offset` of the first slice.
    fn encrypt(&mut self, slices: &[IoSlice<'_>], offset: usize) -> io::Result<usize> {
        let first = slices.first().map_or(&[][..], |slice| &slice[offset..]);
        let others: usize = slices.iter().skip(1).map(|slice| slice.len()).sum();
        // A record costs more than copying a head behind which its body comes, if that saves one.
        let saves_a_record = (first.len() + others).div_ceil(RECORD_BYTES) <= others.div_ceil(RECORD_BYTES);
        if others == 0 || first.len() >= RECORD_BYTES || !saves_a_record {
            let record = &first[..first.len().min(RECORD_BYTES)];
            self.step(&mut Job::Write(record)).map_err(broken)?;
            return Ok(record.len());
        }
        let mut record = self.pool.get();
        for bytes in std::iter::once(first).chain(slices.iter().skip(1).map(|slice| &**slice)) {
            let room = RECORD_BYTES - record.len();
            record.append(&bytes[..bytes.len().min(room)]);
        }
        let written = self.step(&mut Job::Write(record.filled())).map_err(broken);
        let n = record.len();
        self.pool.put(record);
        written.map(|_| n)
    }
}

impl Job<'_> {
    /// Gives decrypted bytes to a reader; what is left over has to be kept.
    fn deliver<'p>(&mut self, payload: &'p [u8]) -> &'p [u8] {
        let Job::Read(into, taken) = self else { return payload };
        let n = payload.len().min(into.len() - *taken);
        into[*taken..*taken + n].copy_from_slice(&payload[..n]);
        *taken += n;
        &payload[n..]
    }

    fn write<D>(&mut self, writer: &mut WriteTraffic<'_, D>, pool: &BufPool, out: &mut OutQueue) -> Result<(), rustls::Error> {
        let mut block = pool.get();
        let n = match self {
            Job::Handshake | Job::Read(..) => Ok(0),
            Job::Write(bytes) => writer.encrypt(bytes, block.tail()),
            Job::Goodbye => writer.queue_close_notify(block.tail()),
        };
        block.grow(n.map_err(|error| match error {
            EncryptError::EncryptExhausted => rustls::Error::EncryptError,
            EncryptError::InsufficientSize(_) => rustls::Error::General("a TLS record did not fit its buffer".into()),
        })?);
        out.push(block);
        Ok(())
    }
}

/// Keeps plain bytes behind those that wait already.
fn keep(plain: &mut VecDeque<Buf>, pool: &BufPool, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        if plain.back().is_none_or(|block| block.room() == 0) {
            plain.push_back(pool.get());
        }
        if let Some(block) = plain.back_mut() {
            bytes = &bytes[block.append(bytes)..];
        }
    }
}

/// Puts a handshake message behind what waits to be sent.
fn encode<D>(data: &mut EncodeTlsData<'_, D>, pool: &BufPool, out: &mut OutQueue) -> Result<(), rustls::Error> {
    let mut block = pool.get();
    let encoded = match data.encode(block.tail()) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            block = Buf::with_capacity(required_size);
            data.encode(block.tail())
        }
        done => done,
    };
    block.grow(encoded.map_err(|error| rustls::Error::General(error.to_string()))?);
    out.push(block);
    Ok(())
}

impl<S: Session> ByteStream for TlsStream<S> {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An error shows again at the read that follows.
        if self.ended || !self.plain.is_empty() || self.decrypt(cx, &mut []).is_err() || !self.plain.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.io.poll_read_ready(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if !self.plain.is_empty() {
                return Poll::Ready(Ok(self.take_plain(into)));
            }
            let n = self.decrypt(cx, into)?;
            if n > 0 || self.ended || into.is_empty() {
                return Poll::Ready(Ok(n));
            }
            if !ready!(self.poll_receive(cx))? {
                self.ended = true;
            }
        }
    }

    fn poll_writev(&mut self, cx: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.outgoing.len() >= BACKLOG_BYTES {
            ready!(self.poll_send(cx))?;
        }
        let (mut slice, mut offset, mut taken) = (0, 0, 0);
        while self.outgoing.len() < BACKLOG_BYTES {
            while bytes.get(slice).is_some_and(|s| s.len() <= offset) {
                offset -= bytes[slice].len();
                slice += 1;
            }
            if slice >= bytes.len() {
                break;
            }
            let n = self.encrypt(&bytes[slice..], offset)?;
            taken += n;
            offset += n;
        }
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.said_goodbye, true) {
            // A session that is broken has told the peer so already.
            let _ = self.step(&mut Job::Goodbye);
        }
        ready!(self.poll_send(cx))?;
        self.io.poll_shutdown(cx)
    }
}

impl<S> Drop for TlsStream<S> {
    fn drop(&mut self) {
        for block in self.incoming.take().into_iter().chain(self.plain.drain(..)) {
            self.pool.put(block);
        }
    }
}
