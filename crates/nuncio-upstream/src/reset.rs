//! Why an upstream request came to nothing, in Envoy's words.

use crate::host::Host;
use nuncio_core::ResponseFlags;
use nuncio_rt::SetupError;
use std::{borrow::Cow, fmt, io, sync::Arc};

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// We gave up the stream.
    LocalReset,
    /// A circuit breaker was open.
    Overflow,
    /// The upstream reset the stream.
    RemoteReset,
    /// The upstream refused the stream before looking at it.
    RemoteRefusedStreamReset,
    /// The upstream could not connect to where the request wanted to be connected.
    ConnectError,
    /// No socket could be made or bound.
    LocalConnectionFailure,
    /// The upstream could not be connected to.
    RemoteConnectionFailure,
    /// Connecting took longer than `connect_timeout`.
    ConnectionTimeout,
    /// The upstream closed the connection.
    ConnectionTermination,
    /// The upstream broke the protocol.
    ProtocolError,
}

impl ResetReason {
    /// As it stands in local replies: `reset reason: <text>`.
    pub fn text(self) -> &'static str {
        match self {
            ResetReason::LocalReset => "local reset",
            ResetReason::Overflow => "overflow",
            ResetReason::RemoteReset => "remote reset",
            ResetReason::RemoteRefusedStreamReset => "remote refused stream reset",
            ResetReason::ConnectError => "remote error with CONNECT request",
            ResetReason::LocalConnectionFailure => "local connection failure",
            ResetReason::RemoteConnectionFailure => "remote connection failure",
            ResetReason::ConnectionTimeout => "connection timeout",
            ResetReason::ConnectionTermination => "connection termination",
            ResetReason::ProtocolError => "protocol error",
        }
    }

    /// The response flag.
    pub fn flag(self) -> ResponseFlags {
        match self {
            ResetReason::LocalReset => ResponseFlags::LR,
            ResetReason::Overflow => ResponseFlags::UO,
            ResetReason::RemoteReset | ResetReason::RemoteRefusedStreamReset | ResetReason::ConnectError => ResponseFlags::UR,
            ResetReason::LocalConnectionFailure
            | ResetReason::RemoteConnectionFailure
            | ResetReason::ConnectionTimeout => ResponseFlags::UF,
            ResetReason::ConnectionTermination => ResponseFlags::UC,
            ResetReason::ProtocolError => ResponseFlags::UPE,
        }
    }

    /// Whether no connection could be had (`retry_on: connect-failure`).
    pub fn is_connect_failure(self) -> bool {
        matches!(
            self,
            ResetReason::LocalConnectionFailure
                | ResetReason::RemoteConnectionFailure
                | ResetReason::ConnectionTimeout
        )
    }
}

/// An upstream stream that ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// What went wrong.
    pub reason: ResetReason,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`: `delayed_connect_error:_Connection_refused`; empty for none.
    pub transport_failure: Cow<'static, str>,
    /// What exactly was wrong with the upstream's bytes, for the debug log; empty for none.
    pub details: &'static str,
}

impl Reset {
    /// A reset with nothing more to say.
    pub const fn new(reason: ResetReason) -> Reset {
        Reset { reason, transport_failure: Cow::Borrowed(""), details: "" }
    }

    /// The upstream broke the protocol.
    pub const fn protocol_error(details: &'static str) -> Reset {
        Reset { reason: ResetReason::ProtocolError, transport_failure: Cow::Borrowed(""), details }
    }

    /// What `%RESPONSE_CODE_DETAILS%` has between braces: the reason, then the transport's words, spaces as `_`.
    pub fn code_details(&self) -> String {
        let mut out = self.reason.text().replace(' ', "_");
        if !self.transport_failure.is_empty() {
            out.push('|');
            out.push_str(&self.transport_failure);
        }
        out
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.text())
    }
}

impl std::error::Error for Reset {}

/// No connection was to be had for a request.
#[derive(Debug, Clone)]
pub struct PoolFailure {
    /// Why.
    pub reset: Reset,
    /// The host that failed; `None` when the request never got as far as one (`%UPSTREAM_HOST%` is `-` then).
    pub host: Option<Arc<Host>>,
}

/// The failure of an attempt to connect to `address`, which names the host in the text where Envoy does.
pub(crate) fn connect_failure(error: &io::Error, address: &nuncio_rt::Address) -> Reset {
    if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none() {
        return Reset::new(ResetReason::ConnectionTimeout);
    }
    if let Some(setup) = error.get_ref().and_then(|source| source.downcast_ref::<SetupError>()) {
        let transport_failure = setup.said.replace(' ', "_").into();
        return Reset { transport_failure, ..Reset::new(ResetReason::LocalConnectionFailure) };
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let failed_at_once = !matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut
    ) && !is_delayed(error);
    let text = if failed_at_once {
        format!("immediate connect error: {text}|remote address:{address}")
    } else {
        format!("delayed connect error: {text}")
    };
    Reset {
        reason: ResetReason::RemoteConnectionFailure,
        transport_failure: text.replace(' ', "_").into(),
        details: "",
    }
}

/// Unreachable hosts are found out by the network, unreachable networks by the kernel at once.
fn is_delayed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::HostUnreachable
}

#[cfg(test)]
mod tests {
    use super::*;
    use nuncio_rt::Address;

    fn failure(errno: i32) -> String {
        let address = Address::Ip(([10, 1, 2, 3], 80).into());
        connect_failure(&io::Error::from_raw_os_error(errno), &address).code_details()
    }

    #[test]
    fn connect_failures_read_as_envoys() {
        assert_eq!(failure(111), "remote_connection_failure|delayed_connect_error:_Connection_refused");
        assert_eq!(
            failure(101),
            "remote_connection_failure|immediate_connect_error:_Network_is_unreachable|remote_address:10.1.2.3:80"
        );
        let timeout = connect_failure(&io::ErrorKind::TimedOut.into(), &Address::Ip(([10, 1, 2, 3], 80).into()));
        assert_eq!((timeout.code_details().as_str(), timeout.reason.flag()), ("connection_timeout", ResponseFlags::UF));
    }
}
