//! Drives what prints exchanges and asks about them: formats and CEL expressions, whatever their text.

use nuncio_core::cel::Program;
use nuncio_core::format::Format;
use nuncio_core::metadata::{MetadataValue, set_dynamic};
use nuncio_core::{ConnInfo, StreamCx, Worker};
use nuncio_stats::Lane;
use std::rc::Rc;

/// An exchange with a little of everything.
fn exchange() -> StreamCx {
    let mut cx = StreamCx::new(Worker::new(0, Lane::MAIN), Rc::new(ConnInfo::nobody()));
    for (name, value) in [
        (":method", "GET"),
        (":path", "/p?q=1#f"),
        (":authority", "h:80"),
        ("x-a", "1"),
        ("x-a", "2"),
    ] {
        cx.request.append(name.as_bytes(), value.as_bytes());
    }
    cx.response.set_status(200);
    cx.info.status = 200;
    let list = MetadataValue::List(vec![MetadataValue::Number(1.5), MetadataValue::Null]);
    set_dynamic(&mut cx.metadata, "ns", "list", list);
    cx
}

/// An expression: read, and asked; asking twice gives the same.
pub fn cel(data: &[u8]) {
    let Ok(program) = Program::parse(&String::from_utf8_lossy(data)) else {
        return;
    };
    let cx = exchange();
    let ask = || {
        let mut out = Vec::new();
        program
            .value(&cx)
            .ok()
            .and_then(|value| value.print(&mut out))
            .map(|()| out)
    };
    assert_eq!(ask(), ask(), "the same question has the same answer");
    program.holds(&cx);
}

/// A format: compiled, and written; without a command it is what it says.
pub fn format(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok((format, _)) = Format::compile(&text) else {
        return;
    };
    let mut out = Vec::new();
    format.write(&exchange(), &mut out);
    if !text.contains('%') {
        assert_eq!(out, text.as_bytes());
    }
}

/// A text as JSON: what is read has as many values as the text has room for.
pub fn json(data: &[u8]) {
    use nuncio_core::json::{Value, read};
    fn count(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
            Value::Object(fields) => 1 + fields.iter().map(|(_, value)| count(value)).sum::<usize>(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    match read(text) {
        Ok(value) => assert!(count(&value) <= text.len()),
        Err(at) => assert!(at <= text.len()),
    }
}
