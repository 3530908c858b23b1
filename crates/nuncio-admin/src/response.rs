//! The answer of an endpoint.

use nuncio_api::Json;

/// `text/plain; charset=UTF-8`, which every endpoint answers with that does not say otherwise.
pub const TEXT: &str = "text/plain; charset=UTF-8";
/// `application/json`.
pub const JSON: &str = "application/json";
/// `text/html; charset=UTF-8`.
pub const HTML: &str = "text/html; charset=UTF-8";

/// A status, a content type and a body. The server adds the other headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminResponse {
    /// The HTTP status.
    pub status: u16,
    /// The value of `content-type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// Stop the process once this is sent.
    pub then_quit: bool,
    /// Read the configuration again, and answer with what came of it instead.
    pub then_reload: bool,
}

impl AdminResponse {
    /// 200 with this text.
    pub fn text(body: impl Into<String>) -> AdminResponse {
        AdminResponse {
            status: 200,
            content_type: TEXT,
            body: body.into(),
            then_quit: false,
            then_reload: false,
        }
    }

    /// 200 and `OK`: a command was done.
    pub fn ok() -> AdminResponse {
        AdminResponse::text("OK\n")
    }

    /// An error with this text.
    pub fn error(status: u16, body: impl Into<String>) -> AdminResponse {
        AdminResponse {
            status,
            ..AdminResponse::text(body)
        }
    }

    /// 200 with this value, indented, and a line end.
    pub fn json(value: &Json) -> AdminResponse {
        let mut body = value.indented();
        body.push('\n');
        AdminResponse {
            content_type: JSON,
            ..AdminResponse::text(body)
        }
    }

    /// The same with another content type.
    pub fn with_type(mut self, content_type: &'static str) -> AdminResponse {
        self.content_type = content_type;
        self
    }
}
