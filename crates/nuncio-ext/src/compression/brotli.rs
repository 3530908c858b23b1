//! Brotli, by the `brotli` crate.

use super::{Decoder, Encoder, MAX_RATIO, Make, Sink, message};
use brotli::enc::BrotliEncoderParams;
use brotli::enc::backward_references::BrotliEncoderMode;
use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, CompressorWriter};
use nuncio_api::envoy::extensions::compression::brotli::{compressor::v3 as compressor, decompressor::v3 as decompressor};
use nuncio_core::{BuildCx, ConfigError};
use std::io::Write;

/// Bytes of the library's own buffers.
const BUFFER: usize = 4096;
/// Envoy's defaults.
const QUALITY: i32 = 3;
const WINDOW: i32 = 18;

struct Writer(Option<CompressorWriter<Vec<u8>>>);

impl Encoder for Writer {
    fn encode(&mut self, bytes: &[u8], end: bool) -> Vec<u8> {
        let Some(mut writer) = self.0.take() else { return Vec::new() };
        // Writing to a vector cannot fail.
        let _ = writer.write_all(bytes);
        if end {
            return writer.into_inner();
        }
        let _ = writer.flush();
        let out = std::mem::take(writer.get_mut());
        self.0 = Some(writer);
        out
    }
}

/// `Brotli` of a compressor.
pub(super) fn encoder(field: &str, bytes: &[u8], cx: &mut BuildCx<'_>) -> Result<Make<dyn Encoder>, ConfigError> {
    use compressor::brotli::EncoderMode;
    let from: compressor::Brotli = message(bytes)?;
    let mode = match from.encoder_mode() {
        EncoderMode::Default | EncoderMode::Generic => BrotliEncoderMode::BROTLI_MODE_GENERIC,
        EncoderMode::Text => BrotliEncoderMode::BROTLI_MODE_TEXT,
        EncoderMode::Font => BrotliEncoderMode::BROTLI_MODE_FONT,
    };
    let compressor::Brotli { quality, encoder_mode: _, window_bits, input_block_bits, chunk_size: _, disable_literal_context_modeling } = from;
    if input_block_bits.is_some() {
        let text = "is accepted without effect: the library chooses it";
        cx.warnings.push(ConfigError::at(format!("{field}.typed_config.input_block_bits"), text));
    }
    let number = |told: Option<u32>, default: i32| told.and_then(|n| i32::try_from(n).ok()).unwrap_or(default);
    let (quality, window) = (number(quality, QUALITY), number(window_bits, WINDOW));
    Ok(Box::new(move || {
        let params = BrotliEncoderParams {
            quality,
            lgwin: window,
            mode,
            disable_literal_context_modeling: i32::from(disable_literal_context_modeling),
            ..BrotliEncoderParams::default()
        };
        Box::new(Writer(Some(CompressorWriter::with_params(Vec::new(), BUFFER, &params))))
    }))
}

struct Reader {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    sink: Sink,
    ended: bool,
}

impl Decoder for Reader {
    fn decode(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = [0; BUFFER];
        let (mut left, mut at, mut total) = (bytes.len(), 0, 0);
        self.sink.take(bytes.len());
        // What follows the end is not looked at.
        while !self.ended {
            let (mut room, mut made) = (BUFFER, 0);
            let result = BrotliDecompressStream(&mut left, &mut at, bytes, &mut room, &mut made, &mut buffer, &mut total, &mut self.state);
            self.sink.write_all(&buffer[..made]).ok()?;
            match result {
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::ResultFailure => return None,
                // Output may wait although all input is taken.
                BrotliResult::NeedsMoreInput if made == 0 => break,
                BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            }
        }
        Some(std::mem::take(&mut self.sink.bytes))
    }
}

/// `Brotli` of a decompressor.
pub(super) fn decoder(bytes: &[u8]) -> Result<Make<dyn Decoder>, ConfigError> {
    let decompressor::Brotli { disable_ring_buffer_reallocation: _, chunk_size: _ } = message(bytes)?;
    Ok(Box::new(|| {
        let alloc = StandardAlloc::default;
        Box::new(Reader { state: BrotliState::new(alloc(), alloc(), alloc()), sink: Sink::new(MAX_RATIO), ended: false })
    }))
}
