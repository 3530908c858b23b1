//! The stream handle: what `envoy_on_request` and `envoy_on_response` are called with.
//!
//! Methods that may have to wait are in `prelude.lua`; those with `__` are for it only.

use super::headers::{Headers, is_value, map};
use super::info::{Connection, Fields, Info, of_route};
use super::shared::{Shared, Side};
use base64::{Engine, engine::general_purpose::STANDARD};
use mlua::{Lua, MetaMethod, Table, UserData, UserDataMethods, Value};
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{ClientRequest, LocalReply, OverrideHost};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{collections::BTreeMap, rc::Rc};

/// Where the VM keeps the prelude's functions.
pub(super) const PRELUDE: &str = "nuncio.prelude";

/// The handle.
pub(super) struct Handle {
    pub(super) shared: Rc<Shared>,
    pub(super) context: BTreeMap<String, MetadataValue>,
}

/// A body, or a piece of one.
struct Bytes {
    shared: Rc<Shared>,
    piece: bool,
}

impl Bytes {
    fn look<T>(&self, look: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut message = self.shared.message.borrow_mut();
        let message = &mut *message;
        look(if self.piece { &mut message.current } else { &mut message.body })
    }
}

impl UserData for Bytes {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("length", |_, this, ()| Ok(this.look(|bytes| bytes.len() as i64)));
        methods.add_method("getBytes", |lua, this, (index, length): (i64, i64)| {
            let found = this.look(|bytes| {
                let from = usize::try_from(index).ok()?;
                let to = from.checked_add(usize::try_from(length).ok()?)?;
                bytes.get(from..to).map(<[u8]>::to_vec)
            });
            let found = found.ok_or_else(|| mlua::Error::runtime("index/length must be >= 0 and (index + length) must be <= buffer size"))?;
            lua.create_string(found)
        });
        methods.add_method("setBytes", |_, this, bytes: mlua::LuaString| {
            let bytes = bytes.as_bytes().to_vec();
            let length = bytes.len() as i64;
            this.look(|held| *held = bytes);
            if this.piece {
                this.shared.message.borrow_mut().changed = true;
                return Ok(length);
            }
            this.shared.message.borrow_mut().replaced = true;
            let side = this.shared.side;
            this.shared.with(|cx| map(cx, side, false).set_with(Known::ContentLength, |v| v.decimal(length.unsigned_abs())))?;
            Ok(length)
        });
    }
}

/// Headers of a table: values are texts or lists of texts.
fn fields(table: &Table) -> mlua::Result<Vec<(String, Vec<u8>)>> {
    let mut made = Vec::new();
    for pair in table.pairs::<mlua::LuaString, Value>() {
        let (name, value) = pair?;
        let name = name.to_string_lossy();
        let values = match value {
            Value::Table(list) => list.sequence_values::<mlua::LuaString>().collect::<mlua::Result<Vec<_>>>()?,
            Value::String(text) => vec![text],
            Value::Integer(n) => {
                made.push((name, n.to_string().into_bytes()));
                continue;
            }
            other => return Err(mlua::Error::runtime(format!("the header `{name}` is a {}", other.type_name()))),
        };
        for value in values {
            let value = value.as_bytes().to_vec();
            if HeaderName::new(&name).is_none() || !is_value(&value) {
                return Err(mlua::Error::runtime(format!("the header `{name}` cannot be sent")));
            }
            made.push((name.to_ascii_lowercase(), value));
        }
    }
    // Pairs of a table come in no order.
    made.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(made)
}

fn respond(shared: &Shared, headers: &Table, body: Option<mlua::LuaString>) -> mlua::Result<()> {
    if shared.side == Side::Response {
        return Err(mlua::Error::runtime("respond not currently supported in the response path"));
    }
    if shared.message.borrow().passed {
        return Err(mlua::Error::runtime("respond() cannot be called if headers have been continued"));
    }
    let headers = fields(headers)?;
    let status = headers.iter().find(|(name, _)| name == ":status");
    let status = status.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<u16>().ok()).filter(|status| *status >= 200);
    let status = status.ok_or_else(|| mlua::Error::runtime(":status must be between 200-599"))?;
    let mut reply = LocalReply::new(status, "lua_response").body(body.map(|body| body.to_string_lossy()).unwrap_or_default());
    for (name, value) in headers.into_iter().filter(|(name, _)| !name.starts_with(':') && name != "content-length" && name != "transfer-encoding") {
        reply = reply.header(name, String::from_utf8_lossy(&value));
    }
    shared.asked.borrow_mut().reply = Some(Box::new(reply));
    Ok(())
}

