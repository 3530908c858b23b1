//! Any text and any bytes give findings or a message, never a panic.

use nuncio_api::fuzz;

const BASE: &str = include_str!("mistakes/base.yaml");

/// A small generator of repeatable noise (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Pieces that are likely to hurt.
const PIECES: &[&str] = &[
    "\t",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "|",
    ">",
    "&a ",
    "*a",
    "<<: *a",
    "~",
    "0x",
    "-0",
    "1e999",
    "\u{feff}",
    "é",
    "\u{2028}",
    "\0",
    "\r",
    "---\n",
    "...\n",
    "#",
    "!",
    "!!str ",
    "? ",
    "@type",
    "\\u",
    "\\ud83d",
    ",",
    "99999999999999999999",
    "null",
    "  ",
    "\n",
    "type.googleapis.com/",
    "google.protobuf.Any",
    "xds.type.v3.TypedStruct",
    "nan",
    "s",
    "-",
];

#[test]
fn mutated_configurations_do_no_harm() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for _ in 0..400 {
        let mut text: Vec<char> = BASE.chars().collect();
        for _ in 0..=noise.below(4) {
            let at = noise.below(text.len());
            match noise.below(3) {
                0 => drop(text.drain(at..(at + noise.below(40)).min(text.len()))),
                1 => drop(text.splice(at..at, PIECES[noise.below(PIECES.len())].chars())),
                _ => {
                    let end = (at + noise.below(120)).min(text.len());
                    let copy: Vec<char> = text[at..end].to_vec();
                    let to = noise.below(text.len());
                    drop(text.splice(to..to, copy));
                }
            }
        }
        fuzz::configuration(&text.into_iter().collect::<String>());
    }
}

#[test]
fn noise_does_no_harm() {
    let mut noise = Noise(42);
    for _ in 0..400 {
        let length = noise.below(120);
        let text: String = (0..length)
            .map(|_| PIECES[noise.below(PIECES.len())])
            .collect();
        fuzz::configuration(&text);
        let bytes: Vec<u8> = (0..length).map(|_| noise.next() as u8).collect();
        fuzz::message(&bytes);
    }
}

#[test]
fn deep_and_self_repeating_documents_are_bounded() {
    fuzz::configuration(&"{a: ".repeat(5_000));
    fuzz::configuration(&"[".repeat(5_000));
    let deep = format!(
        "node: {{metadata: {}1{}}}",
        "{a: ".repeat(200),
        "}".repeat(200)
    );
    fuzz::configuration(&deep);
    // Every alias repeats the one before ten times: 10^12 nodes if followed.
    let mut laughs = String::from("node:\n  metadata:\n    a0: &a0 {x: y}\n");
    for level in 1..13 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("    a{level}: &a{level} [{list}]\n"));
    }
    let started = std::time::Instant::now();
    fuzz::configuration(&laughs);
    assert!(started.elapsed().as_secs() < 60);
}
