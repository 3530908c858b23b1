//! RBAC policies: conditions in CEL.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::rbac::v3::Policy;
use nuncio_api::google::api::expr::v1alpha1::{Expr, expr::ExprKind};

/// Functions of CEL's standard library and Envoy's own.
const FUNCTIONS: [&str; 62] = [
    "_&&_", "_||_", "!_", "_?_:_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "_*_", "_/_", "_%_", "-_", "_[_]",
    "@in", "in", "_in_", "@not_strictly_false", "__not_strictly_false__", "size", "contains", "startsWith", "endsWith", "matches", "has",
    "int", "uint", "double", "string", "bytes", "bool", "duration", "timestamp", "type", "dyn", "getFullYear", "getMonth", "getDayOfYear",
    "getDayOfMonth", "getDate", "getDayOfWeek", "getHours", "getMinutes", "getSeconds", "getMilliseconds", "all", "exists", "exists_one",
    "map", "filter", "optional.of", "optional.none", "optional.ofNonZeroValue", "hasValue", "value", "or", "orValue", "_[?_]", "_?._",
];

pub(super) fn check(cx: &mut CompileCx<'_>, policy: &Policy) {
    let Some(condition) = &policy.condition else { return };
    let strings = policy.cel_config.as_ref().is_some_and(|c| c.enable_string_functions);
    if let Some(name) = unknown(condition, strings, 0) {
        cx.at("condition", |cx| {
            cx.error(codes::BAD_VALUE, format!("CEL has no function `{name}` here"))
                .envoy(format!("failed to create an expression: No overload found in reference resolve step for {name}"));
        });
    }
}

/// The first function that does not exist.
fn unknown(expr: &Expr, strings: bool, depth: usize) -> Option<&str> {
    if depth > 100 {
        return None;
    }
    match expr.expr_kind.as_ref()? {
        ExprKind::CallExpr(call) => {
            let known = FUNCTIONS.contains(&call.function.as_str()) || (strings && STRING_FUNCTIONS.contains(&call.function.as_str()));
            if !known {
                return Some(&call.function);
            }
            let target = call.target.as_deref().and_then(|t| unknown(t, strings, depth + 1));
            target.or_else(|| call.args.iter().find_map(|a| unknown(a, strings, depth + 1)))
        }
        ExprKind::SelectExpr(select) => unknown(select.operand.as_deref()?, strings, depth + 1),
        ExprKind::ListExpr(list) => list.elements.iter().find_map(|e| unknown(e, strings, depth + 1)),
        _ => None,
    }
}

/// Those of `cel_config.enable_string_functions`.
const STRING_FUNCTIONS: [&str; 12] =
    ["charAt", "indexOf", "join", "lastIndexOf", "lowerAscii", "quote", "replace", "reverse", "split", "substring", "trim", "upperAscii"];
