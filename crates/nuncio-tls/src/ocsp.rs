//! OCSP answers that go with a certificate (`ocsp_staple`): until when they are good. Who signed them is the client's to judge.

use super::der::{Der, SEQUENCE, context, is_time};

const ENUMERATED: u8 = 10;
const OCTETS: u8 = 4;

/// Until when an answer is good, in Unix seconds; `None` if it is not one, or says that nothing is known. An answer
/// without an end is good for ever.
pub(super) fn good_until(der: &[u8]) -> Option<i64> {
    // `rfc6960#4.2.1`
    let mut response = Der(Der(der).element(SEQUENCE)?);
    const SUCCESSFUL: &[u8] = &[0];
    if response.element(ENUMERATED)? != SUCCESSFUL {
        return None;
    }
    let mut bytes = Der(Der(response.element(context(0))?).element(SEQUENCE)?);
    bytes.next()?; // responseType
    let mut basic = Der(Der(bytes.element(OCTETS)?).element(SEQUENCE)?);
    let mut data = Der(basic.element(SEQUENCE)?);
    data.optional(context(0)); // version
    data.next()?; // responderID
    data.time()?; // producedAt
    let mut single = Der(Der(data.element(SEQUENCE)?).element(SEQUENCE)?);
    single.element(SEQUENCE)?; // certID
    single.next()?; // certStatus
    single.time()?; // thisUpdate
    match single.optional(context(0)) {
        Some(next) if Der(next).peek().is_some_and(is_time) => Der(next).time(),
        _ => Some(i64::MAX),
    }
}
