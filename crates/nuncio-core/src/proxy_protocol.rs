//! The PROXY protocol, both versions: a header in front of a connection's bytes that says who the client is.
//!
//! Without I/O. Texts of version 1, frames of version 2 with their TLVs; what Envoy refuses is refused.

use crate::ConnInfo;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
};

/// How every header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of a version 2 header before addresses.
const V2_FIXED: usize = 16;

/// The longest header of version 1, its end included.
const V1_BYTES_MAX: usize = 107;

/// Which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// A binary frame.
    V2,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Which version it has.
    pub version: ProxyVersion,
    /// The client and where it connected to; `None` where the proxy speaks for itself.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Whatever else it says, by type (version 2).
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyStart {
    /// Not all there yet.
    Partial,
    /// A header of so many bytes.
    Header(ProxyHeader, usize),
    /// Not a header at all.
    Foreign,
    /// A header of this version that is wrong.
    Wrong(ProxyVersion),
}

/// Looks at the first bytes of a connection.
pub fn parse(bytes: &[u8]) -> ProxyStart {
    if bytes.first() == SIGNATURE.first() {
        return v2(bytes);
    }
    const BEGIN: &[u8] = b"PROXY ";
    let common = bytes.len().min(BEGIN.len());
    if bytes[..common] != BEGIN[..common] {
        return ProxyStart::Foreign;
    }
    if common < BEGIN.len() {
        return ProxyStart::Partial;
    }
    match bytes.windows(2).take(V1_BYTES_MAX).position(|pair| pair == b"\r\n") {
        Some(end) => match v1(&bytes[..end]) {
            Some(header) => ProxyStart::Header(header, end + 2),
            None => ProxyStart::Wrong(ProxyVersion::V1),
        },
        None if bytes.len() > V1_BYTES_MAX => ProxyStart::Wrong(ProxyVersion::V1),
        None => ProxyStart::Partial,
    }
}

fn v1(line: &[u8]) -> Option<ProxyHeader> {
    let line = std::str::from_utf8(line).ok()?;
    let header = |addresses| Some(ProxyHeader { version: ProxyVersion::V1, addresses, tlvs: Vec::new() });
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return header(None);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let port = |word: Option<&str>| word.and_then(|word| word.parse::<u16>().ok());
    let (source_port, destination_port) = (port(words.next())?, port(words.next())?);
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    if words.next().is_some() {
        return None;
    }
    header(Some((SocketAddr::new(address(source)?, source_port), SocketAddr::new(address(destination)?, destination_port))))
}

fn v2(bytes: &[u8]) -> ProxyStart {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] != SIGNATURE[..common] {
        return ProxyStart::Foreign;
    }
    let Some((fixed, rest)) = bytes.split_at_checked(V2_FIXED) else { return ProxyStart::Partial };
    let wrong = ProxyStart::Wrong(ProxyVersion::V2);
    let (command, family) = (fixed[12], fixed[13]);
    if command >> 4 != 2 {
        return wrong;
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let Some(body) = rest.get(..length) else { return ProxyStart::Partial };
    let local = match command & 0xf {
        0 => true,
        1 => false,
        _ => return wrong,
    };
    // Whether it says stream or datagram makes no difference, in Envoy neither.
    let (addresses, rest) = match family >> 4 {
        _ if local => (None, &body[..0]),
        1 => match split_v4(body) {
            Some((addresses, rest)) => (Some(addresses), rest),
            None => return wrong,
        },
        2 => match split_v6(body) {
            Some((addresses, rest)) => (Some(addresses), rest),
            None => return wrong,
        },
        0 => (None, &body[..0]),
        _ => return wrong,
    };
    match tlvs(rest) {
        Some(tlvs) => ProxyStart::Header(ProxyHeader { version: ProxyVersion::V2, addresses, tlvs }, V2_FIXED + length),
        None => wrong,
    }
}

type Split<'a> = ((SocketAddr, SocketAddr), &'a [u8]);

fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    let ports: [u8; 4] = bytes.try_into().ok()?;
    Some((u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]])))
}

fn split_v4(body: &[u8]) -> Option<Split<'_>> {
    let (addresses, rest) = body.split_at_checked(12)?;
    let at = |from: usize| <[u8; 4]>::try_from(addresses.get(from..from + 4)?).ok().map(Ipv4Addr::from);
    let (source, destination) = ports(&addresses[8..])?;
    Some(((SocketAddr::new(at(0)?.into(), source), SocketAddr::new(at(4)?.into(), destination)), rest))
}

fn split_v6(body: &[u8]) -> Option<Split<'_>> {
    let (addresses, rest) = body.split_at_checked(36)?;
    let at = |from: usize| <[u8; 16]>::try_from(addresses.get(from..from + 16)?).ok().map(Ipv6Addr::from);
    let (source, destination) = ports(&addresses[32..])?;
    Some(((SocketAddr::new(at(0)?.into(), source), SocketAddr::new(at(16)?.into(), destination)), rest))
}

fn tlvs(mut bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut found = Vec::new();
    while let Some((&[kind, high, low], rest)) = bytes.split_first_chunk::<3>() {
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        found.push((kind, value.to_vec()));
        bytes = rest;
    }
    bytes.is_empty().then_some(found)
}

