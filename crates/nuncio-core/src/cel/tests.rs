//! Expressions and their values, as Envoy 1.40 gives them.

use super::{Program, Value};
use crate::metadata::{MetadataValue, set_dynamic};
use crate::{ConnInfo, StateObject, StreamCx, Worker};
use nuncio_stats::Lane;
use std::rc::Rc;

fn exchange() -> StreamCx {
    let mut cx = StreamCx::new(Worker::new(0, Lane::MAIN), Rc::new(ConnInfo::nobody()));
    for (name, value) in [(":method", "GET"), (":path", "/p?q=1"), (":authority", "h:80"), (":scheme", "http"), ("x-a", "A"), ("x-two", "1"), ("x-two", "2"), ("x-n", "5")] {
        cx.request.append(name.as_bytes(), value.as_bytes());
    }
    set_dynamic(&mut cx.metadata, "ns", "role", MetadataValue::Text("boss".to_owned()));
    set_dynamic(&mut cx.metadata, "ns", "n", MetadataValue::Number(5.0));
    cx.filter_state.set(StateObject { key: "k".into(), value: b"state".to_vec(), ..StateObject::default() });
    cx
}

/// The value as logs print it; `null` where there is none.
fn value(text: &str, cx: &StreamCx) -> String {
    let program = Program::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut out = Vec::new();
    match program.value(cx) {
        Ok(value) => value.print(&mut out).map_or_else(|| "null".to_owned(), |()| String::from_utf8_lossy(&out).into_owned()),
        Err(_) => "null".to_owned(),
    }
}

#[test]
fn values_are_those_of_envoy() {
    let cx = exchange();
    for line in include_str!("tests.tsv").lines().filter(|line| !line.is_empty()) {
        let (text, wanted) = line.split_once('\t').expect("two columns");
        assert_eq!(value(text, &cx), wanted, "{text}");
    }
}

#[test]
fn what_is_no_expression_is_refused() {
    for text in [
        "1 ==", "(1", "", "'a", "request.", "[1,2].all(x, x > 0)", "[1,2].map(x, x + 1)", "'abc'.upperAscii()", "nothing(1)", "string(1)", "1 2", "has(1)", "0x", "'\\q'",
        "xds.node.id", "xds.listener_direction == 1", "9223372036854775808",
    ] {
        assert!(Program::parse(text).is_err(), "{text}");
    }
    let deep = "(".repeat(5000) + "1" + &")".repeat(5000);
    assert!(Program::parse(&deep).is_err() && Program::parse(&"!".repeat(5000)).is_err() && Program::parse(&"1+".repeat(5000)).is_err());
}

#[test]
fn a_condition_holds_only_if_it_is_true() {
    let cx = exchange();
    let holds = |text: &str| Program::parse(text).expect("valid").holds(&cx);
    assert!(holds("request.path == '/p?q=1'"));
    assert!(!holds("request.headers['none'] != 'x'") && !holds("'true'") && !holds("request.nothing == 1"));
    assert!(matches!(Program::parse("1").expect("valid").value(&cx), Ok(Value::Int(1))));
}
