//! Requests for another protocol on the same connection (`connection: upgrade`, CONNECT): which are let through, and
//! with which filters. As Envoy's `createUpgradeFilterChain`.

use super::chain::Chain;
use crate::hcm::HcmWorker;
use crate::routes::Action;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::StreamCx;
use std::rc::Rc;

/// The protocol that a request wants to go on with, if any.
pub(super) fn wanted(head: &HeaderMap) -> Option<&str> {
    if head.is_connect() {
        return Some("CONNECT");
    }
    let token = |list: &[u8]| list.split(|b| *b == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let kind = head.get_str(Known::Upgrade)?;
    head.get_all(Known::Connection).any(token).then_some(kind)
}

/// Whether the connection manager or the request's route allows the upgrade; the route has the last word.
pub(super) fn allowed(cx: &StreamCx, hcm: &HcmWorker, kind: &str) -> bool {
    let entry = cx.route.as_ref().and_then(|route| hcm.routes.table().get(route.id));
    let of_route = entry.and_then(|entry| match &entry.route.action {
        Action::Forward(action) => action.more.as_ref()?.upgrades.iter().find(|upgrade| upgrade.kind.eq_ignore_ascii_case(kind)),
        _ => None,
    });
    match of_route {
        Some(of_route) => of_route.enabled,
        None => hcm.config.upgrades.iter().any(|upgrade| upgrade.enabled && upgrade.kind.eq_ignore_ascii_case(kind)),
    }
}

/// The filters of an upgrade that has its own.
pub(super) fn chain(cx: &StreamCx, hcm: &HcmWorker) -> Option<Rc<Chain>> {
    if hcm.config.upgrades.is_empty() {
        return None;
    }
    let kind = wanted(&cx.request)?;
    let at = hcm.config.upgrades.iter().position(|upgrade| upgrade.kind.eq_ignore_ascii_case(kind))?;
    let chains = hcm.upgrade_chains.get(at)?.as_ref()?;
    Some(chains.of(hcm.routes.table(), cx.route.as_ref()))
}

/// Whether the request asks for WebSocket: an answer of 200 is then none.
pub(crate) fn is_websocket(head: &HeaderMap) -> bool {
    !head.is_connect() && wanted(head).is_some_and(|kind| kind.eq_ignore_ascii_case("websocket"))
}

/// Whether the response's head in `cx` ends HTTP on the connection.
pub(crate) fn is_tunnel(cx: &StreamCx) -> bool {
    match cx.response.status() {
        Some(101) => wanted(&cx.request).is_some(),
        Some(200..=299) => cx.request.is_connect(),
        _ => false,
    }
}
