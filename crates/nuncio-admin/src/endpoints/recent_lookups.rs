//! `/stats/recentlookups`: which statistics were looked up by name while serving.
//!
//! Envoy finds some statistics by name on the data path, which takes a lock; this is how to find out which. Nuncio
//! finds none that way, so the list is always empty.

use super::Endpoint;
use crate::response::AdminResponse;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether somebody asked for the list. One per process, as there is one list.
static ENABLED: AtomicBool = AtomicBool::new(false);

pub(super) const SHOW: Endpoint = Endpoint {
    path: "/stats/recentlookups",
    help: "Show recent stat-name lookups",
    command: false,
    params: &[],
    answer: |_, _| {
        AdminResponse::text(if ENABLED.load(Relaxed) {
            "   Count Lookup\n\ntotal: 0\n"
        } else {
            "Lookup tracking is not enabled. Use /stats/recentlookups/enable to enable.\n\ntotal: 0\n"
        })
    },
};

pub(super) const CLEAR: Endpoint = Endpoint {
    path: "/stats/recentlookups/clear",
    help: "clear list of stat-name lookups and counter",
    command: true,
    params: &[],
    answer: |_, _| AdminResponse::ok(),
};

pub(super) const DISABLE: Endpoint = Endpoint {
    path: "/stats/recentlookups/disable",
    help: "disable recording of reset stat-name lookup names",
    command: true,
    params: &[],
    answer: |_, _| {
        ENABLED.store(false, Relaxed);
        AdminResponse::ok()
    },
};

pub(super) const ENABLE: Endpoint = Endpoint {
    path: "/stats/recentlookups/enable",
    help: "enable recording of reset stat-name lookup names",
    command: true,
    params: &[],
    answer: |_, _| {
        ENABLED.store(true, Relaxed);
        AdminResponse::ok()
    },
};
