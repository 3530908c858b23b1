//! Listeners that only this process connects to (`internal_listener`): connections come from clusters of the same worker,
//! without sockets.

use crate::{
    config::ListenerConfig,
    disabled::is_off,
    inspect::Seen,
    listener::{Accepted, Listener},
};
use nuncio_core::{
    internal::{InternalListener, InternalListeners, LOCAL_IP, Passed, REMOTE_IP},
    metadata::MetadataValue,
};
use nuncio_rt::{Address, InternalAddress, Io, Time};
use nuncio_stats::tables::listener::DOWNSTREAM_PRE_CX_ACTIVE;
use std::{
    rc::{Rc, Weak},
    sync::Arc,
};

/// Where metadata say which address a connection was for.
const ORIGINAL_DST: &str = "envoy.filters.listener.original_dst";

impl Listener {
    fn door(self: &Rc<Self>) -> Weak<dyn InternalListener> {
        let door: Rc<dyn InternalListener> = self.clone();
        Rc::downgrade(&door)
    }

    /// Lets the worker's clusters connect.
    pub(crate) fn open_door(self: &Rc<Self>) {
        let name = self.current.borrow().config.name.clone();
        InternalListeners::of(&self.shared.worker).open(name, self.door());
    }

    /// Only this process connects to it.
    pub(crate) fn is_internal(&self) -> bool {
        self.current.borrow().config.internal_buffer_bytes.is_some()
    }

    /// Lets nobody connect any more.
    pub(crate) fn close_door(self: &Rc<Self>) {
        InternalListeners::of(&self.shared.worker).close(&self.door());
    }
}

impl InternalListener for Listener {
    fn connect(self: Rc<Self>, to: &Arc<InternalAddress>, passed: Passed) -> Io {
        let set = self.current.borrow().clone();
        let (theirs, io) = nuncio_rt::pair(set.config.internal_buffer_bytes.unwrap_or_default());
        // Without a place it is closed at once, as any connection is.
        if let Some(places) = self.counts.take_places(false) {
            self.counts.listener.gauge_add(self.counts.lane, DOWNSTREAM_PRE_CX_ACTIVE, 0);
            let (local, remote) = (Address::Internal(to.clone()), InternalAddress::client());
            let mut accepted = Accepted { io, local, remote, start: Time::now(), places, proxy: None, taken_at: None, source: None, passed: None };
            restore(&set.config, &mut accepted, &passed);
            accepted.passed = Some(passed);
            self.begin(&set, accepted, Seen::default());
        }
        theirs
    }
}

/// Takes the addresses that objects of the filter state or metadata say for the connection's (the original_dst filter).
fn restore(config: &ListenerConfig, accepted: &mut Accepted, passed: &Passed) {
    if !config.original_dst || is_off(config.disabled.original_dst.as_ref(), &accepted.local) {
        return;
    }
    let object = |key: &str| {
        let object = passed.objects.iter().find(|held| *held.key == *key)?;
        std::str::from_utf8(&object.value).ok()?.parse().ok().map(Address::Ip)
    };
    let metadata = || match passed.metadata.get(ORIGINAL_DST)?.at(["local"])? {
        MetadataValue::Text(text) => text.parse().ok().map(Address::Ip),
        _ => None,
    };
    if let Some(local) = object(LOCAL_IP).or_else(metadata) {
        accepted.taken_at = Some(std::mem::replace(&mut accepted.local, local));
    }
    accepted.source = object(REMOTE_IP);
}
