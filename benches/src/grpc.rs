//! Unary calls of gRPC with HTTP/2 on both sides: 4 connections with 32 calls each, a message of 32 bytes there and back, and
//! trailers. Both ends speak by Nuncio's own codec, whichever proxy is between them.

use crate::load::{Load, Shared};
use nuncio_codec::headers::HeaderMap;
use nuncio_codec::http2::{Connection, Event, Options, Role};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// Connections of the client.
const CONNECTIONS: usize = 4;
/// Calls on each of them.
const CALLS: usize = 32;
/// A message with its prefix.
const MESSAGE: &[u8] = b"\0\0\0\0\x20abcdefghijklmnopqrstuvwxyz012345";
const PATH: &str = "/bench.Echo/Unary";

/// One end of a connection.
struct End {
    stream: TcpStream,
    codec: Connection,
    input: Vec<u8>,
}

impl End {
    fn new(stream: TcpStream, role: Role) -> io::Result<End> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(End { stream, codec: Connection::new(role, Options::default()), input: Vec::new() })
    }

    /// Sends what waits, reads once, and hands on what came. False when the peer has closed.
    fn turn(&mut self, mut happened: impl FnMut(&mut Connection, Event) -> io::Result<()>) -> io::Result<bool> {
        self.flush()?;
        let mut block = [0; 64 * 1024];
        let n = self.stream.read(&mut block)?;
        self.input.extend_from_slice(&block[..n]);
        let mut from = 0;
        loop {
            let (taken, event) = self.codec.receive(&self.input[from..]).map_err(|fault| io::Error::other(fault.text()))?;
            from += taken;
            let Some(event) = event else { break };
            happened(&mut self.codec, event)?;
        }
        self.input.drain(..from);
        Ok(n > 0)
    }

    fn flush(&mut self) -> io::Result<()> {
        let output = std::mem::take(self.codec.output());
        self.stream.write_all(&output)?;
        self.codec.sent(output.len() as u64);
        Ok(())
    }
}

fn say(codec: &mut Connection, stream: u32, end: bool) {
    codec.begin_data(stream, MESSAGE.len(), end);
    codec.output().extend_from_slice(MESSAGE);
}

/// Starts the server; says its port.
pub fn serve() -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that ends, for whatever reason, is the proxy's affair.
            thread::spawn(move || answer(End::new(stream, Role::Server)?));
        }
    });
    Ok(port)
}

fn answer(mut end: End) -> io::Result<()> {
    let (mut head, mut trailers) = (HeaderMap::new(), HeaderMap::new());
    head.set_status(200);
    head.append("content-type", "application/grpc");
    trailers.append("grpc-status", "0");
    let mut unused = HeaderMap::new();
    while end.turn(|codec, event| {
        match event {
            Event::Head { .. } => codec.take_head(&mut unused),
            Event::Data { stream, payload, end } => {
                codec.release(stream, payload.len());
                if end {
                    codec.respond(stream, &head, false);
                    say(codec, stream, false);
                    codec.trailers(stream, &trailers);
                }
            }
            _ => {}
        }
        Ok(())
    })? {}
    Ok(())
}

/// Begins to call through `proxy`.
pub fn load(proxy: SocketAddr) -> Load {
    Load::spawn(CONNECTIONS, move |shared| call(End::new(TcpStream::connect(proxy)?, Role::Client)?, shared))
}

fn call(mut end: End, shared: &Shared) -> io::Result<()> {
    let mut head = HeaderMap::new();
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":authority", "bench.example.com"), (":path", PATH)] {
        head.append(name, value);
    }
    head.append("content-type", "application/grpc");
    head.append("te", "trailers");
    let begin = |codec: &mut Connection| match codec.request(&head, false) {
        Ok(stream) => Ok(say(codec, stream, true)),
        Err(refused) => Err(io::Error::other(format!("{refused:?}"))),
    };
    for _ in 0..CALLS {
        begin(&mut end.codec)?;
    }
    let mut got = HeaderMap::new();
    while !shared.is_stopped() {
        let open = end.turn(|codec, event| {
            match event {
                Event::Head { end, .. } => {
                    codec.take_head(&mut got);
                    if got.status() != Some(200) || end {
                        return Err(io::Error::other(format!("an answer that is none: {:?}", got.get_str("grpc-message"))));
                    }
                }
                Event::Data { stream, payload, .. } => codec.release(stream, payload.len()),
                Event::Trailers { .. } => {
                    codec.take_head(&mut got);
                    if got.get("grpc-status") != Some(b"0") {
                        return Err(io::Error::other("a call that failed"));
                    }
                    shared.answered();
                    begin(codec)?;
                }
                Event::End { .. } | Event::Goaway { .. } => return Err(io::Error::other("a call that was cut off")),
                _ => {}
            }
            Ok(())
        })?;
        if !open {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
