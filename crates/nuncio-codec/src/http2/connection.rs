//! One connection's state, either role, and what it tells its owner.

use super::closed::Resets;
use super::error::{Counts, ErrorCode, Fault, Stat};
use super::flood::Inbound;
use super::frame::{self, MAX_31, MAX_FRAME_BYTES, setting};
use super::head::{Builder, Flaw};
use super::hpack::{Decoder, Encoder};
use super::options::Options;
use super::outbound::Outbound;
use super::receive::Reading;
use super::stream::{ReceiveWindow, SendWindow, Stream, Streams};
use crate::headers::HeaderMap;
use std::ops::Range;

/// What a client says first.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Window of a connection, and of streams until SETTINGS say otherwise, in bytes.
const DEFAULT_WINDOW: u32 = 65_535;

/// Which end we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Requests come in.
    Server,
    /// Requests go out.
    Client,
}

/// How a stream ended before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEnd {
    /// The peer reset it.
    Reset(ErrorCode),
    /// We reset it for what was wrong with a head or with trailers.
    Flawed(Flaw),
    /// We reset it because its body is not as long as `content-length` says.
    WrongLength,
    /// We reset it because the peer let us send more on it than a window can hold.
    WindowOverflow,
}

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A message's head: [`Connection::take_head`] has it. On a server this is a new stream.
    Head {
        /// The stream.
        stream: u32,
        /// Nothing follows.
        end: bool,
    },
    /// The head of a 1xx response: [`Connection::take_head`] has it.
    Informational {
        /// The stream.
        stream: u32,
    },
    /// Trailers, the end of a message: [`Connection::take_head`] has them.
    Trailers {
        /// The stream.
        stream: u32,
    },
    /// Body. [`Connection::release`] as many bytes once they have gone on.
    Data {
        /// The stream.
        stream: u32,
        /// Where the bytes are in the input.
        payload: Range<usize>,
        /// They are the last.
        end: bool,
    },
    /// A stream has ended before its time. It may be one that was never announced, when its head is what was wrong.
    End {
        /// The stream.
        stream: u32,
        /// How.
        how: StreamEnd,
    },
    /// A send window has grown: of one stream, or of all if it is 0.
    Window {
        /// The stream, or 0.
        stream: u32,
    },
    /// The peer will look at no stream beyond `last`.
    Goaway {
        /// The last stream that the peer has looked at, or may.
        last: u32,
        /// Why.
        code: ErrorCode,
    },
    /// The peer has answered a PING.
    Pong,
}

/// What the peer has told about itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) max_concurrent_streams: u32,
    pub(super) initial_window: u32,
    pub(super) max_frame: usize,
    pub(super) connect_protocol: bool,
    /// What it said of priorities, which mean nothing to us: that must not change.
    pub(super) no_priorities: Option<u32>,
    /// Its first SETTINGS have come.
    pub(super) known: bool,
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) role: Role,
    pub(super) options: Options,
    pub(super) out: Vec<u8>,
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
    pub(super) counts: Counts,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) block: Vec<u8>,
    pub(super) builder: Builder,
    pub(super) reading: Reading,
    pub(super) streams: Streams,
    /// Streams of the table of which nothing more is wanted.
    pub(super) disregarded: u32,
    pub(super) resets: Resets,
    /// Streams of the table that the peer began.
    pub(super) of_peer: u32,
    /// Streams of the table that we began.
    pub(super) of_ours: u32,
    /// The highest number of a stream that the peer began.
    pub(super) last_peer_stream: u32,
    /// The number of the next stream that we begin.
    pub(super) next_stream: u32,
    pub(super) send: SendWindow,
    pub(super) receive: ReceiveWindow,
    pub(super) peer: Peer,
    /// The peer has acknowledged our SETTINGS.
    pub(super) acknowledged: bool,
    /// The peer has said goodbye: the last stream it looks at.
    pub(super) goaway_received: Option<u32>,
    /// We have said goodbye: the last stream we look at.
    pub(super) goaway_sent: Option<u32>,
    pub(super) fault: Option<Fault>,
    /// The stream of the frame that was read last.
    pub(super) at_fault: u32,
}

