//! Where the time of checking a file goes: `cargo run --release -p nuncio-api --example timing -- FILE [ROUNDS]`.

use nuncio_api::envoy::config::bootstrap::v3::Bootstrap;
use nuncio_api::{Document, Options, Source, Syntax, encode, schema, validate};
use prost::Message;
use std::time::Instant;

fn main() {
    let mut args = std::env::args().skip(1);
    let file = args.next().unwrap_or_default();
    let rounds: usize = args.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let start = Instant::now();
    schema::message("envoy.config.bootstrap.v3.Bootstrap");
    println!("index of types     {:?}", start.elapsed());
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    for _ in 0..rounds {
        let start = Instant::now();
        let Ok(document) = Document::parse(Source::new(&file, text.clone()), Syntax::of(&file))
        else {
            return;
        };
        let parsed = start.elapsed();
        let encoded = encode(
            "envoy.config.bootstrap.v3.Bootstrap",
            &document,
            &Options::default(),
        );
        let walked = start.elapsed() - parsed;
        let began = Instant::now();
        let broken =
            validate::violations("envoy.config.bootstrap.v3.Bootstrap", &encoded.bytes).len();
        let rules = began.elapsed();
        let began = Instant::now();
        let message = Bootstrap::decode(encoded.bytes.as_slice()).is_ok();
        let (found, size) = (encoded.diagnostics.len(), encoded.bytes.len());
        println!(
            "parse {parsed:?}, encode with rules {walked:?} (rules alone {rules:?}, {broken} broken), \
             struct {:?} ({message}); {size} bytes, {found} findings",
            began.elapsed()
        );
    }
}