/// True if the script waits for the answer.
fn call(shared: &Shared, cluster: &str, headers: &Table, body: Option<mlua::LuaString>, options: &Table) -> mlua::Result<bool> {
    let known = shared.with(|cx| cx.worker.http_client().is_some_and(|client| client.stat_name(cluster).is_some()))?;
    if !known {
        return Err(mlua::Error::runtime("http call cluster invalid. Must be configured"));
    }
    let timeout = options.get::<Option<f64>>("timeout_ms")?.unwrap_or(0.0);
    if timeout < 0.0 {
        return Err(mlua::Error::runtime("http call timeout must be >= 0"));
    }
    let mut head = HeaderMap::default();
    for (name, value) in fields(headers)? {
        head.append(name.as_bytes(), value);
    }
    if head.method().is_none() || head.path().is_none() || head.authority().is_none() {
        return Err(mlua::Error::runtime("http call headers must include ':path', ':method', and ':authority'"));
    }
    if head.scheme().is_none() {
        head.insert(Known::Scheme, "http");
    }
    let body = body.map(|body| body.as_bytes().to_vec()).unwrap_or_default();
    head.remove(Known::TransferEncoding);
    match body.len() as u64 {
        0 => drop(head.remove(Known::ContentLength)),
        length => head.set_with(Known::ContentLength, |v| v.decimal(length)),
    }
    let request = ClientRequest {
        cluster: cluster.into(),
        head,
        body,
        timeout: Duration::from_millis(timeout as u64),
        forwarded_for: options.get::<Option<bool>>("send_xff")?.unwrap_or(true),
        ..ClientRequest::default()
    };
    let mut asked = shared.asked.borrow_mut();
    if options.get::<Option<bool>>("asynchronous")?.unwrap_or(false) {
        asked.calls_aside.push(request);
        return Ok(false);
    }
    asked.all_values = options.get::<Option<bool>>("return_duplicate_headers")?.unwrap_or(false);
    asked.call = Some(request);
    Ok(true)
}

/// Headers and body of the answer to a call.
fn answer(lua: &Lua, shared: &Shared) -> mlua::Result<(Table, Value)> {
    let (headers, body) = shared.asked.borrow_mut().answer.take().unwrap_or_default();
    let all = shared.asked.borrow().all_values;
    let table = lua.create_table()?;
    for (name, value) in headers {
        let value = lua.create_string(value)?;
        match table.get::<Value>(name.as_str())? {
            Value::Table(list) if all => list.push(value)?,
            Value::String(first) if all => table.set(name, lua.create_sequence_from([first, value])?)?,
            _ => table.set(name, value)?,
        }
    }
    let body = if body.is_empty() { Value::Nil } else { Value::String(lua.create_string(body)?) };
    Ok((table, body))
}

fn since_epoch(resolution: Option<&str>) -> mlua::Result<u128> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(match resolution.unwrap_or("millisecond") {
        "millisecond" => now.as_millis(),
        "microsecond" => now.as_micros(),
        "nanosecond" => now.as_nanos(),
        _ => return Err(mlua::Error::runtime("timestamp format must be MILLISECOND, MICROSECOND or NANOSECOND")),
    })
}

