//! Nuncio's own commands and what may follow them.

use super::{Invocation, UsageError, help, suggest};
use std::path::PathBuf;

/// How `check` prints what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckFormat {
    /// For people: source lines and carets.
    #[default]
    Text,
    /// For programs: one object.
    Json,
}

/// `check FILE… [--format json] [--fix] [--strict]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckArgs {
    /// Files to judge, at least one.
    pub files: Vec<PathBuf>,
    /// How to print.
    pub format: CheckFormat,
    /// Apply the mechanical fixes.
    pub fix: bool,
    /// Refuse what Envoy 1.40 refuses.
    pub strict: bool,
}

/// `demo [--write DIR]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DemoArgs {
    /// Write the demo's files there instead of running it.
    pub write: Option<PathBuf>,
}

/// `reload [--admin ADDRESS] [--pid PID]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReloadArgs {
    /// Process to signal.
    pub pid: Option<u32>,
    /// Admin address of the process, `127.0.0.1:9901` or the path of a socket: asks it instead of signalling.
    pub admin: Option<String>,
}

/// `explain (-c FILE | --admin ADDRESS) METHOD URL [-H 'name: value']… [--random N] [--listener NAME] [--json]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExplainArgs {
    /// The configuration to ask.
    pub file: Option<PathBuf>,
    /// The admin address of a process to ask instead.
    pub admin: Option<String>,
    /// `GET`, …
    pub method: String,
    /// Where the request goes, scheme included.
    pub url: String,
    /// Its headers, each `name: value`.
    pub headers: Vec<String>,
    /// The random number that picks from fractions and weights.
    pub random: Option<u64>,
    /// Name of the listener, where the URL's port does not tell.
    pub listener: Option<String>,
    /// Print one JSON object.
    pub json: bool,
}

/// `why [--admin ADDRESS] [REQUEST-ID]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhyArgs {
    /// Admin address of the process; `127.0.0.1:9901` unless told otherwise.
    pub admin: String,
    /// The request; all that went wrong of late without.
    pub id: Option<String>,
}

/// `router-check -c ROUTES -t CASES …`, also `test`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouterCheckArgs {
    /// A file that is a `RouteConfiguration`.
    pub config: PathBuf,
    /// The file of cases.
    pub tests: PathBuf,
    /// Name every case, and say what failed.
    pub details: bool,
    /// Name the cases that failed only.
    pub only_show_failures: bool,
    /// Fail below this coverage, in per cent.
    pub fail_under: Option<f64>,
    /// Coverage counts everything that can be looked at, not routes.
    pub comprehensive: bool,
    /// Name the routes that no case was about.
    pub detailed_coverage: bool,
}

/// A command for help and completion.
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    pub(super) help: &'static str,
    parse: fn(&[String]) -> Result<Invocation, UsageError>,
}

const ROUTER_CHECK: &str =
    "router-check -c ROUTES -t CASES [-d] [--only-show-failures] [-f PERCENT] [--covall] [--detailed-coverage]";

/// All commands.
pub(super) static COMMANDS: &[Command] = &[
    Command {
        name: "check",
        usage: "check FILE… [--format text|json] [--fix] [--strict]",
        help: "Judge configuration files: all errors and warnings, with their place",
        parse: check,
    },
    Command {
        name: "demo",
        usage: "demo [--write DIR]",
        help: "Run a 90/10 canary in this process, or write its files to a directory",
        parse: demo,
    },
    Command {
        name: "reload",
        usage: "reload [--pid PID] [--admin ADDRESS]",
        help: "Tell a running nuncio to read its configuration again",
        parse: reload,
    },
    Command {
        name: "explain",
        usage: "explain (-c FILE | --admin ADDRESS) METHOD URL [-H HEADER]… [--random N] [--listener NAME] [--json]",
        help: "Say what would become of a request, and why: route, cluster, hosts, limits, timeouts",
        parse: explain,
    },
    Command {
        name: "why",
        usage: "why [--admin ADDRESS] [REQUEST-ID]",
        help: "Say what went wrong with a request of a running nuncio, or list the last that went wrong",
        parse: why,
    },
    Command {
        name: "router-check",
        usage: ROUTER_CHECK,
        help: "Test a route configuration with a list of cases, as Envoy's router_check_tool does",
        parse: router_check,
    },
    Command { name: "test", usage: ROUTER_CHECK, help: "The same as router-check", parse: router_check },
    Command {
        name: "explain-code",
        usage: "explain-code CODE",
        help: "Explain an error code (NUN0103)",
        parse: explain_code,
    },
    Command { name: "help", usage: "help [COMMAND]", help: "Show help", parse: help_command },
    Command { name: "version", usage: "version", help: "Show the version", parse: version },
];

