//! Compression libraries (`envoy.compression.*`): how bodies are compressed and decompressed, piece by piece.

mod brotli;
mod gzip;
mod zstd;

use nuncio_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_core::{BuildCx, ConfigError};
use std::{fmt, io::Write};

/// Output per input byte, on the whole, beyond which a body is taken for an attack (Envoy's `max_inflate_ratio`).
const MAX_RATIO: u64 = 100;
/// Output that is never too much.
const FREE_BYTES: u64 = 64 << 10;

/// A body on its way into its compressed form.
pub(crate) trait Encoder {
    /// Takes a piece; what comes out is all there is to say of it. The last piece ends the stream.
    fn encode(&mut self, bytes: &[u8], end: bool) -> Vec<u8>;
}

/// A body on its way out of its compressed form.
pub(crate) trait Decoder {
    /// Takes a piece; `None` if the body is broken, or grows beyond all measure.
    fn decode(&mut self, bytes: &[u8]) -> Option<Vec<u8>>;
}

/// A library, set up to compress or to decompress.
pub(crate) struct Library<C: ?Sized> {
    /// Its name in the configuration.
    pub(crate) name: Box<str>,
    /// What it is called in statistics: `gzip`.
    pub(crate) kind: &'static str,
    /// What it is called in `content-encoding`: `br`.
    pub(crate) encoding: &'static str,
    make: Box<dyn Fn() -> Box<C> + Send + Sync>,
}

impl<C: ?Sized> Library<C> {
    /// For one body.
    pub(crate) fn make(&self) -> Box<C> {
        (self.make)()
    }
}

impl<C: ?Sized> fmt::Debug for Library<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Library({}, {})", self.name, self.kind)
    }
}

/// The message's name and bytes.
fn parts(from: &TypedExtensionConfig) -> Result<(&str, &[u8]), ConfigError> {
    let any = from.typed_config.as_ref().ok_or_else(|| ConfigError::at("typed_config", "is missing"))?;
    Ok((any.type_url.rsplit('/').next().unwrap_or_default(), &any.value))
}

fn unknown(message: &str) -> ConfigError {
    ConfigError::at("typed_config", format!("the library `{message}` is not built"))
}

/// A library that compresses, in `field`.
pub(crate) fn compressor(field: &str, from: &TypedExtensionConfig, cx: &mut BuildCx<'_>) -> Result<Library<dyn Encoder>, ConfigError> {
    let (message, bytes) = parts(from)?;
    let (kind, encoding, make) = match message {
        "envoy.extensions.compression.gzip.compressor.v3.Gzip" => ("gzip", "gzip", gzip::encoder(field, bytes, cx)?),
        "envoy.extensions.compression.brotli.compressor.v3.Brotli" => ("brotli", "br", brotli::encoder(field, bytes, cx)?),
        "envoy.extensions.compression.zstd.compressor.v3.Zstd" => ("zstd", "zstd", zstd::encoder(field, bytes, cx)?),
        other => return Err(unknown(other)),
    };
    Ok(Library { name: from.name.as_str().into(), kind, encoding, make })
}

/// A library that decompresses, in `field`.
pub(crate) fn decompressor(field: &str, from: &TypedExtensionConfig, cx: &mut BuildCx<'_>) -> Result<Library<dyn Decoder>, ConfigError> {
    let (message, bytes) = parts(from)?;
    let (kind, encoding, make) = match message {
        "envoy.extensions.compression.gzip.decompressor.v3.Gzip" => ("gzip", "gzip", gzip::decoder(bytes)?),
        "envoy.extensions.compression.brotli.decompressor.v3.Brotli" => ("brotli", "br", brotli::decoder(bytes)?),
        "envoy.extensions.compression.zstd.decompressor.v3.Zstd" => ("zstd", "zstd", zstd::decoder(field, bytes, cx)?),
        other => return Err(unknown(other)),
    };
    Ok(Library { name: from.name.as_str().into(), kind, encoding, make })
}

type Make<C> = Box<dyn Fn() -> Box<C> + Send + Sync>;

fn message<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, ConfigError> {
    M::decode(bytes).map_err(|error| ConfigError::at("typed_config", error.to_string()))
}

/// Where decompressed bytes go, as long as they are not too many.
#[derive(Debug)]
struct Sink {
    bytes: Vec<u8>,
    taken: u64,
    given: u64,
    ratio: u64,
}

impl Sink {
    fn new(ratio: u64) -> Sink {
        Sink { bytes: Vec::new(), taken: 0, given: 0, ratio }
    }

    fn take(&mut self, input: usize) {
        self.taken += input as u64;
    }

    fn is_full(&self, more: usize) -> bool {
        self.given + more as u64 > FREE_BYTES.max(self.taken.saturating_mul(self.ratio))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.is_full(bytes.len()) {
            return Err(std::io::Error::other("too much comes out"));
        }
        self.given += bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library<C: ?Sized>(kind: &'static str, make: Make<C>) -> Library<C> {
        Library { name: "l".into(), kind, encoding: kind, make }
    }

    fn all() -> Vec<(Library<dyn Encoder>, Library<dyn Decoder>)> {
        let store = nuncio_stats::Store::new(Default::default());
        let mut cx = BuildCx::new(&store, "");
        let gzip = (library("gzip", gzip::encoder("", b"", &mut cx).expect("gzip")), library("gzip", gzip::decoder(b"").expect("gzip")));
        let brotli = (library("brotli", brotli::encoder("", b"", &mut cx).expect("brotli")), library("brotli", brotli::decoder(b"").expect("brotli")));
        let zstd = (library("zstd", zstd::encoder("", b"", &mut cx).expect("zstd")), library("zstd", zstd::decoder("", b"", &mut cx).expect("zstd")));
        vec![gzip, brotli, zstd]
    }

    #[test]
    fn bodies_survive_however_they_are_cut() {
        let body: Vec<u8> = (0..40_000u32).map(|n| (n * n % 251) as u8).collect();
        for (encoders, decoders) in all() {
            let (mut encoder, mut decoder) = (encoders.make(), decoders.make());
            let mut back = Vec::new();
            for (at, piece) in body.chunks(9_999).enumerate() {
                let small = encoder.encode(piece, (at + 1) * 9_999 >= body.len());
                for part in small.chunks(777) {
                    back.extend(decoder.decode(part).expect("whole"));
                }
                let so_far = ((at + 1) * 9_999).min(body.len());
                assert_eq!(back.len(), so_far, "{encoders:?}: a piece is not kept back");
            }
            assert_eq!(back, body);
        }
    }

    #[test]
    fn what_is_broken_or_a_bomb_is_refused() {
        for (encoders, decoders) in all() {
            assert_eq!(decoders.make().decode(b"this is no compressed body at all"), None, "{decoders:?}");
            let bomb = encoders.make().encode(&vec![0; 20 << 20], true);
            assert!(bomb.len() < 100_000, "{encoders:?}");
            let mut decoder = decoders.make();
            assert!(bomb.chunks(1000).any(|part| decoder.decode(part).is_none()), "{decoders:?}");
        }
    }
}
