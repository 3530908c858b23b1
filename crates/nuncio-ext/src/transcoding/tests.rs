use super::{
    decode,
    descriptors::Pool,
    encode,
    frames::Frames,
    json::{Json, Parser},
};

/// Types of the recorded answers; `testdata/lab.proto` says them.
fn pool() -> Pool {
    Pool::new(include_bytes!("testdata/lab.pb")).expect("a descriptor set")
}

fn parse(text: &[u8], pieces: usize, stream: bool) -> Result<Vec<Json>, String> {
    let mut parser = Parser::new(stream);
    let mut values = Vec::new();
    for piece in text.chunks(pieces.max(1)) {
        parser.feed(piece, &mut values)?;
    }
    if text.is_empty() {
        return Ok(values);
    }
    parser.finish(&mut values)?;
    Ok(values)
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("hex")).collect()
}

/// A recorded string of JSON.
fn unquote(text: &str) -> String {
    match parse(text.as_bytes(), usize::MAX, false).expect("a string").pop() {
        Some(Json::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_become_what_envoy_makes_of_them() {
    let pool = pool();
    let message = pool.message("lab.All").expect("the type");
    let mut wrong = Vec::new();
    for line in include_str!("testdata/requests.tsv").lines() {
        let (text, expected) = line.rsplit_once('\t').expect("two columns");
        let made = match parse(text.as_bytes(), usize::MAX, false) {
            Ok(mut values) => {
                let value = values.pop().unwrap_or(Json::Object(Vec::new()));
                encode::encode(&pool, message, value, encode::Options { fold_enums: false })
            }
            Err(message) => Err(message),
        };
        let expected = match expected.strip_prefix('!') {
            Some(message) => Err(unquote(message)),
            None => Ok(unhex(&expected[10..])),
        };
        if made != expected {
            wrong.push(format!("{text}\n  made     {made:02x?}\n  expected {expected:02x?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn answers_become_what_envoy_makes_of_them() {
    let pool = pool();
    let message = pool.message("lab.All").expect("the type");
    let mut wrong = Vec::new();
    for line in include_str!("testdata/responses.tsv").lines() {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap_or_default();
        let (variant, bytes, expected, status) = (column(), column(), column(), column());
        let options = decode::Options {
            spaced: variant == "1",
            defaults: variant == "2",
            enums_as_ints: variant == "3",
            proto_names: variant == "4",
        };
        let made = decode::decode(&pool, message, &unhex(bytes), options);
        let expected = if status.is_empty() { Ok(unquote(expected)) } else { Err(unquote(expected)) };
        if made != expected {
            wrong.push(format!("{variant} {bytes}\n  made     {made:?}\n  expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_text_means_the_same_however_it_is_cut() {
    for line in include_str!("testdata/requests.tsv").lines() {
        let text = line.rsplit_once('\t').expect("two columns").0.as_bytes();
        let whole = parse(text, usize::MAX, false);
        for pieces in [1, 2, 3, 7] {
            let cut = parse(text, pieces, false);
            assert_eq!(cut.is_ok(), whole.is_ok(), "{} in pieces of {pieces}: {cut:?}", String::from_utf8_lossy(text));
            if whole.is_ok() {
                assert_eq!(cut, whole);
            }
        }
    }
}

#[test]
fn values_of_a_stream_are_given_out_one_by_one() {
    let mut parser = Parser::new(true);
    let mut values = Vec::new();
    parser.feed(b"[{\"a\":1}, {\"b\"", &mut values).expect("JSON");
    assert_eq!(values.len(), 1);
    parser.feed(b":[2]},[3]", &mut values).expect("JSON");
    assert_eq!(values.len(), 3);
    parser.feed(b"]", &mut values).expect("JSON");
    parser.finish(&mut values).expect("the end");
    assert_eq!(values.len(), 3);
    assert_eq!(parse(b"{}", 9, true), Err("Expected an array instead of an object".to_owned()));
}

/// Bytes that are nearly right: recorded messages with one byte changed, and with their end cut off.
#[test]
fn no_message_is_too_odd() {
    let pool = pool();
    let message = pool.message("lab.All").expect("the type");
    for line in include_str!("testdata/responses.tsv").lines().filter(|line| line.starts_with('0') && line.len() < 500) {
        let bytes = unhex(line.split('\t').nth(1).unwrap_or_default());
        for at in 0..bytes.len() {
            for change in [0x01, 0x07, 0x08, 0x80, 0xff] {
                let mut odd = bytes.clone();
                odd[at] ^= change;
                let _ = decode::decode(&pool, message, &odd, decode::Options::default());
            }
            let _ = decode::decode(&pool, message, &bytes[..at], decode::Options::default());
        }
    }
    for entry in ["aa0100", "aa01021005", "aa01030a0161", "b20100", "820300"] {
        assert!(decode::decode(&pool, message, &unhex(entry), decode::Options::default()).is_ok(), "{entry}");
    }
}

#[test]
fn no_text_is_too_odd() {
    let pool = pool();
    let message = pool.message("lab.All").expect("the type");
    for line in include_str!("testdata/requests.tsv").lines().filter(|line| line.len() < 300) {
        let text = line.rsplit_once('\t').expect("two columns").0.as_bytes();
        for at in 0..text.len() {
            for other in b"{}[]\":,\\u\xc3\xff0-" {
                let mut odd = text.to_vec();
                odd[at] = *other;
                if let Ok(values) = parse(&odd, 5, false) {
                    for value in values {
                        let _ = encode::encode(&pool, message, value, encode::Options { fold_enums: true });
                    }
                }
            }
        }
    }
}

#[test]
fn descriptors_that_are_broken_are_refused() {
    let bytes = include_bytes!("testdata/lab.pb");
    for at in 0..bytes.len() {
        let mut odd = bytes.to_vec();
        odd[at] ^= 0x15;
        let _ = Pool::new(&odd);
        let _ = Pool::new(&bytes[..at]);
    }
}

#[test]
fn frames_are_found_however_they_are_cut() {
    let bytes = b"\0\0\0\0\x02hi\x01\0\0\0\0\0\0\0\0\x01x";
    for cut in 0..=bytes.len() {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for piece in [&bytes[..cut], &bytes[cut..]] {
            frames.push(piece);
            while let Some((flag, message)) = frames.next() {
                found.push((flag, message.to_vec()));
            }
        }
        assert_eq!(found, [(0, b"hi".to_vec()), (1, Vec::new()), (0, b"x".to_vec())], "{cut}");
        assert_eq!(frames.unfinished(), None);
    }
    let mut frames = Frames::default();
    frames.push(b"\0\0\0\0\x05a");
    assert_eq!(frames.unfinished().as_deref(), Some("Incomplete gRPC frame expected size: 5 actual size: 1"));
}

#[test]
fn the_fuzzers_corpus_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/transcoding");
    let entries = std::fs::read_dir(folder).expect("the corpus");
    for entry in entries {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("bytes");
        crate::fuzz::transcoding(include_bytes!("testdata/lab.pb"), &bytes);
    }
}
