//! `%CEL(expression)%`, `%TYPED_CEL(expression)%`: the value of an expression about the exchange.

use super::FormatCx;
use super::command::{Args, Command, Parametric, Written, cut};
use super::unbuilt;
use crate::cel::{Program, Value};

#[derive(Debug)]
struct Expression {
    program: Program,
    /// Numbers and truth values are bare in JSON.
    bare: bool,
    length: Option<usize>,
}

impl Parametric for Expression {
    fn write(&self, cx: &FormatCx<'_>, out: &mut Vec<u8>) -> Written {
        let Ok(value) = self.program.value(cx.stream) else { return Written::Absent };
        let from = out.len();
        if value.print(out).is_none() {
            return Written::Absent;
        }
        cut(out, from, self.length);
        let is_bare = matches!(value, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_));
        if self.bare && is_bare { Written::Number } else { Written::Text }
    }
}

/// An expression; where it asks for what is not built, it prints nothing, and that is told.
pub(super) fn cel(args: Args<'_>) -> Result<(Command, Option<&'static str>), String> {
    match Program::parse(args.params) {
        Ok(program) => Ok((Command::with(Expression { program, bare: args.name == "TYPED_CEL", length: args.length }), None)),
        Err(wrong) if wrong.is_unbuilt() => Ok((Command::Absent, Some(unbuilt::CEL))),
        Err(wrong) => Err(format!("Not able to parse expression: {wrong}")),
    }
}
