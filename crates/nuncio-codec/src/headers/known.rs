//! The names that Nuncio itself asks for, numbered, and a perfect hash from bytes to number.
//!
//! Promise: [`classify`] costs a handful of instructions and one compare. A new name is one line in the
//! table; should the hash then collide, the build fails and says which test finds a new multiplier.

macro_rules! known {
    ($($variant:ident = $text:literal,)*) => {
        /// A well-known header or pseudo-header name; [`Known::Other`] is every name without a number.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "each variant is documented by its own text, see Known::as_str")]
        pub enum Known { Other = 0, $($variant,)* }

        /// The texts, indexed by number.
        const TEXTS: &[&str] = &["", $($text,)*];
        /// How a header line of the name begins.
        const LINE_STARTS: &[&str] = &["", $(concat!($text, ": "),)*];
        /// The numbers again as variants, so that no cast back is needed.
        const VARIANTS: &[Known] = &[Known::Other, $(Known::$variant,)*];
    };
}

known! {
    // Pseudo-headers first: they live in the map's head array, not among the entries.
    Method = ":method",
    Path = ":path",
    Authority = ":authority",
    Scheme = ":scheme",
    Status = ":status",
    Protocol = ":protocol",
    // Framing and connection.
    Host = "host",
    Connection = "connection",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    Upgrade = "upgrade",
    Te = "te",
    Trailer = "trailer",
    Expect = "expect",
    Http2Settings = "http2-settings",
    CapsuleProtocol = "capsule-protocol",
    // Content and its negotiation.
    ContentType = "content-type",
    ContentEncoding = "content-encoding",
    ContentLanguage = "content-language",
    ContentLocation = "content-location",
    ContentRange = "content-range",
    ContentDisposition = "content-disposition",
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    AcceptRanges = "accept-ranges",
    Range = "range",
    Vary = "vary",
    // Caching and conditions.
    Age = "age",
    CacheControl = "cache-control",
    Etag = "etag",
    Expires = "expires",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    IfRange = "if-range",
    IfUnmodifiedSince = "if-unmodified-since",
    LastModified = "last-modified",
    Pragma = "pragma",
    // Who, where, when.
    Authorization = "authorization",
    Cookie = "cookie",
    Date = "date",
    Location = "location",
    Origin = "origin",
    Referer = "referer",
    RetryAfter = "retry-after",
    Server = "server",
    SetCookie = "set-cookie",
    UserAgent = "user-agent",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    AltSvc = "alt-svc",
    ProxyStatus = "proxy-status",
    StrictTransportSecurity = "strict-transport-security",
    // Cross-origin requests.
    AccessControlAllowCredentials = "access-control-allow-credentials",
    AccessControlAllowHeaders = "access-control-allow-headers",
    AccessControlAllowMethods = "access-control-allow-methods",
    AccessControlAllowOrigin = "access-control-allow-origin",
    AccessControlAllowPrivateNetwork = "access-control-allow-private-network",
    AccessControlExposeHeaders = "access-control-expose-headers",
    AccessControlMaxAge = "access-control-max-age",
    AccessControlRequestHeaders = "access-control-request-headers",
    AccessControlRequestMethod = "access-control-request-method",
    AccessControlRequestPrivateNetwork = "access-control-request-private-network",
    // Forwarding.
    Forwarded = "forwarded",
    XForwardedClientCert = "x-forwarded-client-cert",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedProto = "x-forwarded-proto",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
    XClientTraceId = "x-client-trace-id",
    // gRPC.
    GrpcAcceptEncoding = "grpc-accept-encoding",
    GrpcEncoding = "grpc-encoding",
    GrpcMessage = "grpc-message",
    GrpcStatus = "grpc-status",
    GrpcStatusDetailsBin = "grpc-status-details-bin",
    GrpcTimeout = "grpc-timeout",
    // Tracing.
    Baggage = "baggage",
    B3 = "b3",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    XB3Flags = "x-b3-flags",
    XB3ParentSpanId = "x-b3-parentspanid",
    XB3Sampled = "x-b3-sampled",
    XB3SpanId = "x-b3-spanid",
    XB3TraceId = "x-b3-traceid",
    XOtSpanContext = "x-ot-span-context",
    // Envoy's own.
    XEnvoyAttemptCount = "x-envoy-attempt-count",
    XEnvoyCluster = "x-envoy-cluster",
    XEnvoyDecoratorOperation = "x-envoy-decorator-operation",
    XEnvoyDegraded = "x-envoy-degraded",
    XEnvoyDownstreamServiceCluster = "x-envoy-downstream-service-cluster",
    XEnvoyDownstreamServiceNode = "x-envoy-downstream-service-node",
    XEnvoyExpectedRqTimeoutMs = "x-envoy-expected-rq-timeout-ms",
    XEnvoyExternalAddress = "x-envoy-external-address",
    XEnvoyForceTrace = "x-envoy-force-trace",
    XEnvoyHedgeOnPerTryTimeout = "x-envoy-hedge-on-per-try-timeout",
    XEnvoyImmediateHealthCheckFail = "x-envoy-immediate-health-check-fail",
    XEnvoyInternal = "x-envoy-internal",
    XEnvoyIpTags = "x-envoy-ip-tags",
    XEnvoyIsTimeoutRetry = "x-envoy-is-timeout-retry",
    XEnvoyLocalOverloaded = "x-envoy-local-overloaded",
    XEnvoyMaxRetries = "x-envoy-max-retries",
    XEnvoyOriginalDstHost = "x-envoy-original-dst-host",
    XEnvoyOriginalHost = "x-envoy-original-host",
    XEnvoyOriginalMethod = "x-envoy-original-method",
    XEnvoyOriginalPath = "x-envoy-original-path",
    XEnvoyOriginalUrl = "x-envoy-original-url",
    XEnvoyOverloaded = "x-envoy-overloaded",
    XEnvoyPeerMetadata = "x-envoy-peer-metadata",
    XEnvoyPeerMetadataId = "x-envoy-peer-metadata-id",
    XEnvoyRateLimited = "x-envoy-ratelimited",
    XEnvoyRetriableHeaderNames = "x-envoy-retriable-header-names",
    XEnvoyRetriableStatusCodes = "x-envoy-retriable-status-codes",
    XEnvoyRetryGrpcOn = "x-envoy-retry-grpc-on",
    XEnvoyRetryOn = "x-envoy-retry-on",
    XEnvoyUpstreamAltStatName = "x-envoy-upstream-alt-stat-name",
    XEnvoyUpstreamCanary = "x-envoy-upstream-canary",
    XEnvoyUpstreamHealthCheckedCluster = "x-envoy-upstream-healthchecked-cluster",
    XEnvoyUpstreamRqPerTryTimeoutMs = "x-envoy-upstream-rq-per-try-timeout-ms",
    XEnvoyUpstreamRqTimeoutAltResponse = "x-envoy-upstream-rq-timeout-alt-response",
    XEnvoyUpstreamRqTimeoutMs = "x-envoy-upstream-rq-timeout-ms",
    XEnvoyUpstreamServiceTime = "x-envoy-upstream-service-time",
    XEnvoyUpstreamStreamDurationMs = "x-envoy-upstream-stream-duration-ms",
}

