//! nuncio-ext
