//! DNS messages, as much of them as a stub resolver needs (rfc1035#4).
//!
//! Bytes in, addresses or servers out. Compression pointers must point backwards, so that no message makes us loop.

use super::{Family, Question, Service};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// Longest message taken over UDP without EDNS (rfc1035#4.2.1); we do not announce more.
pub(super) const UDP_BYTES: usize = 512;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
/// RFC 2782.
const TYPE_SRV: u16 = 33;
/// Most servers of a service that are taken.
const MAX_SERVICES: usize = 1000;
/// Longest name in text, RFC 1035, section 3.1.
const NAME_BYTES: usize = 253;
const CLASS_IN: u16 = 1;
const FLAG_RESPONSE: u16 = 0x8000;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION_DESIRED: u16 = 0x0100;

/// What a response says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Response {
    /// Addresses and the shortest time to live among them; empty when the name has none of the type.
    Addresses(Vec<IpAddr>, Duration),
    /// Servers and the shortest time to live among them.
    Services(Vec<Service>, Duration),
    /// The name does not exist.
    NoSuchName,
    /// Too long for UDP: ask again over TCP.
    Truncated,
    /// The server cannot or will not tell.
    Refused,
}

fn query_type(question: Question) -> u16 {
    match question {
        Question::Addresses(Family::V4) => TYPE_A,
        Question::Addresses(Family::V6) => TYPE_AAAA,
        Question::Services => TYPE_SRV,
    }
}

/// A query about `name`; `None` if that cannot be a DNS name.
pub(super) fn query(id: u16, name: &str, question: Question) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len() + 18);
    for field in [id, FLAG_RECURSION_DESIRED, 1, 0, 0, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|n| (1..=63).contains(n))?;
        out.push(length);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    // A name takes at most 255 bytes (rfc1035#3.1).
    if out.len() > 12 + 255 {
        return None;
    }
    out.extend_from_slice(&query_type(question).to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(out)
}

/// Reads the answer to `query`. `None`: it is not one (wrong id, wrong question, broken), and is to be ignored.
pub(super) fn response(query: &[u8], bytes: &[u8]) -> Option<Response> {
    let mut at = Reader::new(bytes);
    let id = at.u16()?;
    let flags = at.u16()?;
    let (questions, answers) = (at.u16()?, at.u16()?);
    at.skip(4)?;
    let asked = query.get(12..)?;
    if flags & FLAG_RESPONSE == 0 || query.get(..2)? != id.to_be_bytes() {
        return None;
    }
    match questions {
        1 if at.take(asked.len())?.eq_ignore_ascii_case(asked) => {}
        // Servers that refuse may leave the question out.
        0 if flags & 0xf != 0 => {}
        _ => return None,
    }
    if flags & FLAG_TRUNCATED != 0 {
        return Some(Response::Truncated);
    }
    match flags & 0xf {
        0 => {}
        3 => return Some(Response::NoSuchName),
        _ => return Some(Response::Refused),
    }
    let wanted = u16::from_be_bytes(asked.get(asked.len().checked_sub(4)?..asked.len() - 2)?.try_into().ok()?);
    read_answers(&mut at, answers, wanted)
}

/// Takes the records of the wanted type; aliases (CNAME) lead to them and are not looked at.
fn read_answers(at: &mut Reader<'_>, answers: u16, wanted: u16) -> Option<Response> {
    let (mut addresses, mut services, mut ttl) = (Vec::new(), Vec::new(), u32::MAX);
    for _ in 0..answers {
        at.skip_name()?;
        let (kind, class) = (at.u16()?, at.u16()?);
        let lives = at.u32()?;
        let length = at.u16()?;
        let begin = at.at;
        let data = at.take(usize::from(length))?;
        if kind != wanted || class != CLASS_IN {
            continue;
        }
        let address = match kind {
            TYPE_A => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)),
            TYPE_AAAA => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)),
            _ => {
                let service = read_service(Reader { bytes: at.bytes, at: begin })?;
                // A single dot says that there is no such service (RFC 2782).
                if !service.target.is_empty() && services.len() < MAX_SERVICES {
                    services.push(service);
                }
                ttl = ttl.min(clamp(lives));
                continue;
            }
        };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        ttl = ttl.min(clamp(lives));
    }
    let ttl = Duration::from_secs(u64::from(ttl));
    Some(if wanted == TYPE_SRV { Response::Services(services, ttl) } else { Response::Addresses(addresses, ttl) })
}

/// The top bit of a time to live means zero (rfc2181#8).
fn clamp(lives: u32) -> u32 {
    if lives > i32::MAX as u32 { 0 } else { lives }
}

fn read_service(mut at: Reader<'_>) -> Option<Service> {
    let (priority, weight, port) = (at.u16()?, at.u16()?, at.u16()?);
    Some(Service { priority, weight, port, target: at.name()? })
}

