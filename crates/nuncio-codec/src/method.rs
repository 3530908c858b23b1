//! Request methods, classified once so that later questions are a compare of one byte.

/// The methods that some rule of HTTP treats specially; everything else is [`Method::Other`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`: its response never has a body (rfc9110#9.3.2).
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `CONNECT`: its target is an authority and success opens a tunnel (rfc9110#9.3.6).
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH`
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// Classifies a method token; methods are case-sensitive (rfc9110#9.1).
    #[inline]
    pub fn of(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => Method::Other,
        }
    }

    /// `HEAD`.
    #[inline]
    pub fn is_head(self) -> bool {
        self == Method::Head
    }

    /// `CONNECT`.
    #[inline]
    pub fn is_connect(self) -> bool {
        self == Method::Connect
    }

    /// Methods without a defined request body: without one they are sent with no `content-length: 0`
    /// (rfc9110#8.6; the same set as Envoy's HTTP/1 encoder).
    #[inline]
    pub fn is_bodiless(self) -> bool {
        matches!(
            self,
            Method::Get | Method::Head | Method::Delete | Method::Connect | Method::Trace
        )
    }

    /// Safe methods (rfc9110#9.2.1): a retry or a replay of them changes nothing at the origin.
    #[inline]
    pub fn is_safe(self) -> bool {
        matches!(
            self,
            Method::Get | Method::Head | Method::Options | Method::Trace
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_case_sensitive() {
        assert_eq!(Method::of(b"GET"), Method::Get);
        assert_eq!(Method::of(b"get"), Method::Other);
        assert!(Method::of(b"HEAD").is_head());
        assert!(Method::of(b"CONNECT").is_connect());
        assert_eq!(Method::of(b""), Method::Other);
    }
}
