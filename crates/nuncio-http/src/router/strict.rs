//! `strict_check_headers`: requests whose headers for the router say nothing it understands are refused, not served as if
//! they were not there. As Envoy's `StrictHeaderChecker`.

use crate::routes::RetryOn;
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{LocalReply, ResponseFlags};

/// Refuses a request in which one of `headers` is not valid.
pub(super) fn check(head: &HeaderMap, headers: &[Known]) -> Result<(), Box<LocalReply>> {
    for name in headers {
        let Some(value) = head.get(*name) else { continue };
        if !is_valid(*name, value) {
            let (name, value) = (name.as_str(), String::from_utf8_lossy(value));
            let reply = LocalReply::new(400, format!("request_headers_failed_strict_check{{{name}}}"));
            return Err(Box::new(reply.body(format!("invalid header '{name}' with value '{value}'")).flags(ResponseFlags::IH)));
        }
    }
    Ok(())
}

fn is_valid(name: Known, value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let mut unknown = false;
    match name {
        Known::XEnvoyRetryOn => _ = RetryOn::parse_header_with(value, |_| unknown = true),
        Known::XEnvoyRetryGrpcOn => _ = RetryOn::parse_grpc_header_with(value, |_| unknown = true),
        _ => unknown = value.trim().parse::<u64>().is_err(),
    }
    !unknown
}
