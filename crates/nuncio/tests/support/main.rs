//! `docs/support.md` says what becomes of every field, and says it truly: each field of each message that is compiled is
//! set, alone, in a configuration that has one of everything, and what the compiler reports at its path is what the page
//! lists. `NUNCIO_UPDATE=1 cargo test -p nuncio --test support` writes the page anew.

mod page;
mod probe;
mod wire;

use probe::Probe;
use std::path::Path;

#[test]
fn the_support_matrix_is_up_to_date() {
    let page = page::write(&Probe::new().matrix());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/support.md");
    if std::env::var_os("NUNCIO_UPDATE").is_some() {
        std::fs::write(&path, &page).expect("docs/ can be written to");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(kept.lines()).find(|(new, old)| new != old);
    assert!(
        page == kept,
        "docs/support.md is out of date, first at {differs:?}; NUNCIO_UPDATE=1 cargo test -p nuncio --test support writes it"
    );
}