pub(super) fn parse(name: &str, rest: &[String]) -> Result<Invocation, UsageError> {
    let command = find(name)?;
    if rest.iter().any(|word| word == "--help" || word == "-h") {
        return Ok(Invocation::Help(help::command_help(command.name).unwrap_or_default()));
    }
    (command.parse)(rest)
}

fn find(name: &str) -> Result<&'static Command, UsageError> {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return Ok(command);
    }
    let hint = if name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json") {
        format!("to run this file: nuncio -c {name}; to judge it: nuncio check {name}")
    } else {
        match suggest::closest(name, COMMANDS.iter().map(|command| command.name)) {
            Some(close) => format!("did you mean `nuncio {close}`?"),
            None => "`nuncio --help` lists commands and flags".to_owned(),
        }
    };
    Err(UsageError::new(format!("unknown command {name}"), hint))
}

/// Goes through a command's words: `--flag value`, `--flag=value`, plain words.
struct Words<'a> {
    rest: std::slice::Iter<'a, String>,
    usage: &'static str,
}

impl<'a> Words<'a> {
    fn new(rest: &'a [String], command: &str) -> Words<'a> {
        let usage = COMMANDS.iter().find(|c| c.name == command).map_or("", |c| c.usage);
        Words { rest: rest.iter(), usage }
    }

    /// The next word, split at `=` if it is a flag.
    fn next(&mut self) -> Option<(&'a str, Option<&'a str>)> {
        let word = self.rest.next()?.as_str();
        Some(match word.split_once('=') {
            Some((flag, value)) if word.starts_with('-') => (flag, Some(value)),
            _ => (word, None),
        })
    }

    fn value(&mut self, flag: &str, inline: Option<&'a str>) -> Result<&'a str, UsageError> {
        match inline.or_else(|| self.rest.next().map(String::as_str)) {
            Some(value) => Ok(value),
            None => Err(self.error(format!("{flag} needs a value"))),
        }
    }

    fn error(&self, message: impl Into<String>) -> UsageError {
        UsageError::new(message, format!("usage: nuncio {}", self.usage))
    }

    fn unknown(&self, word: &str) -> UsageError {
        self.error(format!("unexpected {word}"))
    }
}

fn check(rest: &[String]) -> Result<Invocation, UsageError> {
    let mut words = Words::new(rest, "check");
    let mut args = CheckArgs::default();
    while let Some((word, inline)) = words.next() {
        match (word, inline) {
            ("--fix", None) => args.fix = true,
            ("--strict", None) => args.strict = true,
            ("--format", inline) => {
                args.format = match words.value("--format", inline)? {
                    "text" => CheckFormat::Text,
                    "json" => CheckFormat::Json,
                    other => return Err(words.error(format!("unknown format '{other}': expected text or json"))),
                }
            }
            ("-c" | "--config-path", inline) => args.files.push(words.value(word, inline)?.into()),
            (word, _) if word.starts_with('-') && word != "-" => return Err(words.unknown(word)),
            (file, _) => args.files.push(file.into()),
        }
    }
    if args.files.is_empty() {
        return Err(words.error("no file to check"));
    }
    Ok(Invocation::Check(args))
}

fn demo(rest: &[String]) -> Result<Invocation, UsageError> {
    let mut words = Words::new(rest, "demo");
    let mut args = DemoArgs::default();
    while let Some((word, inline)) = words.next() {
        match word {
            "--write" => args.write = Some(words.value(word, inline)?.into()),
            _ => return Err(words.unknown(word)),
        }
    }
    Ok(Invocation::Demo(args))
}

fn reload(rest: &[String]) -> Result<Invocation, UsageError> {
    let mut words = Words::new(rest, "reload");
    let mut args = ReloadArgs::default();
    while let Some((word, inline)) = words.next() {
        match word {
            "--pid" => {
                let text = words.value(word, inline)?;
                let pid =
                    text.parse().map_err(|_| words.error(format!("--pid takes a process number, not '{text}'")))?;
                args.pid = Some(pid);
            }
            "--admin" => args.admin = Some(words.value(word, inline)?.to_owned()),
            _ => return Err(words.unknown(word)),
        }
    }
    Ok(Invocation::Reload(args))
}

fn explain(rest: &[String]) -> Result<Invocation, UsageError> {
    let mut words = Words::new(rest, "explain");
    let mut args = ExplainArgs::default();
    let mut plain = Vec::new();
    while let Some((word, inline)) = words.next() {
        match word {
            "-c" | "--config-path" => args.file = Some(words.value(word, inline)?.into()),
            "--admin" => args.admin = Some(words.value(word, inline)?.to_owned()),
            "-H" | "--header" => args.headers.push(words.value(word, inline)?.to_owned()),
            "--listener" => args.listener = Some(words.value(word, inline)?.to_owned()),
            "--json" => args.json = true,
            "--random" => {
                let text = words.value(word, inline)?;
                let number = text.parse().map_err(|_| words.error(format!("--random takes a number, not '{text}'")))?;
                args.random = Some(number);
            }
            word if word.starts_with('-') => return Err(words.unknown(word)),
            // A URL may hold `=`, at which words are not split.
            word => plain.push(word.to_owned()),
        }
    }
    match <[String; 2]>::try_from(plain) {
        Ok([method, url]) => (args.method, args.url) = (method, url),
        Err(others) => return Err(words.error(format!("a method and a URL are needed, not {} words", others.len()))),
    }
    if args.file.is_some() == args.admin.is_some() {
        return Err(words.error("either -c FILE or --admin ADDRESS is needed"));
    }
    Ok(Invocation::Explain(Box::new(args)))
}

fn why(rest: &[String]) -> Result<Invocation, UsageError> {
    let mut words = Words::new(rest, "why");
    let mut args = WhyArgs { admin: "127.0.0.1:9901".into(), id: None };
    while let Some((word, inline)) = words.next() {
        match word {
            "--admin" => args.admin = words.value(word, inline)?.to_owned(),
            word if word.starts_with('-') || args.id.is_some() => return Err(words.unknown(word)),
            id => args.id = Some(id.to_owned()),
        }
    }
    Ok(Invocation::Why(args))
}

fn router_check(rest: &[String]) -> Result<Invocation, UsageError> {
    let mut words = Words::new(rest, "router-check");
    let mut args = RouterCheckArgs::default();
    while let Some((word, inline)) = words.next() {
        match word {
            "-c" | "--config-path" => args.config = words.value(word, inline)?.into(),
            "-t" | "--test-path" => args.tests = words.value(word, inline)?.into(),
            "-d" | "--details" => args.details = true,
            "--only-show-failures" => args.only_show_failures = true,
            "--covall" => args.comprehensive = true,
            "--detailed-coverage" => args.detailed_coverage = true,
            // Deprecated fields are warnings here.
            "--disable-deprecation-check" => {}
            "-f" | "--fail-under" => {
                let text = words.value(word, inline)?;
                let percent = text.parse().map_err(|_| words.error(format!("{word} takes a percentage, not '{text}'")))?;
                args.fail_under = Some(percent);
            }
            _ => return Err(words.unknown(word)),
        }
    }
    if args.config.as_os_str().is_empty() || args.tests.as_os_str().is_empty() {
        return Err(words.error("-c ROUTES and -t CASES are needed"));
    }
    Ok(Invocation::RouterCheck(args))
}

fn explain_code(rest: &[String]) -> Result<Invocation, UsageError> {
    match rest {
        [code] => Ok(Invocation::ExplainCode(code.to_ascii_uppercase())),
        _ => Err(Words::new(rest, "explain-code").error("one code is needed")),
    }
}

fn help_command(rest: &[String]) -> Result<Invocation, UsageError> {
    match rest {
        [] => Ok(Invocation::Help(help::help())),
        [name, ..] => find(name).map(|command| Invocation::Help(help::command_help(command.name).unwrap_or_default())),
    }
}

fn version(rest: &[String]) -> Result<Invocation, UsageError> {
    match rest.first() {
        None => Ok(Invocation::Version(help::version_line())),
        Some(word) => Err(Words::new(rest, "version").unknown(word)),
    }
}
