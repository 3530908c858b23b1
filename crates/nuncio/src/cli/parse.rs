//! Words to an invocation.
//!
//! Flags stand as `--flag value`, `--flag=value` or `-c value`; a flag is given once unless it may repeat; numbers are
//! whole and not negative; `--` ends them, and what follows is ignored, as in Envoy.

use super::{
    Invocation, UsageError, command,
    flags::{FLAGS, Flag, Set},
    help,
    options::Options,
    suggest,
};

/// Parses the words after the program's name. `parity` is whether `NUNCIO_PARITY=1` is set.
///
/// # Errors
/// Words that make no sense, in Envoy's words where Envoy has some.
pub fn parse(words: &[String], parity: bool) -> Result<Invocation, UsageError> {
    match words.first() {
        Some(first) if !first.starts_with('-') => command::parse(first, &words[1..]),
        _ => run(words, parity),
    }
}

fn run(words: &[String], parity: bool) -> Result<Invocation, UsageError> {
    let mut options = Options { parity, strict: parity, ..Options::default() };
    let mut given: Vec<&'static str> = Vec::new();
    let mut words = words.iter().map(String::as_str);
    let mut answer = None;
    while let Some(word) = words.next() {
        match word {
            "--" | "--ignore_rest" => break,
            "-h" | "--help" => answer = answer.or(Some(Invocation::Help(help::help()))),
            "--version" => answer = answer.or(Some(Invocation::Version(help::version_line()))),
            "--hot-restart-version" => {
                answer = answer.or(Some(Invocation::Version(help::HOT_RESTART_VERSION.to_owned())));
            }
            word => {
                // Help and version are answered whatever else is wrong.
                let set = set_flag(word, &mut words, &mut options, &mut given);
                if answer.is_none() {
                    set?;
                }
            }
        }
    }
    if let Some(answer) = answer {
        return Ok(answer);
    }
    options.validate().map_err(|message| UsageError::new(message, ""))?;
    Ok(Invocation::Run(Box::new(options)))
}

/// Applies the flag that `word` begins, taking its value from the words that follow where it is not in it.
fn set_flag<'a>(
    word: &'a str,
    rest: &mut impl Iterator<Item = &'a str>,
    options: &mut Options,
    given: &mut Vec<&'static str>,
) -> Result<(), UsageError> {
    let (name, inline) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let flag = find(name)?;
    if given.contains(&flag.long) && !flag.repeats {
        return Err(UsageError::new(format!("--{} is given more than once", flag.long), ""));
    }
    given.push(flag.long);
    let mut value = || match inline.or_else(|| rest.next()) {
        Some(value) => Ok(value),
        None => Err(UsageError::new(
            format!("--{} needs a value", flag.long),
            format!("--{} {}   {}", flag.long, flag.value, flag.help),
        )),
    };
    match flag.set {
        Set::Switch(set) if inline.is_none() => set(options),
        Set::Switch(_) => return Err(UsageError::new(format!("--{} takes no value", flag.long), "")),
        Set::Text(set) => set(options, value()?).map_err(|message| UsageError::new(message, ""))?,
        Set::Number(set) => {
            let text = value()?;
            let number = text.parse().map_err(|_| {
                UsageError::new(
                    format!("--{} takes a whole number from 0 to {}, not '{text}'", flag.long, u32::MAX),
                    "",
                )
            })?;
            set(options, number);
        }
    }
    if let Some(reason) = flag.without_effect {
        options.without_effect.push((flag.long, reason));
    }
    Ok(())
}

fn find(name: &str) -> Result<&'static Flag, UsageError> {
    let found = match (name.strip_prefix("--"), name.strip_prefix('-')) {
        (Some(long), _) => FLAGS.iter().find(|flag| flag.long == long),
        (None, Some(short)) => FLAGS.iter().find(|flag| flag.short.is_some_and(|c| short.chars().eq([c]))),
        (None, None) => None,
    };
    found.ok_or_else(|| {
        let word = name.trim_start_matches('-');
        let hint = match suggest::closest(word, FLAGS.iter().map(|flag| flag.long).chain(["help", "version"])) {
            Some(close) => format!("did you mean --{close}?"),
            None if name.starts_with('-') => "`nuncio --help` lists all flags".to_owned(),
            None => "flags begin with --; a configuration file is given with -c FILE".to_owned(),
        };
        UsageError::new(format!("unknown flag {name}"), hint)
    })
}
