//! CEL's grammar: text into an expression (the language definition's `Expr`), with places for messages.
//!
//! Nothing here runs anything. Nesting is limited, so that no text can exhaust the stack.

use super::expr::{Expr, Literal, Wrong};

/// Deepest nesting.
const MAX_DEPTH: usize = 100;

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expr, Wrong> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, depth: 0 };
    let expr = parser.ternary()?;
    parser.blank();
    if parser.at < parser.text.len() { Err(parser.wrong("the expression should end")) } else { Ok(expr) }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
}

type Parsed = Result<Expr, Wrong>;

/// Operators of two operands by how tightly they bind, loosest first, with the functions they stand for.
const BINARY: [&[(&str, &str)]; 5] = [
    &[("||", "_||_")],
    &[("&&", "_&&_")],
    &[("==", "_==_"), ("!=", "_!=_"), ("<=", "_<=_"), (">=", "_>=_"), ("<", "_<_"), (">", "_>_"), ("in", "@in")],
    &[("+", "_+_"), ("-", "_-_")],
    &[("*", "_*_"), ("/", "_/_"), ("%", "_%_")],
];

impl Parser<'_> {
    fn wrong(&self, what: &str) -> Wrong {
        Wrong(format!("at character {}: {what}", self.at + 1))
    }

    fn blank(&mut self) {
        loop {
            match self.text.get(self.at) {
                Some(byte) if byte.is_ascii_whitespace() => self.at += 1,
                Some(b'/') if self.text.get(self.at + 1) == Some(&b'/') => {
                    let rest = &self.text[self.at..];
                    self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// Takes this sign if it comes next; a word only as a whole.
    fn takes(&mut self, sign: &str) -> bool {
        self.blank();
        let end = self.at + sign.len();
        let word = sign.as_bytes()[0].is_ascii_alphabetic();
        let fits = self.text.get(self.at..end) == Some(sign.as_bytes())
            && !(word && self.text.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_'));
        if fits {
            self.at = end;
        }
        fits
    }

    fn expects(&mut self, sign: &str) -> Result<(), Wrong> {
        if self.takes(sign) { Ok(()) } else { Err(self.wrong(&format!("`{sign}` is missing"))) }
    }

    fn ternary(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong("this is nested too deeply"));
        }
        let condition = self.binary(0)?;
        let made = if self.takes("?") {
            let yes = self.binary(0)?;
            self.expects(":")?;
            let no = self.ternary()?;
            Expr::call("_?_:_", vec![condition, yes, no])?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(made)
    }

    fn binary(&mut self, level: usize) -> Parsed {
        let Some(operators) = BINARY.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        let mut chain = 0;
        while let Some((_, function)) = operators.iter().find(|(sign, _)| self.takes(sign)) {
            chain += 1;
            if chain > MAX_DEPTH {
                return Err(self.wrong("this is nested too deeply"));
            }
            let right = self.binary(level + 1)?;
            left = Expr::call(function, vec![left, right])?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let mut signs = Vec::new();
        loop {
            if self.takes("!") {
                signs.push("!_");
            } else if self.takes("-") {
                if self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
                    self.at -= 1;
                    break;
                }
                signs.push("-_");
            } else {
                break;
            }
            if signs.len() > MAX_DEPTH {
                return Err(self.wrong("this is nested too deeply"));
            }
        }
        let member = self.member()?;
        signs.into_iter().rev().try_fold(member, |of, sign| Expr::call(sign, vec![of]))
    }

    fn member(&mut self) -> Parsed {
        let mut expr = self.primary()?;
        let mut chain = 0;
        loop {
            chain += 1;
            if chain > MAX_DEPTH {
                return Err(self.wrong("this is nested too deeply"));
            }
            if self.takes(".") {
                let name = self.name().ok_or_else(|| self.wrong("a name is missing"))?;
                if self.takes("(") {
                    let mut arguments = vec![expr];
                    arguments.extend(self.list(")")?);
                    expr = Expr::call(&name, arguments)?;
                } else {
                    expr = Expr::Select(Box::new(expr), name.into());
                }
            } else if self.takes("[") {
                let index = self.ternary()?;
                self.expects("]")?;
                expr = Expr::call("_[_]", vec![expr, index])?;
            } else {
                return Ok(expr);
            }
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expr>, Wrong> {
        let mut items = Vec::new();
        while !self.takes(end) {
            if !items.is_empty() {
                self.expects(",")?;
                if self.takes(end) {
                    break;
                }
            }
            items.push(self.ternary()?);
        }
        Ok(items)
    }

    fn name(&mut self) -> Option<String> {
        self.blank();
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_')).unwrap_or(rest.len());
        if length == 0 || rest[0].is_ascii_digit() {
            return None;
        }
        self.at += length;
        Some(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn primary(&mut self) -> Parsed {
        self.blank();
        if self.takes("(") {
            let inner = self.ternary()?;
            self.expects(")")?;
            return Ok(inner);
        }
        if self.takes("[") {
            return Ok(Expr::List(self.list("]")?));
        }
        if self.takes("{") {
            return self.map();
        }
        if let Some(text) = self.text_literal()? {
            return Ok(text);
        }
        if self.text.get(self.at).is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.')) {
            return self.number();
        }
        let Some(name) = self.name() else { return Err(self.wrong("a value is missing")) };
        Ok(match name.as_str() {
            "true" => Expr::Literal(Literal::Bool(true)),
            "false" => Expr::Literal(Literal::Bool(false)),
            "null" => Expr::Literal(Literal::Null),
            "has" if self.takes("(") => {
                let of = self.ternary()?;
                self.expects(")")?;
                let Expr::Select(of, field) = of else { return Err(self.wrong("has() asks for a field")) };
                Expr::Has(of, field)
            }
            _ if self.takes("(") => {
                let arguments = self.list(")")?;
                Expr::call(&name, arguments)?
            }
            _ => Expr::Name(name.into()),
        })
    }

    fn map(&mut self) -> Parsed {
        let mut entries = Vec::new();
        while !self.takes("}") {
            if !entries.is_empty() {
                self.expects(",")?;
                if self.takes("}") {
                    break;
                }
            }
            let key = self.ternary()?;
            self.expects(":")?;
            entries.push((key, self.ternary()?));
        }
        Ok(Expr::Map(entries))
    }

    fn number(&mut self) -> Parsed {
        let start = self.at;
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        let from = self.at;
        let hex = self.text[from..].starts_with(b"0x") || self.text[from..].starts_with(b"0X");
        self.at += if hex { 2 } else { 0 };
        let mut float = false;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'0'..=b'9' => {}
                b'a'..=b'f' | b'A'..=b'F' if hex => {}
                b'.' if !float && !hex && self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit) => float = true,
                b'e' | b'E' if !hex => {
                    float = true;
                    if matches!(self.text.get(self.at + 1), Some(b'+' | b'-')) {
                        self.at += 1;
                    }
                }
                _ => break,
            }
            self.at += 1;
        }
        let digits = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        let radix = if hex { 16 } else { 10 };
        let whole = digits.replacen("0x", "", 1).replacen("0X", "", 1);
        let literal = if matches!(self.text.get(self.at), Some(b'u' | b'U')) {
            self.at += 1;
            if let Some(positive) = whole.strip_prefix('-') {
                // There is no such number; what the sign says of it is an error of whoever asks for it.
                let number = u64::from_str_radix(positive, radix).map_err(|_| self.wrong("this is no number that fits"))?;
                return Expr::call("-_", vec![Expr::Literal(Literal::Uint(number))]);
            }
            u64::from_str_radix(&whole, radix).ok().map(Literal::Uint)
        } else if float {
            digits.parse().ok().map(Literal::Double)
        } else {
            i64::from_str_radix(&whole, radix).ok().map(Literal::Int)
        };
        literal.map(Expr::Literal).ok_or_else(|| self.wrong("this is no number that fits"))
    }

    /// A text or bytes, if one comes: `'…'`, `"…"`, three quotes, with `r` and `b` in front.
    fn text_literal(&mut self) -> Result<Option<Expr>, Wrong> {
        let (mut raw, mut bytes, mut at) = (false, false, self.at);
        while let Some(prefix) = self.text.get(at) {
            match prefix {
                b'r' | b'R' if !raw => raw = true,
                b'b' | b'B' if !bytes => bytes = true,
                _ => break,
            }
            at += 1;
        }
        let Some(&quote @ (b'\'' | b'"')) = self.text.get(at) else { return Ok(None) };
        let three = [quote; 3];
        let end: &[u8] = if self.text[at..].starts_with(&three) { &three } else { &three[..1] };
        self.at = at + end.len();
        let mut out = Vec::new();
        while !self.text[self.at..].starts_with(end) {
            let Some(&byte) = self.text.get(self.at) else { return Err(self.wrong("the text has no end")) };
            self.at += 1;
            if byte != b'\\' || raw {
                if byte == b'\n' && end.len() == 1 {
                    return Err(self.wrong("the text has no end"));
                }
                out.push(byte);
            } else {
                self.escape(bytes, &mut out)?;
            }
        }
        self.at += end.len();
        Ok(Some(Expr::Literal(if bytes { Literal::Bytes(out.into()) } else { Literal::Text(out.into()) })))
    }

    fn escape(&mut self, bytes: bool, out: &mut Vec<u8>) -> Result<(), Wrong> {
        let Some(&byte) = self.text.get(self.at) else { return Err(self.wrong("the text has no end")) };
        self.at += 1;
        let (digits, radix) = match byte {
            b'x' | b'X' => (2, 16),
            b'u' => (4, 16),
            b'U' => (8, 16),
            b'0'..=b'3' => {
                self.at -= 1;
                (3, 8)
            }
            _ => {
                out.push(match byte {
                    b'a' => 7,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    b'\\' | b'\'' | b'"' | b'`' | b'?' => byte,
                    _ => return Err(self.wrong("there is no such escape")),
                });
                return Ok(());
            }
        };
        let text = self.text.get(self.at..self.at + digits).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = text.and_then(|digits| u32::from_str_radix(digits, radix).ok());
        self.at += digits;
        match (number, number.and_then(char::from_u32)) {
            (Some(number), _) if bytes && digits < 4 => out.push(number as u8),
            (_, Some(character)) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => return Err(self.wrong("there is no such character")),
        }
        Ok(())
    }
}
