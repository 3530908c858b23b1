//! Commands whose facts Nuncio does not have yet: their parameters are judged as Envoy judges them, they print
//! `-`, and compiling warns. A command leaves this file when its facts exist.

use super::command::Args;

pub(super) const FILTER_STATE: &str = "filter state of upstream connections is not built yet";
pub(super) const CEL: &str = "an attribute in the expression is not built yet";
pub(super) const RTT: &str = "the round-trip time of client connections is not read yet";
pub(super) const ROUTE_TIME: &str = "the time route lookup takes is not measured yet";

/// Anything goes.
pub(super) fn any(_: Args<'_>) -> Result<(), String> {
    Ok(())
}

/// `%FILTER_STATE(key[:PLAIN|TYPED|FIELD:name])%`.
pub(super) fn filter_state(args: Args<'_>) -> Result<(), String> {
    let mut parts = args.params.split(':');
    if parts.next().unwrap_or_default().is_empty() {
        return Err("Invalid filter state configuration, key cannot be empty.".to_owned());
    }
    let kind = parts.next().unwrap_or("TYPED");
    let field = parts.next();
    if !["PLAIN", "TYPED", "FIELD"].contains(&kind) {
        return Err("Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.".to_owned());
    }
    if (kind == "FIELD") != field.is_some() {
        return Err("Invalid filter state serialize type, FIELD should be used with the field name.".to_owned());
    }
    Ok(())
}
