//! nuncio-http
