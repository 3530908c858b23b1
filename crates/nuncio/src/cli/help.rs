//! Help and version, derived from the tables of flags and commands.

use super::{
    command::COMMANDS,
    flags::{FLAGS, Flag, Group},
};
use std::fmt::Write;

/// What `--hot-restart-version` prints: the version of the shared memory layout that Envoy 1.40 has.
pub(super) const HOT_RESTART_VERSION: &str = "11.104";

/// Column at which explanations begin.
const COLUMN: usize = 40;

/// What `/server_info` calls `version`, in five parts as Envoy has them, so that tools find the second: which build,
/// the Envoy version it does as, state of the sources, kind of build, TLS library.
pub fn build_version() -> String {
    let kind = if cfg!(debug_assertions) { "DEBUG" } else { "RELEASE" };
    format!("nuncio-{}/1.40.0/Clean/{kind}/rustls", env!("CARGO_PKG_VERSION"))
}

/// The line of `--version`.
pub fn version_line() -> String {
    format!("nuncio  version: {}", build_version())
}

fn line(out: &mut String, left: &str, right: &str) {
    let gap = COLUMN.saturating_sub(left.chars().count() + 2);
    if gap == 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {left}\n{:COLUMN$}{right}", "");
    } else {
        let _ = writeln!(out, "  {left}{:gap$}{right}", "");
    }
}

fn spelling(flag: &Flag) -> String {
    let short = flag.short.map_or("    ".to_owned(), |c| format!("-{c}, "));
    let value = if flag.value.is_empty() { String::new() } else { format!(" {}", flag.value) };
    format!("{short}--{}{value}", flag.long)
}

/// The text of `--help`.
pub fn help() -> String {
    let mut out = String::from(
        "Nuncio reads Envoy's configuration and does what Envoy does with it.\n\n\
         Usage:\n  nuncio -c FILE [flags]\n  nuncio COMMAND …\n\nCommands:\n",
    );
    for command in COMMANDS {
        line(&mut out, command.name, command.help);
    }
    for (group, title) in Group::ALL {
        let _ = writeln!(out, "\n{title}:");
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            let note = if flag.without_effect.is_some() { " (no effect yet)" } else { "" };
            line(&mut out, &spelling(flag), &format!("{}{note}", flag.help));
        }
        if group == Group::HotRestart {
            line(&mut out, "    --hot-restart-version", "Show the hot restart version and exit");
        }
        if group == Group::Other {
            line(&mut out, "    --version", "Show the version and exit");
            line(&mut out, "-h, --help", "Show this help and exit");
        }
    }
    out.push_str(
        "\nExamples:\n  nuncio demo\n  nuncio check envoy.yaml\n  nuncio -c envoy.yaml -l debug --component-log-level pool:trace\n",
    );
    out
}

/// The text of `help COMMAND`; `None` if there is none of that name.
pub fn command_help(name: &str) -> Option<String> {
    let command = COMMANDS.iter().find(|command| command.name == name)?;
    Some(format!("{}.\n\nUsage:\n  nuncio {}\n", command.help, command.usage))
}
