//! `/memory` and `/memory/tcmalloc`.

use super::Endpoint;
use crate::response::AdminResponse;
use nuncio_api::Json;

pub(super) const MEMORY: Endpoint = Endpoint {
    path: "/memory",
    help: "print current allocation/heap usage",
    command: false,
    params: &[],
    answer: |_, cx| {
        let memory = cx.memory();
        // protobuf's JSON has 64-bit numbers as strings.
        let bytes = |bytes: u64| Json::text(bytes.to_string());
        AdminResponse::json(&Json::object(vec![
            ("allocated", bytes(memory.allocated)),
            ("heap_size", bytes(memory.heap_size)),
            ("pageheap_unmapped", bytes(memory.pageheap_unmapped)),
            ("pageheap_free", bytes(memory.pageheap_free)),
            ("total_thread_cache", bytes(memory.total_thread_cache)),
            ("total_physical_bytes", bytes(memory.total_physical_bytes)),
        ]))
    },
};

pub(super) const TCMALLOC: Endpoint = Endpoint {
    path: "/memory/tcmalloc",
    help: "print TCMalloc stats",
    command: false,
    params: &[],
    answer: |_, _| {
        AdminResponse::error(501, "The current build does not use TCMalloc").with_type("text/plain")
    },
};
