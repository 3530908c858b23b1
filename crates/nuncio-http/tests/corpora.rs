//! The fuzzers' corpora through the fuzzers' checks.

#[path = "../../../fuzz/drive/corpus.rs"]
mod corpus;

#[path = "../../../fuzz/drive/routes.rs"]
mod routes;

#[test]
fn tables() {
    corpus::each("routes", 7, routes::routes);
}
