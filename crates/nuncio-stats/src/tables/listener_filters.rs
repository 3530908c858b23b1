//! `tls_inspector.`, `http_inspector.`, `proxy_proto.`: listener filters, each for the whole process.

use crate::stats_table;

stats_table! {
    /// The TLS inspector.
    pub TLS_INSPECTOR: "tls_inspector" {
        /// Connections with ALPN.
        counter ALPN_FOUND = "alpn_found",
        /// Connections without ALPN.
        counter ALPN_NOT_FOUND = "alpn_not_found",
        /// Connections whose ClientHello was too large.
        counter CLIENT_HELLO_TOO_LARGE = "client_hello_too_large",
        /// Connections with a server name.
        counter SNI_FOUND = "sni_found",
        /// Connections without a server name.
        counter SNI_NOT_FOUND = "sni_not_found",
        /// Connections that are TLS.
        counter TLS_FOUND = "tls_found",
        /// Connections that are not TLS.
        counter TLS_NOT_FOUND = "tls_not_found",
        /// Bytes looked at.
        histogram BYTES_PROCESSED(count) = "bytes_processed",
    }
}

stats_table! {
    /// The HTTP inspector.
    pub HTTP_INSPECTOR: "http_inspector" {
        /// Connections that begin with HTTP/1.0.
        counter HTTP10_FOUND = "http10_found",
        /// Connections that begin with HTTP/1.1.
        counter HTTP11_FOUND = "http11_found",
        /// Connections that begin with HTTP/2.
        counter HTTP2_FOUND = "http2_found",
        /// Connections that begin with something else.
        counter HTTP_NOT_FOUND = "http_not_found",
        /// Connections that could not be read.
        counter READ_ERROR = "read_error",
    }
}

stats_table! {
    /// The PROXY protocol filter.
    pub PROXY_PROTOCOL: "proxy_proto" {
        /// Connections without a PROXY header that were let through.
        counter NOT_FOUND_ALLOWED = "not_found_allowed",
        /// Connections refused for want of a PROXY header.
        counter NOT_FOUND_DISALLOWED = "not_found_disallowed",
        /// Connections refused because version 1 is not allowed.
        counter VERSIONS_V1_DISALLOWED = "versions.v1.disallowed",
        /// Connections refused because their version 1 header is wrong.
        counter VERSIONS_V1_ERROR = "versions.v1.error",
        /// Connections with a version 1 header.
        counter VERSIONS_V1_FOUND = "versions.v1.found",
        /// Connections refused because version 2 is not allowed.
        counter VERSIONS_V2_DISALLOWED = "versions.v2.disallowed",
        /// Connections refused because their version 2 header is wrong.
        counter VERSIONS_V2_ERROR = "versions.v2.error",
        /// Connections with a version 2 header.
        counter VERSIONS_V2_FOUND = "versions.v2.found",
    }
}
