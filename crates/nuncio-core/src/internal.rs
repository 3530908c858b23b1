//! Internal listeners: where this process connects to itself.
//!
//! Each worker knows those it has by name ([`InternalListeners`], one of its parts); whoever connects stays on its worker.
//! What goes along with a connection ([`Passed`]) is found by the filters of the listener as if earlier filters of theirs
//! had left it.

use crate::{StateObject, Worker, filter_state::Sharing, metadata::Metadata};
use nuncio_rt::{InternalAddress, Io};
use std::{
    cell::RefCell,
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
};

/// The object of the filter state that says which address a connection was for.
pub const LOCAL_IP: &str = "envoy.filters.listener.original_dst.local_ip";

/// The object of the filter state that says whom it came from.
pub const REMOTE_IP: &str = "envoy.filters.listener.original_dst.remote_ip";

/// A listener that the worker's own connections can be taken by.
pub trait InternalListener {
    /// Takes a connection to `to`; the end that is not the listener's.
    fn connect(self: Rc<Self>, to: &Arc<InternalAddress>, passed: Passed) -> Io;
}

/// What goes along with a connection to an internal listener (`internal_upstream`).
#[derive(Debug, Default)]
pub struct Passed {
    /// Metadata of host and cluster (`passthrough_metadata`).
    pub metadata: Metadata,
    /// Objects of the filter state that are shared with upstream connections, as the other side gets them.
    pub objects: Vec<StateObject>,
}

/// Those of one worker, by name.
#[derive(Default)]
pub struct InternalListeners(RefCell<HashMap<Arc<str>, Weak<dyn InternalListener>>>);

impl InternalListeners {
    /// The worker's.
    pub fn of(worker: &Worker) -> Rc<InternalListeners> {
        worker.parts.get().unwrap_or_else(|| {
            worker.parts.set(Rc::new(InternalListeners::default()));
            worker.parts.get().unwrap_or_default()
        })
    }

    /// This listener takes connections to `name` from now on.
    pub fn open(&self, name: Arc<str>, listener: Weak<dyn InternalListener>) {
        self.0.borrow_mut().insert(name, listener);
    }

    /// This listener takes no more connections; another of its name may.
    pub fn close(&self, listener: &Weak<dyn InternalListener>) {
        self.0.borrow_mut().retain(|_, held| !held.ptr_eq(listener));
    }

    /// Connects; `None` if there is no such listener.
    pub fn connect(&self, to: &Arc<InternalAddress>, passed: Passed) -> Option<Io> {
        let listener = self.0.borrow().get(&to.listener).and_then(Weak::upgrade)?;
        Some(listener.connect(to, passed))
    }
}

/// Objects that are shared with upstream connections, as these get them: what is shared once goes no further.
pub fn shared_objects<'a>(objects: impl Iterator<Item = &'a StateObject>) -> Vec<StateObject> {
    let passed = |object: &StateObject| {
        let shared = match object.shared {
            Sharing::None => return None,
            Sharing::Once => Sharing::None,
            Sharing::Transitive => Sharing::Transitive,
        };
        Some(StateObject { shared, ..object.clone() })
    };
    objects.filter_map(passed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_stats::Lane;

    struct Door(u8);

    impl InternalListener for Door {
        fn connect(self: Rc<Self>, _: &Arc<InternalAddress>, _: Passed) -> Io {
            nuncio_rt::pair(usize::from(self.0)).0
        }
    }

    #[test]
    fn a_listener_that_is_replaced_does_not_close_the_door_of_the_next() {
        let worker = Worker::new(0, Lane::worker(0));
        let listeners = InternalListeners::of(&worker);
        let to = Arc::new(InternalAddress { listener: "a".into(), endpoint: "".into() });
        let (old, new): (Rc<dyn InternalListener>, Rc<dyn InternalListener>) = (Rc::new(Door(0)), Rc::new(Door(1)));
        listeners.open("a".into(), Rc::downgrade(&old));
        listeners.open("a".into(), Rc::downgrade(&new));
        listeners.close(&Rc::downgrade(&old));
        assert!(InternalListeners::of(&worker).connect(&to, Passed::default()).is_some());
        drop((old, new));
        assert!(listeners.connect(&to, Passed::default()).is_none());
    }

    #[test]
    fn what_is_shared_once_is_not_shared_again() {
        let object = |key: &str, shared| StateObject { key: key.into(), shared, ..StateObject::default() };
        let objects = [object("n", Sharing::None), object("o", Sharing::Once), object("t", Sharing::Transitive)];
        let once = shared_objects(objects.iter());
        assert_eq!(once.iter().map(|object| &*object.key).collect::<Vec<_>>(), ["o", "t"]);
        let twice = shared_objects(once.iter());
        assert_eq!(twice.iter().map(|object| &*object.key).collect::<Vec<_>>(), ["t"]);
    }
}
