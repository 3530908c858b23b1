//! Expressions, read and checked: what they are made of, and which functions there are.

use super::regex::Taken;
use crate::matching::Pattern;
use std::fmt;

/// Why there is no expression, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(pub String);

impl Wrong {
    /// Nothing is wrong with it, but it asks for what is not built.
    pub fn is_unbuilt(&self) -> bool {
        self.0.ends_with("is not built yet")
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value that stands in an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// `1`
    Int(i64),
    /// `1u`
    Uint(u64),
    /// `1.5`
    Double(f64),
    /// `'text'`
    Text(Box<[u8]>),
    /// `b'bytes'`
    Bytes(Box<[u8]>),
    /// A duration in nanoseconds; only in expressions that came parsed.
    Duration(i64),
    /// Nanoseconds since 1970; likewise.
    Timestamp(i64),
}

/// An expression.
#[derive(Debug)]
pub enum Expr {
    /// A value.
    Literal(Literal),
    /// A name: an attribute, or a type.
    Name(Box<str>),
    /// `of.field`
    Select(Box<Expr>, Box<str>),
    /// `has(of.field)`
    Has(Box<Expr>, Box<str>),
    /// `[…]`
    List(Vec<Expr>),
    /// `{…}`
    Map(Vec<(Expr, Expr)>),
    /// An operator or a function; what it is called on is its first argument.
    Call(Function, Vec<Expr>),
    /// `matches` with an expression that is known beforehand.
    Matches(Box<Expr>, Box<Pattern>),
    /// A function of `re`.
    Taken(Box<Expr>, Box<Taken>),
}

macro_rules! functions {
    ($($name:literal => $function:ident ($count:expr)),+ $(,)?) => {
        /// Functions and operators.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is what CEL calls it")]
        pub enum Function { $($function),+ }

        impl Function {
            /// By name, with the numbers of arguments it may have.
            fn named(name: &str) -> Option<(Function, std::ops::RangeInclusive<usize>)> {
                match name {
                    $($name => Some((Function::$function, $count)),)+
                    "in" | "_in_" => Some((Function::In, 2..=2)),
                    _ => None,
                }
            }
        }
    };
}

functions! {
    "_||_" => Or(2..=2), "_&&_" => And(2..=2), "!_" => Not(1..=1), "_?_:_" => Choose(3..=3),
    "_==_" => Equal(2..=2), "_!=_" => Unequal(2..=2), "_<_" => Less(2..=2), "_<=_" => LessEqual(2..=2),
    "_>_" => Greater(2..=2), "_>=_" => GreaterEqual(2..=2), "@in" => In(2..=2), "_[_]" => Index(2..=2),
    "_+_" => Add(2..=2), "_-_" => Subtract(2..=2), "_*_" => Multiply(2..=2), "_/_" => Divide(2..=2), "_%_" => Modulo(2..=2), "-_" => Negate(1..=1),
    "size" => Size(1..=1), "contains" => Contains(2..=2), "startsWith" => StartsWith(2..=2), "endsWith" => EndsWith(2..=2), "matches" => Matches(2..=2),
    "int" => Int(1..=1), "uint" => Uint(1..=1), "double" => Double(1..=1), "bool" => Bool(1..=1), "bytes" => Bytes(1..=1), "dyn" => Dyn(1..=1),
    "type" => Type(1..=1), "duration" => Duration(1..=1), "timestamp" => Timestamp(1..=1),
    "getFullYear" => FullYear(1..=1), "getMonth" => Month(1..=1), "getDayOfYear" => DayOfYear(1..=1), "getDayOfMonth" => DayOfMonth(1..=1),
    "getDate" => Date(1..=1), "getDayOfWeek" => DayOfWeek(1..=1), "getHours" => Hours(1..=1), "getMinutes" => Minutes(1..=1),
    "getSeconds" => Seconds(1..=1), "getMilliseconds" => Milliseconds(1..=1),
}

/// Macros of CEL that go through lists and maps; Envoy has them switched off.
const COMPREHENSIONS: [&str; 6] = ["all", "exists", "exists_one", "existsOne", "map", "filter"];

impl Expr {
    /// A call.
    ///
    /// # Errors
    /// Envoy's sentence, where there is no such function.
    pub fn call(name: &str, mut arguments: Vec<Expr>) -> Result<Expr, Wrong> {
        let of_re = match (name.strip_prefix("re."), arguments.first()) {
            (Some(bare), _) => Some(bare),
            (None, Some(Expr::Name(of))) if &**of == "re" => {
                arguments.remove(0);
                Some(name)
            }
            _ => None,
        };
        if let Some(bare) = of_re {
            let none = || Err(Wrong(format!("No overload found in reference resolve step for {bare}")));
            return super::regex::call(bare, arguments).unwrap_or_else(none);
        }
        let Some((function, counts)) = Function::named(name) else {
            let what = if COMPREHENSIONS.contains(&name) && arguments.len() > 2 {
                "Comprehension support is disabled".to_owned()
            } else {
                format!("No overload found in reference resolve step for {name}")
            };
            return Err(Wrong(what));
        };
        if !counts.contains(&arguments.len()) {
            return Err(Wrong(format!("No overload found in reference resolve step for {name}")));
        }
        if let (Function::Matches, [_, Expr::Literal(Literal::Text(pattern))]) = (function, &*arguments) {
            // An expression is looked for anywhere in the text.
            let text = format!("(?s:.*)(?:{})(?s:.*)", String::from_utf8_lossy(pattern));
            let pattern = Pattern::new(&text).map_err(|error| Wrong(error.message.to_string()))?;
            return Ok(Expr::Matches(Box::new(arguments.swap_remove(0)), Box::new(pattern)));
        }
        Ok(Expr::Call(function, arguments))
    }
}
