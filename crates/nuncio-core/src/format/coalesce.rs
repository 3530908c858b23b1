//! `%COALESCE({"operators": ["A", {"command": "REQ", "param": "b", "max_length": 5}]})%`: the first command of
//! several that has something to print.

use crate::json::{self, Value};
use super::{
    FormatCx,
    command::{Args, Command, Parametric, Written, cut},
    grammar,
};

#[derive(Debug)]
struct Coalesce {
    operators: Vec<Command>,
    length: Option<usize>,
}

impl Parametric for Coalesce {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let from = out.len();
        for operator in &self.operators {
            let written = operator.write(cx, out);
            if written != Written::Absent {
                if matches!(written, Written::Text | Written::Plain) {
                    cut(out, from, self.length);
                }
                return written;
            }
        }
        Written::Absent
    }
}

pub(super) fn coalesce(args: Args<'_>) -> Result<Command, String> {
    let tree = json::read(args.params).map_err(|at| {
        format!("COALESCE: failed to parse JSON configuration: JSON supplied is not valid at byte {at}")
    })?;
    let operators = match tree.get("operators") {
        None => return Err("COALESCE: JSON configuration must contain 'operators' array".to_owned()),
        Some(Value::Array(operators)) => operators,
        Some(_) => {
            return Err(
                "COALESCE: 'operators' must be an array: key 'operators' missing or not an array from lines 1-1"
                    .to_owned(),
            );
        }
    };
    if operators.is_empty() {
        return Err("COALESCE: 'operators' array must not be empty".to_owned());
    }
    let operators = operators
        .iter()
        .enumerate()
        .map(|(index, value)| {
            operator(value).map_err(|message| format!("COALESCE: failed to parse operator at index {index}: {message}"))
        })
        .collect::<Result<_, _>>()?;
    Ok(Command::with(Coalesce { operators, length: args.length }))
}

fn operator(value: &Value) -> Result<Command, String> {
    let missing = |what: &str, kind: &str| format!("key '{what}' missing or not {kind} from lines 1-1");
    let (name, params, length) = match value {
        Value::String(name) => (name.as_str(), "", None),
        Value::Object(_) => {
            let Some(Value::String(name)) = value.get("command") else {
                return Err(format!("operator object must have 'command' field: {}", missing("command", "a string")));
            };
            let params = match value.get("param") {
                None => "",
                Some(Value::String(text)) => text,
                Some(_) => return Err(format!("'param' field must be a string: {}", missing("param", "a string"))),
            };
            let length = match value.get("max_length") {
                None => None,
                Some(Value::Number(number)) => match number.parse::<i64>() {
                    Ok(length) if length > 0 => usize::try_from(length).ok(),
                    Ok(_) => return Err("'max_length' must be a positive integer".to_owned()),
                    Err(_) => return Err(not_integer()),
                },
                Some(_) => return Err(not_integer()),
            };
            (name.as_str(), params, length)
        }
        _ => {
            return Err(
                "operator entry must be either a string (command name) or an object with 'command' field".to_owned()
            );
        }
    };
    let args = Args { name, params, length };
    grammar::command(args, 0, &[], &mut Vec::new()).map_err(|error| {
        match error.message.strip_prefix("Not supported field in StreamInfo: ") {
            Some(unknown) => format!("unknown command: '{unknown}'"),
            None => error.message,
        }
    })
}

fn not_integer() -> String {
    "'max_length' field must be an integer: key 'max_length' missing or not an integer from lines 1-1".to_owned()
}
