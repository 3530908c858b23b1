#![no_main]
#[path = "../drive/routes.rs"]
#[allow(dead_code, reason = "the file drives several targets")]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| drive::routes(data));
