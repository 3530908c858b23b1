//! Network filters: those that stand before the filter that ends a chain, and decide over connections.
//!
//! A filter returns verdicts, as HTTP filters do; only the listener acts. What filters leave for whoever ends the chain
//! (metadata, filter state, why the connection was closed) is [`LeftByFilters`], kept with the connection.

use crate::{ConnInfo, FilterConfig, FilterState, LocalFuture, Posture, ResponseFlags, StateObject, StreamCx, Terminal};
use crate::build::{BuildCx, ConfigError};
use crate::internal::Passed;
use crate::metadata::{Metadata, MetadataValue};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    rc::Rc,
    sync::Arc,
};

/// What a network filter wants done with a connection.
pub enum NetworkStep {
    /// The next filter.
    Continue,
    /// Nothing goes on before the answer is in.
    Wait(LocalFuture<NetworkApply>),
    /// The connection is closed, and what waits to be written is not.
    Close,
}

/// What to do with the connection when the answer is in.
pub type NetworkApply = Box<dyn FnOnce(&mut StreamCx) -> NetworkStep>;

impl fmt::Debug for NetworkStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NetworkStep::Continue => "Continue",
            NetworkStep::Wait(_) => "Wait",
            NetworkStep::Close => "Close",
        })
    }
}

impl NetworkStep {
    /// Waits for `answer`; what it makes then decides.
    pub fn wait<F, K>(answer: F) -> NetworkStep
    where
        F: Future<Output = K> + 'static,
        K: FnOnce(&mut StreamCx) -> NetworkStep + 'static,
    {
        NetworkStep::Wait(Box::pin(async move { Box::new(answer.await) as NetworkApply }))
    }
}

/// Which bytes a filter wants to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataWatch {
    /// None.
    Never,
    /// The first that arrive.
    First,
    /// All.
    Always,
}

/// A network filter, built once per configuration. Its state of a connection is in slots of the [`StreamCx`], which lives
/// as long as the connection.
pub trait NetworkFilter: Send + Sync + fmt::Debug {
    /// A connection was accepted; its transport has not been greeted yet.
    fn on_new_connection(&self, _cx: &mut StreamCx) -> NetworkStep {
        NetworkStep::Continue
    }

    /// Which bytes [`NetworkFilter::on_data`] is called for.
    fn watches(&self) -> DataWatch {
        DataWatch::Never
    }

    /// Bytes have arrived, or the client has finished; nobody behind has seen it yet.
    fn on_data(&self, _cx: &mut StreamCx) -> NetworkStep {
        NetworkStep::Continue
    }

    /// The handshake of the transport is done (TLS only).
    fn on_handshake(&self, _cx: &mut StreamCx) {}
}

/// What building a network filter gives.
#[derive(Debug)]
pub enum NetworkPart {
    /// One that stands before others.
    Filter(Arc<dyn NetworkFilter>),
    /// One that ends the chain.
    Terminal(Arc<dyn Terminal>),
}

/// One network filter of the registry.
#[derive(Debug, Clone, Copy)]
pub struct NetworkFilterEntry {
    /// Envoy's name, `envoy.filters.network.…`.
    pub name: &'static str,
    /// Full name of its configuration message.
    pub message: &'static str,
    /// Security posture.
    pub posture: Posture,
    /// Builds the filter.
    pub build: fn(FilterConfig<'_>, &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError>,
}

/// What network filters leave for whoever ends the chain, and for logs.
#[derive(Debug, Default)]
pub struct LeftByFilters {
    metadata: RefCell<Metadata>,
    filter_state: RefCell<FilterState>,
    flags: Cell<ResponseFlags>,
    unseen: Cell<u64>,
    details: RefCell<Cow<'static, str>>,
    termination_details: RefCell<Cow<'static, str>>,
}

/// The number under which connections keep it.
const PLACE: usize = usize::MAX - 2;

impl LeftByFilters {
    /// Of this connection, made on first use.
    pub fn at(conn: &ConnInfo) -> Rc<LeftByFilters> {
        conn.attached.get(PLACE, LeftByFilters::default)
    }

    /// Of this connection, where there were filters.
    #[inline]
    pub fn find(conn: &ConnInfo) -> Option<Rc<LeftByFilters>> {
        conn.attached.find(PLACE)
    }

    /// Takes over what stands in a connection's exchange.
    pub fn leave(&self, cx: &StreamCx) {
        self.metadata.borrow_mut().clone_from(&cx.metadata);
        *self.filter_state.borrow_mut() = cx.filter_state.clone();
        self.flags.set(cx.info.flags);
        self.details.borrow_mut().clone_from(&cx.info.details);
        self.termination_details.borrow_mut().clone_from(&cx.info.termination_details);
    }

    /// So many more bytes have come from the client that nobody behind the filters has seen; less than 0 where they have.
    pub fn unseen(&self, more: i64) {
        self.unseen.set(self.unseen.get().saturating_add_signed(more));
    }

    /// Adds all of it to the exchange that stands for the connection.
    pub fn tell(&self, cx: &mut StreamCx) {
        self.metadata(cx);
        self.objects(cx);
        cx.info.flags.set(self.flags.get());
        cx.info.bytes_received += self.unseen.get();
        for (told, of) in [(&self.details, &mut cx.info.details), (&self.termination_details, &mut cx.info.termination_details)] {
            let told = told.borrow();
            if !told.is_empty() {
                of.clone_from(&told);
            }
        }
    }

    /// Adds the objects of the filter state to an exchange on the connection: metadata are the connection's own.
    pub fn objects(&self, cx: &mut StreamCx) {
        self.filter_state.borrow().iter().for_each(|object| cx.filter_state.set(object.clone()));
    }

    /// Takes what has come along with the connection.
    pub fn receive(&self, passed: Passed) {
        *self.metadata.borrow_mut() = passed.metadata;
        let mut objects = self.filter_state.borrow_mut();
        passed.objects.into_iter().for_each(|object| objects.set(object));
    }

    /// Adds the connection's metadata to the exchange that stands for it.
    pub fn metadata(&self, cx: &mut StreamCx) {
        self.metadata.borrow().iter().for_each(|(key, value)| drop(cx.metadata.insert(key.clone(), value.clone())));
    }

    /// A value of the connection's metadata, if it is a text.
    pub fn text_of(&self, namespace: &str, key: &str) -> Option<String> {
        match self.metadata.borrow().get(namespace)?.at([key])? {
            MetadataValue::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// An object of the filter state, as a text.
    pub fn object(&self, key: &str) -> Option<String> {
        self.filter_state.borrow().get(key).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// Sets an object that others may read but not replace.
pub fn set_object(cx: &mut StreamCx, key: &str, value: impl Into<Vec<u8>>) {
    cx.filter_state.set(StateObject { key: key.into(), value: value.into(), ..StateObject::default() });
}
