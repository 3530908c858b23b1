//! An answer made here instead of by an upstream.

use crate::ResponseFlags;
use std::borrow::Cow;

/// An answer that the engine sends to the client through every response filter.
#[derive(Debug, Clone, Default)]
pub struct LocalReply {
    /// HTTP status.
    pub status: u16,
    /// Body; `content-type: text/plain` goes with it when it is not empty.
    pub body: Cow<'static, str>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: Cow<'static, str>,
    /// Flags to add.
    pub flags: ResponseFlags,
    /// Headers to add, lower-case names.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// `content-type` of the body, when it is not `text/plain`.
    pub content_type: Option<Cow<'static, str>>,
    /// gRPC status for gRPC requests; derived from `status` when absent.
    pub grpc_status: Option<u32>,
    /// An HTTP/1 connection ends with it: what is left of a request that is too long is not waited for.
    pub closes: bool,
}

impl LocalReply {
    /// An answer with an empty body and no flag.
    pub fn new(status: u16, details: impl Into<Cow<'static, str>>) -> LocalReply {
        LocalReply { status, details: details.into(), ..LocalReply::default() }
    }

    /// The same with a body.
    pub fn body(mut self, body: impl Into<Cow<'static, str>>) -> LocalReply {
        self.body = body.into();
        self
    }

    /// The same, and the client's HTTP/1 connection ends with it.
    pub fn closing(mut self) -> LocalReply {
        self.closes = true;
        self
    }

    /// The same with flags.
    pub fn flags(mut self, flags: ResponseFlags) -> LocalReply {
        self.flags = flags;
        self
    }

    /// The same with one more header; `name` in lower case.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> LocalReply {
        self.headers.push((name.into(), value.into()));
        self
    }
}
