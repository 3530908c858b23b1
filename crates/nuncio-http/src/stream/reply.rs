//! Writing an answer made here into the response head, as Envoy's `sendLocalReply`.

use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{LocalReply, StreamCx};
use nuncio_rt::Buf;

/// gRPC status of an HTTP status (grpc's http-grpc-status-mapping).
fn grpc_status(http: u16) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// A gRPC request, by its content type.
pub(crate) fn is_grpc(head: &HeaderMap) -> bool {
    head.get(Known::ContentType).is_some_and(|t| {
        t.strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || rest[0] == b'+')
    })
}

/// Fills `cx.response` and the facts. Returns the body that goes with it, if any.
pub(super) fn prepare(cx: &mut StreamCx, reply: &LocalReply) -> Option<Buf> {
    cx.info.flags.set(reply.flags);
    cx.info.details = reply.details.clone();
    cx.info.local_reply = true;
    let head = &mut cx.response;
    head.clear();
    if is_grpc(&cx.request) {
        head.set_status(200);
        head.insert(Known::ContentType, "application/grpc");
        let status = u64::from(reply.grpc_status.unwrap_or_else(|| grpc_status(reply.status)));
        head.set_with(Known::GrpcStatus, |v| v.decimal(status));
        if !reply.body.is_empty() {
            head.set_with(Known::GrpcMessage, |v| percent_encode(&reply.body, v));
        }
        add_headers(head, reply);
        return None;
    }
    head.set_status(reply.status);
    add_headers(head, reply);
    let bodiless = reply.body.is_empty() || cx.request.method_kind().is_head();
    (!bodiless).then(|| Buf::copy_of(reply.body.as_bytes()))
}

/// The body's headers, which come after whatever a route adds.
pub(super) fn describe_body(cx: &mut StreamCx, reply: &LocalReply) {
    if reply.body.is_empty() || cx.response.get(Known::ContentType) == Some(b"application/grpc") {
        return;
    }
    let len = reply.body.len() as u64;
    cx.response.set_with(Known::ContentLength, |v| v.decimal(len));
    cx.response.add_if_absent(Known::ContentType, reply.content_type.as_deref().unwrap_or("text/plain"));
}

fn add_headers(head: &mut HeaderMap, reply: &LocalReply) {
    for (name, value) in &reply.headers {
        head.append(name.as_bytes(), value.as_bytes());
    }
}

/// gRPC's percent-encoding of status messages.
fn percent_encode(text: &str, out: &mut nuncio_codec::headers::ValueWriter<'_>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &b in text.as_bytes() {
        if (0x20..=0x7e).contains(&b) && b != b'%' {
            out.push(b);
        } else {
            out.put(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        }
    }
}
