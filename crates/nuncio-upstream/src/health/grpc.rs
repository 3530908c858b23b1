//! gRPC health checks (`grpc.health.v1.Health/Check`).
//!
//! The two messages are a string and a number; they are written and read here. Rules are Envoy's: only SERVING, in exactly
//! one message, with `grpc-status` 0, is a pass. Every other answer decides at once; no answer counts towards the threshold.

use super::config::{GrpcHealthCheck, add_headers};
use super::door::Door;
use super::http2::{Http2Answer, Http2Client};
use super::tally::Verdict;
use nuncio_codec::headers::{HeaderMap, Known};
use std::time::Duration;

/// `HealthCheckResponse.SERVING`
const SERVING: u64 = 1;
/// Longest answer looked through: one message, and enough of a second to see that there is one.
const ANSWER_BYTES: usize = 4096;
/// Flag and length before a message.
const PREFIX_BYTES: usize = 5;

/// Asks one host.
#[derive(Debug)]
pub(super) struct GrpcProbe {
    head: HeaderMap,
    body: Vec<u8>,
    client: Http2Client,
}

impl GrpcProbe {
    pub(super) fn new(check: &GrpcHealthCheck, host: &str, timeout: Duration, door: Door) -> GrpcProbe {
        GrpcProbe { head: head(check, host, timeout), body: request(&check.service_name), client: Http2Client::new(door) }
    }

    /// Closes what is open: the last check came to no end.
    pub(super) fn forget(&mut self) {
        self.client.forget();
    }

    pub(super) async fn check(&mut self) -> Verdict {
        match self.client.exchange(&self.head, Some(&self.body), ANSWER_BYTES, |head| !is_grpc(head)).await {
            Some(answer) => verdict(&answer),
            None => Verdict::NetworkFailure,
        }
    }
}

/// The request's head.
fn head(check: &GrpcHealthCheck, host: &str, timeout: Duration) -> HeaderMap {
    let mut map = HeaderMap::default();
    map.insert(Known::Method, b"POST");
    map.insert(Known::Path, b"/grpc.health.v1.Health/Check");
    map.insert(Known::Authority, host.as_bytes());
    map.insert(Known::Scheme, b"http");
    map.insert(Known::Te, b"trailers");
    map.insert(Known::ContentType, b"application/grpc");
    map.insert(Known::UserAgent, b"Envoy/HC");
    add_headers(&mut map, &check.initial_metadata);
    // Eight digits at most: hours after that would be milliseconds.
    let text = match timeout.as_millis() {
        ms @ ..100_000_000 => format!("{ms}m"),
        _ => format!("{}S", timeout.as_secs().min(99_999_999)),
    };
    map.insert(Known::GrpcTimeout, text.as_bytes());
    map
}

/// `HealthCheckRequest { service }` with its prefix.
fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(&message);
    body
}

fn is_grpc(head: &HeaderMap) -> bool {
    let kind = head.get(Known::ContentType).unwrap_or_default();
    let rest = kind.strip_prefix(b"application/grpc");
    head.status() == Some(200) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
}

fn verdict(answer: &Http2Answer) -> Verdict {
    // An answer without body and trailers has its status in the head.
    let status = answer.trailers.get(Known::GrpcStatus).or_else(|| answer.head.get(Known::GrpcStatus));
    if is_grpc(&answer.head) && status == Some(b"0") && message(&answer.body).and_then(serving_status) == Some(SERVING) {
        Verdict::Pass { degraded: false }
    } else {
        Verdict::Fail { retriable: false, status: 0, immediate: false }
    }
}

/// The one message of a body, which is not compressed.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = body.split_first_chunk::<PREFIX_BYTES>()?;
    let [0, length @ ..] = prefix else { return None };
    (u32::from_be_bytes(*length) as usize == message.len()).then_some(message)
}

/// `HealthCheckResponse.status`; 0 where it is not set.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let skipped = match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skipped..)?;
    }
    Some(status)
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_one_message() {
        assert_eq!(request(""), [0; 5]);
        assert_eq!(request("svc"), b"\0\0\0\0\x05\n\x03svc");
        assert_eq!(&request(&"s".repeat(200))[..8], b"\0\0\0\0\xcb\n\xc8\x01");
    }

    #[test]
    fn only_serving_is_a_pass() {
        let answer = |head: &[(&str, &str)], body: &[u8], status: Option<&str>| {
            let mut answer = Http2Answer { body: body.into(), ..Http2Answer::default() };
            head.iter().for_each(|(name, value)| answer.head.append(name.as_bytes(), *value));
            if let Some(status) = status {
                answer.trailers.insert(Known::GrpcStatus, status.as_bytes());
            }
            matches!(verdict(&answer), Verdict::Pass { .. })
        };
        let ok = [(":status", "200"), ("content-type", "application/grpc")];
        assert!(answer(&ok, b"\0\0\0\0\x02\x08\x01", Some("0")));
        assert!(answer(&ok, b"\0\0\0\0\x06\x12\x02xx\x08\x01", Some("0")), "a field of later versions");
        assert!(answer(&[(":status", "200"), ("content-type", "application/grpc+proto")], b"\0\0\0\0\x02\x08\x01", Some("0")));
        for (body, status) in [
            (&b"\0\0\0\0\x02\x08\x02"[..], Some("0")),
            (b"\0\0\0\0\0", Some("0")),
            (b"\0\0\0\0\x02\x08\x01", Some("13")),
            (b"\0\0\0\0\x02\x08\x01", None),
            (b"\x01\0\0\0\x02\x08\x01", Some("0")),
            (b"\0\0\0\0\x02\x08\x01\0\0\0\0\x02\x08\x01", Some("0")),
            (b"\0\0\0\0\x02\x08", Some("0")),
            (b"", Some("0")),
        ] {
            assert!(!answer(&ok, body, status), "{body:?} {status:?}");
        }
        assert!(!answer(&[(":status", "200"), ("content-type", "text/plain")], b"\0\0\0\0\x02\x08\x01", Some("0")));
        assert!(!answer(&[(":status", "503")], b"", None));
    }
}
