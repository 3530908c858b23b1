//! nuncio-core
