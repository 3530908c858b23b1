#![no_main]
#[path = "../drive/resp.rs"]
mod resp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| resp::resp(data));
