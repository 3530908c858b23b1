//! gRPC status of an exchange: from trailers or headers, else derived from the HTTP status.

use super::{
    FormatCx,
    command::{Args, Command, Written},
    write,
};
use nuncio_codec::Known;

/// Names of the status codes, by number: as `CAMEL_STRING` and `SNAKE_STRING` print them.
static NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// Told as -1.
const NO_STATUS: u64 = u64::MAX;

/// The status of a gRPC exchange; `None` if the request was none.
fn status_of(cx: &FormatCx<'_>) -> Option<u64> {
    let kind = cx.stream.request.get(Known::ContentType)?;
    let rest = kind.strip_prefix(b"application/grpc")?;
    if !rest.is_empty() && rest[0] != b'+' {
        return None;
    }
    let sent =
        [&cx.stream.response_trailers, &cx.stream.response].into_iter().find_map(|map| map.get_str(Known::GrpcStatus));
    match sent {
        // What is no status is told as one that there is not.
        Some(text) => Some(text.trim().parse().unwrap_or(NO_STATUS)),
        None if cx.stream.info.status == 0 => None,
        None => Some(u64::from(crate::grpc::status_of_http(cx.stream.info.status))),
    }
}

/// `%GRPC_STATUS[(CAMEL_STRING|SNAKE_STRING|NUMBER)]%`.
pub(super) fn status(args: Args<'_>) -> Result<Command, String> {
    Ok(Command::Plain(match args.params {
        "" | "CAMEL_STRING" => |cx, out| named(cx, out, |names| names.0),
        "SNAKE_STRING" => |cx, out| named(cx, out, |names| names.1),
        "NUMBER" => status_number,
        other => {
            return Err(format!(
                "GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER. Got: {other}"
            ));
        }
    }))
}

pub(super) fn status_number(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    match status_of(cx) {
        Some(NO_STATUS) => write::non_empty(out, "-1"),
        Some(code) => write::decimal(out, code),
        None => Written::Absent,
    }
}

fn named(
    cx: &FormatCx<'_>,
    out: &mut Vec<u8>,
    pick: fn(&'static (&'static str, &'static str)) -> &'static str,
) -> Written {
    let Some(code) = status_of(cx) else { return Written::Absent };
    if code == NO_STATUS {
        return write::non_empty(out, "-1");
    }
    match usize::try_from(code).ok().and_then(|code| NAMES.get(code)) {
        Some(names) => write::non_empty(out, pick(names)),
        None => {
            write::decimal(out, code);
            Written::Text
        }
    }
}
