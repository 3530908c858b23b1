//! What gRPC makes of HTTP: content types, statuses, messages.

use crate::StreamCx;
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_codec::path;

/// A message of gRPC, by its content type.
pub fn is_grpc(head: &HeaderMap) -> bool {
    head.get(Known::ContentType)
        .is_some_and(|t| t.strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || rest[0] == b'+'))
}

/// gRPC's status for an HTTP status that came without one (grpc's http-grpc-status-mapping).
pub fn status_of_http(http: u16) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// The HTTP status of an error of gRPC, as `google.rpc.Code` maps them.
pub fn http_of_status(status: u64) -> u16 {
    match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// The `google.rpc.Status` on the wire that `grpc-status-details-bin` has.
pub fn status_details(map: &HeaderMap) -> Option<Vec<u8>> {
    const LAX: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    LAX.decode(map.get("grpc-status-details-bin")?).ok()
}

/// The status an exchange ended with as a gRPC client would see it: from trailers, the head, or HTTP's status.
pub fn status(cx: &StreamCx) -> u32 {
    let told = [&cx.response_trailers, &cx.response].into_iter().find_map(|map| map.get_str(Known::GrpcStatus));
    told.map_or_else(|| status_of_http(cx.info.status), |text| text.trim().parse().unwrap_or(2))
}

/// gRPC's percent-encoding of status messages.
pub fn percent_encode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    path::percent_encode(text, &mut out, |byte| (0x20..=0x7e).contains(&byte) && byte != b'%');
    out
}
