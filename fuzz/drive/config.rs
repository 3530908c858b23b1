//! Drives the configuration: whatever is given is read, reported on and judged, and nothing panics.

use nuncio_config::{Input, Mode, Options, Purpose};

/// A text: decoded in both languages, its findings printed and repaired, then judged as `nuncio check` does, in both modes.
pub fn config_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    nuncio_api::fuzz::configuration(&text);
    for strict in [false, true] {
        let mode = Mode {
            strict,
            parity: false,
            purpose: Purpose::Check,
        };
        let report = nuncio_config::check(&[Input::inline(&text)], &Options::checking(mode));
        assert_eq!(
            report.errors() == 0,
            report.envoy_words().is_none(),
            "a refusal has words"
        );
        report.json();
    }
}

/// Bytes, taken for a serialized bootstrap.
pub fn config_message(data: &[u8]) {
    nuncio_api::fuzz::message(data);
}
