//! What a TLS greeting (ClientHello) asks for, read from the records before they are processed.

/// What the first bytes of a connection tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// The greeting is not complete.
    Partial,
    /// Complete.
    Complete(Greeting),
    /// Not a greeting at all.
    Foreign,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Greeting {
    /// The server name (`rfc6066#3`) in lower case.
    pub server_name: Option<String>,
    /// TLS 1.3 is among its versions (`rfc8446#4.2.1`).
    pub tls13: bool,
    /// It asks for an OCSP answer (`rfc6066#8`).
    pub asks_status: bool,
    /// Ciphers by number, the most wanted first.
    pub ciphers: Vec<u16>,
    /// Application protocols (`rfc7301#3.1`), the most wanted first.
    pub protocols: Vec<String>,
    /// Its parts have the lengths that it says, no extension comes twice, and a name is one.
    pub well_formed: bool,
}

/// Bytes of a greeting that are looked at: a handshake message longer than this names no server for us.
const GREETING_BYTES_MAX: usize = 64 * 1024;

/// Reads the greeting from `records` (`rfc8446#5.1`, `rfc8446#4.1.2`).
pub fn parse(records: &[u8]) -> Hello {
    match message(records) {
        Ok(message) => Hello::Complete(greeting(&message)),
        Err(other) => other,
    }
}

/// The handshake message in `records`, with its header; [`Hello::Partial`] or [`Hello::Foreign`] if there is none.
pub(crate) fn message(records: &[u8]) -> Result<Vec<u8>, Hello> {
    let mut message = Vec::new();
    let mut rest = Bytes(records);
    loop {
        if let Some(needed) = message_length(&message)
            && message.len() >= needed
        {
            message.truncate(needed);
            return Ok(message);
        }
        let Some(kind) = rest.u8() else { return Err(Hello::Partial) };
        const HANDSHAKE: u8 = 22;
        if kind != HANDSHAKE || message.len() > GREETING_BYTES_MAX {
            return Err(Hello::Foreign);
        }
        let Some(fragment) = rest.take(2).and_then(|_version| rest.vector16()) else { return Err(Hello::Partial) };
        if fragment.is_empty() {
            return Err(Hello::Foreign);
        }
        message.extend_from_slice(fragment);
        const CLIENT_HELLO: u8 = 1;
        if message.first() != Some(&CLIENT_HELLO) {
            return Err(Hello::Foreign);
        }
    }
}

/// Length of a handshake message with its header, once the header is there.
fn message_length(message: &[u8]) -> Option<usize> {
    match message {
        [_, a, b, c, ..] => Some(4 + (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c))),
        _ => None,
    }
}

fn greeting(message: &[u8]) -> Greeting {
    let mut greeting = Greeting::default();
    // What cannot be read is left out: the handshake will have its own opinion of it.
    greeting.well_formed = read_extensions(message, &mut greeting).is_some();
    greeting
}

fn read_extensions(message: &[u8], into: &mut Greeting) -> Option<()> {
    let mut hello = Bytes(message.get(4..)?);
    hello.take(2 + 32)?; // legacy_version, random
    hello.vector8()?; // legacy_session_id
    let mut ciphers = Bytes(hello.vector16()?);
    while let Some(cipher) = ciphers.u16() {
        into.ciphers.push(cipher);
    }
    hello.vector8()?; // legacy_compression_methods
    if hello.0.is_empty() {
        return Some(());
    }
    let mut extensions = Bytes(hello.vector16()?);
    let mut kinds = Vec::new();
    while let Some(kind) = extensions.u16() {
        let body = extensions.vector16()?;
        const SERVER_NAME: u16 = 0;
        const PROTOCOLS: u16 = 16;
        const VERSIONS: u16 = 43;
        const TLS13: [u8; 2] = [3, 4];
        const STATUS: u16 = 5;
        kinds.push(kind);
        match kind {
            SERVER_NAME => into.server_name = Some(server_name(body)?),
            STATUS => into.asks_status = true,
            VERSIONS => into.tls13 = Bytes(body).vector8().is_some_and(|all| all.chunks_exact(2).any(|one| one == TLS13)),
            PROTOCOLS => into.protocols = protocols(body).unwrap_or_default(),
            _ => {}
        }
    }
    let all = kinds.len();
    kinds.sort_unstable();
    kinds.dedup();
    (kinds.len() == all).then_some(())
}

fn server_name(body: &[u8]) -> Option<String> {
    let mut names = Bytes(Bytes(body).vector16()?);
    const HOST_NAME: u8 = 0;
    while let Some(kind) = names.u8() {
        let name = names.vector16()?;
        if kind == HOST_NAME && !name.is_empty() {
            return std::str::from_utf8(name).ok().map(str::to_ascii_lowercase);
        }
    }
    None
}

fn protocols(body: &[u8]) -> Option<Vec<String>> {
    let mut list = Bytes(Bytes(body).vector16()?);
    let mut protocols = Vec::new();
    while let Some(protocol) = list.vector8() {
        protocols.push(String::from_utf8_lossy(protocol).into_owned());
    }
    Some(protocols)
}

/// Bytes being read from the front.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    pub(crate) fn vector8(&mut self) -> Option<&'a [u8]> {
        let n = self.u8()?;
        self.take(n.into())
    }

    pub(crate) fn vector16(&mut self) -> Option<&'a [u8]> {
        let n = self.u16()?;
        self.take(n.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector16(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u16).to_be_bytes()[..], body].concat()
    }

    /// A greeting that names `name`, in records of at most `record` bytes.
    fn greeting(name: &[u8], record: usize) -> Vec<u8> {
        let names = vector16(&[&[0][..], &vector16(name)].concat());
        let protocols = vector16(b"\x02h2\x08http/1.1");
        let extensions = [
            &[0, 43][..],
            &vector16(&[2, 3, 4]),
            &[0, 16],
            &vector16(&protocols),
            &[0, 0],
            &vector16(&names),
        ]
        .concat();
        let body = [&[3, 3][..], &[7; 32], &[0], &vector16(&[0x13, 1]), &[1, 0], &vector16(&extensions)].concat();
        let length = (body.len() as u32).to_be_bytes();
        let message = [&[1][..], &length[1..], &body].concat();
        message.chunks(record).flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat()).collect()
    }

    #[test]
    fn the_name_is_found_however_the_greeting_is_cut() {
        for record in [1, 7, 40, 4096] {
            let bytes = greeting(b"A.Example", record);
            let expected =
                Greeting {
                    server_name: Some("a.example".into()),
                    tls13: true,
                    asks_status: false,
                    ciphers: vec![0x1301],
                    protocols: vec!["h2".into(), "http/1.1".into()],
                    well_formed: true,
                };
            assert_eq!(parse(&bytes), Hello::Complete(expected), "records of {record}");
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Hello::Partial, "cut at {end}, records of {record}");
            }
        }
    }

    #[test]
    fn what_is_no_greeting_is_told_from_an_unfinished_one() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Hello::Foreign);
        assert_eq!(parse(&[22, 3, 1, 0, 1, 2]), Hello::Foreign);
        assert_eq!(parse(&[22, 3, 1, 0, 0]), Hello::Foreign);
    }

    #[test]
    fn lengths_that_lie_name_nobody() {
        let mut bytes = greeting(b"a", 4096);
        let at = bytes.len() - 3;
        bytes[at] = 255;
        let Hello::Complete(greeting) = parse(&bytes) else { unreachable!("it is complete") };
        assert_eq!(greeting.server_name, None);
    }
}
