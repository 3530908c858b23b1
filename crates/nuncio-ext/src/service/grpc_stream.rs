//! Calls of gRPC methods that stream: messages there and back, as long as both sides like.
//!
//! A stream belongs to the task that polls it. Whoever sends polls it afterwards, and minds [`GrpcStream::waiting`] where
//! more may be sent than the service takes. Dropping it cancels the call; calling again is the owner's affair.

use super::grpc::{GrpcFailure, PREFIX, failure, framed, outcome, status};
use nuncio_codec::headers::HeaderMap;
use nuncio_core::{ClientStream, MAX_RESPONSE_BYTES, StreamPiece};
use prost::Message;
use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    task::{Context, Poll},
};

/// A call under way, answered with messages of type `A`.
pub struct GrpcStream<A> {
    stream: Box<dyn ClientStream>,
    /// What has come and is no complete message yet.
    input: Vec<u8>,
    /// Bytes of `input` that have been taken.
    taken: usize,
    head: HeaderMap,
    /// How it ended, once it has.
    ended: Option<Result<(), GrpcFailure>>,
    max_message_bytes: usize,
    messages: PhantomData<fn() -> A>,
}

impl<A> fmt::Debug for GrpcStream<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrpcStream({} bytes to send, ended {:?})", self.stream.waiting(), self.ended)
    }
}

impl<A: Message + Default> GrpcStream<A> {
    pub(super) fn new(stream: Box<dyn ClientStream>, max_message_bytes: usize) -> GrpcStream<A> {
        let max_message_bytes = if max_message_bytes == 0 { MAX_RESPONSE_BYTES } else { max_message_bytes };
        GrpcStream { stream, input: Vec::new(), taken: 0, head: HeaderMap::default(), ended: None, max_message_bytes, messages: PhantomData }
    }

    /// Sends a message. Does nothing once the call is over.
    pub fn send(&mut self, message: &impl Message) {
        if self.ended.is_none() {
            self.stream.send(&framed(message), false);
        }
    }

    /// Says that no more messages follow; more may come.
    pub fn finish(&mut self) {
        if self.ended.is_none() {
            self.stream.send(&[], true);
        }
    }

    /// Bytes that the service has not taken yet.
    pub fn waiting(&self) -> usize {
        self.stream.waiting()
    }

    /// The answer's head, once it has come.
    pub fn head(&self) -> &HeaderMap {
        &self.head
    }

    /// Moves both directions, and hands out the next message; `None` when the service has ended the call well.
    pub fn poll_next(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<A, GrpcFailure>>> {
        loop {
            match self.message() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => {}
                Err(broken) => return Poll::Ready(self.end(Err(broken))),
            }
            if let Some(ended) = &self.ended {
                return Poll::Ready(ended.clone().err().map(Err));
            }
            let Poll::Ready(piece) = self.stream.poll_piece(task) else { return Poll::Pending };
            let ended = match piece {
                Err(failed) => Some(Err(failure(failed))),
                Ok(StreamPiece::Head { head, end }) => {
                    self.head = head;
                    self.headed(end)
                }
                Ok(StreamPiece::Data { bytes, end }) => {
                    self.input.extend_from_slice(bytes.filled());
                    end.then(|| Err(GrpcFailure::new(status::UNKNOWN, "")))
                }
                Ok(StreamPiece::Trailers(trailers)) => Some(as_result(outcome(&self.head, &trailers))),
                Ok(StreamPiece::Local(answer)) => {
                    self.head = answer.head;
                    Some(as_result(outcome(&self.head, &answer.trailers)).map_err(|failed| GrpcFailure { details: answer.details, ..failed }))
                }
            };
            if ended.is_some() {
                self.ended = ended;
            }
        }
    }

    /// The next message, as [`GrpcStream::poll_next`] has it.
    pub async fn next(&mut self) -> Option<Result<A, GrpcFailure>> {
        poll_fn(|task| self.poll_next(task)).await
    }

    /// Whether the head says that it is over: nothing follows, or it is no answer of gRPC's.
    fn headed(&self, end: bool) -> Option<Result<(), GrpcFailure>> {
        if end {
            return Some(as_result(outcome(&self.head, &HeaderMap::EMPTY)));
        }
        let http = self.head.status().unwrap_or(0);
        (http != 200).then(|| Err(GrpcFailure::new(nuncio_core::grpc::status_of_http(http), "")))
    }

    fn end(&mut self, how: Result<(), GrpcFailure>) -> Option<Result<A, GrpcFailure>> {
        self.input.clear();
        self.taken = 0;
        self.ended = Some(how.clone());
        how.err().map(Err)
    }

