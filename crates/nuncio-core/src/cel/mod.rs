//! CEL: expressions about an exchange, as Envoy evaluates them.
//!
//! A [`Program`] is read once, from a text or from the tree that configurations carry, and never changes. Envoy has switched
//! off what could run for long (going through lists) or make large values (joining texts); so do we, which leaves an
//! evaluator that visits each part of an expression at most once. What is missing or does not go together has no value,
//! and a condition about it does not hold.
//!
//! * `parse`: the text's grammar. `expr`: what expressions are made of, and the functions there are.
//! * `value`, `eval`: working them out. `attributes`: what an exchange has to tell.

mod attributes;
mod eval;
mod expr;
mod parse;
mod regex;
#[cfg(test)]
mod tests;
mod value;

pub use eval::NoValue;
pub use expr::{Expr, Function, Literal, Wrong};
pub use value::{Map, Value};

use crate::StreamCx;

/// An expression, ready to be asked.
#[derive(Debug)]
pub struct Program(Expr);

impl Program {
    /// Reads a text.
    ///
    /// # Errors
    /// It is no expression, or asks for functions or attributes that there are not.
    pub fn parse(text: &str) -> Result<Program, Wrong> {
        Program::new(parse::parse(text)?)
    }

    /// An expression that is read already.
    ///
    /// # Errors
    /// It asks for attributes that are not built.
    pub fn new(expr: Expr) -> Result<Program, Wrong> {
        check(&expr)?;
        Ok(Program(expr))
    }

    /// Its value for an exchange.
    ///
    /// # Errors
    /// Something is missing, or does not go together.
    pub fn value<'a>(&'a self, cx: &'a StreamCx) -> Result<Value<'a>, NoValue> {
        eval::eval(&self.0, cx)
    }

    /// Whether it is true of an exchange.
    pub fn holds(&self, cx: &StreamCx) -> bool {
        matches!(self.value(cx), Ok(Value::Bool(true)))
    }
}

/// Attributes that are not built would be missing, and conditions about them turn out wrong.
fn check(expr: &Expr) -> Result<(), Wrong> {
    match expr {
        Expr::Literal(_) | Expr::Name(_) => Ok(()),
        Expr::Select(of, field) | Expr::Has(of, field) => match &**of {
            Expr::Name(root) => {
                let unbuilt = attributes::UNBUILT.iter().find(|(name, _)| **name == **root).is_some_and(|(_, fields)| fields.contains(&&**field));
                if unbuilt { Err(Wrong(format!("the attribute `{root}.{field}` is not built yet"))) } else { Ok(()) }
            }
            of => check(of),
        },
        Expr::List(items) => items.iter().try_for_each(check),
        Expr::Map(entries) => entries.iter().try_for_each(|(key, value)| check(key).and_then(|()| check(value))),
        Expr::Call(_, arguments) => arguments.iter().try_for_each(check),
        Expr::Matches(of, _) | Expr::Taken(of, _) => check(of),
    }
}
