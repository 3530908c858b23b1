//! Entry points for fuzzers: give them anything, they must return.

use crate::transcoding::{
    decode,
    descriptors::{Kind, Pool},
    encode,
    frames::Frames,
    json::Parser,
    template::{Matcher, Unescape, unescape},
};
use nuncio_core::{ConnInfo, StreamCx, Worker};
use nuncio_rt::Buf;
use prost::Message as _;
use std::rc::Rc;

/// What scripts may do with an exchange, one line each: `$1` and `$2` stand for texts, `#` for a number.
const CALLS: &[&str] = &[
    "h:headers():add($1, $2)",
    "h:headers():replace($1, $2)",
    "h:headers():remove($1)",
    "local v = h:headers():get($1) if v then h:logTrace(v) end",
    "h:headers():getAtIndex($1, #)",
    "h:headers():getNumValues($1)",
    "for k, v in pairs(h:headers()) do local s = k .. v end",
    "h:headers():setHttp1ReasonPhrase($1)",
    "local b = h:body() if b then b:setBytes($1) end",
    "local b = h:body() if b then b:getBytes(#, #) end",
    "for c in h:bodyChunks() do c:getBytes(0, c:length()) end",
    "local t = h:trailers() if t then t:add($1, $2) end",
    "h:metadata():get($1)",
    "for k, v in pairs(h:metadata()) do end",
    "h:streamInfo():dynamicMetadata():set($1, $2, #)",
    "h:streamInfo():dynamicMetadata():set($1, $2, {$1, [$2] = {#, true}})",
    "for k, v in pairs(h:streamInfo():dynamicMetadata()) do end",
    "h:streamInfo():dynamicMetadata():get($1)",
    "h:streamInfo():filterState():get($1)",
    "local s = h:streamInfo():protocol() .. h:streamInfo():routeName()",
    "h:base64Escape($1)",
    "h:respond({[':status'] = $1, [$2] = $1}, $2)",
    "h:respond({[':status'] = tostring(#)}, $1)",
    "h:httpCall($1, {[':method'] = $2, [':path'] = '/', [':authority'] = $1}, $2, #)",
    "h:httpCall($1, {[':method'] = 'GET', [':path'] = $2, [':authority'] = 'a'}, $2, #, true)",
    "h:streamInfo():downstreamSslConnection()",
    "h:connection():ssl()",
    "h:timestamp()",
    "h:clearRouteCache()",
    "h:setUpstreamOverrideHost($1)",
    "h:logInfo($1)",
    "h[$1](h, $2)",
];

/// Calls of what scripts may do, in any order and with any arguments: whatever a script asks for, it ends in an error of the script's at
/// worst. Scripts themselves are the operator's, and not tried.
pub fn lua(data: &[u8]) {
    let mut data = data.iter().copied();
    let mut body = String::new();
    while let Some(kind) = data.next() {
        if body.len() > 20_000 {
            break;
        }
        let mut line = CALLS[usize::from(kind) % CALLS.len()].to_owned();
        for text in ["$1", "$2"] {
            let len = usize::from(data.next().unwrap_or(0) % 12);
            let literal: String = data.by_ref().take(len).map(|byte| format!("\\{byte:03}")).collect();
            line = line.replace(text, &format!("'{literal}'"));
        }
        let number = i64::from(data.next().unwrap_or(0)) - 100;
        line = line.replace('#', &number.to_string());
        body.push_str(&format!("  pcall(function() {line} end)\n"));
    }
    let text = format!("function envoy_on_request(h)\n{body}end\nfunction envoy_on_response(h)\n{body}end\n");
    let store = nuncio_stats::Store::new(1);
    let mut build = nuncio_core::BuildCx::new(&store, "");
    let source = nuncio_api::envoy::config::core::v3::DataSource {
        specifier: Some(nuncio_api::envoy::config::core::v3::data_source::Specifier::InlineString(text)),
        ..Default::default()
    };
    let message = nuncio_api::envoy::extensions::filters::http::lua::v3::Lua { default_source_code: Some(source), ..Default::default() };
    let entry = crate::http::lua::ENTRY;
    let Ok(filter) = (entry.build)(nuncio_core::FilterConfig { type_url: entry.message, value: &message.encode_to_vec() }, &mut build) else { return };
    let mut cx = StreamCx::new(Worker::new(0, nuncio_stats::Lane::MAIN), Rc::new(ConnInfo::nobody()));
    for (name, value) in [(":method", "GET"), (":path", "/p?q"), (":authority", "h"), (":scheme", "http"), ("x-a", "1"), ("x-a", "2")] {
        cx.request.append(name.as_bytes(), value.as_bytes());
    }
    drop(filter.request_headers(&mut cx, false));
    for end in [false, true] {
        drop(filter.request_data(&mut cx, &mut Buf::copy_of(b"piece"), end));
    }
    cx.response.set_status(200);
    drop(filter.response_headers(&mut cx, false));
    drop(filter.response_data(&mut cx, &mut Buf::copy_of(b"piece"), false));
    cx.response_trailers.append("x-t", "1");
    drop(filter.response_trailers(&mut cx));
    filter.done(&mut cx);
    // No name or value that could not be sent has come in.
    for map in [&cx.request, &cx.response, &*cx.response_trailers] {
        for field in map.iter() {
            assert!(!field.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{:?}", String::from_utf8_lossy(field.name));
        }
    }
}

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
