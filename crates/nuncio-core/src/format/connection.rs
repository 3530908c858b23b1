//! Facts of the client's connection other than addresses.

use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written},
    write,
};
use nuncio_codec::headers::HeaderMap;

pub(super) fn id(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::decimal(out, cx.stream.conn.id)
}

pub(super) fn filter_chain(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::non_empty(out, &cx.stream.conn.filter_chain)
}

pub(super) fn listener(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::non_empty(out, &cx.stream.conn.listener)
}

pub(super) fn ja3(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::non_empty(out, cx.stream.conn.fingerprints.as_ref().map_or("", |made| &made.ja3))
}

pub(super) fn ja4(cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
    write::non_empty(out, cx.stream.conn.fingerprints.as_ref().map_or("", |made| &made.ja4))
}

/// Which of server name and host is asked first.
#[derive(Debug, Clone, Copy)]
enum Order {
    SniOnly,
    SniFirst,
    HostFirst,
}

/// Which host header counts.
#[derive(Debug, Clone, Copy)]
enum Host {
    /// As the client sent it, else as it is now.
    OriginalOrCurrent,
    Current,
    Original,
}

/// `%REQUESTED_SERVER_NAME([SNI_ONLY|SNI_FIRST|HOST_FIRST][:ORIG_OR_HOST|HOST|ORIG])%`.
#[derive(Debug)]
struct ServerName {
    order: Order,
    host: Host,
}

pub(super) fn requested_server_name(args: Args<'_>) -> Result<Command, String> {
    let mut parts = args.params.split(':');
    let order = match parts.next().unwrap_or_default() {
        "" | "SNI_ONLY" => Order::SniOnly,
        "SNI_FIRST" => Order::SniFirst,
        "HOST_FIRST" => Order::HostFirst,
        other => {
            return Err(format!(
                "Invalid REQUESTED_SERVER_NAME option: '{other}', only 'SNI_ONLY'/'SNI_FIRST'/'HOST_FIRST' are allowed"
            ));
        }
    };
    let host = match parts.next() {
        None | Some("ORIG_OR_HOST") => Host::OriginalOrCurrent,
        Some("HOST") => Host::Current,
        Some("ORIG") => Host::Original,
        Some(other) => {
            return Err(format!(
                "Invalid REQUESTED_SERVER_NAME option: '{other}', only 'ORIG_OR_HOST'/'HOST'/'ORIG' are allowed"
            ));
        }
    };
    Ok(Command::with(ServerName { order, host }))
}

impl ServerName {
    fn host<'a>(&self, request: &'a HeaderMap) -> Option<&'a [u8]> {
        let original = || request.get("x-envoy-original-host");
        match self.host {
            Host::Original => original(),
            Host::Current => request.authority(),
            Host::OriginalOrCurrent => original().or_else(|| request.authority()),
        }
    }
}

impl Parametric for ServerName {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let sni = cx.stream.conn.server_name.as_deref().map(str::as_bytes);
        let host = || self.host(&cx.stream.request);
        let name = match self.order {
            Order::SniOnly => sni,
            Order::SniFirst => sni.or_else(host),
            Order::HostFirst => host().or(sni),
        };
        out.extend_from_slice(name.unwrap_or_default());
        Written::text_if(name.is_some_and(|name| !name.is_empty()))
    }
}
