//! Facts of the exchange itself: protocol, status, flags, route.

use super::{
    FormatCx,
    command::{Args, Command, Written},
    write,
};
use nuncio_codec::Known;

pub(super) fn moment(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::word(out, cx.stream.info.log_moment().name())
}

pub(super) fn trace_id(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    hexadecimal(out, cx.stream.trace.as_ref().map(|trace| &trace.span.context.trace_id[..]))
}

pub(super) fn span_id(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    hexadecimal(out, cx.stream.trace.as_ref().map(|trace| &trace.span.context.span_id[..]))
}

fn hexadecimal(out: &mut Vec<u8>, id: Option<&[u8]>) -> Written {
    let Some(id) = id else { return Written::Absent };
    out.extend_from_slice(crate::hex(id).as_bytes());
    Written::Text
}

pub(super) fn protocol(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::word(out, cx.stream.info.protocol.name())
}

pub(super) fn response_code(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::decimal(out, u64::from(cx.stream.info.status))
}

/// `%RESPONSE_CODE_DETAILS[(ALLOW_WHITESPACES)]%`; other parameters are ignored, as Envoy does.
pub(super) fn response_code_details(args: Args<'_>) -> Result<Command, String> {
    Ok(Command::Plain(match args.params {
        "ALLOW_WHITESPACES" => |cx, out| write::non_empty(out, &cx.stream.info.details),
        _ => |cx, out| write::underscored(out, &cx.stream.info.details),
    }))
}

pub(super) fn termination_details(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::non_empty(out, &cx.stream.info.termination_details)
}

/// No flag prints as `-`, which is a text and not an absent value.
pub(super) fn flags(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    flag_names(cx, out, |name| name.short)
}

pub(super) fn flags_long(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    flag_names(cx, out, |name| name.long)
}

fn flag_names(cx: &FormatCx<'_>, out: &mut Vec<u8>, pick: fn(crate::FlagName) -> &'static str) -> Written {
    let flags = cx.stream.info.flags;
    if flags.is_empty() {
        out.push(b'-');
        return Written::Plain;
    }
    for (index, name) in flags.names().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(pick(name).as_bytes());
    }
    Written::Plain
}

pub(super) fn downstream_close_type(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::word(out, cx.stream.info.downstream_close_type.name())
}

pub(super) fn route_name(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    match cx.stream.route.as_ref().and_then(|route| route.view()) {
        Some(route) => write::non_empty(out, route.name()),
        None => Written::Absent,
    }
}

pub(super) fn route_resolutions(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::decimal(out, u64::from(cx.stream.info.route_resolutions))
}

pub(super) fn virtual_cluster(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::non_empty(out, cx.stream.info.virtual_cluster.as_deref().unwrap_or_default())
}

/// The request's ID, by which its lines and spans are found. Attempts have none.
pub(super) fn stream_id(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    if cx.stream.info.moment.is_of_attempt() {
        return Written::Absent;
    }
    let id = cx.stream.request.get(Known::XRequestId).unwrap_or_default();
    out.extend_from_slice(id);
    Written::text_if(!id.is_empty())
}

pub(super) fn local_reply_body(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    out.extend_from_slice(cx.local_reply_body);
    Written::Text
}

/// Flags that extensions define; there are none, and none prints as an empty text.
pub(super) fn custom_flags(_: &FormatCx<'_>, _: &mut Vec<u8>) -> Written {
    Written::Text
}
