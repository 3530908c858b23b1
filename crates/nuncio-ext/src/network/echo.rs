//! `envoy.filters.network.echo`: sends back what comes.

use crate::read;
use nuncio_api::envoy::extensions::filters::network::echo::v3::Echo as Message;
use nuncio_core::{Connection, LocalFuture, NetworkFilterEntry, NetworkPart, Posture, Terminal, TerminalWorker, Worker};
use nuncio_rt::Buf;
use std::{future::poll_fn, rc::Rc, sync::Arc};

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.echo",
    message: "envoy.extensions.filters.network.echo.v3.Echo",
    posture: Posture::TrustedBoth,
    build: |config, _| {
        let Message {} = read::message(config)?;
        Ok(NetworkPart::Terminal(Arc::new(Echo)))
    },
};

#[derive(Debug)]
struct Echo;

impl Terminal for Echo {
    fn on_worker(self: Arc<Self>, worker: &Rc<Worker>) -> Rc<dyn TerminalWorker> {
        Rc::new(EchoWorker(worker.clone()))
    }
}

struct EchoWorker(Rc<Worker>);

impl TerminalWorker for EchoWorker {
    fn serve(self: Rc<Self>, mut connection: Connection) -> LocalFuture<()> {
        Box::pin(async move {
            let mut buf = connection.first.take();
            loop {
                if let Some(bytes) = buf.take()
                    && super::write_all(&mut connection.io, bytes.filled()).await.is_err()
                {
                    return;
                }
                if poll_fn(|cx| connection.io.poll_read_ready(cx)).await.is_err() {
                    return;
                }
                let mut bytes: Buf = self.0.bufs.get();
                match poll_fn(|cx| connection.io.poll_read(cx, &mut bytes)).await {
                    Ok(n) if n > 0 => buf = Some(bytes),
                    Ok(_) | Err(_) => return,
                }
            }
        })
    }
}
