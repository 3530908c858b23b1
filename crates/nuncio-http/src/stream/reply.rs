//! Writing an answer made here into the response head, as Envoy's `sendLocalReply`.

use nuncio_codec::headers::Known;
use nuncio_core::{LocalReply, StreamCx, grpc};
use nuncio_rt::Buf;

pub(crate) use nuncio_core::grpc::is_grpc;

/// Fills the facts and begins `cx.response`: what a route, or `local_reply_config`, adds comes after this.
pub(crate) fn prepare(cx: &mut StreamCx, reply: &LocalReply) {
    cx.info.flags.set(reply.flags);
    cx.info.details = reply.details.clone();
    cx.info.local_reply = true;
    let head = &mut cx.response;
    head.clear();
    head.set_status(reply.status);
    for (name, value) in &reply.headers {
        head.append(name.as_bytes(), value.as_bytes());
    }
}

/// Completes `cx.response`: the body's headers, or for gRPC all that it takes. Returns the body that goes with it.
pub(crate) fn seal(cx: &mut StreamCx, reply: &LocalReply) -> Option<Buf> {
    // Response filters see it, those who put it together do not yet.
    cx.info.status = reply.status;
    let head = &mut cx.response;
    if cx.grpc_replies.unwrap_or_else(|| is_grpc(&cx.request)) {
        head.set_status(200);
        head.insert(Known::ContentType, "application/grpc");
        if !head.contains(Known::GrpcStatus) {
            let status = u64::from(reply.grpc_status.unwrap_or_else(|| grpc::status_of_http(reply.status)));
            head.set_with(Known::GrpcStatus, |v| v.decimal(status));
        }
        if !reply.body.is_empty() && !head.contains(Known::GrpcMessage) {
            // JSON formats end in a line end, which a header's value does not need.
            let message = reply.body.strip_suffix('\n').unwrap_or(&reply.body);
            head.insert(Known::GrpcMessage, grpc::percent_encode(message.as_bytes()));
        }
        head.remove(Known::ContentLength);
        return None;
    }
    if reply.body.is_empty() {
        head.remove(Known::ContentLength);
        head.remove(Known::ContentType);
        return None;
    }
    let len = reply.body.len() as u64;
    head.set_with(Known::ContentLength, |v| v.decimal(len));
    head.add_if_absent(Known::ContentType, reply.content_type.as_deref().unwrap_or("text/plain"));
    (!cx.request.is_head()).then(|| Buf::copy_of(reply.body.as_bytes()))
}