    /// A complete message of what has come.
    fn message(&mut self) -> Result<Option<A>, GrpcFailure> {
        let rest = self.input.get(self.taken..).unwrap_or_default();
        let Some((prefix, body)) = rest.split_first_chunk::<PREFIX>() else {
            self.compact();
            return Ok(None);
        };
        let [flag, len @ ..] = *prefix;
        let len = u32::from_be_bytes(len) as usize;
        if flag != 0 {
            return Err(GrpcFailure::new(status::INTERNAL, ""));
        }
        if len > self.max_message_bytes {
            return Err(GrpcFailure::new(status::RESOURCE_EXHAUSTED, ""));
        }
        let Some(message) = body.get(..len) else {
            self.compact();
            return Ok(None);
        };
        let message = A::decode(message).map_err(|_| GrpcFailure::new(status::INTERNAL, ""))?;
        self.taken += PREFIX + len;
        Ok(Some(message))
    }

    fn compact(&mut self) {
        if self.taken > 0 {
            self.input.drain(..self.taken);
            self.taken = 0;
        }
    }
}

fn as_result((code, message): (u32, String)) -> Result<(), GrpcFailure> {
    if code == 0 { Ok(()) } else { Err(GrpcFailure::new(code, &message)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_codec::headers::Known;
    use nuncio_core::ClientFailure;
    use nuncio_rt::Buf;
    use std::collections::VecDeque;
    use std::task::Waker;

    /// A service that has said all it says.
    struct Said(VecDeque<Result<StreamPiece, ClientFailure>>);

    impl ClientStream for Said {
        fn send(&mut self, _: &[u8], _: bool) {}

        fn waiting(&self) -> usize {
            0
        }

        fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Result<StreamPiece, ClientFailure>> {
            self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
        }
    }

    fn head(http: u16, end: bool) -> Result<StreamPiece, ClientFailure> {
        let mut head = HeaderMap::default();
        head.set_status(http);
        Ok(StreamPiece::Head { head, end })
    }

    fn data(bytes: &[u8]) -> Result<StreamPiece, ClientFailure> {
        Ok(StreamPiece::Data { bytes: Buf::copy_of(bytes), end: false })
    }

    fn trailers(status: &str) -> Result<StreamPiece, ClientFailure> {
        let mut map = HeaderMap::default();
        map.insert(Known::GrpcStatus, status);
        Ok(StreamPiece::Trailers(map))
    }

    /// All that comes of it: messages, then how it ended, if it has.
    fn played(pieces: Vec<Result<StreamPiece, ClientFailure>>) -> (Vec<String>, Option<Result<(), u32>>) {
        let mut stream = GrpcStream::<String>::new(Box::new(Said(pieces.into())), 100);
        let mut task = Context::from_waker(Waker::noop());
        let mut messages = Vec::new();
        loop {
            match stream.poll_next(&mut task) {
                Poll::Pending => return (messages, None),
                Poll::Ready(None) => return (messages, Some(Ok(()))),
                Poll::Ready(Some(Ok(message))) => messages.push(message),
                Poll::Ready(Some(Err(failed))) => {
                    assert!(stream.poll_next(&mut task) == Poll::Ready(Some(Err(failed.clone()))), "it stays over");
                    return (messages, Some(Err(failed.status)));
                }
            }
        }
    }

    #[test]
    fn messages_come_however_they_are_cut() {
        let all = [framed(&"one".to_owned()), framed(&String::new()), framed(&"three".to_owned())].concat();
        let want = vec!["one".to_owned(), String::new(), "three".to_owned()];
        for size in 1..=all.len() {
            let mut pieces = vec![head(200, false)];
            pieces.extend(all.chunks(size).map(data));
            assert_eq!(played(pieces), (want.clone(), None), "cut at {size}");
        }
        assert_eq!(played(vec![head(200, false), data(&all), trailers("0")]), (want.clone(), Some(Ok(()))));
        assert_eq!(played(vec![head(200, false), data(&all), trailers("9")]), (want, Some(Err(9))));
    }

    #[test]
    fn a_call_that_goes_wrong_says_how() {
        let ended = |pieces| played(pieces).1;
        assert_eq!(ended(vec![head(200, false)]), None);
        assert_eq!(ended(vec![head(503, false)]), Some(Err(status::UNAVAILABLE)));
        assert_eq!(ended(vec![head(200, true)]), Some(Err(status::UNKNOWN)), "no status");
        assert_eq!(ended(vec![head(200, false), Err(ClientFailure::Reset)]), Some(Err(status::INTERNAL)));
        assert_eq!(ended(vec![head(200, false), data(b"\x01\0\0\0\0")]), Some(Err(status::INTERNAL)), "compressed");
        assert_eq!(ended(vec![head(200, false), data(b"\0\0\0\0\x65")]), Some(Err(status::RESOURCE_EXHAUSTED)));
    }
}
