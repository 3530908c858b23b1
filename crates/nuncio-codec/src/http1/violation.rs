//! What can be wrong with a message, and what Envoy 1.40 answers to each.

use std::fmt;

/// A message broke the protocol or a limit. The connection cannot be read any further: its framing is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// The method is not one of those Envoy knows, or no token.
    Method,
    /// The start line has no three parts.
    StartLine,
    /// The version is not `HTTP/x.y`.
    Version,
    /// The request target has bytes or a form that no target has.
    Target,
    /// The target is an absolute or authority form whose parts are invalid.
    Url,
    /// The target's scheme is neither http nor https.
    Scheme,
    /// A header line has no colon, an empty or invalid name, or white space where none may be.
    HeaderLine,
    /// A control byte where none may be.
    Characters,
    /// A CR that ends no line (refused unless Envoy's leniencies are asked for).
    BareCr,
    /// A folded line in a header that frames or routes (likewise).
    Folded,
    /// A name holds `_` and the rules refuse that.
    Underscore,
    /// `host` holds bytes that no authority has.
    Authority,
    /// More than one `host` (likewise refused unless Envoy's leniencies are asked for).
    DuplicateHost,
    /// `connection` names a header that must not be removed that way.
    Connection,
    /// `content-length` is not one plain decimal number.
    ContentLength,
    /// `transfer-encoding` is not exactly `chunked`.
    TransferEncoding,
    /// Both `content-length` and `transfer-encoding`.
    LengthAndChunked,
    /// A body where the method allows none (CONNECT).
    BodyDisallowed,
    /// `transfer-encoding` in a 1xx or 204 response.
    TransferEncodingNotAllowed,
    /// `content-length` in a 1xx or 204 response.
    ContentLengthNotAllowed,
    /// The head or the trailers exceed the byte limit.
    HeadersTooLarge,
    /// More header lines than the limit.
    TooManyHeaders,
    /// HTTP/1.0 and it is not accepted.
    LowVersion,
    /// A chunk size is no hexadecimal number or overflows 64 bits.
    ChunkSize,
    /// A chunk extension is malformed, or all of a message's together are too long.
    ChunkExtension,
    /// A chunk's data is not followed by CRLF.
    ChunkEnd,
    /// A response's status is no three-digit number (from an upstream).
    Status,
    /// Bytes after a response was complete (from an upstream).
    ExtraData,
    /// A 101 that nobody asked for (from an upstream).
    UnaskedUpgrade,
}

/// A counter that a violation moves beside `downstream_cx_protocol_error`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stat {
    /// `http1.requests_rejected_with_underscores_in_headers`
    RejectedWithUnderscores,
}

impl Violation {
    /// The status of the answer to a client.
    pub fn status(self) -> u16 {
        match self {
            Violation::LowVersion => 426,
            Violation::HeadersTooLarge | Violation::TooManyHeaders => 431,
            Violation::TransferEncoding => 501,
            _ => 400,
        }
    }

    /// The body of the answer to a client: the reason phrase of its status.
    pub fn body(self) -> &'static str {
        super::reason_phrase(self.status())
    }

    /// `%RESPONSE_CODE_DETAILS%`.
    pub fn details(self) -> &'static str {
        match self {
            Violation::Url => "http1.invalid_url",
            Violation::Scheme => "http1.invalid_scheme",
            Violation::Characters | Violation::BareCr => "http1.invalid_characters",
            Violation::Underscore => "http1.unexpected_underscore",
            Violation::Authority | Violation::DuplicateHost => "http.invalid_authority",
            Violation::Connection => "http1.connection_header_rejected",
            Violation::TransferEncoding => "http1.invalid_transfer_encoding",
            Violation::LengthAndChunked => "http1.content_length_and_chunked_not_allowed",
            Violation::BodyDisallowed => "http1.body_disallowed",
            Violation::TransferEncodingNotAllowed => "http1.transfer_encoding_not_allowed",
            Violation::ContentLengthNotAllowed => "http1.content_length_not_allowed",
            Violation::HeadersTooLarge => "http1.headers_too_large",
            Violation::TooManyHeaders => "http1.too_many_headers",
            Violation::LowVersion => "low_version",
            _ => "http1.codec_error",
        }
    }

    /// The counter to move beside the protocol error, if the violation has one of its own.
    pub fn stat(self) -> Option<Stat> {
        (self == Violation::Underscore).then_some(Stat::RejectedWithUnderscores)
    }

    /// What is wrong, in words, for logs.
    pub fn explain(self) -> &'static str {
        match self {
            Violation::Method => "unknown or malformed method",
            Violation::StartLine => "malformed start line",
            Violation::Version => "malformed protocol version",
            Violation::Target => "malformed request target",
            Violation::Url => "invalid host or port in the request target",
            Violation::Scheme => "scheme of the request target is neither http nor https",
            Violation::HeaderLine => "malformed header line",
            Violation::Characters => "control character in the head",
            Violation::BareCr => "carriage return inside a header value",
            Violation::Folded => "folded header line in a header that frames or routes the message",
            Violation::Underscore => "header name with an underscore",
            Violation::Authority => "invalid character in host",
            Violation::DuplicateHost => "more than one host header",
            Violation::Connection => "connection header names a header that may not be removed",
            Violation::ContentLength => "content-length is not one decimal number",
            Violation::TransferEncoding => "transfer-encoding is not exactly \"chunked\"",
            Violation::LengthAndChunked => "both content-length and transfer-encoding",
            Violation::BodyDisallowed => "body where the method allows none",
            Violation::TransferEncodingNotAllowed => "transfer-encoding in a 1xx or 204 response",
            Violation::ContentLengthNotAllowed => "content-length in a 1xx or 204 response",
            Violation::HeadersTooLarge => "headers larger than the limit",
            Violation::TooManyHeaders => "more headers than the limit",
            Violation::LowVersion => "HTTP/1.0 is not accepted here",
            Violation::ChunkSize => "malformed or too large chunk size",
            Violation::ChunkExtension => "malformed or too long chunk extension",
            Violation::ChunkEnd => "chunk not followed by a line end",
            Violation::Status => "malformed status line",
            Violation::ExtraData => "data after the end of a response",
            Violation::UnaskedUpgrade => "101 without an upgrade request",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explain())
    }
}

impl std::error::Error for Violation {}
