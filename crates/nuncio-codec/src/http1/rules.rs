//! What a decoder accepts: the options of the connection manager and of the upstream that concern HTTP/1.

/// Which leniencies a decoder has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strictness {
    /// Framing that two parties could read differently is refused, even where Envoy lets it pass.
    #[default]
    Friendly,
    /// Exactly Envoy 1.40, leniencies included: for comparison tests.
    Parity,
}

impl Strictness {
    /// Whether Envoy's leniencies on the wire are wanted.
    #[inline]
    pub fn is_parity(self) -> bool {
        self == Strictness::Parity
    }
}

/// `common_http_protocol_options.headers_with_underscores_action`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UnderscoreAction {
    /// `ALLOW`: names with `_` are names like any other.
    #[default]
    Allow,
    /// `REJECT_REQUEST`: 400 `http1.unexpected_underscore`.
    Reject,
    /// `DROP_HEADER`: the header is left out and counted.
    Drop,
}

/// What a [`super::RequestDecoder`] accepts. Field names are Envoy's where Envoy has the field.
#[derive(Clone, Copy, Debug)]
pub struct RequestRules {
    /// Largest head in bytes, start line and terminator included (`max_request_headers_kb` x 1024).
    pub max_head_bytes: usize,
    /// Most header lines (`max_headers_count`).
    pub max_headers: usize,
    /// Which leniencies apply.
    pub strictness: Strictness,
    /// `headers_with_underscores_action`.
    pub underscores: UnderscoreAction,
    /// `accept_http_10`.
    pub accept_http_10: bool,
    /// `allow_absolute_url`.
    pub allow_absolute_url: bool,
    /// `allow_custom_methods`.
    pub allow_custom_methods: bool,
    /// `allow_chunked_length`: with both lengths given, chunks win and content-length is dropped.
    pub allow_chunked_length: bool,
    /// `enable_trailers`: without it trailers are checked and dropped.
    pub enable_trailers: bool,
    /// Remember how names were spelled (`header_key_format.stateful_formatter: preserve_case`).
    pub keep_spelling: bool,
}

impl Default for RequestRules {
    fn default() -> Self {
        RequestRules {
            max_head_bytes: 60 * 1024,
            max_headers: 100,
            strictness: Strictness::default(),
            underscores: UnderscoreAction::default(),
            accept_http_10: false,
            allow_absolute_url: true,
            allow_custom_methods: false,
            allow_chunked_length: false,
            enable_trailers: false,
            keep_spelling: false,
        }
    }
}

/// What a [`super::ResponseDecoder`] accepts from an upstream.
#[derive(Clone, Copy, Debug)]
pub struct ResponseRules {
    /// Largest head in bytes (`max_response_headers_kb` x 1024; Envoy's default is 80 KiB).
    pub max_head_bytes: usize,
    /// Most header lines (`max_headers_count`).
    pub max_headers: usize,
    /// Which leniencies apply.
    pub strictness: Strictness,
    /// `headers_with_underscores_action` of the upstream's protocol options.
    pub underscores: UnderscoreAction,
    /// `allow_chunked_length`.
    pub allow_chunked_length: bool,
    /// `enable_trailers`.
    pub enable_trailers: bool,
    /// Remember how names were spelled.
    pub keep_spelling: bool,
}

impl Default for ResponseRules {
    fn default() -> Self {
        ResponseRules {
            max_head_bytes: 80 * 1024,
            max_headers: 100,
            strictness: Strictness::default(),
            underscores: UnderscoreAction::default(),
            allow_chunked_length: false,
            enable_trailers: false,
            keep_spelling: false,
        }
    }
}
