//! The Nuncio binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    nuncio::main(&[nuncio_ext::registry::HTTP_FILTERS])
}
