//! Names of which Envoy keeps one entry: a value added to such a header joins the one it has, behind a comma.
//!
//! Asked of Envoy 1.40 name by name, for each direction. It decides how configured headers are added, and how a
//! header that came twice is compared.

use nuncio_codec::headers::Known;
use nuncio_codec::headers::Known as K;

const REQUEST: &[Known] = &[
    K::Accept, K::AcceptEncoding, K::AccessControlRequestHeaders, K::AccessControlRequestMethod,
    K::AccessControlRequestPrivateNetwork, K::Authorization, K::CacheControl, K::ContentEncoding,
    K::ContentType, K::GrpcAcceptEncoding, K::GrpcTimeout, K::IfMatch, K::IfModifiedSince, K::IfNoneMatch,
    K::IfRange, K::IfUnmodifiedSince, K::Origin, K::Pragma, K::ProxyStatus, K::Referer, K::UserAgent, K::Via,
    K::XClientTraceId, K::XEnvoyAttemptCount, K::XEnvoyDecoratorOperation, K::XEnvoyDownstreamServiceCluster,
    K::XEnvoyDownstreamServiceNode, K::XEnvoyExpectedRqTimeoutMs, K::XEnvoyExternalAddress, K::XEnvoyForceTrace,
    K::XEnvoyHedgeOnPerTryTimeout, K::XEnvoyInternal, K::XEnvoyIpTags, K::XEnvoyIsTimeoutRetry,
    K::XEnvoyMaxRetries, K::XEnvoyOriginalHost, K::XEnvoyOriginalPath, K::XEnvoyRetriableHeaderNames,
    K::XEnvoyRetriableStatusCodes, K::XEnvoyRetryGrpcOn, K::XEnvoyRetryOn, K::XEnvoyUpstreamAltStatName,
    K::XEnvoyUpstreamRqPerTryTimeoutMs, K::XEnvoyUpstreamRqTimeoutAltResponse, K::XEnvoyUpstreamRqTimeoutMs,
    K::XForwardedClientCert, K::XForwardedFor, K::XForwardedHost, K::XForwardedPort, K::XForwardedProto,
    K::XRequestId,
];

const RESPONSE: &[Known] = &[
    K::AccessControlAllowCredentials, K::AccessControlAllowHeaders, K::AccessControlAllowMethods,
    K::AccessControlAllowOrigin, K::AccessControlAllowPrivateNetwork, K::AccessControlExposeHeaders,
    K::AccessControlMaxAge, K::Age, K::CacheControl, K::ContentEncoding, K::ContentType, K::Date, K::Etag,
    K::Expires, K::GrpcMessage, K::GrpcStatus, K::LastModified, K::Location, K::ProxyStatus, K::Server, K::Vary,
    K::Via, K::XEnvoyAttemptCount, K::XEnvoyDecoratorOperation, K::XEnvoyDegraded,
    K::XEnvoyImmediateHealthCheckFail, K::XEnvoyRateLimited, K::XEnvoyUpstreamCanary,
    K::XEnvoyUpstreamHealthCheckedCluster, K::XEnvoyUpstreamServiceTime, K::XRequestId,
];

static IN_REQUESTS: [bool; Known::COUNT] = table(REQUEST);
static IN_RESPONSES: [bool; Known::COUNT] = table(RESPONSE);

const fn table(names: &[Known]) -> [bool; Known::COUNT] {
    let mut table = [false; Known::COUNT];
    let mut at = 0;
    while at < names.len() {
        table[names[at] as usize] = true;
        at += 1;
    }
    table
}

/// Which head is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The request's.
    Request,
    /// The response's.
    Response,
}

/// Whether values of this header are one text, joined with commas.
#[inline]
pub fn is_single(name: Known, side: Side) -> bool {
    match side {
        Side::Request => IN_REQUESTS[name as usize],
        Side::Response => IN_RESPONSES[name as usize],
    }
}
