//! What scripts may know of the exchange beside its headers: `streamInfo()`, `metadata()`, `connection()`.

use super::shared::Shared;
use mlua::{Lua, MetaMethod, MultiValue, UserData, UserDataMethods, Value};
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{Certificate, NameKind, TlsFacts, hex};
use nuncio_rt::Address;
use std::{collections::BTreeMap, rc::Rc};

/// A value as Lua has it.
pub(super) fn to_lua(lua: &Lua, from: &MetadataValue) -> mlua::Result<Value> {
    Ok(match from {
        MetadataValue::Null => Value::Nil,
        MetadataValue::Bool(b) => Value::Boolean(*b),
        MetadataValue::Number(n) => Value::Number(*n),
        MetadataValue::Text(text) => Value::String(lua.create_string(text)?),
        MetadataValue::List(list) => {
            let table = lua.create_table()?;
            for value in list {
                table.push(to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
        MetadataValue::Struct(fields) => {
            let table = lua.create_table()?;
            for (key, value) in fields {
                table.set(key.as_str(), to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}

/// Depth of tables that become metadata.
const MAX_DEPTH: u32 = 32;

/// A value of Lua's; tables with a first item are lists.
fn of_lua(from: &Value, depth: u32) -> mlua::Result<MetadataValue> {
    Ok(match from {
        Value::Nil => MetadataValue::Null,
        Value::Boolean(b) => MetadataValue::Bool(*b),
        Value::Integer(n) => MetadataValue::Number(*n as f64),
        Value::Number(n) => MetadataValue::Number(*n),
        Value::String(text) => MetadataValue::Text(text.to_string_lossy()),
        Value::Table(_) if depth == 0 => return Err(mlua::Error::runtime("the table is too deep")),
        Value::Table(table) if table.raw_len() > 0 => {
            let list = table.sequence_values::<Value>().map(|value| of_lua(&value?, depth - 1));
            MetadataValue::List(list.collect::<mlua::Result<_>>()?)
        }
        Value::Table(table) => {
            let fields = table.pairs::<mlua::LuaString, Value>().map(|pair| {
                let (key, value) = pair?;
                Ok((key.to_string_lossy(), of_lua(&value, depth - 1)?))
            });
            MetadataValue::Struct(fields.collect::<mlua::Result<_>>()?)
        }
        _ => return Err(mlua::Error::runtime("this cannot become metadata")),
    })
}

/// Fields that a script looks up by name: metadata of routes, context of the filter.
pub(super) struct Fields(pub(super) BTreeMap<String, MetadataValue>);

fn pairs(lua: &Lua, fields: BTreeMap<String, MetadataValue>) -> mlua::Result<(mlua::Function, Value, Value)> {
    let mut fields = fields.into_iter();
    let next = lua.create_function_mut(move |lua, _: MultiValue| match fields.next() {
        Some((key, value)) => Ok((Value::String(lua.create_string(key)?), to_lua(lua, &value)?)),
        None => Ok((Value::Nil, Value::Nil)),
    })?;
    Ok((next, Value::Nil, Value::Nil))
}

impl UserData for Fields {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, key: String| this.0.get(&key).map_or(Ok(Value::Nil), |value| to_lua(lua, value)));
        methods.add_meta_method(MetaMethod::Pairs, |lua, this, ()| pairs(lua, this.0.clone()));
    }
}

/// The route's metadata for the filter.
pub(super) fn of_route(shared: &Shared) -> mlua::Result<Fields> {
    shared.with(|cx| {
        let view = cx.route.as_ref().and_then(|route| route.view());
        let metadata = view.and_then(|view| view.metadata());
        let names = [&*shared.filter, "envoy.filters.http.lua"];
        match names.iter().find_map(|name| metadata?.get(*name)) {
            Some(MetadataValue::Struct(fields)) => Fields(fields.clone()),
            _ => Fields(BTreeMap::new()),
        }
    })
}

/// `streamInfo()`
pub(super) struct Info(pub(super) Rc<Shared>);

/// `dynamicMetadata()`
struct Dynamic(Rc<Shared>);

/// `connection()`
pub(super) struct Connection(pub(super) Rc<Shared>);

impl UserData for Info {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        let address = |address: &Address| address.to_string();
        methods.add_method("protocol", |_, this, ()| this.0.with(|cx| cx.info.protocol.name()));
        methods.add_method("routeName", |_, this, ()| {
            this.0.with(|cx| cx.route.as_ref().and_then(|route| Some(route.view()?.name().to_owned())).unwrap_or_default())
        });
        methods.add_method("virtualClusterName", |_, this, ()| {
            this.0.with(|cx| cx.info.virtual_cluster.as_deref().unwrap_or_default().to_owned())
        });
        methods.add_method("requestedServerName", |_, this, ()| {
            this.0.with(|cx| cx.conn.server_name.as_deref().unwrap_or_default().to_owned())
        });
        methods.add_method("downstreamLocalAddress", move |_, this, ()| this.0.with(|cx| address(&cx.conn.local)));
        methods.add_method("downstreamDirectRemoteAddress", move |_, this, ()| this.0.with(|cx| address(&cx.conn.direct_remote)));
        methods.add_method("downstreamRemoteAddress", move |_, this, ()| {
            this.0.with(|cx| address(cx.info.remote.as_ref().unwrap_or(&cx.conn.remote)))
        });
        methods.add_method("dynamicMetadata", |_, this, ()| Ok(Dynamic(this.0.clone())));
        methods.add_method("downstreamSslConnection", |lua, this, ()| ssl(lua, &this.0));
    }
}

impl UserData for Dynamic {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, namespace: String| {
            let found = this.0.with(|cx| cx.metadata.get(&*namespace).cloned())?;
            found.map_or(Ok(Value::Nil), |value| to_lua(lua, &value))
        });
        methods.add_method("set", |_, this, (namespace, key, value): (String, String, Value)| {
            let value = of_lua(&value, MAX_DEPTH)?;
            this.0.with(|cx| match cx.metadata.entry(namespace).or_insert_with(|| MetadataValue::Struct(BTreeMap::new())) {
                MetadataValue::Struct(fields) => drop(fields.insert(key, value)),
                other => *other = MetadataValue::Struct(BTreeMap::from([(key, value)])),
            })
        });
        methods.add_meta_method(MetaMethod::Pairs, |lua, this, ()| {
            let all = this.0.with(|cx| cx.metadata.iter().map(|(key, value)| (key.to_string(), value.clone())).collect())?;
            pairs(lua, all)
        });
    }
}

/// `ssl()`
struct Tls(Rc<TlsFacts>);

/// Nothing on plain connections.
fn ssl(lua: &Lua, shared: &Shared) -> mlua::Result<Value> {
    match shared.with(|cx| cx.conn.tls_facts.clone())? {
        Some(facts) => Ok(Value::UserData(lua.create_userdata(Tls(facts))?)),
        None => Ok(Value::Nil),
    }
}

impl UserData for Tls {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        type Fact = fn(&Certificate) -> String;
        type Names = NameKind;
        methods.add_method("peerCertificatePresented", |_, this, ()| Ok(!this.0.peer.is_empty()));
        methods.add_method("peerCertificateValidated", |_, this, ()| Ok(this.0.validated));
        methods.add_method("tlsVersion", |_, this, ()| Ok(this.0.version));
        methods.add_method("ciphersuiteString", |_, this, ()| Ok(this.0.cipher));
        let of_peer: [(&str, Fact); 6] = [
            ("sha256PeerCertificateDigest", |peer| hex(&peer.sha256)),
            ("serialNumberPeerCertificate", |peer| peer.serial.clone()),
            ("issuerPeerCertificate", |peer| peer.issuer.clone()),
            ("subjectPeerCertificate", |peer| peer.subject.clone()),
            ("urlEncodedPemEncodedPeerCertificate", Certificate::url_encoded_pem),
            ("urlEncodedPemEncodedPeerCertificateChain", Certificate::url_encoded_pem),
        ];
        for (name, fact) in of_peer {
            let chain = name.ends_with("Chain");
            methods.add_method(name, move |_, this, ()| {
                let shown = if chain { this.0.peer.len() } else { 1 };
                Ok(this.0.peer.iter().take(shown).map(|peer| fact(peer)).collect::<String>())
            });
        }
        methods.add_method("subjectLocalCertificate", |_, this, ()| Ok(this.0.local.as_ref().map(|own| own.subject.clone()).unwrap_or_default()));
        methods.add_method("validFromPeerCertificate", |_, this, ()| Ok(this.0.peer.first().map(|peer| peer.valid_from)));
        methods.add_method("expirationPeerCertificate", |_, this, ()| Ok(this.0.peer.first().map(|peer| peer.expires)));
        let lists: [(&str, bool, Names); 4] = [
            ("uriSanPeerCertificate", true, NameKind::Uri),
            ("dnsSansPeerCertificate", true, NameKind::Dns),
            ("uriSanLocalCertificate", false, NameKind::Uri),
            ("dnsSansLocalCertificate", false, NameKind::Dns),
        ];
        for (name, peer, kind) in lists {
            methods.add_method(name, move |_, this, ()| {
                let certificate = if peer { this.0.peer.first() } else { this.0.local.as_ref() };
                Ok(certificate.map(|certificate| certificate.names_of(&kind).map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default())
            });
        }
    }
}

impl UserData for Connection {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("ssl", |lua, this, ()| ssl(lua, &this.0));
    }
}
