//! `proxy_status_config`: what went wrong, told in the response's `proxy-status` (RFC 9209).
//!
//! Which error a response flag means and which status goes with it are Envoy's; the first flag of the table that is set
//! decides.

use nuncio_codec::headers::Known;
use nuncio_core::{ResponseFlags, StreamCx};
use std::fmt::Write;

/// `ProxyStatusConfig`, with the name it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyStatus {
    /// Who says it: `literal_proxy_name`, the node's id or `server_name`.
    pub proxy: Box<str>,
    /// False with `remove_details`.
    pub details: bool,
    /// False with `remove_connection_termination_details`.
    pub termination_details: bool,
    /// False with `remove_response_flags`.
    pub response_flags: bool,
    /// `set_recommended_response_code`.
    pub recommended_status: bool,
}

/// Flags, the errors they stand for, and the statuses that the RFC recommends (0 for none). Envoy sets DPE once the answer
/// is on its way: it tells nothing.
const ERRORS: &[(ResponseFlags, &str, u16)] = &[
    (ResponseFlags::LH, "destination_unavailable", 500),
    (ResponseFlags::UH, "destination_unavailable", 503),
    (ResponseFlags::UT, "http_response_timeout", 504),
    (ResponseFlags::LR, "connection_timeout", 504),
    (ResponseFlags::UR, "connection_terminated", 502),
    (ResponseFlags::UF, "connection_refused", 502),
    (ResponseFlags::UC, "connection_terminated", 502),
    (ResponseFlags::UO, "connection_limit_reached", 503),
    (ResponseFlags::NR, "destination_not_found", 500),
    (ResponseFlags::RL, "connection_limit_reached", 503),
    (ResponseFlags::RLSE, "connection_limit_reached", 503),
    (ResponseFlags::URX, "destination_unavailable", 503),
    (ResponseFlags::SI, "http_response_timeout", 504),
    (ResponseFlags::IH, "http_request_error", 0),
    (ResponseFlags::UMSDR, "http_response_timeout", 504),
    (ResponseFlags::NFCF, "proxy_configuration_error", 500),
    (ResponseFlags::UPE, "http_protocol_error", 502),
    (ResponseFlags::NC, "destination_unavailable", 503),
    (ResponseFlags::DF, "dns_error", 502),
];

impl ProxyStatus {
    /// Says in `cx.response` what went wrong, if anything did.
    pub(crate) fn tell(&self, cx: &mut StreamCx) {
        let Some((_, error, recommended)) = ERRORS.iter().find(|(flag, ..)| cx.info.flags.has(*flag)) else { return };
        let mut told = format!("{}; error={error}", self.proxy);
        let info = &cx.info;
        if self.details && !info.details.is_empty() {
            let _ = write!(told, "; details=\"{}", info.details);
            if self.termination_details && !info.termination_details.is_empty() {
                let _ = write!(told, "; {}", info.termination_details);
            }
            if self.response_flags {
                let _ = write!(told, "; {}", info.flags);
            }
            told.push('"');
        }
        cx.response.append_joined(Known::ProxyStatus, ", ", told);
        if self.recommended_status && *recommended != 0 {
            cx.response.set_status(*recommended);
        }
    }
}
