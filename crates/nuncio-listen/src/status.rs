//! `/listeners`: which listeners there are and where they really listen.

use nuncio_rt::Address;
use std::{
    fmt::{self, Write},
    sync::Arc,
};

/// One listener as `/listeners` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens, the main address first; a port that was configured as 0 is the one that was taken.
    pub locals: Vec<Address>,
}

/// The text form: a line `name::address` for each address.
pub fn text(listeners: &[ListenerStatus]) -> String {
    let mut out = String::new();
    for listener in listeners {
        for local in &listener.locals {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{}::{local}", listener.name);
        }
    }
    out
}

/// The JSON form (`admin.v3.Listeners`), laid out as Envoy does.
pub fn json(listeners: &[ListenerStatus]) -> String {
    let mut out = String::new();
    let _ = write_json(&mut out, listeners);
    out
}

fn write_json(out: &mut String, listeners: &[ListenerStatus]) -> fmt::Result {
    if listeners.is_empty() {
        return out.write_str("{}\n");
    }
    out.write_str("{\n \"listener_statuses\": [\n")?;
    for (index, listener) in listeners.iter().enumerate() {
        write!(out, "  {{\n   \"name\": {}", quoted(&listener.name))?;
        if let Some(local) = listener.locals.first() {
            out.write_str(",\n   \"local_address\": ")?;
            address(out, local, 3)?;
        }
        if let Some(more) = listener.locals.get(1..).filter(|more| !more.is_empty()) {
            out.write_str(",\n   \"additional_local_addresses\": [\n")?;
            for (index, local) in more.iter().enumerate() {
                out.write_str("    ")?;
                address(out, local, 4)?;
                out.write_str(if index + 1 < more.len() { ",\n" } else { "\n" })?;
            }
            out.write_str("   ]")?;
        }
        out.write_str(if index + 1 < listeners.len() { "\n  },\n" } else { "\n  }\n" })?;
    }
    out.write_str(" ]\n}\n")
}

/// A `core.v3.Address`, its closing brace at `depth`.
fn address(out: &mut String, address: &Address, depth: usize) -> fmt::Result {
    let pad = " ".repeat(depth);
    match address {
        Address::Ip(a) => write!(
            out,
            "{{\n{pad} \"socket_address\": {{\n{pad}  \"address\": \"{}\",\n{pad}  \"port_value\": {}\n{pad} }}\n{pad}}}",
            a.ip(),
            a.port()
        ),
        Address::Pipe(path) => write!(
            out,
            "{{\n{pad} \"pipe\": {{\n{pad}  \"path\": {}\n{pad} }}\n{pad}}}",
            quoted(&path.to_string_lossy())
        ),
        Address::Internal(to) => write!(
            out,
            "{{\n{pad} \"envoy_internal_address\": {{\n{pad}  \"server_listener_name\": {}\n{pad} }}\n{pad}}}",
            quoted(&to.listener)
        ),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Address {
        Address::Ip(text.parse().expect("address"))
    }

    #[test]
    fn each_address_is_a_line() {
        let l1 = ListenerStatus { name: "l1".into(), locals: vec![at("[::1]:18881"), at("127.0.0.1:18882")] };
        let uds = ListenerStatus { name: "uds".into(), locals: vec![Address::Pipe("/run/e.sock".into())] };
        assert_eq!(text(&[l1, uds]), "l1::[::1]:18881\nl1::127.0.0.1:18882\nuds::/run/e.sock\n");
    }

    #[test]
    fn json_is_laid_out_as_recorded() {
        let l1 = ListenerStatus { name: "l1".into(), locals: vec![at("[::1]:18881"), at("127.0.0.1:18882")] };
        let recorded = r#"{
 "listener_statuses": [
  {
   "name": "l1",
   "local_address": {
    "socket_address": {
     "address": "::1",
     "port_value": 18881
    }
   },
   "additional_local_addresses": [
    {
     "socket_address": {
      "address": "127.0.0.1",
      "port_value": 18882
     }
    }
   ]
  }
 ]
}
"#;
        assert_eq!(json(&[l1]), recorded);
        assert_eq!(json(&[]), "{}\n");
    }
}