/// Reads a message from front to back.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the beginning.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// So many bytes, if there are as many.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn skip(&mut self, n: usize) -> Option<()> {
        self.take(n).map(drop)
    }

    /// A number of two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Reads a name, without the dot at its end. Pointers are followed, each to a place before the last.
    fn name(&mut self) -> Option<String> {
        let (mut name, mut before) = (String::new(), self.at);
        loop {
            let length = *self.take(1)?.first()?;
            match length {
                0 => return Some(name),
                1..=63 => {
                    let label = self.take(usize::from(length))?;
                    if !label.iter().all(|c| c.is_ascii_graphic() && *c != b'.') || name.len() + label.len() >= NAME_BYTES {
                        return None;
                    }
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.extend(label.iter().map(|c| char::from(*c)));
                }
                0xc0..=0xff => {
                    let low = *self.take(1)?.first()?;
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    if to >= before {
                        return None;
                    }
                    (self.at, before) = (to, to);
                }
                _ => return None,
            }
        }
    }

    /// Steps over a name: labels, ended by a zero or by a pointer (which is not followed).
    fn skip_name(&mut self) -> Option<()> {
        loop {
            let length = *self.take(1)?.first()?;
            match length {
                0 => return Some(()),
                1..=63 => self.skip(usize::from(length))?,
                0xc0..=0xff => return self.skip(1),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// The reply to a query with these addresses.
    pub(crate) fn reply(query: &[u8], rcode: u16, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
        let mut out = query.to_vec();
        out[2..4].copy_from_slice(&(FLAG_RESPONSE | FLAG_RECURSION_DESIRED | rcode).to_be_bytes());
        out[6..8].copy_from_slice(&(addresses.len() as u16).to_be_bytes());
        for address in addresses {
            let (kind, data) = match address {
                IpAddr::V4(a) => (TYPE_A, a.octets().to_vec()),
                IpAddr::V6(a) => (TYPE_AAAA, a.octets().to_vec()),
            };
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&CLASS_IN.to_be_bytes());
            out.extend_from_slice(&ttl.to_be_bytes());
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(&data);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::reply, *};

    #[test]
    fn a_reply_gives_its_addresses_and_shortest_life() {
        let q = query(7, "a.test", Question::Addresses(Family::V4)).expect("a name");
        let addresses = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let answer = response(&q, &reply(&q, 0, &addresses, 30));
        assert_eq!(answer, Some(Response::Addresses(addresses.to_vec(), Duration::from_secs(30))));
        assert_eq!(response(&q, &reply(&q, 3, &[], 0)), Some(Response::NoSuchName));
        assert_eq!(response(&q, &reply(&q, 5, &[], 0)), Some(Response::Refused));
    }

    #[test]
    fn replies_to_other_questions_are_ignored() {
        let q = query(7, "a.test", Question::Addresses(Family::V4)).expect("a name");
        for other in [query(8, "a.test", Question::Addresses(Family::V4)), query(7, "b.test", Question::Addresses(Family::V4)), query(7, "a.test", Question::Addresses(Family::V6))] {
            let other = other.expect("a name");
            assert_eq!(response(&q, &reply(&other, 0, &[], 0)), None);
        }
        assert_eq!(response(&q, &q), None);
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        assert!(query(1, "", Question::Addresses(Family::V4)).is_none());
        assert!(query(1, "a..b", Question::Addresses(Family::V4)).is_none());
        assert!(query(1, &"a".repeat(64), Question::Addresses(Family::V4)).is_none());
        assert!(query(1, &"abc.".repeat(80), Question::Addresses(Family::V4)).is_none());
        assert!(query(1, "a.test.", Question::Addresses(Family::V4)).is_some());
    }

    /// The reply to a query with these servers, and their names compressed by the question's.
    fn served(query: &[u8], services: &[(u16, u16, u16, &[u8])]) -> Vec<u8> {
        let mut out = reply(query, 0, &[], 0);
        out[6..8].copy_from_slice(&(services.len() as u16).to_be_bytes());
        for (priority, weight, port, target) in services {
            out.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 9]);
            out.extend_from_slice(&(6 + target.len() as u16).to_be_bytes());
            for number in [priority, weight, port] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            out.extend_from_slice(target);
        }
        out
    }

    #[test]
    fn a_service_has_servers() {
        let q = query(7, "_http._tcp.a.test", Question::Services).expect("a name");
        // `one.a.test`, by a pointer behind `_http._tcp`; no service at all.
        let bytes = served(&q, &[(1, 20, 80, b"\x03one\xc0\x17"), (0, 0, 0, b"\0")]);
        let one = Service { priority: 1, weight: 20, port: 80, target: "one.a.test".into() };
        assert_eq!(response(&q, &bytes), Some(Response::Services(vec![one], Duration::from_secs(9))));
        // A pointer to itself, one forward, a label that is none.
        for target in [&b"\xc0\x35"[..], b"\xc1\x00", b"\x41a", b"\x03a.b\0"] {
            assert_eq!(response(&q, &served(&q, &[(0, 0, 0, target)])), None);
        }
    }

    #[test]
    fn broken_bytes_never_panic() {
        let q = query(7, "a.test", Question::Addresses(Family::V4)).expect("a name");
        let service = query(7, "_s._tcp.a.test", Question::Services).expect("a name");
        let good = [reply(&q, 0, &[[1, 2, 3, 4].into()], 1), served(&service, &[(1, 2, 3, b"\x01b\xc0\x0c"), (0, 0, 0, b"\xc0\x14")])];
        let rng = nuncio_rt::Rng::seeded(1, 9);
        for n in 0..40_000 {
            let (q, mut bytes) = if n % 2 == 0 { (&q, good[0].clone()) } else { (&service, good[1].clone()) };
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            let _ = response(q, &bytes);
        }
    }
}
