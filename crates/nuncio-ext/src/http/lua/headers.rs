//! Headers and trailers, as scripts see them.

use super::shared::{Shared, Side};
use mlua::{Lua, MetaMethod, MultiValue, UserData, UserDataMethods, Value};
use nuncio_codec::headers::{HeaderMap, HeaderName};
use nuncio_core::StreamCx;
use std::rc::Rc;

/// One of the exchange's maps.
pub(super) struct Headers {
    pub(super) shared: Rc<Shared>,
    pub(super) trailers: bool,
}

/// The map of a side.
pub(super) fn map(cx: &mut StreamCx, side: Side, trailers: bool) -> &mut HeaderMap {
    match (side, trailers) {
        (Side::Request, false) => &mut cx.request,
        (Side::Request, true) => &mut cx.request_trailers,
        (Side::Response, false) => &mut cx.response,
        (Side::Response, true) => &mut cx.response_trailers,
    }
}

/// Whether bytes may stand in a header's value (rfc9110#5.5).
pub(super) fn is_value(value: &[u8]) -> bool {
    value.iter().all(|b| *b == b'\t' || *b >= 0x20 && *b != 0x7f)
}

fn name(text: &mlua::LuaString) -> mlua::Result<HeaderName> {
    let text = text.to_string_lossy();
    HeaderName::new(&text).ok_or_else(|| mlua::Error::runtime(format!("`{text}` is not a header name")))
}

impl Headers {
    fn look<T>(&self, look: impl FnOnce(&mut HeaderMap) -> T) -> mlua::Result<T> {
        self.shared.with(|cx| look(map(cx, self.shared.side, self.trailers)))
    }

    fn change(&self, key: &mlua::LuaString, value: Option<&mlua::LuaString>, change: impl FnOnce(&mut HeaderMap, &HeaderName, &[u8])) -> mlua::Result<()> {
        let name = name(key)?;
        let value = value.map(|value| value.as_bytes().to_vec()).unwrap_or_default();
        if !is_value(&value) {
            return Err(mlua::Error::runtime(format!("the value of `{}` cannot be sent", name.as_str())));
        }
        if self.shared.side == Side::Request && !self.trailers {
            self.shared.asked.borrow_mut().changed = true;
        }
        self.look(|map| change(map, &name, &value))
    }
}

impl UserData for Headers {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, key: mlua::LuaString| {
            let found = this.look(|map| map.get_all(&*key.as_bytes()).map(<[u8]>::to_vec).collect::<Vec<_>>())?;
            if found.is_empty() { Ok(Value::Nil) } else { Ok(Value::String(lua.create_string(found.join(&b','))?)) }
        });
        methods.add_method("getAtIndex", |lua, this, (key, index): (mlua::LuaString, i64)| {
            let found = this.look(|map| map.get_all(&*key.as_bytes()).nth(usize::try_from(index).ok()?).map(<[u8]>::to_vec))?;
            found.map_or(Ok(Value::Nil), |value| Ok(Value::String(lua.create_string(value)?)))
        });
        methods.add_method("getNumValues", |_, this, key: mlua::LuaString| this.look(|map| map.get_all(&*key.as_bytes()).count() as i64));
        methods.add_method("add", |_, this, (key, value): (mlua::LuaString, mlua::LuaString)| {
            this.change(&key, Some(&value), |map, name, value| map.append(name, value))
        });
        methods.add_method("replace", |_, this, (key, value): (mlua::LuaString, mlua::LuaString)| {
            this.change(&key, Some(&value), |map, name, value| map.insert(name, value))
        });
        methods.add_method("remove", |_, this, key: mlua::LuaString| {
            this.change(&key, None, |map, name, _| {
                map.remove(name);
            })
        });
        methods.add_method("setHttp1ReasonPhrase", |_, _, _: mlua::LuaString| -> mlua::Result<()> {
            Err(mlua::Error::runtime("setHttp1ReasonPhrase is not built"))
        });
        methods.add_meta_method(MetaMethod::Pairs, |lua: &Lua, this, ()| {
            let fields = this.look(|map| map.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect::<Vec<_>>())?;
            let mut fields = fields.into_iter();
            let next = lua.create_function_mut(move |lua, _: MultiValue| match fields.next() {
                Some((name, value)) => Ok((Value::String(lua.create_string(name)?), Value::String(lua.create_string(value)?))),
                None => Ok((Value::Nil, Value::Nil)),
            })?;
            Ok((next, Value::Nil, Value::Nil))
        });
    }
}
