//! `envoy.filters.http.connect_grpc_bridge`: Connect for clients, gRPC for servers.
//!
//! Unary calls (also those by GET) are kept until they are whole, and so are their answers, whose status then is known.
//! Streams only change their names for things, and end in a message with what trailers said. Messages stay as they are.

use crate::transcoding::{frames, print::quoted, wire};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use crate::read;
use nuncio_api::envoy::extensions::filters::http::connect_grpc_bridge::v3 as proto;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{
    BuildCx, ConfigError, FilterConfig, Hold, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, StateSlot, Step, StreamCx, grpc,
};
use nuncio_rt::Buf;
use std::{any::Any, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.connect_grpc_bridge",
    message: "envoy.extensions.filters.http.connect_grpc_bridge.v3.FilterConfig",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route,
};

/// A message that says what trailers would.
const END: u8 = 2;
/// A message that is compressed.
const COMPRESSED: u8 = 1;
/// The greatest number that `grpc-timeout` has room for.
const MAX_TIMEOUT: u64 = 99_999_999;
/// Names of gRPC's statuses, and what HTTP calls them.
const STATUSES: [(&str, u16); 17] = [
    ("ok", 200),
    ("canceled", 408),
    ("unknown", 500),
    ("invalid_argument", 400),
    ("deadline_exceeded", 408),
    ("not_found", 404),
    ("already_exists", 409),
    ("permission_denied", 403),
    ("resource_exhausted", 429),
    ("failed_precondition", 412),
    ("aborted", 409),
    ("out_of_range", 400),
    ("unimplemented", 404),
    ("internal", 500),
    ("unavailable", 503),
    ("data_loss", 500),
    ("unauthenticated", 401),
];

#[derive(Debug)]
struct Bridge {
    state: StateSlot<Option<Call>>,
}

/// A call of a client that speaks Connect.
#[derive(Debug, Default)]
struct Call {
    unary: bool,
    /// What is known of the request's one message, then of the answer's.
    flag: u8,
    kept: Vec<u8>,
    /// Bytes of the answer's prefix that have been taken off.
    stripped: usize,
    /// The answer is gRPC.
    grpc: bool,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::FilterConfig {} = read::message(config)?;
    Ok(Arc::new(Bridge { state: cx.state_slot() }))
}

fn route(_: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    Err(ConfigError::at("", "this filter has no settings for routes"))
}

/// Gives a header another name.
fn rename(head: &mut HeaderMap, from: &str, to: &str) {
    let values: Vec<Vec<u8>> = head.get_all(from).map(<[u8]>::to_vec).collect();
    head.remove(from);
    values.iter().for_each(|value| head.append(to, value));
}

/// `connect-timeout-ms` as `grpc-timeout`.
fn timeout(head: &mut HeaderMap) {
    let last = head.get_all("connect-timeout-ms").last().and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok());
    let Some(milliseconds) = last else { return };
    let units = [(1, 'm'), (1000, 'S'), (60_000, 'M'), (3_600_000, 'H')];
    if let Some((unit, name)) = units.iter().find(|(unit, _)| milliseconds / unit <= MAX_TIMEOUT) {
        head.append("grpc-timeout", format!("{}{name}", milliseconds / unit));
        head.remove("connect-timeout-ms");
    }
}

/// What follows `before+` in a content type.
fn suffix<'t>(kind: &'t str, before: &str) -> Option<&'t str> {
    kind.strip_prefix(before)?.strip_prefix('+')
}

/// The first value of a parameter in a query, unescaped.
fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    use crate::transcoding::template::{Unescape, unescape};
    let plain = |text: &str| unescape(text, Unescape::All, false);
    query.split('&').find_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (plain(key) == name.as_bytes()).then(|| plain(value))
    })
}

fn too_large(which: &str) -> Step {
    let (status, what) = match which {
        "request" => (413, "Request rejected"),
        _ => (500, "Response discarded"),
    };
    let body = format!("{what} because the filter's internal buffer size exceeds the configured limit.");
    Step::reply(LocalReply::new(status, format!("connect_bridge_unary_{which}_too_large")).body(body))
}

