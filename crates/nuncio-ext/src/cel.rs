//! Expressions in CEL as configurations carry them: a text, or the tree that somebody has parsed or checked.

use crate::read::within;
use nuncio_api::cel::expr as dev;
use nuncio_api::envoy::config::core::v3::CelExpressionConfig;
use nuncio_api::google::api::expr::v1alpha1 as proto;
use nuncio_api::xds::r#type::v3::{CelExpression, cel_expression::ExprSpecifier};
use nuncio_core::ConfigError;
use nuncio_core::cel::{Expr, Literal, Program, Wrong};
use prost::Message;
use proto::{constant::ConstantKind, expr::ExprKind};

/// Deepest nesting of a tree.
const MAX_DEPTH: usize = 100;

/// Why there is no expression.
#[derive(Debug)]
pub enum CelError {
    /// It is wrong.
    Wrong(ConfigError),
    /// It asks for what is not built.
    Unbuilt(ConfigError),
}

fn told(field: &str, made: Result<Program, Wrong>) -> Result<Program, CelError> {
    made.map_err(|wrong| {
        let unbuilt = wrong.is_unbuilt();
        let error = ConfigError::at(field, if unbuilt { format!("{wrong}, and unsafe to ignore") } else { format!("failed to create an expression: {wrong}") });
        if unbuilt { CelError::Unbuilt(error) } else { CelError::Wrong(error) }
    })
}

/// A text.
///
/// # Errors
/// See [`CelError`].
pub fn text(field: &str, text: &str) -> Result<Program, CelError> {
    told(field, Program::parse(text))
}

/// A tree.
///
/// # Errors
/// See [`CelError`].
pub fn tree(field: &str, from: &proto::Expr) -> Result<Program, CelError> {
    told(field, expr(from, 0).and_then(Program::new))
}

/// Options of which none is built.
///
/// # Errors
/// One of them is on.
pub fn options(from: Option<&CelExpressionConfig>) -> Result<(), CelError> {
    let CelExpressionConfig { enable_string_conversion, enable_string_concat, enable_string_functions } = from.copied().unwrap_or_default();
    let on = [("enable_string_conversion", enable_string_conversion), ("enable_string_concat", enable_string_concat), ("enable_string_functions", enable_string_functions)];
    match on.iter().find(|(_, on)| *on) {
        Some((field, _)) => Err(CelError::Unbuilt(ConfigError::at(format!("cel_config.{field}"), "is not built yet, and unsafe to ignore"))),
        None => Ok(()),
    }
}

/// `xds.type.v3.CelExpression`
///
/// # Errors
/// See [`CelError`].
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub fn expression(from: &CelExpression) -> Result<Program, CelError> {
    let CelExpression { cel_expr_parsed, cel_expr_checked, cel_expr_string, expr_specifier } = from;
    let missing = |field: &str| CelError::Wrong(ConfigError::at(field, "there is no expression in it"));
    // Both packages have the same messages.
    let same = |from: Option<&dev::Expr>, field: &str| {
        let bytes = from.map(Message::encode_to_vec).ok_or_else(|| missing(field))?;
        let expr = proto::Expr::decode(&*bytes).map_err(|error| CelError::Wrong(ConfigError::at(field, error.to_string())))?;
        tree(field, &expr)
    };
    match expr_specifier {
        Some(ExprSpecifier::ParsedExpr(parsed)) => tree("parsed_expr", parsed.expr.as_ref().ok_or_else(|| missing("parsed_expr"))?),
        Some(ExprSpecifier::CheckedExpr(checked)) => tree("checked_expr", checked.expr.as_ref().ok_or_else(|| missing("checked_expr"))?),
        None if !cel_expr_string.is_empty() => text("cel_expr_string", cel_expr_string),
        None => match (cel_expr_parsed, cel_expr_checked) {
            (Some(parsed), _) => same(parsed.expr.as_ref(), "cel_expr_parsed"),
            (None, Some(checked)) => same(checked.expr.as_ref(), "cel_expr_checked"),
            (None, None) => Err(missing("")),
        },
    }
}

/// The path of an error one field further out.
pub fn inside(field: &str) -> impl FnOnce(CelError) -> CelError + '_ {
    move |error| match error {
        CelError::Wrong(error) => CelError::Wrong(within(field)(error)),
        CelError::Unbuilt(error) => CelError::Unbuilt(within(field)(error)),
    }
}

fn expr(from: &proto::Expr, depth: usize) -> Result<Expr, Wrong> {
    if depth > MAX_DEPTH {
        return Err(Wrong("this is nested too deeply".to_owned()));
    }
    let next = |from: &proto::Expr| expr(from, depth + 1);
    let needed = |from: Option<&proto::Expr>| from.ok_or_else(|| Wrong("a part is missing".to_owned())).and_then(next);
    match from.expr_kind.as_ref() {
        Some(ExprKind::ConstExpr(constant)) => Ok(Expr::Literal(literal(constant))),
        Some(ExprKind::IdentExpr(ident)) => Ok(Expr::Name(ident.name.trim_start_matches('.').into())),
        Some(ExprKind::SelectExpr(select)) => {
            let of = Box::new(needed(select.operand.as_deref())?);
            let field = select.field.as_str().into();
            Ok(if select.test_only { Expr::Has(of, field) } else { Expr::Select(of, field) })
        }
        Some(ExprKind::CallExpr(call)) => {
            let target = call.target.as_deref().map(next).transpose()?;
            let arguments = call.args.iter().map(next).collect::<Result<Vec<_>, _>>()?;
            Expr::call(&call.function, target.into_iter().chain(arguments).collect())
        }
        Some(ExprKind::ListExpr(list)) => Ok(Expr::List(list.elements.iter().map(next).collect::<Result<_, _>>()?)),
        Some(ExprKind::StructExpr(map)) => {
            use proto::expr::create_struct::entry::KeyKind;
            let entries = map.entries.iter().map(|entry| {
                let key = match &entry.key_kind {
                    Some(KeyKind::MapKey(key)) => next(key)?,
                    _ => return Err(Wrong("messages are not built yet".to_owned())),
                };
                Ok((key, needed(entry.value.as_ref())?))
            });
            Ok(Expr::Map(entries.collect::<Result<_, _>>()?))
        }
        Some(ExprKind::ComprehensionExpr(_)) => Err(Wrong("Comprehension support is disabled".to_owned())),
        None => Err(Wrong("a part is missing".to_owned())),
    }
}

#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
fn literal(from: &proto::Constant) -> Literal {
    let nanos = |seconds: i64, nanos: i32| seconds.saturating_mul(1_000_000_000).saturating_add(nanos.into());
    match &from.constant_kind {
        None | Some(ConstantKind::NullValue(_)) => Literal::Null,
        Some(ConstantKind::BoolValue(b)) => Literal::Bool(*b),
        Some(ConstantKind::Int64Value(n)) => Literal::Int(*n),
        Some(ConstantKind::Uint64Value(n)) => Literal::Uint(*n),
        Some(ConstantKind::DoubleValue(n)) => Literal::Double(*n),
        Some(ConstantKind::StringValue(text)) => Literal::Text(text.as_bytes().into()),
        Some(ConstantKind::BytesValue(bytes)) => Literal::Bytes(bytes.as_slice().into()),
        Some(ConstantKind::DurationValue(of)) => Literal::Duration(nanos(of.seconds, of.nanos)),
        Some(ConstantKind::TimestampValue(at)) => Literal::Timestamp(nanos(at.seconds, at.nanos)),
    }
}
