//! What Envoy calls versions, ciphers and groups, in configurations and stat names.

use rustls::{
    CipherSuite, NamedGroup, ProtocolVersion, SupportedCipherSuite,
    crypto::{SupportedKxGroup, aws_lc_rs::cipher_suite as suites, aws_lc_rs::kx_group as groups},
};

/// TLS 1.2 and 1.3 ciphers, in the order a server prefers them.
pub(super) static CIPHERS: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_256_GCM_SHA384", suites::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", suites::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", suites::TLS13_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES256-GCM-SHA384", suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
];

/// Groups by name.
pub(super) static GROUPS: &[(&str, &dyn SupportedKxGroup)] = &[
    ("X25519", groups::X25519),
    ("P-256", groups::SECP256R1),
    ("P-384", groups::SECP384R1),
    ("X25519MLKEM768", groups::X25519MLKEM768),
];

/// Groups offered when the configuration names none, as Envoy does.
pub(super) const DEFAULT_GROUPS: [&str; 2] = ["X25519", "P-256"];

pub(super) fn cipher(suite: CipherSuite) -> &'static str {
    CIPHERS.iter().find(|(_, s)| s.suite() == suite).map_or("unknown", |(name, _)| name)
}

pub(super) fn group(group: NamedGroup) -> &'static str {
    GROUPS.iter().find(|(_, g)| g.name() == group).map_or("unknown", |(name, _)| name)
}

pub(super) fn version(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "unknown",
    }
}
