//! Downstream HTTP connections.
//!
//! * `h1`: the HTTP/1 connection as the client's side of an exchange: bytes to pieces and back.
//! * `connection`: its life: waiting for a request, exchanging, closing; timeouts between requests.
//! * `h2`: the HTTP/2 connection: one exchange per stream, all of them in the connection's task.
//! * `life`: what is counted of either from beginning to end.

mod connection;
mod h1;
mod h2;
mod life;

use crate::config::CodecType;
use crate::hcm::HcmWorker;
use life::Life;
use nuncio_core::{ConnInfo, Connection};
use std::rc::Rc;

/// Serves a connection to its end, in the protocol that it speaks.
pub(crate) async fn serve(hcm: Rc<HcmWorker>, connection: Connection) {
    let life = Life::new(&hcm, &connection.info);
    let http2 = match hcm.config.codec {
        CodecType::Http2 => Some((connection, life)),
        CodecType::Auto | CodecType::Http1 => connection::serve(hcm.clone(), connection, life).await,
    };
    if let Some((connection, life)) = http2 {
        Box::pin(h2::serve(hcm, connection, life)).await;
    }
}

/// Counts a connection that has not come as far as here.
pub(crate) fn refused(hcm: &Rc<HcmWorker>, info: &Rc<ConnInfo>, by_us: bool) {
    let mut life = Life::new(hcm, info);
    life.remote_close = !by_us;
}
