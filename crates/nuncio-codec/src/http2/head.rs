//! Fields to a message's head or trailers: what HTTP/2 allows there, and how large it may be.
//!
//! Rules are those of RFC 9113, section 8, as strict as Envoy's codec. The first flaw decides; what comes behind it is
//! decoded (the compression state needs it) and thrown away, so that a flawed head costs no memory.

use super::hpack::Field;
use super::options::Options;
use crate::headers::{HeaderMap, Known, KnownSet, is_token_byte};
use crate::http1::{UnderscoreAction, is_valid_authority, join_repeated};

/// What is wrong with a message's head or trailers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// A field that may not be there, or not like this.
    Field,
    /// Fields that do not make a message together.
    Messaging,
    /// More fields than `max_headers_count`.
    TooMany,
    /// Larger than `max_request_headers_kb`.
    TooLarge,
    /// An underscore in a name, which the options forbid.
    Underscore,
}

impl Flaw {
    /// As it stands in `%RESPONSE_CODE_DETAILS%`.
    pub fn details(self) -> &'static str {
        match self {
            Flaw::Field => "http2.invalid.header.field",
            Flaw::Messaging => "http2.violation.of.messaging.rule",
            Flaw::TooMany => "http2.too_many_headers",
            Flaw::TooLarge => "http2.header_list_size_too_large",
            Flaw::Underscore => "http2.unexpected_underscore",
        }
    }

    /// True if the peer broke the protocol, rather than a limit of ours.
    pub fn is_violation(self) -> bool {
        matches!(self, Flaw::Field | Flaw::Messaging)
    }
}

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BlockKind {
    Request,
    Response,
    Trailers,
    /// Nobody wants it.
    Discarded,
}

/// What a complete head says about its message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) content_length: Option<u64>,
    /// 1xx: the head of the message is still to come.
    pub(super) informational: bool,
}

/// Names that belong to a connection of HTTP/1.
const CONNECTION_SPECIFIC: KnownSet =
    KnownSet::of(&[Known::Connection, Known::KeepAlive, Known::ProxyConnection, Known::TransferEncoding, Known::Upgrade]);

/// Collects the fields of one block after the other.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) map: HeaderMap,
    kind: BlockKind,
    flaw: Option<Flaw>,
    /// A regular field has been seen: no pseudo-header may follow.
    regular: bool,
    host_seen: bool,
    fields: usize,
    bytes: usize,
    content_length: Option<u64>,
    cookies: Vec<u8>,
    pub(super) underscores_dropped: u32,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            map: HeaderMap::new(),
            kind: BlockKind::Discarded,
            flaw: None,
            regular: false,
            host_seen: false,
            fields: 0,
            bytes: 0,
            content_length: None,
            cookies: Vec::new(),
            underscores_dropped: 0,
        }
    }
}

impl Builder {
    /// Begins a block.
    pub(super) fn begin(&mut self, kind: BlockKind) {
        self.map.clear();
        self.cookies.clear();
        *self = Builder {
            map: std::mem::take(&mut self.map),
            cookies: std::mem::take(&mut self.cookies),
            kind,
            ..Builder::default()
        };
    }

    /// Takes a field.
    pub(super) fn field(&mut self, field: Field<'_>, options: &Options) {
        if self.kind == BlockKind::Discarded || self.flaw.is_some() {
            return;
        }
        self.fields += 1;
        self.bytes += field.name.len() + field.value.len();
        if let Err(flaw) = self.take(field, options) {
            self.flaw = Some(flaw);
            self.map.clear();
            self.cookies.clear();
        }
    }

    fn take(&mut self, field: Field<'_>, options: &Options) -> Result<(), Flaw> {
        if field.name.first() == Some(&b':') {
            self.pseudo(field, options)?;
        } else {
            self.regular = true;
            self.regular_field(field, options)?;
        }
        if self.bytes > options.max_header_bytes {
            return Err(Flaw::TooLarge);
        }
        if self.fields > options.max_headers {
            return Err(Flaw::TooMany);
        }
        Ok(())
    }

    fn pseudo(&mut self, field: Field<'_>, options: &Options) -> Result<(), Flaw> {
        let Field { known, value, .. } = field;
        let fits = match (self.kind, known) {
            (BlockKind::Request, Known::Method) => !value.is_empty() && value.iter().all(|b| is_token_byte(*b)),
            (BlockKind::Request, Known::Path) => !value.is_empty() && value.iter().all(|&b| b > 0x20 && b != 0x7f),
            (BlockKind::Request, Known::Scheme) => is_scheme(value),
            (BlockKind::Request, Known::Authority) => is_host(value),
            (BlockKind::Request, Known::Protocol) => options.allow_connect && is_value(value),
            (BlockKind::Response, Known::Status) => value.len() == 3 && value.iter().all(u8::is_ascii_digit) && value != b"101",
            _ => false,
        };
        if !fits || self.regular || self.map.contains(known) {
            return Err(Flaw::Field);
        }
        self.map.append(known, value);
        Ok(())
    }

