//! Connections to listeners of this process (`envoy_internal_address`), and what goes along with them
//! (`internal_upstream`).

use crate::{
    host::Host,
    info::ClusterCx,
    reset::{Reset, connect_failure},
    transport::{TransportOptions, UpstreamTransport},
};
use nuncio_core::{
    StateObject, StreamCx,
    internal::{InternalListeners, Passed, shared_objects},
};
use nuncio_rt::{InternalAddress, Io};
use nuncio_stats::tables::cluster_part::NO_METADATA;
use std::{
    hash::{Hash, Hasher},
    io,
    sync::Arc,
};

/// What there is no listener for is called so.
const EINVAL: i32 = 22;

/// `InternalUpstreamTransport`.
#[derive(Debug, PartialEq)]
pub struct InternalTransport {
    /// `passthrough_metadata`: namespaces, and of what.
    pub passthrough: Vec<(MetadataOf, Box<str>)>,
    /// `transport_socket`: what is spoken with the listener.
    pub inner: UpstreamTransport,
}

/// Whose metadata goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataOf {
    /// `host`
    Host,
    /// `cluster`
    Cluster,
}

/// Objects of the filter state that are shared with a connection. Connections are told apart by those that are hashable.
#[derive(Debug, Clone, Default)]
pub struct SharedObjects(Vec<StateObject>);

impl SharedObjects {
    /// What an exchange shares.
    pub fn of(cx: &StreamCx) -> SharedObjects {
        SharedObjects(shared_objects(cx.filter_state.iter()))
    }

    fn telling(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().filter(|object| object.hashable).map(|object| (&*object.key, &*object.value))
    }
}

impl PartialEq for SharedObjects {
    fn eq(&self, other: &SharedObjects) -> bool {
        self.telling().eq(other.telling())
    }
}

impl Eq for SharedObjects {}

impl Hash for SharedObjects {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.telling().for_each(|object| object.hash(state));
    }
}

impl ClusterCx {
    /// Connects to a listener of this worker.
    pub(crate) fn open_internal(
        &self,
        to: &Arc<InternalAddress>,
        host: &Host,
        transport: &UpstreamTransport,
        options: Option<&TransportOptions>,
    ) -> Result<Io, Reset> {
        let mut passed = Passed::default();
        if let UpstreamTransport::Internal(internal) = transport {
            for (of, namespace) in &internal.passthrough {
                let metadata = match of {
                    MetadataOf::Host => host.metadata.as_deref(),
                    MetadataOf::Cluster => self.info.config.metadata.as_deref(),
                };
                match metadata.and_then(|metadata| metadata.get(&**namespace)) {
                    Some(value) => drop(passed.metadata.insert(namespace.to_string(), value.clone())),
                    None => self.info.internal_stats.iter().for_each(|stats| stats.inc(self.worker.lane, NO_METADATA)),
                }
            }
            passed.objects = options.map_or_else(Vec::new, |options| options.shared.0.clone());
        }
        let connected = InternalListeners::of(&self.worker).connect(to, passed);
        // As Envoy's sockets say it.
        connected.ok_or_else(|| connect_failure(&io::Error::from_raw_os_error(EINVAL), &host.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashable_objects_tell_connections_apart() {
        let objects = |key: &str, value: &str, hashable| {
            SharedObjects(vec![StateObject { key: key.into(), value: value.into(), hashable, ..StateObject::default() }])
        };
        assert_eq!(objects("a", "1", false), objects("b", "2", false));
        assert_eq!(objects("a", "1", true), objects("a", "1", true));
        assert_ne!(objects("a", "1", true), objects("a", "2", true));
    }
}
