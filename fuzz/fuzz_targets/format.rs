#![no_main]
#[path = "../drive/format.rs"]
#[allow(dead_code, reason = "the file drives several targets")]
mod format;

libfuzzer_sys::fuzz_target!(|data: &[u8]| format::format(data));
