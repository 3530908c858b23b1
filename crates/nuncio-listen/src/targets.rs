//! The listeners of a worker by address: where connections are handed over to that wanted to go there
//! (`use_original_dst`).

use crate::listener::Listener;
use nuncio_rt::Address;
use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::{Rc, Weak},
};

/// By address, those added last at the end.
#[derive(Default)]
pub(crate) struct Targets(RefCell<Vec<(SocketAddr, Weak<Listener>)>>);

impl Targets {
    pub(crate) fn add(&self, listener: &Rc<Listener>) {
        let ip = |address: &Address| match address {
            Address::Ip(address) => Some((*address, Rc::downgrade(listener))),
            Address::Pipe(_) | Address::Internal(_) => None,
        };
        self.0.borrow_mut().extend(listener.locals.iter().filter_map(ip));
    }

    pub(crate) fn remove(&self, listener: &Rc<Listener>) {
        self.0.borrow_mut().retain(|(_, held)| !std::ptr::eq(held.as_ptr(), Rc::as_ptr(listener)));
    }

    /// The listener on this address, or else on its port of every address.
    pub(crate) fn find(&self, wanted: SocketAddr) -> Option<Rc<Listener>> {
        let held = self.0.borrow();
        let any = |address: &SocketAddr| {
            address.ip().is_unspecified() && address.port() == wanted.port() && address.is_ipv4() == wanted.is_ipv4()
        };
        let found = held.iter().rev().find(|(address, _)| *address == wanted);
        found.or_else(|| held.iter().rev().find(|(address, _)| any(address)))?.1.upgrade()
    }
}
