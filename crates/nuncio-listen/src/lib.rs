//! nuncio-listen
