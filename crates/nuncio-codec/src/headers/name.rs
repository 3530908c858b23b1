//! Ways to say a header's name: a number, text, or a name prepared once from configuration.

use super::known::{Known, classify};
use std::fmt;

/// Anything that names a header. Text must already be in lower case (configured or user-given names go
/// through [`HeaderName`], which lower-cases); `host` and `:authority` are the same name in requests.
pub trait Name {
    /// The number of the name, [`Known::Other`] if it has none.
    fn known(&self) -> Known;
    /// The name in lower case.
    fn bytes(&self) -> &[u8];
}

impl Name for Known {
    #[inline]
    fn known(&self) -> Known {
        *self
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl Name for [u8] {
    #[inline]
    fn known(&self) -> Known {
        classify(self)
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Name for str {
    #[inline]
    fn known(&self) -> Known {
        classify(self.as_bytes())
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<const N: usize> Name for [u8; N] {
    #[inline]
    fn known(&self) -> Known {
        classify(self)
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<T: Name + ?Sized> Name for &T {
    #[inline]
    fn known(&self) -> Known {
        (**self).known()
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }
}

/// A name prepared once: lower-cased, classified, known to be a valid token. For configuration.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderName {
    known: Known,
    text: Box<str>,
}

impl HeaderName {
    /// Prepares a name; `None` if it is empty, longer than 65,535 bytes or holds a byte that no field
    /// name may hold (rfc9110#5.1). Pseudo-header names (`:path`) are valid.
    pub fn new(name: &str) -> Option<HeaderName> {
        let token = name.strip_prefix(':').unwrap_or(name);
        if token.is_empty() || name.len() > super::MAX_NAME_LEN || !token.bytes().all(is_token_byte)
        {
            return None;
        }
        let text = name.to_ascii_lowercase();
        Some(HeaderName {
            known: classify(text.as_bytes()),
            text: text.into_boxed_str(),
        })
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Name for HeaderName {
    #[inline]
    fn known(&self) -> Known {
        self.known
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl From<Known> for HeaderName {
    fn from(known: Known) -> HeaderName {
        HeaderName {
            known,
            text: known.as_str().into(),
        }
    }
}

impl fmt::Debug for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a field name lower-cases to, per byte; zero for bytes that are no `tchar` (rfc9110#5.6.2).
pub(crate) static TOKEN_LOWER: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        let punctuation = matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        );
        if punctuation || byte.is_ascii_alphanumeric() {
            table[b] = byte.to_ascii_lowercase();
        }
        b += 1;
    }
    table
};

/// Whether the byte may stand in a token (rfc9110#5.6.2).
#[inline]
pub fn is_token_byte(byte: u8) -> bool {
    TOKEN_LOWER[byte as usize] != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_cased_and_classified() {
        let name = HeaderName::new("X-Request-ID").unwrap();
        assert_eq!(
            (name.known(), name.as_str()),
            (Known::XRequestId, "x-request-id")
        );
        assert_eq!(HeaderName::new(":Path").unwrap().known(), Known::Path);
    }

    #[test]
    fn invalid_names_are_refused() {
        for name in ["", ":", "a b", "a:b", "a\r\n", "é"] {
            assert!(HeaderName::new(name).is_none(), "{name:?}");
        }
    }
}
