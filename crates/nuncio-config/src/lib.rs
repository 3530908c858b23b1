//! nuncio-config
