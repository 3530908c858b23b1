//! What all heads have in common: when parsing is worth a try, how much is copied, which error wins.

use super::fields::{FieldRules, Part, Seen, parse_fields};
use super::scan::{has_head_end, is_forbidden};
use super::violation::Violation;
use crate::headers::{HeaderMap, Known};

/// First copied so much: nearly every head is shorter, and a body behind it is not copied far.
const FIRST_COPY_BYTES: usize = 2048;

/// How far earlier looks at an incomplete head went, so that a head that trickles in is not parsed again
/// for every byte.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Progress {
    searched: usize,
    line_seen: bool,
}

impl Progress {
    /// Whether a parse of `raw` can bring news: the first look, the first complete line, the end.
    fn is_worth_parsing(&mut self, raw: &[u8]) -> bool {
        if self.searched == 0 {
            return true;
        }
        let from = self.searched.min(raw.len());
        let line_is_new = !self.line_seen && raw[from..].contains(&b'\n');
        let ended = has_head_end(raw, from.saturating_sub(3));
        self.searched = raw.len();
        self.line_seen |= line_is_new;
        line_is_new || ended
    }

    /// Whether a part of a head was seen.
    pub(super) fn has_begun(&self) -> bool {
        self.searched > 0
    }

    fn note(&mut self, raw: &[u8]) {
        self.searched = raw.len();
        self.line_seen |= raw.contains(&b'\n');
    }
}

/// A start line that was read.
pub(super) struct Lead<L> {
    /// What it said.
    pub(super) line: L,
    /// Where the fields begin.
    pub(super) next: usize,
    /// The line is the whole head (HTTP/0.9).
    pub(super) is_all: bool,
}

/// Reads a head: copies `raw` into the map, lets `start_line` read the first line, then reads the fields.
/// `None`: the head is incomplete. Trailers have no start line: their `start_line` reads nothing.
#[inline]
pub(super) fn read_head<L>(
    progress: &mut Progress,
    raw: &[u8],
    map: &mut HeaderMap,
    limits: (usize, bool),
    rules: &FieldRules,
    start_line: impl Fn(&mut [u8], &mut HeaderMap) -> Result<Option<Lead<L>>, Violation>,
) -> Result<Option<(L, Seen)>, Violation> {
    let (max_bytes, keep_spelling) = limits;
    let within = &raw[..raw.len().min(max_bytes)];
    // At the limit once more: of two faults the first one counts, however the bytes came.
    if progress.is_worth_parsing(raw) || raw.len() >= max_bytes {
        let mut window = within.len().min(FIRST_COPY_BYTES);
        loop {
            map.load(&within[..window], keep_spelling);
            let outcome = map.with_bytes(|bytes, map| {
                let Some(lead) = start_line(bytes, map)? else {
                    return Ok(None);
                };
                if lead.is_all {
                    let seen = Seen {
                        end: lead.next,
                        ..Seen::default()
                    };
                    return Ok(Some((lead.line, seen)));
                }
                Ok(parse_fields(bytes, map, lead.next, rules)?.map(|seen| (lead.line, seen)))
            });
            match outcome {
                Ok(Some((line, seen))) => {
                    map.truncate_bytes(seen.end);
                    *progress = Progress::default();
                    return Ok(Some((line, seen)));
                }
                Ok(None) if window < within.len() => window = within.len(),
                Ok(None) => break,
                Err(violation) => return Err(most_telling(violation, within, rules.part)),
            }
        }
        progress.note(raw);
    }
    if raw.len() >= max_bytes {
        Err(Violation::HeadersTooLarge)
    } else {
        Ok(None)
    }
}

/// Envoy looks for forbidden bytes in a complete head before it looks at anything else. A request line without a version
/// is a complete head.
#[cold]
fn most_telling(violation: Violation, raw: &[u8], part: Part) -> Violation {
    let line_end = raw.iter().position(|&b| b == b'\n').unwrap_or(raw.len());
    let words = raw[..line_end].split(|&b| b <= b' ').filter(|word| !word.is_empty());
    if part == Part::Request && words.count() < 3 {
        return violation;
    }
    let mut end = raw.len();
    let mut complete = false;
    let mut line_start = 0;
    for (index, &byte) in raw.iter().enumerate() {
        if byte == b'\n' {
            if matches!(&raw[line_start..index], b"" | b"\r") {
                (end, complete) = (index, true);
                break;
            }
            line_start = index + 1;
        }
    }
    if complete && raw[..end].iter().any(|&b| is_forbidden(b)) {
        Violation::Characters
    } else {
        violation
    }
}

