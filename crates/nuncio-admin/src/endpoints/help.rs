//! `/help`: the table of endpoints as text.

use super::{Choice, ENDPOINTS, Endpoint};
use crate::response::AdminResponse;
use std::fmt::Write;

pub(super) const HELP: Endpoint = Endpoint {
    path: "/help",
    help: "print out list of admin commands",
    command: false,
    params: &[],
    answer: |_, _| AdminResponse::text(text()),
};

/// Every endpoint with its parameters.
pub(super) fn text() -> String {
    let mut out = String::from("admin commands are:\n");
    for endpoint in ENDPOINTS {
        let post = if endpoint.command { " (POST)" } else { "" };
        let _ = writeln!(out, "  {}{post}: {}", endpoint.path, endpoint.help);
        for param in endpoint.params {
            let _ = write!(out, "      {}: {}", param.name, param.help);
            if let Choice::OneOf(choices) = param.choice {
                let _ = write!(out, "; One of ({})", choices.join(", "));
            }
            out.push('\n');
        }
    }
    out
}