impl Known {
    /// How many numbers there are, [`Known::Other`] included.
    pub const COUNT: usize = TEXTS.len();
    /// Numbers `1..=PSEUDO` are pseudo-headers.
    pub(crate) const PSEUDO: usize = Known::Protocol as usize;

    /// The name in lower case; empty for [`Known::Other`].
    #[inline]
    pub fn as_str(self) -> &'static str {
        TEXTS[self as usize]
    }

    /// The name and `: `; empty for [`Known::Other`].
    #[inline]
    pub(crate) fn line_start(self) -> &'static [u8] {
        LINE_STARTS[self as usize].as_bytes()
    }

    /// Whether this is `:method`, `:path`, `:authority`, `:scheme`, `:status` or `:protocol`.
    #[inline]
    pub fn is_pseudo(self) -> bool {
        (1..=Known::PSEUDO).contains(&(self as usize))
    }

    /// Every well-known name, in the order of the table.
    pub fn all() -> impl Iterator<Item = Known> {
        VARIANTS[1..].iter().copied()
    }
}

/// Slots of the hash: sparse, so that a multiplier without collisions exists.
const HASH_BITS: u32 = 10;
/// Found by `find_multiplier`; checked when the table below is built.
const MULTIPLIER: u64 = 0x48eb_abed_1cb8_9c2d;

#[inline]
const fn slot(name: &[u8], multiplier: u64) -> usize {
    let n = name.len();
    let key = n as u64
        | (name[n / 4] as u64) << 8
        | (name[n / 2] as u64) << 16
        | (name[n - n.div_ceil(4)] as u64) << 24
        | (name[n - 1] as u64) << 32;
    (key.wrapping_mul(multiplier) >> (64 - HASH_BITS)) as usize
}

static HASH: [Known; 1 << HASH_BITS] = {
    let mut table = [Known::Other; 1 << HASH_BITS];
    let mut i = 1;
    while i < Known::COUNT {
        let s = slot(TEXTS[i].as_bytes(), MULTIPLIER);
        assert!(
            matches!(table[s], Known::Other),
            "two names share a slot: run `cargo test -p nuncio-codec find_multiplier -- --ignored --nocapture`"
        );
        table[s] = VARIANTS[i];
        i += 1;
    }
    table
};

/// The number of a name already in lower case.
#[inline]
pub fn classify(name: &[u8]) -> Known {
    if name.is_empty() {
        return Known::Other;
    }
    let known = HASH[slot(name, MULTIPLIER)];
    if known.as_str().as_bytes() == name {
        known
    } else {
        Known::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_finds_its_number() {
        for known in Known::all() {
            assert_eq!(classify(known.as_str().as_bytes()), known);
        }
    }

    #[test]
    fn other_names_have_no_number() {
        for name in [
            "",
            "x",
            "x-custom",
            "hosts",
            "hose",
            "content-lengtg",
            ":foo",
            "x-envoy-",
        ] {
            assert_eq!(classify(name.as_bytes()), Known::Other, "{name}");
        }
    }

    #[test]
    #[ignore = "a tool, not a check: prints a multiplier for the table above"]
    fn find_multiplier() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        loop {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let mut taken = [false; 1 << HASH_BITS];
            let free = |name: &&str| {
                !std::mem::replace(&mut taken[slot(name.as_bytes(), state | 1)], true)
            };
            if TEXTS[1..].iter().all(free) {
                println!("MULTIPLIER = {:#x}", state | 1);
                return;
            }
        }
    }
}