/// The status that headers or trailers tell; `None` for none, -1 for one that there is not.
fn status(map: &HeaderMap) -> Option<i64> {
    let text = map.get_str(Known::GrpcStatus)?;
    Some(text.parse().ok().filter(|status| (0..STATUSES.len() as i64).contains(status)).unwrap_or(-1))
}

/// An error as Connect tells it in JSON.
fn error(status: i64, map: &HeaderMap) -> String {
    let mut out = String::from("{\"code\":");
    match usize::try_from(status).ok().and_then(|status| STATUSES.get(status)) {
        Some((name, _)) => quoted(&mut out, name),
        None => quoted(&mut out, &format!("code_{status}")),
    }
    if let Some(message) = map.get(Known::GrpcMessage).filter(|message| !message.is_empty()) {
        out.push_str(",\"message\":");
        quoted(&mut out, &String::from_utf8_lossy(message));
    }
    let details = details(map);
    if !details.is_empty() {
        out.push_str(",\"details\":[");
        for (at, (kind, value)) in details.iter().enumerate() {
            out.push_str(if at > 0 { ",{\"type\":" } else { "{\"type\":" });
            quoted(&mut out, kind);
            out.push_str(",\"value\":");
            quoted(&mut out, &STANDARD.encode(value));
            out.push('}');
        }
        out.push(']');
    }
    out.push('}');
    out
}

/// Types and bytes of what `grpc-status-details-bin` has; nothing if it is broken.
fn details(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let Some(bytes) = grpc::status_details(map) else { return Vec::new() };
    let fields = |bytes: &[u8], wanted: u32| -> Option<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let tag = wire::take_varint(&mut rest)?;
            match tag & 7 {
                0 => drop(wire::take_varint(&mut rest)?),
                2 => {
                    let value = wire::take_delimited(&mut rest)?;
                    if tag >> 3 == u64::from(wanted) {
                        found.push(value.to_vec());
                    }
                }
                _ => return None,
            }
        }
        Some(found)
    };
    let any = |any: Vec<u8>| {
        let kind = String::from_utf8(fields(&any, 1)?.pop().unwrap_or_default()).ok()?;
        Some((kind, fields(&any, 2)?.pop().unwrap_or_default()))
    };
    fields(&bytes, 3).and_then(|all| all.into_iter().map(any).collect()).unwrap_or_default()
}

fn is_of_grpc(name: &[u8]) -> bool {
    name.starts_with(b"grpc-")
}

/// The last message of a stream: its error, and what else trailers said.
fn end_of_stream(map: &HeaderMap, metadata: bool) -> Vec<u8> {
    let mut parts = Vec::new();
    let status = status(map).unwrap_or(2);
    if status != 0 {
        parts.push(format!("\"error\":{}", error(status, map)));
    }
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for field in map.iter().filter(|field| metadata && !is_of_grpc(field.name)) {
        let (name, value) = (String::from_utf8_lossy(field.name).into_owned(), String::from_utf8_lossy(field.value).into_owned());
        match told.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => told.push((name, vec![value])),
        }
    }
    if !told.is_empty() {
        let mut out = String::from("\"metadata\":{");
        for (at, (name, values)) in told.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            quoted(&mut out, name);
            out.push_str(":[");
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quoted(&mut out, value);
            }
            out.push(']');
        }
        out.push('}');
        parts.push(out);
    }
    let mut message = frames::framed(format!("{{{}}}", parts.join(",")).as_bytes());
    message[0] = END;
    message
}

impl Bridge {
    /// A call by GET, if it is one: everything is in the query.
    fn get(cx: &mut StreamCx) -> Option<Call> {
        let path = String::from_utf8_lossy(cx.request.path()?).into_owned();
        let (path, query) = path.split_once('?')?;
        if parameter(query, "connect")? != b"v1" {
            return None;
        }
        let value = |name: &str| parameter(query, name).unwrap_or_default();
        let mut kept = value("message");
        if value("base64") == b"1" {
            kept = URL_SAFE_NO_PAD.decode(&kept).unwrap_or_default();
        }
        let compression = Some(value("compression")).filter(|name| !name.is_empty()).unwrap_or_else(|| b"identity".to_vec());
        let head = &mut cx.request;
        head.insert(Known::Method, "POST");
        head.insert(Known::Path, path);
        head.insert(Known::ContentType, [b"application/grpc+", &value("encoding")[..]].concat());
        timeout(head);
        head.append("grpc-encoding", &compression);
        rename(head, "accept-encoding", "grpc-accept-encoding");
        Some(Call { unary: true, flag: if compression == b"identity" { 0 } else { COMPRESSED }, kept, ..Call::default() })
    }

