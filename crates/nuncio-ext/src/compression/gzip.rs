//! gzip, by `flate2`.

use super::{Decoder, Encoder, FREE_BYTES, MAX_RATIO, Make, message};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use nuncio_api::envoy::extensions::compression::gzip::{compressor::v3 as compressor, decompressor::v3 as decompressor};
use nuncio_core::{BuildCx, ConfigError};

/// Bytes of output that are made at a time.
const STEP: usize = 4096;
/// Envoy's default window.
const COMPRESS_WINDOW: u8 = 12;
const DECOMPRESS_WINDOW: u8 = 15;

struct Deflate(Compress);

impl Encoder for Deflate {
    fn encode(&mut self, bytes: &[u8], end: bool) -> Vec<u8> {
        let flush = if end { FlushCompress::Finish } else { FlushCompress::Sync };
        let begun = self.0.total_in();
        let mut out = Vec::with_capacity(STEP.min(bytes.len() / 2 + 64));
        loop {
            let taken = usize::try_from(self.0.total_in() - begun).unwrap_or(usize::MAX);
            let rest = bytes.get(taken..).unwrap_or_default();
            out.reserve(STEP);
            let room = out.capacity() - out.len();
            let before = out.len();
            match self.0.compress_vec(rest, &mut out, flush) {
                Ok(Status::StreamEnd) | Err(_) => return out,
                Ok(_) if rest.is_empty() && out.len() - before < room && !end => return out,
                Ok(Status::BufError) if out.len() == before => return out,
                Ok(_) => {}
            }
        }
    }
}

/// `Gzip` of a compressor.
pub(super) fn encoder(field: &str, bytes: &[u8], cx: &mut BuildCx<'_>) -> Result<Make<dyn Encoder>, ConfigError> {
    let compressor::Gzip { memory_level, compression_level, compression_strategy, window_bits, chunk_size: _ } = message(bytes)?;
    for (name, set) in [("memory_level", memory_level.is_some()), ("compression_strategy", compression_strategy != 0)] {
        if set {
            let text = "is accepted without effect: the library chooses it";
            cx.warnings.push(ConfigError::at(format!("{field}.typed_config.{name}"), text));
        }
    }
    let level = Compression::new(match u32::try_from(compression_level) {
        Ok(level @ 1..=9) => level,
        _ => 6,
    });
    let window = window_bits.and_then(|bits| u8::try_from(bits).ok()).unwrap_or(COMPRESS_WINDOW).clamp(9, 15);
    Ok(Box::new(move || Box::new(Deflate(Compress::new_gzip(level, window)))))
}

struct Inflate {
    stream: Decompress,
    ratio: u64,
    ended: bool,
}

impl Decoder for Inflate {
    fn decode(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let begun = self.stream.total_in();
        loop {
            let taken = usize::try_from(self.stream.total_in() - begun).ok()?;
            let rest = bytes.get(taken..)?;
            // What follows the end is not looked at.
            if self.ended || rest.is_empty() && out.len() < out.capacity() {
                return Some(out);
            }
            out.reserve(STEP);
            let before = (self.stream.total_in(), out.len());
            match self.stream.decompress_vec(rest, &mut out, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(_) if before == (self.stream.total_in(), out.len()) => return Some(out),
                Ok(_) => {}
                Err(_) => return None,
            }
            if self.stream.total_out() > FREE_BYTES.max(self.stream.total_in().saturating_mul(self.ratio)) {
                return None;
            }
        }
    }
}

/// `Gzip` of a decompressor.
pub(super) fn decoder(bytes: &[u8]) -> Result<Make<dyn Decoder>, ConfigError> {
    let decompressor::Gzip { window_bits, chunk_size: _, max_inflate_ratio } = message(bytes)?;
    let window = window_bits.and_then(|bits| u8::try_from(bits).ok()).unwrap_or(DECOMPRESS_WINDOW).clamp(9, 15);
    let ratio = max_inflate_ratio.map_or(MAX_RATIO, u64::from);
    Ok(Box::new(move || Box::new(Inflate { stream: Decompress::new_gzip(window), ratio, ended: false })))
}
