//! Zstandard, by the reference library.

use super::{Decoder, Encoder, MAX_RATIO, Make, Sink, message};
use nuncio_api::envoy::extensions::compression::zstd::{compressor::v3 as compressor, decompressor::v3 as decompressor};
use nuncio_core::{BuildCx, ConfigError};
use std::io::Write;
use zstd::stream::write;

/// The library's default level.
const LEVEL: i32 = 3;

struct Writer(Option<write::Encoder<'static, Vec<u8>>>);

impl Encoder for Writer {
    fn encode(&mut self, bytes: &[u8], end: bool) -> Vec<u8> {
        let Some(mut writer) = self.0.take() else { return Vec::new() };
        // Writing to a vector cannot fail.
        let _ = writer.write_all(bytes);
        if end {
            return writer.finish().unwrap_or_default();
        }
        let _ = writer.flush();
        let out = std::mem::take(writer.get_mut());
        self.0 = Some(writer);
        out
    }
}

/// `Zstd` of a compressor.
pub(super) fn encoder(field: &str, bytes: &[u8], cx: &mut BuildCx<'_>) -> Result<Make<dyn Encoder>, ConfigError> {
    let compressor::Zstd { compression_level, enable_checksum, strategy, dictionary, chunk_size: _ } = message(bytes)?;
    if strategy != 0 {
        let text = "is accepted without effect: the library chooses it";
        cx.warnings.push(ConfigError::at(format!("{field}.typed_config.strategy"), text));
    }
    if dictionary.is_some() {
        cx.unsafe_without.push(ConfigError::at(format!("{field}.typed_config.dictionary"), "is not built yet"));
    }
    let level = compression_level.and_then(|level| i32::try_from(level).ok()).unwrap_or(LEVEL);
    Ok(Box::new(move || {
        let mut writer = write::Encoder::new(Vec::new(), level).ok();
        if let Some(writer) = &mut writer {
            // Without a checksum the stream is as good.
            let _ = writer.include_checksum(enable_checksum);
        }
        Box::new(Writer(writer))
    }))
}

struct Reader(Option<write::Decoder<'static, Sink>>);

impl Decoder for Reader {
    fn decode(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let reader = self.0.as_mut()?;
        reader.get_mut().take(bytes.len());
        reader.write_all(bytes).ok()?;
        reader.flush().ok()?;
        Some(std::mem::take(&mut reader.get_mut().bytes))
    }
}

/// `Zstd` of a decompressor.
pub(super) fn decoder(field: &str, bytes: &[u8], cx: &mut BuildCx<'_>) -> Result<Make<dyn Decoder>, ConfigError> {
    let decompressor::Zstd { dictionaries, chunk_size: _ } = message(bytes)?;
    if !dictionaries.is_empty() {
        cx.unsafe_without.push(ConfigError::at(format!("{field}.typed_config.dictionaries"), "are not built yet"));
    }
    Ok(Box::new(|| Box::new(Reader(write::Decoder::new(Sink::new(MAX_RATIO)).ok()))))
}
