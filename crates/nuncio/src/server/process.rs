//! Facts about this process: memory in use, uptime, and the `server.*` statistics made of them.

use nuncio_admin::Memory;
use std::fs;

/// Bytes of the field of `/proc/self/status` with this name, which the kernel gives in KiB; 0 where there is none.
fn status_kib(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .unwrap_or(0)
}

/// Memory in use. The system's allocator tells less than Envoy's: what is resident and private counts as allocated.
pub(super) fn memory() -> Memory {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status_kib(&status, "VmRSS") * 1024;
    let data = status_kib(&status, "VmData") * 1024;
    let anonymous = status_kib(&status, "RssAnon") * 1024;
    Memory {
        allocated: anonymous,
        heap_size: data.max(anonymous),
        pageheap_unmapped: 0,
        pageheap_free: data.saturating_sub(anonymous),
        total_thread_cache: 0,
        total_physical_bytes: resident,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_uses_memory() {
        let m = memory();
        assert!(m.allocated > 0 && m.heap_size >= m.allocated && m.total_physical_bytes > 0);
        assert_eq!(status_kib("VmRSS:\t  12 kB\nVmData: 3 kB", "VmData"), 3);
    }
}
