//! Drives the HTTP/2 codec and checks what must hold for any input: nothing panics; the same bytes in other pieces
//! tell the same; what is kept and what is answered is bounded by what came.

use nuncio_codec::HeaderMap;
use nuncio_codec::http2::{Connection, Event, Options, PREFACE, Role};

/// What happened, with the pieces of each body joined.
fn told(role: Role, data: &[u8], cut: usize) -> Vec<String> {
    let mut connection = Connection::new(role, Options::default());
    let mut head = HeaderMap::new();
    if role == Role::Client {
        for path in ["/a", "/b"] {
            let request: HeaderMap =
                [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a")].into_iter().collect();
            let _ = connection.request(&request, false);
        }
    }
    let mut out: Vec<String> = Vec::new();
    let mut buffer = Vec::new();
    for piece in data.chunks(cut) {
        buffer.extend_from_slice(piece);
        loop {
            let (taken, event) = match connection.receive(&buffer) {
                Ok(step) => step,
                Err(fault) => {
                    out.push(format!("{fault:?}"));
                    return out;
                }
            };
            match &event {
                Some(Event::Data { stream, payload, end }) => {
                    let bytes = &buffer[payload.clone()];
                    let line = format!("data {stream} ");
                    match out.last_mut().filter(|last| last.starts_with(&line)) {
                        _ if bytes.is_empty() => {}
                        Some(last) => last.push_str(&format!("{bytes:02x?}")),
                        None => out.push(format!("{line}{bytes:02x?}")),
                    }
                    if *end {
                        out.push(format!("end {stream}"));
                    }
                }
                Some(Event::Head { .. } | Event::Trailers { .. } | Event::Informational { .. }) => {
                    connection.take_head(&mut head);
                    out.push(format!("{event:?} {head:?}"));
                }
                Some(event) => out.push(format!("{event:?}")),
                None => {}
            }
            buffer.drain(..taken);
            if event.is_none() {
                break;
            }
        }
        assert!(buffer.len() <= 16_384 + 9 + cut, "input that nobody takes");
        assert!(connection.output().len() <= 100 + 40 * data.len(), "more answers than questions");
    }
    // Pieces of bodies differ with the cut; their bytes do not.
    out.iter_mut().for_each(|line| *line = line.replace("][", ", "));
    out
}

/// Any bytes to either end.
pub fn http2(data: &[u8]) {
    let greeted = [&PREFACE[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], data].concat();
    for (role, data) in [(Role::Server, &greeted[..]), (Role::Client, &greeted[PREFACE.len()..]), (Role::Server, data)] {
        let whole = told(role, data, data.len().max(1));
        for cut in [1, 3, 64] {
            assert_eq!(told(role, data, cut), whole);
        }
    }
}