/// Envoy keeps one value of some names, joining several with `,`: its inline headers. Of a request's or a response's head.
pub(crate) fn join_repeated(map: &mut HeaderMap, request: bool) {
    if map.has_repeated() {
        join_inline(map, if request { Part::Request } else { Part::Response });
    }
}

fn join_inline(map: &mut HeaderMap, part: Part) {
    for known in Known::all() {
        if is_joined(known, part) {
            map.join_entries(known);
        }
    }
}

/// The same, and the hosts of a request.
pub(super) fn join_values(map: &mut HeaderMap, part: Part) {
    join_inline(map, part);
    if part == Part::Request {
        map.join_host();
    }
}

fn is_joined(known: Known, part: Part) -> bool {
    let table = match part {
        Part::Request => JOINED_IN_REQUESTS,
        Part::Response => JOINED_IN_RESPONSES,
        Part::Trailers => &[],
    };
    JOINED.contains(&known) || table.contains(&known)
}

const JOINED: &[Known] = &[
    Known::CacheControl,
    Known::Connection,
    Known::ContentEncoding,
    Known::ContentLength,
    Known::ContentType,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Via,
    Known::XEnvoyAttemptCount,
    Known::XEnvoyDecoratorOperation,
    Known::XRequestId,
];

const JOINED_IN_REQUESTS: &[Known] = &[
    Known::Accept,
    Known::AcceptEncoding,
    Known::AccessControlRequestHeaders,
    Known::AccessControlRequestMethod,
    Known::AccessControlRequestPrivateNetwork,
    Known::Authorization,
    Known::Expect,
    Known::GrpcAcceptEncoding,
    Known::GrpcTimeout,
    Known::IfMatch,
    Known::IfModifiedSince,
    Known::IfNoneMatch,
    Known::IfRange,
    Known::IfUnmodifiedSince,
    Known::Origin,
    Known::Pragma,
    Known::Referer,
    Known::Te,
    Known::UserAgent,
    Known::XClientTraceId,
    Known::XEnvoyDownstreamServiceCluster,
    Known::XEnvoyDownstreamServiceNode,
    Known::XEnvoyExpectedRqTimeoutMs,
    Known::XEnvoyExternalAddress,
    Known::XEnvoyForceTrace,
    Known::XEnvoyHedgeOnPerTryTimeout,
    Known::XEnvoyInternal,
    Known::XEnvoyIpTags,
    Known::XEnvoyIsTimeoutRetry,
    Known::XEnvoyMaxRetries,
    Known::XEnvoyOriginalHost,
    Known::XEnvoyOriginalPath,
    Known::XEnvoyRetriableHeaderNames,
    Known::XEnvoyRetriableStatusCodes,
    Known::XEnvoyRetryGrpcOn,
    Known::XEnvoyRetryOn,
    Known::XEnvoyUpstreamAltStatName,
    Known::XEnvoyUpstreamRqPerTryTimeoutMs,
    Known::XEnvoyUpstreamRqTimeoutAltResponse,
    Known::XEnvoyUpstreamRqTimeoutMs,
    Known::XForwardedClientCert,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XForwardedProto,
];

const JOINED_IN_RESPONSES: &[Known] = &[
    Known::AccessControlAllowCredentials,
    Known::AccessControlAllowHeaders,
    Known::AccessControlAllowMethods,
    Known::AccessControlAllowOrigin,
    Known::AccessControlAllowPrivateNetwork,
    Known::AccessControlExposeHeaders,
    Known::AccessControlMaxAge,
    Known::Age,
    Known::Date,
    Known::Etag,
    Known::Expires,
    Known::GrpcMessage,
    Known::GrpcStatus,
    Known::LastModified,
    Known::Location,
    Known::ProxyStatus,
    Known::Server,
    Known::Vary,
    Known::XEnvoyDegraded,
    Known::XEnvoyImmediateHealthCheckFail,
    Known::XEnvoyRateLimited,
    Known::XEnvoyUpstreamCanary,
    Known::XEnvoyUpstreamHealthCheckedCluster,
    Known::XEnvoyUpstreamServiceTime,
];
