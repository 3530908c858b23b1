//! `tls_inspector.`, `http_inspector.`, `proxy_proto.`: listener filters, each for the whole process.

use crate::stats_table;

stats_table! {
    /// The TLS inspector.
    pub TLS_INSPECTOR: "tls_inspector" {
        counter ALPN_FOUND = "alpn_found",
        counter ALPN_NOT_FOUND = "alpn_not_found",
        counter CLIENT_HELLO_TOO_LARGE = "client_hello_too_large",
        counter SNI_FOUND = "sni_found",
        counter SNI_NOT_FOUND = "sni_not_found",
        counter TLS_FOUND = "tls_found",
        counter TLS_NOT_FOUND = "tls_not_found",
        histogram BYTES_PROCESSED(count) = "bytes_processed",
    }
}

stats_table! {
    /// The HTTP inspector.
    pub HTTP_INSPECTOR: "http_inspector" {
        counter HTTP10_FOUND = "http10_found",
        counter HTTP11_FOUND = "http11_found",
        counter HTTP2_FOUND = "http2_found",
        counter HTTP_NOT_FOUND = "http_not_found",
        counter READ_ERROR = "read_error",
    }
}

stats_table! {
    /// The PROXY protocol filter.
    pub PROXY_PROTOCOL: "proxy_proto" {
        counter NOT_FOUND_ALLOWED = "not_found_allowed",
        counter NOT_FOUND_DISALLOWED = "not_found_disallowed",
        counter VERSIONS_V1_DISALLOWED = "versions.v1.disallowed",
        counter VERSIONS_V1_ERROR = "versions.v1.error",
        counter VERSIONS_V1_FOUND = "versions.v1.found",
        counter VERSIONS_V2_DISALLOWED = "versions.v2.disallowed",
        counter VERSIONS_V2_ERROR = "versions.v2.error",
        counter VERSIONS_V2_FOUND = "versions.v2.found",
    }
}