    fn regular_field(&mut self, field: Field<'_>, options: &Options) -> Result<(), Flaw> {
        let Field { known, name, value } = field;
        if known == Known::Other && !is_name(name) || !is_value(value) || CONNECTION_SPECIFIC.has(known) {
            return Err(Flaw::Field);
        }
        match known {
            // In another case it passes as a field, and means nothing to anybody behind us.
            Known::Te if value != b"trailers" && value.eq_ignore_ascii_case(b"trailers") => return Ok(()),
            Known::Te if value != b"trailers" => return Err(Flaw::Field),
            Known::ContentLength => {
                if self.content_length.is_some() {
                    return Err(Flaw::Field);
                }
                self.content_length = Some(decimal(value).ok_or(Flaw::Field)?);
                if self.kind == BlockKind::Response && self.map.status() == Some(204) {
                    // There is no body whose length could be told (RFC 9110, section 8.6).
                    return if value == b"0" { Ok(()) } else { Err(Flaw::Field) };
                }
            }
            Known::Host if self.kind == BlockKind::Request => {
                if std::mem::replace(&mut self.host_seen, true) || !is_host(value) {
                    return Err(Flaw::Field);
                }
                // `:authority` is what counts (RFC 9113, section 8.3.1).
                if self.map.contains(Known::Authority) {
                    return Ok(());
                }
            }
            Known::Cookie if self.kind != BlockKind::Response => {
                if !self.cookies.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.cookies.extend_from_slice(value);
                return Ok(());
            }
            Known::Other if name.contains(&b'_') => match options.underscores {
                UnderscoreAction::Allow => {}
                UnderscoreAction::Reject => return Err(Flaw::Underscore),
                UnderscoreAction::Drop => {
                    self.underscores_dropped += 1;
                    return Ok(());
                }
            },
            _ => {}
        }
        match known {
            Known::Other => self.map.append(name, value),
            known => self.map.append(known, value),
        }
        Ok(())
    }

    /// Ends the block: the map holds the head if it is sound.
    pub(super) fn end(&mut self) -> Result<Facts, Flaw> {
        if let Some(flaw) = self.flaw {
            return Err(flaw);
        }
        let sound = match self.kind {
            BlockKind::Request => self.is_request(),
            BlockKind::Response => self.map.contains(Known::Status),
            BlockKind::Trailers | BlockKind::Discarded => true,
        };
        if !sound {
            self.map.clear();
            return Err(Flaw::Messaging);
        }
        if !self.cookies.is_empty() {
            self.map.append(Known::Cookie, &self.cookies);
        }
        if self.kind == BlockKind::Request || self.kind == BlockKind::Response {
            join_repeated(&mut self.map, self.kind == BlockKind::Request);
        }
        let informational = self.kind == BlockKind::Response && self.map.status().is_some_and(|s| s < 200);
        Ok(Facts { content_length: self.content_length, informational })
    }

    fn is_request(&self) -> bool {
        let map = &self.map;
        let authority = map.contains(Known::Authority);
        if !map.contains(Known::Method) {
            return false;
        }
        let connect = map.is_connect();
        if connect && !map.contains(Known::Protocol) {
            return authority && !map.contains(Known::Scheme) && !map.contains(Known::Path);
        }
        let (Some(path), Some(scheme)) = (map.path(), map.scheme()) else { return false };
        if !authority || map.contains(Known::Protocol) && !connect {
            return false;
        }
        let http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
        !http || path.starts_with(b"/") || path == b"*" && map.method() == Some(b"OPTIONS")
    }
}

/// What may stand in `:authority` and `host`: user information may not.
fn is_host(value: &[u8]) -> bool {
    !value.is_empty() && is_valid_authority(value) && !value.contains(&b'@')
}

fn is_scheme(value: &[u8]) -> bool {
    value.first().is_some_and(u8::is_ascii_alphabetic)
        && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// A field name in lower case (RFC 9113, section 8.2.1).
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&b| is_token_byte(b) && !b.is_ascii_uppercase())
}

/// No control bytes. White space around is let pass, as on Envoy.
fn is_value(value: &[u8]) -> bool {
    value.iter().all(|&b| b >= 0x20 && b != 0x7f || b == b'\t')
}

fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = value.iter().try_fold(0i64, |n, b| n.checked_mul(10)?.checked_add(i64::from(b - b'0')));
    number.and_then(|number| u64::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::classify;

    const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

    fn build(kind: BlockKind, fields: &[(&str, &str)], options: &Options) -> Result<String, Flaw> {
        let mut builder = Builder::default();
        builder.begin(kind);
        for (name, value) in fields {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            builder.field(Field { known: classify(name), name, value }, options);
        }
        builder.end()?;
        Ok(builder.map.iter().map(|h| format!("{h:?}")).collect::<Vec<_>>().join("\n"))
    }

    fn request(more: &[(&str, &str)]) -> Result<String, Flaw> {
        let fields: Vec<_> = GET.iter().chain(more).copied().collect();
        build(BlockKind::Request, &fields, &Options::default())
    }

    #[test]
    fn a_request_keeps_its_fields_and_joins_its_cookies() {
        assert_eq!(
            request(&[("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("te", "trailers"), ("host", "ignored")]).unwrap(),
            ":authority: a\n:path: /\n:method: GET\n:scheme: http\nx-a: 1\nte: trailers\ncookie: a=1; b=2"
        );
    }

    #[test]
    fn fields_that_take_one_value_are_joined_and_others_stay_as_they_are() {
        let head = request(&[("accept", "a"), ("x", " b "), ("accept", "c"), ("x", "d"), ("te", "Trailers")]).unwrap();
        assert_eq!(head, ":authority: a\n:path: /\n:method: GET\n:scheme: http\naccept: a,c\nx:  b \nx: d");
    }

    #[test]
    fn a_host_stands_in_for_the_authority() {
        let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "h")];
        let head = build(BlockKind::Request, &fields, &Options::default()).unwrap();
        assert!(head.starts_with(":authority: h\n"), "{head}");
    }

    #[test]
    fn fields_that_may_not_be_there() {
        let cases = [
            ("X-Upper", "1"),
            ("", "1"),
            ("a b", "1"),
            ("a", "x\ny"),
            ("a", "x\0y"),
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("content-length", "-1"),
            ("content-length", "1,1"),
            ("content-length", ""),
            ("content-length", " 1"),
            ("content-length", "9223372036854775808"),
            ("host", ""),
            ("host", "u@h"),
            ("te", " trailers"),
            (":method", "GET"),
            (":unknown", "1"),
            (":status", "200"),
            (":protocol", "websocket"),
            ("host", "a b"),
        ];
        for (name, value) in cases {
            assert_eq!(request(&[(name, value)]), Err(Flaw::Field), "{name}: {value}");
        }
        assert_eq!(request(&[("content-length", "1"), ("content-length", "1")]), Err(Flaw::Field));
        let late = [(":method", "GET"), ("x", "1"), (":path", "/")];
        assert_eq!(build(BlockKind::Request, &late, &Options::default()), Err(Flaw::Field));
    }

    #[test]
    fn fields_that_make_no_message_together() {
        let no = |fields: &[(&str, &str)]| assert_eq!(build(BlockKind::Request, fields, &Options::default()), Err(Flaw::Messaging), "{fields:?}");
        for missing in 0..4 {
            let mut fields = GET.to_vec();
            fields.remove(missing);
            no(&fields);
        }
        no(&[(":method", "GET"), (":scheme", "http"), (":path", "x"), (":authority", "a")]);
        no(&[(":method", "GET"), (":scheme", "http"), (":path", "*"), (":authority", "a")]);
        no(&[(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
        assert!(build(BlockKind::Request, &[(":method", "CONNECT"), (":authority", "a:1")], &Options::default()).is_ok());
        assert_eq!(build(BlockKind::Response, &[("a", "b")], &Options::default()), Err(Flaw::Messaging));
        assert_eq!(build(BlockKind::Trailers, &[(":status", "200")], &Options::default()), Err(Flaw::Field));
    }

    #[test]
    fn limits() {
        let many: Vec<_> = (0..97).map(|_| ("cookie", "a")).collect();
        assert_eq!(request(&many), Err(Flaw::TooMany));
        assert!(request(&many[..96]).is_ok());
        let large = "x".repeat(60 * 1024);
        assert_eq!(request(&[("a", &large)]), Err(Flaw::TooLarge));
        let strict = Options { underscores: UnderscoreAction::Reject, ..Options::default() };
        let fields: Vec<_> = GET.iter().copied().chain([("a_b", "1")]).collect();
        assert_eq!(build(BlockKind::Request, &fields, &strict), Err(Flaw::Underscore));
        let drop = Options { underscores: UnderscoreAction::Drop, ..Options::default() };
        assert!(!build(BlockKind::Request, &fields, &drop).unwrap().contains("a_b"));
    }
}
