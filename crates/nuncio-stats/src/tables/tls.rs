//! `listener.<address>.ssl.` and `cluster.<name>.ssl.`: TLS. What was negotiated is counted under names known only then:
//! `ssl.ciphers.<cipher>`, `ssl.curves.<group>`, `ssl.sigalgs.<algorithm>`, `ssl.versions.<version>`: a scope of [`NEGOTIATED`] per kind and name.

use crate::stats_table;

stats_table! {
    /// One TLS context.
    pub TLS: "tls" {
        counter CONNECTION_ERROR = "connection_error",
        counter FAIL_VERIFY_CERT_HASH = "fail_verify_cert_hash",
        counter FAIL_VERIFY_ERROR = "fail_verify_error",
        counter FAIL_VERIFY_NO_CERT = "fail_verify_no_cert",
        counter FAIL_VERIFY_SAN = "fail_verify_san",
        counter HANDSHAKE = "handshake",
        counter NO_CERTIFICATE = "no_certificate",
        counter OCSP_STAPLE_FAILED = "ocsp_staple_failed",
        counter OCSP_STAPLE_OMITTED = "ocsp_staple_omitted",
        counter OCSP_STAPLE_REQUESTS = "ocsp_staple_requests",
        counter OCSP_STAPLE_RESPONSES = "ocsp_staple_responses",
        counter SESSION_REUSED = "session_reused",
    }
}

stats_table! {
    /// One cipher, group, algorithm or version: the whole name is the prefix, without a dot at its end.
    pub NEGOTIATED: "tls_negotiated" {
        /// Handshakes that ended with it.
        counter HANDSHAKES = "",
    }
}
