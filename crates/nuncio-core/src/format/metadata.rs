//! `%DYNAMIC_METADATA(…)%`, `%METADATA(…)%`, `%FILTER_STATE(…)%`: what filters have left, and what routes carry.

use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written, cut},
    unbuilt,
};
use crate::StateObject;
use crate::metadata::{self, Metadata, MetadataValue};

/// Whose metadata it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Stream,
    Route,
    VirtualHost,
    Cluster,
    Host,
    Listener,
    FilterChain,
}

/// A value found by its path.
#[derive(Debug)]
struct Value {
    of: Of,
    namespace: Box<str>,
    path: Box<[Box<str>]>,
    length: Option<usize>,
}

impl Parametric for Value {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let upstream = &cx.stream.info.upstream;
        let of_listener = matches!(self.of, Of::Listener | Of::FilterChain).then(|| metadata::attached(&cx.stream.conn)).flatten();
        let of: Option<&Metadata> = match self.of {
            Of::Stream => Some(&cx.stream.metadata),
            Of::Route => cx.stream.route.as_ref().and_then(|route| route.view()?.metadata()),
            Of::VirtualHost => cx.stream.route.as_ref().and_then(|route| route.view()?.virtual_host_metadata()),
            Of::Cluster => upstream.cluster.as_ref().and_then(|cluster| cluster.metadata.as_deref()),
            Of::Host => upstream.host.as_ref().and_then(|host| host.metadata.as_deref()),
            Of::Listener => of_listener.as_deref().and_then(|of| of.listener.as_deref()),
            Of::FilterChain => of_listener.as_deref().and_then(|of| of.filter_chain.as_deref()),
        };
        let found = of.and_then(|metadata| metadata.get(&*self.namespace)?.at(self.path.iter().map(|key| &**key)));
        let from = out.len();
        match found {
            None | Some(MetadataValue::Null) => Written::Absent,
            Some(MetadataValue::Text(text)) => {
                out.extend_from_slice(text.as_bytes());
                if !cx.typed {
                    cut(out, from, self.length);
                }
                Written::Text
            }
            Some(value) => {
                value.write_json(out);
                if !cx.typed {
                    cut(out, from, self.length);
                }
                Written::Number
            }
        }
    }
}

fn value(of: Of, path: &str, length: Option<usize>) -> Command {
    let mut keys = path.split(':');
    let namespace = keys.next().unwrap_or_default().into();
    Command::with(Value { of, namespace, path: keys.map(Into::into).collect(), length })
}

/// `%DYNAMIC_METADATA(namespace:key…):length%`.
pub(super) fn dynamic(args: Args<'_>) -> Result<Command, String> {
    Ok(value(Of::Stream, args.params, args.length))
}

/// `%CLUSTER_METADATA(namespace:key…)%`.
pub(super) fn cluster(args: Args<'_>) -> Result<Command, String> {
    Ok(value(Of::Cluster, args.params, args.length))
}

/// `%UPSTREAM_METADATA(namespace:key…)%`.
pub(super) fn host(args: Args<'_>) -> Result<Command, String> {
    Ok(value(Of::Host, args.params, args.length))
}

/// `%METADATA(TYPE:namespace:key…)%`.
pub(super) fn metadata(args: Args<'_>) -> Result<(Command, Option<&'static str>), String> {
    let (kind, rest) = args.params.split_once(':').unwrap_or((args.params, ""));
    match kind {
        "DYNAMIC" => Ok((value(Of::Stream, rest, args.length), None)),
        "ROUTE" => Ok((value(Of::Route, rest, args.length), None)),
        "CLUSTER" => Ok((value(Of::Cluster, rest, args.length), None)),
        "UPSTREAM_HOST" => Ok((value(Of::Host, rest, args.length), None)),
        "VIRTUAL_HOST" => Ok((value(Of::VirtualHost, rest, args.length), None)),
        "LISTENER" => Ok((value(Of::Listener, rest, args.length), None)),
        "LISTENER_FILTER_CHAIN" => Ok((value(Of::FilterChain, rest, args.length), None)),
        _ => Err(format!("{kind} is not supported type of metadata")),
    }
}

/// An object of the filter state.
#[derive(Debug)]
struct Object {
    key: Box<str>,
    /// As JSON would have it: a text in quotes.
    quoted: bool,
    length: Option<usize>,
}

impl Parametric for Object {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let Some(StateObject { value, json, .. }) = cx.stream.filter_state.object(&self.key) else { return Written::Absent };
        if *json && !self.quoted {
            return Written::Absent;
        }
        let from = out.len();
        if self.quoted && !cx.typed && !json {
            MetadataValue::Text(String::from_utf8_lossy(value).into_owned()).write_json(out);
        } else {
            out.extend_from_slice(value);
        }
        cut(out, from, self.length);
        Written::Text
    }
}

/// `%FILTER_STATE(key:PLAIN):length%`. Objects are texts, and have no fields.
pub(super) fn filter_state(args: Args<'_>) -> Result<Command, String> {
    unbuilt::filter_state(args)?;
    let mut parts = args.params.split(':');
    let key = parts.next().unwrap_or_default().into();
    Ok(match parts.next().unwrap_or("TYPED") {
        "FIELD" => Command::Absent,
        kind => Command::with(Object { key, quoted: kind == "TYPED", length: args.length }),
    })
}
