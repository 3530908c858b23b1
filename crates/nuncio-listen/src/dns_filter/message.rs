//! DNS messages as a server sees them (rfc1035#4): one question in, records out. Without I/O.
//!
//! What Envoy takes for a query is taken for one: a question of the Internet class, whatever the opcode; additional records
//! (EDNS) are allowed and not looked at. Names in answers are written out.

use nuncio_upstream::dns::Reader;
use std::net::IpAddr;

const FLAG_RESPONSE: u16 = 0x8000;
const FLAG_RECURSION_DESIRED: u16 = 0x0100;
const FLAG_RECURSION_AVAILABLE: u16 = 0x0080;
const OPCODE: u16 = 0x7800;
const CLASS_IN: u16 = 1;
/// Bytes of a name at most, its length bytes counted (rfc1035#3.1).
const NAME_BYTES_MAX: usize = 255;
/// Bytes of a response at most (rfc1035#4.2.1).
const RESPONSE_BYTES_MAX: usize = 512;
/// Answers in a response at most.
const ANSWERS_MAX: usize = 8;

/// `A`
pub(super) const TYPE_A: u16 = 1;
/// `AAAA`
pub(super) const TYPE_AAAA: u16 = 28;
/// `SRV`
pub(super) const TYPE_SRV: u16 = 33;

/// What a response says of how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    NoError = 0,
    Format = 1,
    NoSuchName = 3,
    NotImplemented = 4,
}

/// What every response repeats of its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub(super) id: u16,
    flags: u16,
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) head: Head,
    /// With dots between labels.
    pub(super) name: String,
    /// Type of the records that are asked for.
    pub(super) kind: u16,
    /// There are additional records.
    pub(super) additional: bool,
    /// The question as it came.
    question: Vec<u8>,
}

/// Why a datagram is no query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Shorter than a header.
    Short,
    /// A response, or one with answers.
    Answers,
    /// Not one question.
    Questions,
    /// The question cannot be read.
    Question,
}

/// A record of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) ttl: u32,
    pub(super) data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    Service { priority: u16, weight: u16, port: u16, target: String },
}

/// Reads a query; whatever it is, there is a head to answer to.
pub(super) fn parse(bytes: &[u8]) -> (Head, Result<Query, Malformed>) {
    let mut at = Reader::new(bytes);
    let mut head = Head::default();
    let parsed = read(&mut at, &mut head);
    (head, parsed)
}

fn read(at: &mut Reader<'_>, head: &mut Head) -> Result<Query, Malformed> {
    head.id = at.u16().ok_or(Malformed::Short)?;
    head.flags = at.u16().ok_or(Malformed::Short)?;
    let mut count = || at.u16().ok_or(Malformed::Short);
    let (questions, answers, authorities, additional) = (count()?, count()?, count()?, count()?);
    if head.flags & FLAG_RESPONSE != 0 || answers > 0 || authorities > 0 {
        return Err(Malformed::Answers);
    }
    if questions != 1 {
        return Err(Malformed::Questions);
    }
    let (name, kind, question) = question(at).ok_or(Malformed::Question)?;
    Ok(Query { head: *head, name, kind, additional: additional > 0, question: question.to_vec() })
}

fn question<'a>(at: &mut Reader<'a>) -> Option<(String, u16, &'a [u8])> {
    let rest = at.rest();
    let mut name = String::new();
    let mut len = 1;
    loop {
        let length = usize::from(*at.take(1)?.first()?);
        if length == 0 {
            break;
        }
        len += length + 1;
        // There is nothing before a question that a pointer could lead to.
        if length > 63 || len > NAME_BYTES_MAX {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(at.take(length)?));
    }
    let (kind, class) = (at.u16()?, at.u16()?);
    let question = rest.get(..len + 4)?;
    (!name.is_empty() && class == CLASS_IN).then_some((name, kind, question))
}

fn flags(head: Head, code: Code, recurses: bool) -> u16 {
    let kept = head.flags & (OPCODE | FLAG_RECURSION_DESIRED);
    FLAG_RESPONSE | kept | if recurses { FLAG_RECURSION_AVAILABLE } else { 0 } | code as u16
}

/// The response to what is no query.
pub(super) fn refusal(head: Head, recurses: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(12);
    for field in [head.id, flags(head, Code::Format, recurses), 0, 0, 0, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out
}

/// The response to a query; what is too much is left out.
pub(super) fn response(query: &Query, code: Code, answers: &[Record], additional: &[Record], recurses: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(RESPONSE_BYTES_MAX);
    for field in [query.head.id, flags(query.head, code, recurses), 1, 0, 0, 0] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    out.extend_from_slice(&query.question);
    let answered = write_all(&mut out, answers.iter().take(ANSWERS_MAX));
    let added = write_all(&mut out, additional.iter());
    out[6..8].copy_from_slice(&answered.to_be_bytes());
    out[10..12].copy_from_slice(&added.to_be_bytes());
    out
}

/// Writes records while there is room; how many there were.
fn write_all<'a>(out: &mut Vec<u8>, records: impl Iterator<Item = &'a Record>) -> u16 {
    let mut written = 0;
    for record in records {
        let before = out.len();
        write(out, record);
        if out.len() > RESPONSE_BYTES_MAX {
            out.truncate(before);
            break;
        }
        written += 1;
    }
    written
}

