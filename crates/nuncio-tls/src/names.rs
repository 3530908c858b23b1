//! What Envoy calls versions, ciphers and groups, in configurations and stat names.

use rustls::{
    CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme, SupportedCipherSuite,
    crypto::{SupportedKxGroup, aws_lc_rs::cipher_suite as suites, aws_lc_rs::kx_group as groups},
};

/// TLS 1.2 and 1.3 ciphers, in the order a client offers them and a server prefers them.
pub(super) static CIPHERS: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_128_GCM_SHA256", suites::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", suites::TLS13_AES_256_GCM_SHA384),
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
pub(super) const DEFAULT_GROUPS: [&str; 3] = ["X25519MLKEM768", "X25519", "P-256"];

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

/// Signature algorithms by name.
const SCHEMES: [(&str, SignatureScheme); 10] = [
    ("rsa_pkcs1_sha256", SignatureScheme::RSA_PKCS1_SHA256),
    ("rsa_pkcs1_sha384", SignatureScheme::RSA_PKCS1_SHA384),
    ("rsa_pkcs1_sha512", SignatureScheme::RSA_PKCS1_SHA512),
    ("ecdsa_secp256r1_sha256", SignatureScheme::ECDSA_NISTP256_SHA256),
    ("ecdsa_secp384r1_sha384", SignatureScheme::ECDSA_NISTP384_SHA384),
    ("ecdsa_secp521r1_sha512", SignatureScheme::ECDSA_NISTP521_SHA512),
    ("rsa_pss_rsae_sha256", SignatureScheme::RSA_PSS_SHA256),
    ("rsa_pss_rsae_sha384", SignatureScheme::RSA_PSS_SHA384),
    ("rsa_pss_rsae_sha512", SignatureScheme::RSA_PSS_SHA512),
    ("ed25519", SignatureScheme::ED25519),
];

pub(super) fn scheme(scheme: SignatureScheme) -> Option<&'static str> {
    SCHEMES.iter().find(|(_, known)| *known == scheme).map(|(name, _)| *name)
}

pub(super) fn scheme_of(name: &str) -> Option<SignatureScheme> {
    SCHEMES.iter().find(|(known, _)| *known == name).map(|(_, scheme)| *scheme)
}

/// Pairs of equal rank (`[A|B]`): with AES, with ChaCha20.
const EQUALS: [(CipherSuite, CipherSuite); 2] = [
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Puts ChaCha20 before AES where they are of equal rank.
pub(super) fn chacha_first(suites: &mut [SupportedCipherSuite]) {
    for (aes, chacha) in EQUALS {
        let at = |wanted| suites.iter().position(|suite| suite.suite() == wanted);
        if let (Some(aes), Some(chacha)) = (at(aes), at(chacha)) {
            suites.swap(aes, chacha);
        }
    }
}

/// Whether a client would rather have ChaCha20, where they are of equal rank.
pub(super) fn prefers_chacha(offered: &[u16]) -> bool {
    EQUALS.iter().any(|(aes, chacha)| {
        let at = |wanted: &CipherSuite| offered.iter().position(|offer| *offer == u16::from(*wanted)).unwrap_or(usize::MAX);
        at(chacha) < at(aes)
    })
}
