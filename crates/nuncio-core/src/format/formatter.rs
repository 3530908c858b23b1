//! Commands that extensions of category `envoy.formatter` add to a format that lists them.

use super::{
    header,
    table::{Entry, Syntax, unbuilt, with},
    unbuilt as missing,
};
use std::fmt;

/// The commands of one formatter.
#[derive(Clone, Copy)]
pub struct Formatter {
    message: &'static str,
    commands: &'static [Entry],
}

impl fmt::Debug for Formatter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Formatter({})", self.message)
    }
}

/// All formatters, by their configuration message. Those without commands: theirs are built in.
static FORMATTERS: &[Formatter] = &[
    Formatter { message: "envoy.extensions.formatter.cel.v3.Cel", commands: &[] },
    Formatter { message: "envoy.extensions.formatter.metadata.v3.Metadata", commands: &[] },
    Formatter {
        message: "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery",
        commands: &[with("REQ_WITHOUT_QUERY", Syntax::RequiredAndLength, header::request_without_query)],
    },
    Formatter {
        message: "envoy.extensions.formatter.file_content.v3.FileContent",
        commands: &[unbuilt("FILE_CONTENT", Syntax::RequiredAndLength, missing::any, "the formatter is not built yet")],
    },
    Formatter {
        message: "envoy.extensions.formatter.generic_secret.v3.GenericSecret",
        commands: &[unbuilt("SECRET", Syntax::RequiredAndLength, missing::any, "the formatter is not built yet")],
    },
];

impl Formatter {
    /// The formatter whose configuration is this message; `None` if there is none.
    pub fn by_message(message: &str) -> Option<Formatter> {
        FORMATTERS.iter().find(|formatter| formatter.message == message).copied()
    }

    /// The command of that name.
    pub(super) fn find(self, name: &str) -> Option<&'static Entry> {
        self.commands.iter().find(|entry| entry.name == name)
    }
}