fn write(out: &mut Vec<u8>, record: &Record) {
    write_name(out, &record.name);
    let data = match &record.data {
        Data::Address(IpAddr::V4(ip)) => (TYPE_A, ip.octets().to_vec()),
        Data::Address(IpAddr::V6(ip)) => (TYPE_AAAA, ip.octets().to_vec()),
        Data::Service { priority, weight, port, target } => {
            let mut data: Vec<u8> = [priority, weight, port].iter().flat_map(|field| field.to_be_bytes()).collect();
            write_name(&mut data, target);
            (TYPE_SRV, data)
        }
    };
    out.extend_from_slice(&data.0.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.extend_from_slice(&record.ttl.to_be_bytes());
    out.extend_from_slice(&u16::try_from(data.1.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&data.1);
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // Names that are configured may be no names; those that were asked for are.
        let length = u8::try_from(label.len()).unwrap_or(u8::MAX).min(63);
        out.push(length);
        out.extend_from_slice(&label.as_bytes()[..usize::from(length)]);
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(counts: [u16; 4], flags: u16, question: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for field in [0x1234, flags].into_iter().chain(counts) {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(question);
        out
    }

    const QUESTION: &[u8] = b"\x03www\x04test\0\0\x01\0\x01";

    #[test]
    fn what_envoy_refuses_is_refused() {
        let error = |bytes: &[u8]| parse(bytes).1.map(|query| query.name);
        assert_eq!(error(&query([1, 0, 0, 0], 0x0100, QUESTION)), Ok("www.test".to_owned()));
        assert_eq!(error(&query([1, 0, 0, 1], 0x1100, QUESTION)), Ok("www.test".to_owned()));
        assert_eq!(error(b"\x12\x34\x01"), Err(Malformed::Short));
        for counts in [[1, 1, 0, 0], [1, 0, 1, 0]] {
            assert_eq!(error(&query(counts, 0x0100, QUESTION)), Err(Malformed::Answers));
        }
        assert_eq!(error(&query([1, 0, 0, 0], 0x8180, QUESTION)), Err(Malformed::Answers));
        assert_eq!(error(&query([0, 0, 0, 0], 0, QUESTION)), Err(Malformed::Questions));
        assert_eq!(error(&query([2, 0, 0, 0], 0, QUESTION)), Err(Malformed::Questions));
        let long: Vec<u8> = std::iter::repeat_n(&b"\x08abcdefgh"[..], 33).flatten().copied().chain(*b"\0\0\x01\0\x01").collect();
        for broken in [&b""[..], b"\0\0\x01\0\x01", b"\xc0\x0c\0\x01\0\x01", b"\x03www\0\0\x01\0\x03", b"\x03ww", &long] {
            assert_eq!(error(&query([1, 0, 0, 0], 0, broken)), Err(Malformed::Question), "{broken:?}");
        }
    }

    #[test]
    fn responses_are_envoys_to_the_byte() {
        let (head, asked) = parse(&query([1, 0, 0, 0], 0x0130, QUESTION));
        let asked = asked.unwrap();
        let record = |last| Record { name: "www.test".to_owned(), ttl: 300, data: Data::Address([10, 0, 0, last].into()) };
        let written = response(&asked, Code::NoError, &[record(1)], &[], false);
        let wanted = b"\x12\x34\x81\0\0\x01\0\x01\0\0\0\0\x03www\x04test\0\0\x01\0\x01\x03www\x04test\0\0\x01\0\x01\0\0\x01\x2c\0\x04\x0a\0\0\x01";
        assert_eq!(written, wanted);
        let many: Vec<_> = (0..34).map(record).collect();
        assert_eq!(response(&asked, Code::NoError, &many, &[], true)[2..8], *b"\x81\x80\0\x01\0\x08");
        assert_eq!(refusal(head, false), b"\x12\x34\x81\x01\0\0\0\0\0\0\0\0");
        let long = Record { name: "a".repeat(63) + "." + &"b".repeat(63) + "." + &"c".repeat(63) + "." + &"d".repeat(50), ..record(1) };
        let cut = response(&asked, Code::NoError, &vec![long; 5], &[], false);
        assert!(cut.len() <= RESPONSE_BYTES_MAX && cut[7] == 1, "{}", cut[7]);
    }

    #[test]
    fn any_bytes_are_answered() {
        let rng = nuncio_rt::Rng::seeded(3, 4);
        for _ in 0..20_000 {
            let mut bytes = query([1, 0, 0, 0], 0x0100, QUESTION);
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            if let (_, Ok(query)) = parse(&bytes) {
                assert!(response(&query, Code::NoSuchName, &[], &[], true).len() <= RESPONSE_BYTES_MAX);
            }
        }
    }
}
