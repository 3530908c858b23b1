//! Envoy's v3 messages as Rust types, generated: packages are modules, `envoy.config.route.v3.Route` is
//! `envoy::config::route::v3::Route`.
//!
//! Made by `cargo run -p xtask -- api` from the same descriptors that `nuncio-api` carries, and a crate of its own so
//! that a change to the decoder does not compile 1,700 messages again. Use it through `nuncio_api`, which re-exports
//! everything. One file per package, however long: nobody reads or edits them. Every message implements `prost::Message` and `prost::Name`; comments and services are left out.

#[allow(missing_docs, deprecated, clippy::all, clippy::pedantic, rustdoc::all)]
mod generated {
    include!("gen/mod.rs");
}

pub use generated::*;
