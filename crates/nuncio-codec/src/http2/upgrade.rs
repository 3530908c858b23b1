//! Upgrades between HTTP/1 (`connection: upgrade`, 101) and HTTP/2 (extended CONNECT, 200; RFC 8441).
//!
//! Inside, an upgrade is what it is in HTTP/1: what looks at heads need not know of the other form. The functions turn
//! heads as they come in and go out.

use crate::headers::{HeaderMap, Known};
use crate::http1::connection;

/// Whether a request is an extended CONNECT.
pub fn is_extended_connect(head: &HeaderMap) -> bool {
    head.is_connect() && head.contains(Known::Protocol)
}

/// A request that came as extended CONNECT becomes an upgrade.
pub fn request_from_http2(head: &mut HeaderMap) {
    let Some(protocol) = head.get(Known::Protocol).map(<[u8]>::to_vec) else { return };
    head.remove(Known::Protocol);
    head.insert(Known::Method, "GET");
    head.insert(Known::Upgrade, protocol);
    head.insert(Known::Connection, "upgrade");
}

/// An upgrade as extended CONNECT, with the protocol it asks for; `None` for any other request.
pub fn request_to_http2(head: &HeaderMap) -> Option<(HeaderMap, Vec<u8>)> {
    if head.is_connect() || !connection::is_upgrade(head) {
        return None;
    }
    let protocol = head.get(Known::Upgrade)?.to_vec();
    let mut turned = head.clone();
    turned.insert(Known::Method, "CONNECT");
    turned.insert(Known::Protocol, &protocol);
    turned.remove(Known::Upgrade);
    turned.remove(Known::Connection);
    if turned.get(Known::ContentLength) == Some(b"0") {
        turned.remove(Known::ContentLength);
    }
    Some((turned, protocol))
}

/// A good answer to an extended CONNECT is the answer to the upgrade that it was.
pub fn response_from_http2(head: &mut HeaderMap, protocol: &[u8]) {
    if head.status() == Some(200) {
        head.set_status(101);
        head.insert(Known::Upgrade, protocol);
        head.insert(Known::Connection, "upgrade");
    }
}

/// The answer to an upgrade as that to extended CONNECT; `None` for an answer that is the same in both.
pub fn response_to_http2(head: &HeaderMap) -> Option<HeaderMap> {
    if head.status() != Some(101) {
        return None;
    }
    let mut turned = head.clone();
    turned.set_status(200);
    turned.remove(Known::Upgrade);
    turned.remove(Known::Connection);
    if turned.get(Known::ContentLength) == Some(b"0") {
        turned.remove(Known::ContentLength);
    }
    Some(turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> HeaderMap {
        let mut head = HeaderMap::default();
        fields.iter().for_each(|(name, value)| head.append(*name, value));
        head
    }

    #[test]
    fn an_upgrade_goes_through_both_forms() {
        let asked = head(&[(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/chat"), ("x-a", "b")]);
        let mut inside = asked.clone();
        assert!(is_extended_connect(&asked));
        request_from_http2(&mut inside);
        assert_eq!((inside.method(), inside.get(Known::Upgrade)), (Some(&b"GET"[..]), Some(&b"websocket"[..])));
        let (outside, protocol) = request_to_http2(&inside).unwrap();
        assert_eq!((outside.method(), outside.get(Known::Protocol), &*protocol), (asked.method(), asked.get(Known::Protocol), &b"websocket"[..]));
        assert!(outside.get(Known::Upgrade).is_none() && request_to_http2(&head(&[(":method", "GET")])).is_none());

        let mut answer = head(&[(":status", "200")]);
        response_from_http2(&mut answer, &protocol);
        assert_eq!((answer.status(), answer.get(Known::Upgrade)), (Some(101), Some(&b"websocket"[..])));
        let back = response_to_http2(&answer).unwrap();
        assert_eq!((back.status(), back.len()), (Some(200), 1));
        let mut refused = head(&[(":status", "403")]);
        response_from_http2(&mut refused, &protocol);
        assert!(refused.status() == Some(403) && response_to_http2(&refused).is_none());
    }
}
