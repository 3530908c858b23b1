//! `envoy.filters.network.direct_response`: says what is configured, and closes.

use crate::read::{self, within};
use nuncio_api::envoy::config::core::v3::{DataSource, data_source::Specifier};
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
    let bytes = response.as_ref().map(data).transpose().map_err(within("response"))?.unwrap_or_default();
    Ok(NetworkPart::Terminal(Arc::new(DirectResponse(bytes.into()))))
}

/// What a data source holds.
fn data(from: &DataSource) -> Result<Vec<u8>, ConfigError> {
    match &from.specifier {
        Some(Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(Specifier::Filename(name)) => std::fs::read(name).map_err(|error| ConfigError::at("filename", format!("cannot read `{name}`: {error}"))),
        Some(Specifier::EnvironmentVariable(name)) => {
            std::env::var(name).map(String::into_bytes).map_err(|_| ConfigError::at("environment_variable", format!("`{name}` is not set")))
        }
        None => Ok(Vec::new()),
    }
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