impl Connection {
    /// A connection. What a client says first is in the output already; a server says nothing before it has heard that.
    pub fn new(role: Role, options: Options) -> Connection {
        let mut connection = Connection {
            role,
            options,
            out: Vec::new(),
            outbound: Outbound::default(),
            inbound: Inbound::default(),
            counts: Counts::default(),
            decoder: Decoder::new(options.hpack_table_size as usize),
            encoder: Encoder::default(),
            block: Vec::new(),
            builder: Builder::default(),
            reading: if role == Role::Server { Reading::Preface(0) } else { Reading::Frame },
            streams: Streams::default(),
            disregarded: 0,
            resets: Resets::default(),
            of_peer: 0,
            of_ours: 0,
            last_peer_stream: 0,
            next_stream: if role == Role::Server { 2 } else { 1 },
            send: SendWindow::new(DEFAULT_WINDOW),
            receive: ReceiveWindow::new(
                options.initial_connection_window_size.max(DEFAULT_WINDOW),
                options.initial_connection_window_size.max(DEFAULT_WINDOW),
            ),
            peer: Peer {
                max_concurrent_streams: u32::MAX,
                initial_window: DEFAULT_WINDOW,
                max_frame: MAX_FRAME_BYTES,
                connect_protocol: false,
                no_priorities: None,
                known: false,
            },
            acknowledged: false,
            goaway_received: None,
            goaway_sent: None,
            fault: None,
            at_fault: 0,
        };
        if role == Role::Client {
            connection.introduce();
        }
        connection
    }

    /// Says what we allow. A server does when the client has begun as HTTP/2 does.
    pub(super) fn introduce(&mut self) {
        let options = &self.options;
        let connect = u32::from(options.allow_connect);
        let mut settings = [(setting::HEADER_TABLE_SIZE, options.hpack_table_size); 5];
        let mut count = 1;
        let mut add = |id, value| {
            settings[count] = (id, value);
            count += 1;
        };
        if self.role == Role::Client {
            add(setting::ENABLE_PUSH, 0);
        }
        add(setting::ENABLE_CONNECT_PROTOCOL, connect);
        add(setting::MAX_CONCURRENT_STREAMS, options.max_concurrent_streams);
        add(setting::INITIAL_WINDOW_SIZE, options.initial_stream_window_size);
        if self.role == Role::Client {
            self.out.extend_from_slice(PREFACE);
            self.outbound.add(PREFACE.len(), false);
        }
        let window = options.initial_connection_window_size;
        let begun = self.out.len();
        frame::write_settings(&settings[..count], &mut self.out);
        self.outbound.add(self.out.len() - begun, true);
        if window > DEFAULT_WINDOW {
            self.number_frame(frame::kind::WINDOW_UPDATE, 0, window - DEFAULT_WINDOW, false);
        }
    }

    /// What is to be sent, in order. Take it out ([`Connection::sent`] is told separately) before the bytes of a body
    /// whose frame was begun with [`Connection::begin_data`].
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// So many bytes, of the output and of bodies, have been written to the socket.
    pub fn sent(&mut self, bytes: u64) {
        self.outbound.written(bytes);
    }

    /// Frames, and control frames, that have been queued and not written.
    pub fn frames_waiting(&self) -> (u32, u32) {
        self.outbound.waiting()
    }

    /// Exchanges `map` for the head or trailers of the event that has just been told; what `map` held is lost.
    pub fn take_head(&mut self, map: &mut HeaderMap) {
        std::mem::swap(map, &mut self.builder.map);
        self.builder.map.clear();
    }

    /// Hands over what was counted since the last call.
    pub fn take_counts(&mut self, each: impl FnMut(Stat, u32)) {
        self.counts.take(each);
    }

    /// Streams that are open, without those that are [disregarded](Self::disregard).
    pub fn streams(&self) -> usize {
        self.streams.len() - self.disregarded as usize
    }

    /// The stream of a request whose head had begun to come when the connection failed.
    pub fn unfinished_head(&self) -> Option<u32> {
        let unfinished = |(_, stream): &(&u32, &Stream)| !stream.head_received && stream.remote_open;
        self.streams.iter().find(unfinished).map(|(id, _)| *id).filter(|_| self.role == Role::Server)
    }

