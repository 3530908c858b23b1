//! `socket_options`, of sockets that listen and of those that connect.

use crate::context::CompileCx;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_rt::{SocketOption, SocketState, SocketValue};

/// The field `socket_options` of the current message, for stream sockets.
pub(crate) fn socket_options(cx: &mut CompileCx<'_>, from: &[core::SocketOption]) -> Vec<SocketOption> {
    cx.each("socket_options", from, option)
}

fn option(cx: &mut CompileCx<'_>, from: &core::SocketOption) -> Option<SocketOption> {
    use core::socket_option::{SocketIpVersion, SocketState as State, SocketType, Value};
    let core::SocketOption { description, level, name, state, r#type, ip_version, value } = from;
    let value = match value.as_ref()? {
        Value::IntValue(n) => SocketValue::Int(*n),
        Value::BufValue(bytes) => SocketValue::Bytes(bytes.as_slice().into()),
    };
    let state = match State::try_from(*state).unwrap_or_default() {
        State::StatePrebind => SocketState::Prebind,
        State::StateBound => SocketState::Bound,
        State::StateListening => SocketState::Listening,
    };
    let only_v6 = match SocketIpVersion::try_from(*ip_version).unwrap_or_default() {
        SocketIpVersion::Unspecified => None,
        SocketIpVersion::Ipv4 => Some(false),
        SocketIpVersion::Ipv6 => Some(true),
    };
    let made = SocketOption { level: *level, name: *name, value, state, only_v6, description: description.clone() };
    if !made.is_supported() {
        cx.value_without_effect(&format!("socket option {level}/{name}"));
        return None;
    }
    // Where kinds of sockets are named, this must be one of them.
    let meant = |SocketType { stream, datagram }: &SocketType| stream.is_some() || datagram.is_none();
    r#type.as_ref().is_none_or(meant).then_some(made)
}
