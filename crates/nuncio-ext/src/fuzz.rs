//! Entry points for fuzzers: give them anything, they must return.

use crate::transcoding::{
    decode,
    descriptors::{Kind, Pool},
    encode,
    frames::Frames,
    json::Parser,
    template::{Matcher, Unescape, unescape},
};

/// The first byte says what the rest is: JSON for a message, a message for JSON, gRPC's bytes, a descriptor set, or a path
/// template with a path behind its first line.
pub fn transcoding(types: &[u8], data: &[u8]) {
    let (Ok(pool), Some((kind, data))) = (Pool::new(types), data.split_first()) else { return };
    match kind % 5 {
        0 => {
            let mut values = Vec::new();
            let (mut whole, mut cut) = (Parser::new(false), Parser::new(false));
            let read = whole.feed(data, &mut values).and_then(|()| whole.finish(&mut values));
            let mut again = Vec::new();
            let reread = data.chunks(3).try_for_each(|piece| cut.feed(piece, &mut again)).and_then(|()| cut.finish(&mut again));
            assert_eq!(read.is_ok(), reread.is_ok());
            for value in values {
                for message in 0..pool.messages.len() {
                    if let Ok(bytes) = encode::encode(&pool, message, value.clone(), encode::Options { fold_enums: true }) {
                        let _ = decode::decode(&pool, message, &bytes, decode::Options::default());
                    }
                }
            }
        }
        1 => {
            for message in 0..pool.messages.len() {
                let _ = decode::decode(&pool, message, data, decode::Options { spaced: true, defaults: true, ..decode::Options::default() });
            }
        }
        2 => {
            let mut frames = Frames::default();
            for piece in data.chunks(7) {
                frames.push(piece);
                while frames.next().is_some() {}
            }
            let _ = frames.unfinished();
        }
        3 => {
            if let Ok(pool) = Pool::new(data) {
                let has_messages = |message: &crate::transcoding::descriptors::Message| message.fields.iter().any(|field| matches!(field.kind, Kind::Message(_)));
                let _ = pool.messages.iter().filter(|message| has_messages(message)).count();
            }
        }
        _ => {
            let text = String::from_utf8_lossy(data);
            let (template, path) = text.split_once('\n').unwrap_or((&text, "/a/b:c"));
            let mut matcher = Matcher::default();
            if matcher.register_path("GET", template, "*", 0) {
                let _ = matcher.find("GET", path, "a.b=%20&c");
            }
            unescape(path, Unescape::AllButReserved, true);
        }
    }
}
