//! nuncio-codec
