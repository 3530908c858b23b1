#![no_main]
#[path = "../drive/header_map.rs"]
mod header_map;

libfuzzer_sys::fuzz_target!(|data: &[u8]| header_map::header_map(data));
