//! `envoy.filters.network.direct_response`: says what is configured, and closes.

use crate::read::{self, within};
use nuncio_api::envoy::extensions::filters::network::direct_response::v3::Config as Message;
use nuncio_core::{BuildCx, ConfigError, Connection, FilterConfig, LocalFuture, NetworkFilterEntry, NetworkPart, Posture, Terminal, TerminalWorker, Worker};
use std::{future::poll_fn, rc::Rc, sync::Arc};

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.direct_response",
    message: "envoy.extensions.filters.network.direct_response.v3.Config",
    posture: Posture::UntrustedBoth,
    build,
};

#[derive(Debug)]
struct DirectResponse(Arc<[u8]>);

fn build(config: FilterConfig<'_>, _: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let Message { response } = read::message(config)?;
    let bytes = response.as_ref().filter(|source| source.specifier.is_some()).map(read::data_source).transpose().map_err(within("response"))?.unwrap_or_default();
    Ok(NetworkPart::Terminal(Arc::new(DirectResponse(bytes.into()))))
}

impl Terminal for DirectResponse {
    fn on_worker(self: Arc<Self>, _: &Rc<Worker>) -> Rc<dyn TerminalWorker> {
        Rc::new(OnWorker(self.0.clone()))
    }
}

struct OnWorker(Arc<[u8]>);

impl TerminalWorker for OnWorker {
    fn serve(self: Rc<Self>, mut connection: Connection) -> LocalFuture<()> {
        Box::pin(async move {
            if super::write_all(&mut connection.io, &self.0).await.is_ok() {
                // Whoever is gone already misses nothing.
                let _ = poll_fn(|cx| connection.io.poll_shutdown(cx)).await;
            }
        })
    }
}