    /// The call that a request begins, with its head made gRPC's.
    fn call(cx: &mut StreamCx) -> Option<Call> {
        let kind = cx.request.get_str(Known::ContentType).unwrap_or_default().to_owned();
        let head = &mut cx.request;
        if let Some(codec) = suffix(&kind, "application/connect") {
            head.insert(Known::ContentType, format!("application/grpc+{codec}"));
            timeout(head);
            rename(head, "connect-content-encoding", "grpc-encoding");
            rename(head, "connect-accept-encoding", "grpc-accept-encoding");
            head.remove("connect-protocol-version");
            return Some(Call::default());
        }
        let Some(codec) = kind.strip_prefix("application/").filter(|_| head.contains("connect-protocol-version")) else { return Self::get(cx) };
        head.insert(Known::ContentType, format!("application/grpc+{codec}"));
        timeout(head);
        rename(head, "content-encoding", "grpc-encoding");
        rename(head, "accept-encoding", "grpc-accept-encoding");
        head.remove("connect-protocol-version");
        let plain = head.get("grpc-encoding").is_none_or(|encoding| encoding == b"identity");
        Some(Call { unary: true, flag: if plain { 0 } else { COMPRESSED }, ..Call::default() })
    }

    /// The request's one message.
    fn message(call: &mut Call) -> Buf {
        let mut message = frames::framed(&std::mem::take(&mut call.kept));
        message[0] = call.flag;
        Buf::copy_of(&message)
    }

    fn held<'c>(&self, cx: &'c mut StreamCx) -> Option<&'c mut Call> {
        cx.held_state(&self.state)?.as_mut()
    }

    /// Makes a head that of an error, if `only` or else the trailers tell of one.
    fn unary_end(cx: &mut StreamCx, only: bool) -> Option<String> {
        let told = if only { &cx.response } else { &*cx.response_trailers };
        let status = status(told).filter(|status| *status != 0);
        let json = status.map(|status| error(status, told));
        let head = &mut cx.response;
        head.remove("trailer");
        if let Some(status) = status {
            let http = usize::try_from(status).ok().and_then(|status| STATUSES.get(status)).map_or(500, |(_, http)| *http);
            head.set_status(http);
            head.insert(Known::ContentType, "application/json");
            head.remove(Known::ContentLength);
            head.remove("content-encoding");
        }
        json
    }
}

