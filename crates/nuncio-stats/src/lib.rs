//! nuncio-stats
