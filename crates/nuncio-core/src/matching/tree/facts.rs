//! What a matcher may ask about.

use super::super::condition;
use crate::metadata::Metadata;
use crate::{ConnInfo, FilterState, RuntimeValues, StreamCx, TlsFacts};
use nuncio_codec::headers::{HeaderMap, Trailers};
use nuncio_codec::path::percent_decode;
use nuncio_rt::Address;
use std::borrow::Cow;

/// What is known of a request or a connection. What is `None` is not known yet, or there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The request's head.
    pub request: Option<&'a HeaderMap>,
    /// The request's trailers, once they have come.
    pub request_trailers: Option<&'a Trailers>,
    /// The response's head, once there is one.
    pub response: Option<&'a HeaderMap>,
    /// The response's trailers, once they have come.
    pub response_trailers: Option<&'a Trailers>,
    /// The response was made here.
    pub local_reply: bool,
    /// The client's connection.
    pub connection: Option<ConnectionFacts<'a>>,
    /// Dynamic metadata.
    pub metadata: Option<&'a Metadata>,
    /// Filter state.
    pub filter_state: Option<&'a FilterState>,
    /// Runtime values; `None` to use the configured defaults.
    pub runtime: Option<&'a RuntimeValues>,
    /// The whole exchange, where there is one: expressions may ask about anything.
    pub stream: Option<&'a StreamCx>,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionFacts<'a> {
    /// The address the client connected to.
    pub local: &'a Address,
    /// The client's address, as listener filters and trusted headers tell it.
    pub remote: &'a Address,
    /// The address the client connected from.
    pub direct_remote: &'a Address,
    /// The server name asked for.
    pub server_name: Option<&'a str>,
    /// `raw_buffer`, `tls`; empty where it is not known any more.
    pub transport_protocol: &'a str,
    /// What the client's hello offered.
    pub application_protocols: &'a [&'a str],
    /// What the TLS handshake came to.
    pub tls: Option<&'a TlsFacts>,
}

impl<'a> ConnectionFacts<'a> {
    /// Those of a connection that requests come over.
    pub fn of(conn: &'a ConnInfo) -> ConnectionFacts<'a> {
        ConnectionFacts {
            local: &conn.local,
            remote: &conn.remote,
            direct_remote: &conn.direct_remote,
            server_name: conn.server_name.as_deref(),
            transport_protocol: if conn.tls { "tls" } else { "raw_buffer" },
            application_protocols: &[],
            tls: conn.tls_facts.as_deref(),
        }
    }
}

impl<'a> Facts<'a> {
    /// Those of an exchange whose request has come, and its response if there is one.
    pub fn of(cx: &'a StreamCx, runtime: &'a RuntimeValues) -> Facts<'a> {
        let connection = ConnectionFacts { remote: cx.info.remote.as_ref().unwrap_or(&cx.conn.remote), ..ConnectionFacts::of(&cx.conn) };
        Facts {
            request: Some(&cx.request),
            request_trailers: (!cx.request_trailers.is_empty()).then_some(&cx.request_trailers),
            response: (!cx.response.is_empty()).then_some(&cx.response),
            response_trailers: (!cx.response_trailers.is_empty()).then_some(&cx.response_trailers),
            local_reply: cx.info.local_reply,
            connection: Some(connection),
            metadata: Some(&cx.metadata),
            filter_state: Some(&cx.filter_state),
            runtime: Some(runtime),
            stream: Some(cx),
        }
    }

    /// The first value of a query parameter, decoded.
    pub(super) fn query_parameter(&self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        let target = self.request?.path()?;
        let query = target.iter().position(|&b| b == b'?').map(|at| &target[at + 1..])?;
        let query = query.split(|&b| b == b'#').next().unwrap_or_default();
        Some(percent_decode(condition::parameter(query, name)?))
    }
}
