#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    nuncio_ext::fuzz::transcoding(include_bytes!("../../crates/nuncio-ext/src/transcoding/testdata/lab.pb"), data);
});
