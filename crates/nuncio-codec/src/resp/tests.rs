use super::*;

fn all(role: Role, bytes: &[u8], step: usize) -> Result<Vec<Value>, ProtocolError> {
    let (mut decoder, mut values) = (Decoder::new(role), Vec::new());
    for piece in bytes.chunks(step.max(1)) {
        let mut piece = piece;
        while let Some(value) = decoder.next(&mut piece)? {
            values.push(value);
        }
        assert!(piece.is_empty(), "what is not a whole value is held");
    }
    Ok(values)
}

fn command(words: &[&str]) -> Value {
    Value::Array(words.iter().map(|word| Value::bulk(*word)).collect())
}

#[test]
fn values_come_out_whatever_the_pieces_are() {
    let bytes = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n+OK\r\n-ERR x\r\n:-12\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*1\r\n:1\r\n$0\r\n\r\n_\r\n%1\r\n+a\r\n:1\r\n!3\r\nbad\r\n=5\r\ntxt:a\r\n";
    let wanted = vec![
        command(&["GET", "a"]),
        Value::simple("OK"),
        Value::error("ERR x"),
        Value::Integer(-12),
        Value::Null,
        Value::Null,
        Value::Array(vec![]),
        Value::Array(vec![Value::Array(vec![Value::Integer(1)]), Value::bulk("")]),
        Value::Null,
        Value::Array(vec![Value::simple("a"), Value::Integer(1)]),
        Value::error("bad"),
        Value::bulk("a"),
    ];
    for step in 1..bytes.len() {
        assert_eq!(all(Role::Server, bytes, step).as_ref(), Ok(&wanted), "in pieces of {step}");
    }
}

#[test]
fn commands_may_be_plain_text() {
    let bytes = b"PING\r\n\r\nset a  'b c'\r\nset \"\\x41\\n\" x\r\n";
    let wanted = vec![command(&["PING"]), Value::Array(vec![]), command(&["set", "a", "b c"]), command(&["set", "A\n", "x"])];
    for step in 1..bytes.len() {
        assert_eq!(all(Role::Client, bytes, step).as_ref(), Ok(&wanted));
    }
    assert_eq!(all(Role::Server, b"PING\r\n", 99), Err(ProtocolError));
    assert_eq!(all(Role::Client, b"get 'x\r\n", 99), Err(ProtocolError));
}

#[test]
fn what_is_no_resp_is_an_error() {
    let deep = b"*1\r\n".repeat(MAX_DEPTH + 1);
    let long = vec![b'x'; MAX_LINE_BYTES + 1];
    let wrong: [&[u8]; 14] = [
        b"*1\r\n$4\r\nPINGxx", b"*1\r\n$-5\r\n", b"*99999999999999999999\r\n", b":12a\r\n", b"$536870913\r\n", b"*1\n$4\n", b"$4\r\nPING\r\r",
        b"*?\r\n", b"\x00", b"\x80abc", b"*+1\r\n", b"*\r\n", &deep, &long,
    ];
    for bytes in wrong {
        assert_eq!(all(Role::Client, bytes, bytes.len()), Err(ProtocolError), "{}", bytes.escape_ascii());
    }
    assert_eq!(all(Role::Client, b"*4194304\r\n", 99), Ok(vec![]));
}

#[test]
fn a_line_cannot_be_made_to_end_early() {
    let mut out = Vec::new();
    Value::error("a\r\n+OK").encode(&mut out);
    assert_eq!(out, b"-a  +OK\r\n");
}

#[test]
fn what_is_encoded_is_decoded_again() {
    // A small generator: any tree of values, from a seed.
    fn any(seed: &mut u64, depth: u32) -> Value {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let n = *seed >> 33;
        let bytes = || -> Vec<u8> { (0..n % 40).map(|i| (n >> (i % 24)) as u8).collect() };
        let text = || -> Vec<u8> { bytes().into_iter().map(|byte| b'a' + byte % 26).collect() };
        match n % 6 {
            0 => Value::Null,
            1 => Value::Simple(text()),
            2 => Value::Error(text()),
            3 => Value::Integer(*seed as i64),
            4 if depth < 5 => Value::Array((0..n % 5).map(|_| any(seed, depth + 1)).collect()),
            _ => Value::Bulk(bytes()),
        }
    }
    let mut seed = 7;
    for round in 0..2000 {
        let value = any(&mut seed, 0);
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        for step in [1, 3, 1 + round % 50, bytes.len()] {
            assert_eq!(all(Role::Server, &bytes, step), Ok(vec![value.clone()]));
        }
    }
}
