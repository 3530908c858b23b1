//! Examples of RFC 7541, appendix C, and what goes wrong.

use super::*;
use crate::headers::{HeaderMap, Known};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The fields of a block, one `name: value` a line.
fn block(decoder: &mut Decoder, bytes: &[u8]) -> Result<String, CompressionError> {
    let mut lines = Vec::new();
    decoder.decode(bytes, true, |f| lines.push(format!("{}: {}", f.name.escape_ascii(), f.value.escape_ascii())))?;
    Ok(lines.join("\n"))
}

#[test]
fn literals_of_c2() {
    let mut decoder = Decoder::default();
    let get = |decoder: &mut Decoder, text: &str| block(decoder, &hex(text)).unwrap();
    assert_eq!(
        get(&mut decoder, "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"),
        "custom-key: custom-header"
    );
    assert_eq!(get(&mut decoder, "040c 2f73 616d 706c 652f 7061 7468"), ":path: /sample/path");
    assert_eq!(get(&mut decoder, "1008 7061 7373 776f 7264 0673 6563 7265 74"), "password: secret");
    assert_eq!(get(&mut decoder, "82"), ":method: GET");
}

const REQUESTS: [&str; 3] = [
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com",
    ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache",
    ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value",
];

#[test]
fn requests_of_c3_and_c4() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for series in [plain, coded] {
        let mut decoder = Decoder::default();
        for (bytes, fields) in series.iter().zip(REQUESTS) {
            assert_eq!(block(&mut decoder, &hex(bytes)).unwrap(), fields);
        }
    }
}

#[test]
fn responses_of_c5_and_c6_evict() {
    let first = ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com";
    let second = first.replace("302", "307");
    let third = ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\n\
        content-encoding: gzip\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 \
         7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 \
         444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e \
         3d31",
    ];
    let coded = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 \
         e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b \
         3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    for series in [plain, coded] {
        let mut decoder = Decoder::new(256);
        for (bytes, fields) in series.iter().zip([first, &second, third]) {
            assert_eq!(block(&mut decoder, &hex(bytes)).unwrap(), fields);
        }
    }
}

#[test]
fn what_is_no_hpack_is_refused() {
    let cases: [(&str, &[u8]); 7] = [
        ("index zero", &[0x80]),
        ("an index beyond the table", &[0xbe]),
        ("an endless integer", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a cut string", &[0x40, 0x05, b'a']),
        ("a table larger than granted", &[0x3f, 0xe2, 0x1f]),
        ("a size update behind a field", &[0x82, 0x20]),
        ("a string longer than any field", &[0x40, 0x7f, 0x81, 0xff, 0x7f, 0x00]),
    ];
    for (what, bytes) in cases {
        assert_eq!(block(&mut Decoder::default(), bytes), Err(CompressionError), "{what}");
    }
}

#[test]
fn pieces_of_a_block_give_the_same_fields() {
    let bytes = hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
    for cut in 0..=bytes.len() {
        for second in cut..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut lines = Vec::new();
            let mut feed = |piece: &[u8], last| {
                decoder.decode(piece, last, |f| lines.push(format!("{}: {}", f.name.escape_ascii(), f.value.escape_ascii()))).unwrap();
            };
            feed(&bytes[..cut], false);
            feed(&bytes[cut..second], false);
            feed(&bytes[second..], true);
            assert_eq!(lines.join("\n"), REQUESTS[0], "cut at {cut} and {second}");
        }
    }
}

fn encoded(encoder: &mut Encoder, map: &HeaderMap) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    map.iter().for_each(|field| encoder.field(field, &mut out));
    out
}

#[test]
fn what_is_encoded_is_decoded_and_shrinks() {
    let mut encoder = Encoder::default();
    let mut decoder = Decoder::default();
    let mut sizes = Vec::new();
    for round in 0..200 {
        let mut map = HeaderMap::new();
        map.set_status(200);
        map.append(Known::Server, "envoy");
        map.append(Known::Authorization, "Basic dXNlcjpwYXNz");
        map.append("x-custom", format!("value {}", round % 3));
        map.append("x-unique", format!("{round}"));
        let bytes = encoded(&mut encoder, &map);
        let wanted: Vec<String> = map.iter().map(|h| format!("{h:?}")).collect();
        assert_eq!(block(&mut decoder, &bytes).unwrap(), wanted.join("\n"));
        sizes.push(bytes.len());
        if round == 50 {
            encoder.set_limit(0);
        } else if round == 60 {
            encoder.set_limit(1 << 20);
        }
    }
    assert!(sizes[1..50].iter().all(|size| *size < sizes[0]), "{sizes:?}");
}