/// Which TLVs are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PassThrough {
    /// None.
    #[default]
    None,
    /// `INCLUDE_ALL`
    All,
    /// `INCLUDE`: those of these types.
    Types(Vec<u8>),
}

impl PassThrough {
    /// Whether TLVs of this type are kept.
    pub fn has(&self, kind: u8) -> bool {
        match self {
            PassThrough::None => false,
            PassThrough::All => true,
            PassThrough::Types(types) => types.contains(&kind),
        }
    }
}

/// Writes a header of version 1; `None` for a proxy that speaks for itself.
pub fn encode_v1(addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = addresses else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port()).into_bytes()
}

/// Writes a header of version 2; without addresses it is a LOCAL one. TLVs that do not fit are left out.
pub fn encode_v2(addresses: Option<(SocketAddr, SocketAddr)>, tlvs: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let (command, family, mut body) = match addresses {
        None => (0x20, 0, Vec::new()),
        Some((source, destination)) => {
            let mut body = Vec::with_capacity(36);
            let family = match (source.ip(), destination.ip()) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    body.extend_from_slice(&source.octets());
                    body.extend_from_slice(&destination.octets());
                    0x11
                }
                (source, destination) => {
                    let v6 = |ip: IpAddr| match ip {
                        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                        IpAddr::V6(v6) => v6,
                    };
                    body.extend_from_slice(&v6(source).octets());
                    body.extend_from_slice(&v6(destination).octets());
                    0x21
                }
            };
            body.extend_from_slice(&source.port().to_be_bytes());
            body.extend_from_slice(&destination.port().to_be_bytes());
            (0x21, family, body)
        }
    };
    if addresses.is_some() {
        for (kind, value) in tlvs {
            let Ok(length) = u16::try_from(value.len()) else { continue };
            if body.len() + 3 + value.len() > usize::from(u16::MAX) {
                break;
            }
            body.push(*kind);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(value);
        }
    }
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, &body].concat()
}

/// Where the header of a connection is kept.
const PLACE: usize = usize::MAX - 1;

/// Keeps the header that a connection came with.
pub fn attach(conn: &ConnInfo, header: ProxyHeader) {
    conn.attached.get(PLACE, || header);
}

/// The header that a connection came with, if it has been kept.
pub fn attached(conn: &ConnInfo) -> Option<Rc<ProxyHeader>> {
    conn.attached.find(PLACE)
}

/// Where it is kept that a client is not told of.
const UNTOLD: usize = usize::MAX - 4;

struct Untold;

/// Hosts are not told of this connection's client, unless a proxy before us has told of it.
pub fn keep_quiet(conn: &ConnInfo) {
    conn.attached.get(UNTOLD, || Untold);
}

/// True if hosts may be told of this connection's client.
pub fn may_tell(conn: &ConnInfo) -> bool {
    conn.attached.find::<Untold>(UNTOLD).is_none() || attached(conn).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((source.parse().expect("address"), destination.parse().expect("address")))
    }

    #[test]
    fn headers_of_both_versions_come_back_as_they_were_written() {
        for pair in [addresses("1.2.3.4:1111", "5.6.7.8:80"), addresses("[2001:db8::1]:1", "[::1]:65535"), None] {
            let tlvs = match pair {
                Some(_) => vec![(0xea, b"vpce".to_vec()), (4, Vec::new())],
                None => Vec::new(),
            };
            for (bytes, version, tlvs) in
                [(encode_v1(pair), ProxyVersion::V1, Vec::new()), (encode_v2(pair, &tlvs), ProxyVersion::V2, tlvs.clone())]
            {
                let whole = [&bytes[..], b"GET / HTTP/1.1"].concat();
                let expected = ProxyHeader { version, addresses: pair, tlvs };
                assert_eq!(parse(&whole), ProxyStart::Header(expected, bytes.len()));
                for end in 1..bytes.len() {
                    assert_eq!(parse(&bytes[..end]), ProxyStart::Partial, "cut at {end}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_header_is_told_from_one_that_is_wrong() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), ProxyStart::Foreign);
        assert_eq!(parse(b"\r\n\r\nhello hello"), ProxyStart::Foreign);
        for line in ["TCP4 1.2.3.4 5.6.7.8 1", "TCP4 1.2.3.4 5.6.7.8 1 70000", "TCP4 ::1 ::1 1 2", "UDP4 1.2.3.4 5.6.7.8 1 2", "TCP4 1.2.3.4 5.6.7.8 1 2 3"] {
            assert_eq!(parse(format!("PROXY {line}\r\n").as_bytes()), ProxyStart::Wrong(ProxyVersion::V1), "{line}");
        }
        assert_eq!(parse(format!("PROXY {}", "x".repeat(200)).as_bytes()), ProxyStart::Wrong(ProxyVersion::V1));
        let good = encode_v2(addresses("1.2.3.4:1", "1.2.3.4:2"), &[]);
        for (at, byte) in [(12, 0x11), (12, 0x22), (13, 0x21), (13, 0x31)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(parse(&bad), ProxyStart::Wrong(ProxyVersion::V2), "{at} {byte:x}");
        }
    }

    #[test]
    fn spoilt_headers_never_panic() {
        let good = encode_v2(addresses("1.2.3.4:1", "1.2.3.4:2"), &[(1, b"h2".to_vec())]);
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = parse(&bad);
            }
        }
    }
}
