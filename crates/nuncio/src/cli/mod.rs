//! The command line: Envoy's flags, and Nuncio's own commands.
//!
//! `nuncio [flags]` works as Envoy does with the same flags; `nuncio COMMAND …` is ours. [`parse`] turns words into an
//! [`Invocation`] or a [`UsageError`] and touches nothing else; carrying it out is the caller's affair.

mod command;
mod flags;
mod help;
mod options;
mod parse;
mod suggest;

pub use command::{CheckArgs, CheckFormat, DemoArgs, ExplainArgs, ReloadArgs, RouterCheckArgs, WhyArgs};
pub use help::{build_version, command_help, help, version_line};
pub use options::{DrainStrategy, IpVersion, Mode, Options};
pub use parse::parse;

use std::fmt;

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// Run as Envoy would with these flags.
    Run(Box<Options>),
    /// `check FILE…`: judge configuration files.
    Check(CheckArgs),
    /// `demo`: a canary that runs in one process.
    Demo(DemoArgs),
    /// `reload`: tell a running process to read its file again.
    Reload(ReloadArgs),
    /// `explain METHOD URL`: what would become of a request.
    Explain(Box<ExplainArgs>),
    /// `why [REQUEST-ID]`: what went wrong with a request.
    Why(WhyArgs),
    /// `router-check`: test a route configuration.
    RouterCheck(RouterCheckArgs),
    /// `explain-code CODE`: what an error code means.
    ExplainCode(String),
    /// `help [COMMAND]`, `--help`: a text to print.
    Help(String),
    /// `version`, `--version`, `--hot-restart-version`: a text to print.
    Version(String),
}

/// Words that make no sense together; printed to standard error, exit status 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// What is wrong.
    pub message: String,
    /// What was probably meant, or where to look; empty for nothing.
    pub hint: String,
}

impl UsageError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> UsageError {
        UsageError { message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if !self.hint.is_empty() {
            write!(f, "\n  {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for UsageError {}

#[cfg(test)]
mod tests;
