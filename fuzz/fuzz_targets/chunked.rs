#![no_main]
#[path = "../drive/http1.rs"]
#[allow(dead_code, reason = "the file drives several targets")]
mod http1;

libfuzzer_sys::fuzz_target!(|data: &[u8]| http1::chunked(data));