    /// As `%RESPONSE_CODE_DETAILS%` of a request that goes down with the connection. As Envoy in words that only its
    /// library has.
    pub fn details(&self, fault: Fault, stream: u32) -> String {
        let own = stream == self.at_fault;
        let text = match fault {
            Fault::InboundEmptyFramesFlood if own => return "http2.inbound_empty_frames_flood".to_owned(),
            fault if fault.is_flood() && fault != Fault::TooManySettings || !self.options.as_envoy => fault.text(),
            fault if own && !fault.is_told_by_envoy() => return "http2.unknown.nghttp2.error".to_owned(),
            _ => "The user callback function failed",
        };
        format!("codec_error:{}", text.replace(' ', "_"))
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The highest number of a stream that the peer began.
    pub fn last_peer_stream(&self) -> u32 {
        self.last_peer_stream
    }

    /// True if the peer understands extended CONNECT.
    pub fn peer_allows_connect(&self) -> bool {
        self.peer.connect_protocol
    }

    /// Body bytes of a stream have gone on: the peer may send as many again. Bytes of streams that have ended count
    /// for the connection's window, and must be released, too.
    pub fn release(&mut self, stream: u32, bytes: usize) {
        if bytes == 0 {
            return;
        }
        if let Some(told) = self.receive.release(bytes) {
            self.number_frame(frame::kind::WINDOW_UPDATE, 0, told, false);
        }
        let open = self.streams.get_mut(&stream).filter(|s| s.remote_open);
        if let Some(told) = open.and_then(|s| s.receive.release(bytes)) {
            self.number_frame(frame::kind::WINDOW_UPDATE, stream, told, false);
        }
    }

    /// Enters a new stream.
    pub(super) fn open(&mut self, stream: u32, remote_open: bool, local_open: bool) -> &mut Stream {
        self.inbound.opened_streams += 1;
        if self.is_ours(stream) {
            self.of_ours += 1;
        } else {
            self.of_peer += 1;
        }
        let window = self.options.initial_stream_window_size;
        // Until our SETTINGS are acknowledged the peer may keep to less, never to more.
        let receive = ReceiveWindow::new(window, if self.acknowledged { window } else { window.max(DEFAULT_WINDOW) });
        self.streams.entry(stream).or_insert(Stream {
            send: SendWindow::new(self.peer.initial_window),
            receive,
            remote_open,
            local_open,
            head_received: false,
            informed: false,
            expected: None,
            body: 0,
            told_length: false,
            bodiless: false,
            connect: false,
            disregarded: false,
            unwanted: 0,
        })
    }

    pub(super) fn close(&mut self, stream: u32) {
        if let Some(closed) = self.streams.remove(&stream) {
            self.disregarded -= u32::from(closed.disregarded);
            if self.is_ours(stream) {
                self.of_ours -= 1;
            } else {
                self.of_peer -= 1;
            }
        }
    }

    pub(super) fn is_ours(&self, stream: u32) -> bool {
        stream % 2 == u32::from(self.role == Role::Client)
    }

    /// True if the stream has never been.
    pub(super) fn is_idle(&self, stream: u32) -> bool {
        if self.is_ours(stream) { stream >= self.next_stream } else { stream > self.last_peer_stream }
    }

    /// True if the connection has failed, and as Envoy not a word is said about it: nor of what is not written yet.
    pub fn is_speechless(&self) -> bool {
        self.options.as_envoy && self.fault.is_some_and(|fault| !fault.is_told_by_envoy() && !fault.is_deaf())
    }

    /// Ends the connection's useful life: says goodbye with what went wrong.
    pub(super) fn fail(&mut self, fault: Fault) -> Fault {
        if self.fault.is_none() {
            self.fault = Some(fault);
            if let Some(stat) = fault.stat() {
                self.counts.add(stat);
            }
            // Nobody is told anything who does not speak HTTP/2.
            if fault != Fault::BadPreface && !fault.is_deaf() && !self.is_speechless() {
                self.goaway_frame(self.last_peer_stream.min(MAX_31), fault.code());
            }
        }
        fault
    }

    pub(super) fn number_frame(&mut self, kind: u8, stream: u32, number: u32, control: bool) {
        frame::write_number(kind, stream, number, &mut self.out);
        self.outbound.add(frame::HEAD_BYTES + 4, control);
    }

    pub(super) fn goaway_frame(&mut self, last: u32, code: ErrorCode) {
        frame::write_goaway(last, code, &mut self.out);
        self.outbound.add(frame::HEAD_BYTES + 8, false);
        self.goaway_sent = Some(last);
    }
}
