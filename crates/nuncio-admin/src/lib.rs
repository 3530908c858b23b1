//! nuncio-admin
