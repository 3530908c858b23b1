#![no_main]
#[path = "../drive/config.rs"]
#[allow(dead_code, reason = "the file drives several targets")]
mod config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::config_message(data));
