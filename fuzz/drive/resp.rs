//! Drives the decoder of RESP and checks what must hold for any input: nothing panics, the same bytes in other pieces
//! give the same values, and what is written again reads back the same.

use nuncio_codec::resp::{Decoder, Role, Value};

/// The values of these bytes, and whether they end in an error.
fn values(role: Role, bytes: &[u8], step: usize) -> (Vec<Value>, bool) {
    let (mut decoder, mut values) = (Decoder::new(role), Vec::new());
    for mut piece in bytes.chunks(step) {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(_) => return (values, true),
            }
        }
        assert!(piece.is_empty(), "bytes were left");
    }
    (values, false)
}

/// The first byte says whose bytes the rest are, and how long pieces are.
pub fn resp(data: &[u8]) {
    let Some((&options, bytes)) = data.split_first() else { return };
    let role = if options & 1 == 0 { Role::Client } else { Role::Server };
    let whole = values(role, bytes, bytes.len().max(1));
    let pieces = values(role, bytes, usize::from(options >> 1) + 1);
    // An error may be seen later in pieces, never sooner or elsewhere.
    assert_eq!(whole.0, pieces.0);
    let mut again = Vec::new();
    whole.0.iter().for_each(|value| value.encode(&mut again));
    let (back, wrong) = values(Role::Server, &again, 7);
    assert!(!wrong);
    assert_eq!(back, whole.0);
}