impl HttpFilter for Bridge {
    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let was_grpc = grpc::is_grpc(&cx.request);
        let Some(mut call) = Self::call(cx) else { return Step::Continue };
        if call.kept.len() > cx.buffer_limit {
            return too_large("request");
        }
        cx.grpc_replies = Some(was_grpc);
        cx.request.insert(Known::Te, "trailers");
        cx.request.remove(Known::ContentLength);
        let message = (end && call.unary).then(|| Self::message(&mut call));
        *cx.state(&self.state) = Some(call);
        message.map_or(Step::Continue, Step::Add)
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let limit = cx.buffer_limit;
        let Some(call) = self.held(cx).filter(|call| call.unary) else { return Step::Continue };
        if call.kept.len() + data.len() > limit {
            return too_large("request");
        }
        call.kept.extend_from_slice(data.filled());
        if !end {
            return Step::Hold(Hold::Discard);
        }
        *data = Self::message(call);
        Step::Continue
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        match self.held(cx).filter(|call| call.unary) {
            Some(call) => Step::Add(Self::message(call)),
            None => Step::Continue,
        }
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        let is_grpc = match end {
            true => cx.response.contains(Known::GrpcStatus),
            false => cx.response.status() == Some(200) && grpc::is_grpc(&cx.response),
        };
        let Some(call) = self.held(cx) else { return Step::Continue };
        let unary = call.unary;
        if !is_grpc {
            return Step::Continue;
        }
        call.grpc = true;
        let head = &mut cx.response;
        head.remove(Known::ContentLength);
        let kind = head.get_str(Known::ContentType).unwrap_or_default();
        let codec = suffix(kind, "application/grpc").unwrap_or("proto");
        let kind = if unary { format!("application/{codec}") } else { format!("application/connect+{codec}") };
        head.insert(Known::ContentType, kind);
        if !unary {
            rename(head, "grpc-encoding", "connect-content-encoding");
            rename(head, "grpc-accept-encoding", "connect-accept-encoding");
            head.remove("connect-protocol-version");
            if !end {
                return Step::Continue;
            }
            let message = end_of_stream(head, false);
            head.remove_prefix(b"grpc-");
            return Step::Add(Buf::copy_of(&message));
        }
        rename(head, "grpc-encoding", "content-encoding");
        if !end {
            return Step::Hold(Hold::Watermark);
        }
        let error = Self::unary_end(cx, true);
        cx.response.remove_prefix(b"grpc-");
        error.map_or(Step::Continue, |error| Step::Add(Buf::copy_of(error.as_bytes())))
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        let limit = cx.buffer_limit;
        let Some(call) = self.held(cx).filter(|call| call.grpc && call.unary) else { return Step::Continue };
        let plain = call.stripped == 0 && data.filled().first().is_some_and(|flag| flag & COMPRESSED == 0);
        let stripped = (frames::PREFIX - call.stripped).min(data.len());
        call.stripped += stripped;
        data.consume(stripped);
        if call.kept.len() + data.len() > limit {
            call.grpc = false;
            return too_large("response");
        }
        call.kept.extend_from_slice(data.filled());
        let kept = if end { std::mem::take(&mut call.kept) } else { Vec::new() };
        if plain {
            cx.response.remove("content-encoding");
        }
        if !end {
            return Step::Hold(Hold::Discard);
        }
        *data = Buf::copy_of(&kept);
        Step::Continue
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        let Some(call) = self.held(cx).filter(|call| call.grpc) else { return Step::Continue };
        let (unary, kept) = (call.unary, std::mem::take(&mut call.kept));
        if !unary {
            let message = end_of_stream(&cx.response_trailers, true);
            cx.response_trailers.clear();
            return Step::EndWith(Buf::copy_of(&message));
        }
        let told: Vec<_> = cx.response_trailers.iter().filter(|field| !is_of_grpc(field.name)).map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
        for (name, value) in told {
            cx.response.append([b"trailer-", &name[..]].concat().as_slice(), value);
        }
        let error = Self::unary_end(cx, false);
        cx.response_trailers.clear();
        Step::EndWith(Buf::copy_of(error.map_or(kept, String::into_bytes).as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        fields.iter().for_each(|(name, value)| map.append(*name, value));
        map
    }

    #[test]
    fn timeouts_find_a_unit_that_they_fit_in() {
        for (milliseconds, expected) in [("1500", "1500m"), ("123456789", "123456S"), ("100000000000", "1666666M"), ("6000000000000", "1666666H")] {
            let mut map = head(&[("connect-timeout-ms", milliseconds)]);
            timeout(&mut map);
            assert_eq!(map.get_str("grpc-timeout"), Some(expected));
        }
        let mut map = head(&[("connect-timeout-ms", "18446744073709551615")]);
        timeout(&mut map);
        assert_eq!(map.get_str("grpc-timeout"), None);
    }

    #[test]
    fn what_trailers_say_becomes_a_message() {
        let map = head(&[("grpc-status", "5"), ("grpc-message", "m"), ("a", "1"), ("b", "2"), ("a", "3")]);
        let message = end_of_stream(&map, true);
        let text = "{\"error\":{\"code\":\"not_found\",\"message\":\"m\"},\"metadata\":{\"a\":[\"1\",\"3\"],\"b\":[\"2\"]}}";
        assert_eq!(&message[5..], text.as_bytes());
        assert_eq!(message[0], 2);
    }
}
