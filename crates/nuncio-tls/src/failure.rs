//! Why a handshake came to nothing, in the words that BoringSSL has for it.

use super::note::Note;
use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};
use std::io;

/// Why a handshake came to nothing.
#[derive(Debug)]
pub enum HandshakeError {
    /// It took too long.
    TimedOut,
    /// The peer broke the protocol, or has no certificate that is believed.
    Tls(Error),
    /// The peer went away (`None`), or the socket failed.
    Closed(Option<io::Error>),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        HandshakeError::Closed(Some(error))
    }
}

/// Why there is no context.
pub const NO_SECRET: &str = "TLS_error:_Secret_is_not_supplied_by_SDS";

/// Number of the TLS library in BoringSSL's error codes.
const SSL: u32 = 16 << 24;
/// Number of the operating system in them.
const SYSTEM: u32 = 2 << 24;

impl HandshakeError {
    /// `%…_TRANSPORT_FAILURE_REASON%`, without spaces; empty where there is nothing to say.
    pub(crate) fn text(&self, note: &Note) -> String {
        let (code, library, words) = match self {
            HandshakeError::TimedOut | HandshakeError::Closed(None) => return String::new(),
            HandshakeError::Closed(Some(error)) => {
                let Some(number) = error.raw_os_error().and_then(|n| u32::try_from(n).ok()) else { return String::new() };
                let words = error.to_string();
                let words = words.split(" (os error").next().unwrap_or_default().to_owned();
                (SYSTEM + number, "system library", words)
            }
            HandshakeError::Tls(error) => {
                let (reason, words) = match &note.failure {
                    Some(failure) => (125, format!("CERTIFICATE_VERIFY_FAILED:verify cert failed: {}", failure.text)),
                    None => note.foreign.map_or_else(|| reason(error), |(number, name)| (number, name.to_owned())),
                };
                (SSL + reason, "SSL routines", words)
            }
        };
        format!("TLS error:|{code}:{library}:OPENSSL_internal:{words}:TLS error end").replace(' ', "_")
    }
}

/// A failure for those who speak HTTP where TLS is spoken.
pub(crate) fn foreign(first: &[u8]) -> Option<(u32, &'static str)> {
    let begins = |method: &&[u8]| first.starts_with(method);
    if [&b"GET "[..], b"POST ", b"HEAD ", b"PUT "].iter().any(begins) {
        Some((156, "HTTP_REQUEST"))
    } else if first.starts_with(b"CONNE") {
        Some((155, "HTTPS_PROXY_REQUEST"))
    } else {
        None
    }
}

/// BoringSSL's number and name of a failure.
fn reason(error: &Error) -> (u32, String) {
    let (number, name) = match error {
        Error::NoCertificatesPresented => {
            (192, "PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not provide required client certificate")
        }
        Error::AlertReceived(alert) => return received(*alert),
        Error::InvalidCertificate(_) => (125, "CERTIFICATE_VERIFY_FAILED"),
        Error::NoApplicationProtocol => (307, "NO_APPLICATION_PROTOCOL"),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => (240, "UNSUPPORTED_PROTOCOL"),
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => (184, "NO_SHARED_CIPHER"),
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => (262, "NO_SHARED_GROUP"),
        Error::PeerIncompatible(_) => (184, "NO_SHARED_CIPHER"),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) => (247, "WRONG_VERSION_NUMBER"),
        Error::InvalidMessage(_) => (137, "DECODE_ERROR"),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => (223, "UNEXPECTED_MESSAGE"),
        Error::DecryptError => (139, "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
        Error::PeerSentOversizedRecord => (136, "DATA_LENGTH_TOO_LONG"),
        other => return (68, other.to_string().replace(':', "")),
    };
    (number, name.to_owned())
}

/// An alert of the peer.
fn received(alert: AlertDescription) -> (u32, String) {
    let number = u32::from(u8::from(alert));
    let name = match number {
        0 => "SSLV3_ALERT_CLOSE_NOTIFY",
        10 => "SSLV3_ALERT_UNEXPECTED_MESSAGE",
        20 => "SSLV3_ALERT_BAD_RECORD_MAC",
        21 => "TLSV1_ALERT_DECRYPTION_FAILED",
        22 => "TLSV1_ALERT_RECORD_OVERFLOW",
        30 => "SSLV3_ALERT_DECOMPRESSION_FAILURE",
        40 => "SSLV3_ALERT_HANDSHAKE_FAILURE",
        41 => "SSLV3_ALERT_NO_CERTIFICATE",
        42 => "SSLV3_ALERT_BAD_CERTIFICATE",
        43 => "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        44 => "SSLV3_ALERT_CERTIFICATE_REVOKED",
        45 => "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        46 => "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        47 => "SSLV3_ALERT_ILLEGAL_PARAMETER",
        48 => "TLSV1_ALERT_UNKNOWN_CA",
        49 => "TLSV1_ALERT_ACCESS_DENIED",
        50 => "TLSV1_ALERT_DECODE_ERROR",
        51 => "TLSV1_ALERT_DECRYPT_ERROR",
        60 => "TLSV1_ALERT_EXPORT_RESTRICTION",
        70 => "TLSV1_ALERT_PROTOCOL_VERSION",
        71 => "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        80 => "TLSV1_ALERT_INTERNAL_ERROR",
        86 => "TLSV1_ALERT_INAPPROPRIATE_FALLBACK",
        90 => "TLSV1_ALERT_USER_CANCELLED",
        100 => "TLSV1_ALERT_NO_RENEGOTIATION",
        110 => "TLSV1_ALERT_UNSUPPORTED_EXTENSION",
        111 => "TLSV1_ALERT_CERTIFICATE_UNOBTAINABLE",
        112 => "TLSV1_ALERT_UNRECOGNIZED_NAME",
        113 => "TLSV1_ALERT_BAD_CERTIFICATE_STATUS_RESPONSE",
        114 => "TLSV1_ALERT_BAD_CERTIFICATE_HASH_VALUE",
        115 => "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY",
        116 => "TLSV1_ALERT_CERTIFICATE_REQUIRED",
        120 => "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        _ => return (1000 + number, format!("{}", 1000 + number)),
    };
    (1000 + number, name.to_owned())
}
