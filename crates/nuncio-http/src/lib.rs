//! Serving HTTP: the connection manager, its routes and its router.

pub mod routes;
