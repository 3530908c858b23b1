//! nuncio-rt
