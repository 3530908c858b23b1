//! Checks bootstrap files: `cargo run -p nuncio-api --example check -- [--strict] FILE…`.
//!
//! Prints what is wrong with each, or `FILE: ok`. With `--list`, one line a file: verdict and the first finding. With
//! `--dump`, the bootstrap as `/config_dump` would print it.

use nuncio_api::envoy::config::bootstrap::v3::Bootstrap;
use nuncio_api::{
    Diagnostic, Document, JsonOptions, Look, Options, Source, Syntax, decode, render, tally,
    to_json,
};

fn main() {
    let (flags, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let has = |flag: &str| flags.iter().any(|f| f == flag);
    let options = Options {
        strict: has("--strict"),
        allow_unknown: has("--allow-unknown"),
    };
    for file in files {
        let text = match std::fs::read(&file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(why) => {
                println!("{file}: {why}");
                continue;
            }
        };
        let source = Source::new(&file, text);
        let found = match Document::parse(source.clone(), Syntax::of(&file)) {
            Ok(document) => {
                let decoded = decode::<Bootstrap>(&document, &options);
                if has("--dump") {
                    let name = "envoy.config.bootstrap.v3.Bootstrap";
                    println!(
                        "{}",
                        to_json(name, &decoded.bytes, JsonOptions { redact: true })
                    );
                    continue;
                }
                decoded.diagnostics
            }
            Err(found) => found,
        };
        if has("--list") {
            let error = found.iter().find(|d| d.is_error());
            let at = |d: &Diagnostic| source.position(d.span.unwrap_or_default().start);
            match error {
                Some(d) => println!(
                    "{file}\treject\t{}\t{}:{}\t{}",
                    d.code,
                    at(d).line,
                    at(d).column,
                    d.message
                ),
                None => println!("{file}\taccept"),
            }
            continue;
        }
        for finding in &found {
            println!(
                "{}",
                render(
                    &source,
                    finding,
                    Look {
                        color: false,
                        docs: true
                    }
                )
            );
        }
        println!(
            "{file}: {}",
            if found.is_empty() {
                "ok".to_owned()
            } else {
                tally(&found)
            }
        );
    }
}
