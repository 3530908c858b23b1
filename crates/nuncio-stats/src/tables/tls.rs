//! `listener.<address>.ssl.` and `cluster.<name>.ssl.`: TLS. What was negotiated is counted under names known only then:
//! `ssl.ciphers.<cipher>`, `ssl.curves.<group>`, `ssl.sigalgs.<algorithm>`, `ssl.versions.<version>`: a scope of [`NEGOTIATED`] per kind and name.

use crate::stats_table;

stats_table! {
    /// One TLS context.
    pub TLS: "tls" {
        /// Connections closed by an error that is not of certificates.
        counter CONNECTION_ERROR = "connection_error",
        /// Certificates refused for their hash.
        counter FAIL_VERIFY_CERT_HASH = "fail_verify_cert_hash",
        /// Certificates refused for their chain.
        counter FAIL_VERIFY_ERROR = "fail_verify_error",
        /// Connections refused because a certificate is required.
        counter FAIL_VERIFY_NO_CERT = "fail_verify_no_cert",
        /// Certificates refused for their names.
        counter FAIL_VERIFY_SAN = "fail_verify_san",
        /// Handshakes completed.
        counter HANDSHAKE = "handshake",
        /// Handshakes completed without a client certificate.
        counter NO_CERTIFICATE = "no_certificate",
        /// Handshakes refused because the OCSP answer is missing or stale.
        counter OCSP_STAPLE_FAILED = "ocsp_staple_failed",
        /// Handshakes in which the OCSP answer was left out.
        counter OCSP_STAPLE_OMITTED = "ocsp_staple_omitted",
        /// Handshakes in which an OCSP answer was asked for.
        counter OCSP_STAPLE_REQUESTS = "ocsp_staple_requests",
        /// OCSP answers sent.
        counter OCSP_STAPLE_RESPONSES = "ocsp_staple_responses",
        /// Handshakes that resumed a session.
        counter SESSION_REUSED = "session_reused",
    }
}

stats_table! {
    /// `server_ssl_socket_factory.`, `client_ssl_socket_factory.`: contexts made of secrets that come later.
    pub SOCKET_FACTORY: "ssl_socket_factory" {
        /// Connections of clients closed because a secret had not come.
        counter DOWNSTREAM_CONTEXT_SECRETS_NOT_READY = "downstream_context_secrets_not_ready",
        /// Contexts made again because a secret changed.
        counter SSL_CONTEXT_UPDATE_BY_SDS = "ssl_context_update_by_sds",
        /// Connections to hosts not made because a secret had not come.
        counter UPSTREAM_CONTEXT_SECRETS_NOT_READY = "upstream_context_secrets_not_ready",
    }
}

stats_table! {
    /// `….ssl.certificate.<name>.`: one certificate of a context.
    pub CERTIFICATE: "tls_certificate" {
        /// When it expires, in Unix seconds.
        gauge EXPIRATION_UNIX_TIME_SECONDS = "expiration_unix_time_seconds",
    }
}

stats_table! {
    /// `cluster.<name>.<match>.`: one of `transport_socket_matches`.
    pub TRANSPORT_MATCH: "transport_socket_match" {
        /// Hosts that were found to fit it.
        counter TOTAL_MATCH_COUNT = "total_match_count",
    }
}

stats_table! {
    /// One cipher, group, algorithm or version: the whole name is the prefix, without a dot at its end.
    pub NEGOTIATED: "tls_negotiated" {
        /// Handshakes that ended with it.
        counter HANDSHAKES = "",
    }
}
