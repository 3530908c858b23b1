//! `/logging`: levels of the process log, by component.

use super::{Choice, Endpoint, Param};
use crate::context::AdminContext;
use crate::request::{AdminRequest, Params};
use crate::response::AdminResponse;
use std::fmt::Write;

/// The levels there are, most verbose first.
const LEVELS: [&str; 7] = [
    "trace", "debug", "info", "warning", "error", "critical", "off",
];

pub(super) const LOGGING: Endpoint = Endpoint {
    path: "/logging",
    help: "query/change logging levels",
    command: true,
    params: &[
        Param {
            name: "paths",
            help: "Change multiple logging levels by setting to <logger_name1>:<desired_level1>,<logger_name2>:\
                   <desired_level2>. If fine grain logging is enabled, use __FILE__ or a glob experision as the \
                   logger name. For example, source/common*:warning",
            choice: Choice::Text,
        },
        Param {
            name: "group",
            help: "Change given logger group to desired level, set to <logger_group_name>:<desired_level>. \
                   logger_group_name must be a logger name.",
            choice: Choice::Text,
        },
        Param {
            name: "level",
            help: "desired logging level, this will change all loggers's level",
            choice: Choice::OneOf(&[
                "", "trace", "debug", "info", "warning", "error", "critical", "off",
            ]),
        },
    ],
    answer,
};

fn answer(request: &AdminRequest, cx: &dyn AdminContext) -> AdminResponse {
    match change(&request.params, cx) {
        Ok(()) => AdminResponse::text(active(cx)),
        Err(why) => AdminResponse::error(400, format!("error: {why}\n\n{}{}", usage(), active(cx))),
    }
}

/// Does what the one parameter says; nothing, if any of it is wrong.
fn change(params: &Params, cx: &dyn AdminContext) -> Result<(), &'static str> {
    if params.len() > 1 {
        return Err("invalid number of parameters");
    }
    let Some((name, value)) = params.iter().next().filter(|(_, value)| !value.is_empty()) else {
        return Ok(());
    };
    match name {
        "level" => cx.set_log_level(None, level(value)?),
        "group" => return Err("group parameter requires fine-grain logging to be enabled"),
        "paths" => {
            let changes = value
                .split(',')
                .filter(|change| !change.is_empty())
                .map(|change| {
                    let (name, value) = change.split_once(':').unwrap_or((change, ""));
                    if name.is_empty() || value.is_empty() {
                        return Err("empty logger name or empty logger level");
                    }
                    Ok((name, level(value)?))
                });
            let changes: Vec<_> = changes.collect::<Result<_, _>>()?;
            for (name, _) in &changes {
                find(name, cx)?;
            }
            changes
                .iter()
                .for_each(|(name, level)| cx.set_log_level(Some(name), level));
        }
        _ => {
            let level = level(value)?;
            find(name, cx)?;
            cx.set_log_level(Some(name), level);
        }
    }
    Ok(())
}

fn level(name: &str) -> Result<&'static str, &'static str> {
    LEVELS
        .into_iter()
        .find(|level| *level == name)
        .ok_or("unknown logger level")
}

fn find(name: &str, cx: &dyn AdminContext) -> Result<(), &'static str> {
    cx.loggers()
        .iter()
        .any(|logger| logger.name == name)
        .then_some(())
        .ok_or("unknown logger name")
}

fn usage() -> String {
    format!(
        "usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
usage: /logging?group=<group_name>:<level> (change group of loggers)
levels: {} \n",
        LEVELS.join(" ")
    )
}

fn active(cx: &dyn AdminContext) -> String {
    let mut out = String::from("active loggers:\n");
    for logger in cx.loggers() {
        let _ = writeln!(out, "  {}: {}", logger.name, logger.level);
    }
    out.push('\n');
    out
}