impl UserData for Handle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_function(MetaMethod::Index, |lua, (_, key): (Value, Value)| {
            lua.named_registry_value::<Table>(PRELUDE)?.get::<Value>(key)
        });
        methods.add_method("headers", |_, this, ()| Ok(Headers { shared: this.shared.clone(), trailers: false }));
        methods.add_method("metadata", |_, this, ()| of_route(&this.shared));
        methods.add_method("filterContext", |_, this, ()| Ok(Fields(this.context.clone())));
        methods.add_method("streamInfo", |_, this, ()| Ok(Info(this.shared.clone())));
        methods.add_method("connection", |_, this, ()| Ok(Connection(this.shared.clone())));
        methods.add_method("clearRouteCache", |_, this, ()| this.shared.with(|cx| cx.route_is_stale = this.shared.side == Side::Request));
        methods.add_method("base64Escape", |_, _, text: mlua::LuaString| Ok(STANDARD.encode(&*text.as_bytes())));
        methods.add_method("timestamp", |_, _, resolution: Option<String>| Ok(since_epoch(resolution.as_deref())? as f64));
        methods.add_method("timestampString", |_, _, resolution: Option<String>| Ok(since_epoch(resolution.as_deref())?.to_string()));
        for (name, level) in [
            ("logTrace", log::Level::Trace),
            ("logDebug", log::Level::Debug),
            ("logInfo", log::Level::Info),
            ("logWarn", log::Level::Warn),
            ("logErr", log::Level::Error),
            ("logCritical", log::Level::Error),
        ] {
            methods.add_method(name, move |_, _, text: mlua::LuaString| {
                log::log!(target: "lua", level, "script log: {}", text.to_string_lossy());
                Ok(())
            });
        }
        methods.add_method("setUpstreamOverrideHost", |_, this, (host, strict): (mlua::LuaString, Option<bool>)| {
            let address: SocketAddr = host.to_string_lossy().parse().map_err(|_| mlua::Error::runtime("host is not a valid IP address"))?;
            let strict = strict.unwrap_or(false).then_some(503);
            this.shared.with(|cx| cx.override_host = Some(Box::new(OverrideHost { address: address.to_string().into(), strict })))
        });
        for name in ["importPublicKey", "verifySignature"] {
            methods.add_method(name, move |_, _, _: mlua::MultiValue| -> mlua::Result<()> {
                Err(mlua::Error::runtime(format!("{name} is not built")))
            });
        }
        methods.add_method("__needs_body", |_, this, ()| {
            let message = this.shared.message.borrow();
            if message.passed || message.streamed {
                return Err(mlua::Error::runtime("cannot call body() after body streaming has started"));
            }
            Ok(!message.whole && !message.ended)
        });
        methods.add_method("__body", |lua, this, wrap: Option<bool>| {
            let none = this.shared.message.borrow().body.is_empty() && !wrap.unwrap_or(false);
            if none { Ok(Value::Nil) } else { Ok(Value::UserData(lua.create_userdata(Bytes { shared: this.shared.clone(), piece: false })?)) }
        });
        methods.add_method("__stream_body", |_, this, ()| {
            this.shared.message.borrow_mut().streamed = true;
            Ok(())
        });
        methods.add_method("__needs_chunk", |_, this, ()| {
            let message = this.shared.message.borrow();
            Ok(message.chunk.is_none() && !message.ended)
        });
        methods.add_method("__chunk", |lua, this, ()| {
            let chunk = this.shared.message.borrow_mut().chunk.take();
            let Some(chunk) = chunk else { return Ok(Value::Nil) };
            this.shared.message.borrow_mut().current = chunk;
            Ok(Value::UserData(lua.create_userdata(Bytes { shared: this.shared.clone(), piece: true })?))
        });
        methods.add_method("__needs_trailers", |_, this, ()| {
            let message = this.shared.message.borrow();
            Ok(!message.trailers && !message.ended)
        });
        methods.add_method("__trailers", |lua, this, ()| match this.shared.message.borrow().trailers {
            true => Ok(Value::UserData(lua.create_userdata(Headers { shared: this.shared.clone(), trailers: true })?)),
            false => Ok(Value::Nil),
        });
        methods.add_method("__respond", |_, this, (headers, body): (Table, Option<mlua::LuaString>)| respond(&this.shared, &headers, body));
        methods.add_method("__call", |_, this, (cluster, headers, body, options): (String, Table, Option<mlua::LuaString>, Table)| {
            call(&this.shared, &cluster, &headers, body, &options)
        });
        methods.add_method("__answer", |lua, this, ()| answer(lua, &this.shared));
    }
}
