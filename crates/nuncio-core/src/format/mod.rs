//! Substitution formats: `%COMMAND(params):length%` in access logs, header values and local replies.
//!
//! * [`Format`]: a text format, compiled once, written per exchange without allocating.
//! * [`JsonFormat`]: the same for a JSON tree: a value that is one command keeps its type (number, `null`).
//! * [`FormatError`], [`FormatWarning`]: what is wrong with a format, at which byte; what is accepted but has
//!   no effect yet.
//!
//! Which commands exist is the table in `table`; each family of commands is a file. The texts written, `-` for
//! what is not known, and the error messages are Envoy's.

mod address;
mod bytes;
mod cel;
mod coalesce;
mod command;
mod connection;
mod date;
mod duration;
mod formatter;
mod grammar;
mod grpc;
mod header;
mod json;
mod metadata;
mod path;
mod process;
mod recent;
mod stream;
mod table;
mod tls;
mod unbuilt;
mod upstream;
mod write;
mod xfcc;
mod zone;

#[cfg(test)]
mod fixture;

pub use date::DateFormat;
pub use formatter::Formatter;
pub use json::{JsonFormat, JsonFormatError, JsonTemplate, write_json_string};
pub use zone::Civil;

use crate::StreamCx;
use command::{Command, Written};
use std::fmt;

/// Envoy's default access log format, line end included.
pub const DEFAULT_ACCESS_LOG: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
     %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
     %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
     \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \
     \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// A format that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// Byte of the format where the command at fault begins.
    pub at: usize,
    /// What is wrong, in Envoy's words.
    pub message: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FormatError {}

/// A command that is accepted but prints nothing of use yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatWarning {
    /// Byte of the format where the command begins.
    pub at: usize,
    /// Name of the command.
    pub command: &'static str,
    /// What is missing, as the end of the sentence "`NAME` prints `-`: …".
    pub reason: &'static str,
}

impl fmt::Display for FormatWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}% is accepted without effect (prints `-`): {}", self.command, self.reason)
    }
}

/// At which moment of an exchange a line is written (`%ACCESS_LOG_TYPE%`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogMoment {
    /// It is no line that is written, but a header.
    #[default]
    NotSet,
    /// A TCP connection has begun.
    TcpConnectionStart,
    /// A TCP connection has its host.
    TcpUpstreamConnected,
    /// A TCP connection goes on.
    TcpConnectionPeriodic,
    /// A TCP connection is over.
    TcpConnectionEnd,
    /// A session of datagrams is over.
    UdpSessionEnd,
    /// A request's head has arrived.
    DownstreamStart,
    /// An exchange goes on.
    DownstreamPeriodic,
    /// An exchange is over.
    DownstreamEnd,
    /// An exchange has become a tunnel.
    DownstreamTunnelSuccessfullyEstablished,
    /// An attempt at an upstream has its connection.
    UpstreamPoolReady,
    /// An attempt goes on.
    UpstreamPeriodic,
    /// An attempt is over.
    UpstreamEnd,
}

impl LogMoment {
    /// It is an attempt that is logged.
    pub fn is_of_attempt(self) -> bool {
        matches!(self, LogMoment::UpstreamPoolReady | LogMoment::UpstreamPeriodic | LogMoment::UpstreamEnd)
    }

    /// As `%ACCESS_LOG_TYPE%` prints it.
    pub fn name(self) -> &'static str {
        match self {
            LogMoment::NotSet => "NotSet",
            LogMoment::TcpConnectionStart => "TcpConnectionStart",
            LogMoment::TcpUpstreamConnected => "TcpUpstreamConnected",
            LogMoment::TcpConnectionPeriodic => "TcpPeriodic",
            LogMoment::TcpConnectionEnd => "TcpConnectionEnd",
            LogMoment::UdpSessionEnd => "UdpSessionEnd",
            LogMoment::DownstreamStart => "DownstreamStart",
            LogMoment::DownstreamPeriodic => "DownstreamPeriodic",
            LogMoment::DownstreamEnd => "DownstreamEnd",
            LogMoment::DownstreamTunnelSuccessfullyEstablished => "DownstreamTunnelSuccessfullyEstablished",
            LogMoment::UpstreamPoolReady => "UpstreamPoolReady",
            LogMoment::UpstreamPeriodic => "UpstreamPeriodic",
            LogMoment::UpstreamEnd => "UpstreamEnd",
        }
    }
}

/// What a format is written from.
#[derive(Debug, Clone, Copy)]
pub struct FormatCx<'a> {
    /// The exchange.
    pub stream: &'a StreamCx,
    /// Body of the local reply that is being formatted (`%LOCAL_REPLY_BODY%`); empty elsewhere.
    pub local_reply_body: &'a [u8],
    /// A value of JSON is wanted, not a text.
    pub typed: bool,
}

impl<'a> From<&'a StreamCx> for FormatCx<'a> {
    fn from(stream: &'a StreamCx) -> Self {
        FormatCx { stream, local_reply_body: b"", typed: false }
    }
}

#[derive(Debug)]
enum Piece {
    Text(Box<[u8]>),
    Command(Command),
}

/// A compiled text format.
#[derive(Debug)]
pub struct Format {
    pieces: Vec<Piece>,
    omit_empty: bool,
}

impl Format {
    /// Compiles a format.
    ///
    /// # Errors
    /// A command that Envoy does not know, or parameters it refuses.
    pub fn compile(format: &str) -> Result<(Format, Vec<FormatWarning>), FormatError> {
        Format::compile_with(format, &[])
    }

    /// The same with the commands that `formatters` add.
    ///
    /// # Errors
    /// A command that Envoy does not know, or parameters it refuses.
    pub fn compile_with(format: &str, formatters: &[Formatter]) -> Result<(Format, Vec<FormatWarning>), FormatError> {
        let mut warnings = Vec::new();
        let pieces = grammar::compile(format, formatters, &mut warnings)?;
        Ok((Format { pieces, omit_empty: false }, warnings))
    }

    /// Writes nothing instead of `-` for what is not known (`omit_empty_values`; always so in header values).
    pub fn omit_empty(mut self) -> Format {
        self.omit_empty = true;
        self
    }

    /// True if the format has no command, so that it always writes the same.
    pub fn is_constant(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// What it always writes, if it has no command.
    pub fn constant(&self) -> Option<Box<[u8]>> {
        let texts: Option<Vec<&[u8]>> = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Some(&**text),
            Piece::Command(_) => None,
        }).collect();
        texts.map(|texts| texts.concat().into())
    }

    /// Appends the exchange in this format to `out`, as of its end.
    pub fn write(&self, stream: &StreamCx, out: &mut Vec<u8>) {
        self.write_in(&FormatCx::from(stream), out);
    }

    /// Appends the exchange in this format to `out`.
    pub fn write_in(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Command(command) => {
                    if command.write(cx, out) == Written::Absent && !self.omit_empty {
                        out.push(b'-');
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
