//! nuncio-upstream
