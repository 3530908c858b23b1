//! What the connection manager does to a response's headers before they are sent: hop-by-hop headers, `date`,
//! `server`, `via`, request id. Order as Envoy's `encodeHeaders`.

use crate::config::{HcmConfig, ServerHeader};
use nuncio_codec::{
    date::DateCache,
    headers::{Known, KnownSet},
};
use nuncio_core::StreamCx;
use nuncio_rt::Time;

/// Headers of this hop.
const HOP: KnownSet = KnownSet::of(&[Known::TransferEncoding, Known::KeepAlive, Known::ProxyConnection]);
/// Headers of this hop that an upgrade needs.
const UPGRADE_HOP: KnownSet = KnownSet::of(&[Known::Connection, Known::Upgrade]);

/// Prepares a response's headers. `upgrade` keeps `connection` and `upgrade` (101).
pub(crate) fn condition(cx: &mut StreamCx, config: &HcmConfig, date: &mut DateCache, now: Time, upgrade: bool) {
    let head = &mut cx.response;
    if !upgrade {
        head.remove_all(&UPGRADE_HOP);
    }
    head.remove_all(&HOP);
    if config.request_id_in_response || cx.request.contains(Known::XEnvoyForceTrace) {
        match cx.request.get(Known::XRequestId) {
            Some(id) => head.insert(Known::XRequestId, id),
            None => {}
        }
    }
    if !config.via.is_empty() {
        head.append_joined(Known::Via, ", ", config.via.as_bytes());
    }
    if !head.contains(Known::Date) {
        let text = *date.at(cx.worker.clock.unix_seconds(now));
        head.insert(Known::Date, text);
    }
    match config.server_header {
        ServerHeader::Overwrite => head.insert(Known::Server, config.server_name.as_bytes()),
        ServerHeader::AppendIfAbsent => drop(head.add_if_absent(Known::Server, config.server_name.as_bytes())),
        ServerHeader::PassThrough => {}
    }
}
