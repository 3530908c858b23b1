//! Where a client wanted to go, when its connection was brought here instead.

use crate::{ConnInfo, proxy_protocol};
use nuncio_rt::Address;
use std::{net::SocketAddr, rc::Rc};

/// Where the address that took the connection is kept.
const PLACE: usize = usize::MAX - 3;

struct TakenAt(Address);

/// Notes that `conn.local` is the address that the client wanted, and not the one that took the connection.
pub fn attach(conn: &ConnInfo, taken_at: Address) {
    conn.attached.get(PLACE, || TakenAt(taken_at));
}

/// The IP address that took the connection, where that is not `conn.local` (`%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%`).
pub fn taken_at(conn: &ConnInfo) -> Option<SocketAddr> {
    let taken: Rc<TakenAt> = conn.attached.find(PLACE)?;
    match taken.0 {
        Address::Ip(address) => Some(address),
        Address::Pipe(_) | Address::Internal(_) => None,
    }
}

/// Where the client wanted to go, if the system or a proxy in front has said so.
pub fn restored(conn: &ConnInfo) -> Option<SocketAddr> {
    if conn.attached.find::<TakenAt>(PLACE).is_some()
        && let Address::Ip(address) = &conn.local
    {
        return Some(*address);
    }
    proxy_protocol::attached(conn)?.addresses.map(|(_, destination)| destination)
}
