//! Network filters, one file or folder each.

pub mod connection_limit;
pub mod direct_response;
pub mod echo;
pub mod ext_authz;
pub mod local_ratelimit;
pub mod ratelimit;
pub mod rbac;
pub mod set_filter_state;
pub mod sni_cluster;
pub mod sni_dynamic_forward_proxy;

use nuncio_rt::Io;
use std::{
    future::poll_fn,
    io::{self, IoSlice},
};

/// Writes all of it, and what the transport holds back.
async fn write_all(io: &mut Io, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| io.poll_writev(cx, &[IoSlice::new(bytes)])).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[n..];
    }
    poll_fn(|cx| io.poll_flush(cx)).await
}
