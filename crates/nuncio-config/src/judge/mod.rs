//! Judging a configuration as Envoy judges it when it builds it, for every message of the API, built here or not.
//!
//! One walk over the wire bytes, by the descriptors, into every `Any`. At each message the rules of its type are applied
//! ([`rules`]: a table from message to function), and each extension is looked up where it stands ([`extensions`]).
//! What compiling reports by itself (clusters, listeners, connection managers, routes) is not judged again here.

mod extensions;
pub mod rules;

pub(crate) use extensions::is_registered;

use crate::context::CompileCx;
use crate::path::Step;
use nuncio_api::schema::{self, Field, Kind, Label, Message, Reader, WellKnown};

/// Nested messages, so that hostile bytes cannot exhaust the stack.
const MAX_DEPTH: usize = 100;

/// Judges a message given by its full name and wire bytes, below the current path.
pub fn judge(cx: &mut CompileCx<'_>, name: &str, bytes: &[u8]) {
    if let Some(message) = schema::message(name) {
        walk(cx, message, bytes, 0);
    }
    for secret in std::mem::take(&mut cx.static_secrets) {
        if secret.referenced {
            let path = Step::Text(secret.path.clone().into());
            cx.step(path, |cx| judge_secret(cx, &secret.bytes));
        }
    }
}

/// A static secret is read when something uses it.
fn judge_secret(cx: &mut CompileCx<'_>, bytes: &[u8]) {
    if let Some(message) = schema::message("envoy.extensions.transport_sockets.tls.v3.Secret") {
        walk(cx, message, bytes, 0);
    }
}

fn walk(cx: &mut CompileCx<'_>, message: &'static Message, bytes: &[u8], depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    rules::apply(cx, message.name, bytes);
    // Items of lists are counted by field; most messages have few fields set.
    let mut counts: Vec<(u32, usize)> = Vec::new();
    for (number, wire) in Reader::new(bytes) {
        let Some(field) = message.field_by_number(number) else { continue };
        let Kind::Message(_) = field.kind else { continue };
        let Some(inner) = field.kind.message() else { continue };
        let value = wire.bytes();
        match field.label {
            Label::Single => cx.at(field.name, |cx| one(cx, message, field, inner, (bytes, value), depth)),
            Label::Repeated => {
                let index = count(&mut counts, number);
                cx.item(field.name, index, |cx| one(cx, message, field, inner, (bytes, value), depth));
            }
            Label::Map => map_entry(cx, message, field, inner, (bytes, value), depth),
        }
    }
}

fn count(counts: &mut Vec<(u32, usize)>, number: u32) -> usize {
    if let Some((_, seen)) = counts.iter_mut().find(|(n, _)| *n == number) {
        *seen += 1;
        return *seen;
    }
    counts.push((number, 0));
    0
}

fn map_entry(
    cx: &mut CompileCx<'_>,
    holder: &'static Message,
    field: &'static Field,
    entry: &'static Message,
    (outer, bytes): (&[u8], &[u8]),
    depth: usize,
) {
    let Some(inner) = entry.field_by_number(2).and_then(|f| f.kind.message()) else { return };
    let (mut key, mut value) = ("", &[][..]);
    for (number, wire) in Reader::new(bytes) {
        match number {
            1 => key = wire.text(),
            2 => value = wire.bytes(),
            _ => {}
        }
    }
    cx.entry(field.name, key, |cx| one(cx, holder, field, inner, (outer, value), depth));
}

/// What Envoy does not build before it runs, and so does not judge when it validates.
const NOT_BUILT_WHEN_CHECKED: [(&str, &str); 8] = [
    ("envoy.config.bootstrap.v3.Bootstrap.DynamicResources", "lds_config"),
    ("envoy.config.bootstrap.v3.Bootstrap", "hds_config"),
    ("envoy.config.bootstrap.v3.ClusterManager", "load_stats_config"),
    ("envoy.config.bootstrap.v3.Bootstrap", "config_sources"),
    ("envoy.extensions.wasm.v3.WasmService", "config"),
    // Credentials of Google's gRPC library, made when a stream begins.
    ("envoy.config.core.v3.GrpcService", "google_grpc"),
    // Secrets are asked for later; what can be told before is a rule of its own.
    ("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig", "sds_config"),
    // Read when something uses them, see `judge`.
    ("envoy.config.bootstrap.v3.Bootstrap.StaticResources", "secrets"),
];

/// A message in a field of another; `bytes` are the holder's and its own.
fn one(
    cx: &mut CompileCx<'_>,
    holder: &'static Message,
    field: &'static Field,
    message: &'static Message,
    (outer, bytes): (&[u8], &[u8]),
    depth: usize,
) {
    if NOT_BUILT_WHEN_CHECKED.contains(&(holder.name, field.name)) {
        return;
    }
    if let Some(categories) = extensions::point(holder.name, field.name)
        && !extensions::check(cx, categories, holder, outer, message, bytes) {
            return;
        }
    match message.well_known {
        None => walk(cx, message, bytes, depth + 1),
        Some(WellKnown::Any) => any(cx, bytes, depth),
        Some(_) => {}
    }
}

fn any(cx: &mut CompileCx<'_>, bytes: &[u8], depth: usize) {
    let (url, value) = open_any(bytes);
    let Some(message) = schema::message(schema::type_name(url)) else { return };
    if let Some((meant, expanded)) = nuncio_api::expand_typed_struct(message, value) {
        return cx.step(Step::Field("value"), |cx| walk(cx, meant, &expanded, depth + 1));
    }
    if message.well_known.is_none() {
        walk(cx, message, value, depth + 1);
    }
}

/// Type URL and value of an `Any`.
fn open_any(bytes: &[u8]) -> (&str, &[u8]) {
    let (mut url, mut value) = ("", &[][..]);
    for (number, wire) in Reader::new(bytes) {
        match number {
            1 => url = wire.text(),
            2 => value = wire.bytes(),
            _ => {}
        }
    }
    (url, value)
}
