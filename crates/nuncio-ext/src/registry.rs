//! The table of extensions: one line each, sorted by name. A vendor's binary adds a table of its own.

use crate::access_log;
use crate::http::{
    buffer, cors, csrf, dynamic_forward_proxy, ext_authz, fault, header_mutation, header_to_metadata, health_check, local_ratelimit,
    ratelimit, rbac, set_filter_state, set_metadata,
};
use nuncio_core::{AccessLogEntry, HttpFilterEntry};

/// HTTP filters.
pub static HTTP_FILTERS: &[HttpFilterEntry] = &[
    buffer::ENTRY,
    cors::ENTRY,
    csrf::ENTRY,
    dynamic_forward_proxy::ENTRY,
    ext_authz::ENTRY,
    fault::ENTRY,
    header_mutation::ENTRY,
    header_to_metadata::ENTRY,
    health_check::ENTRY,
    local_ratelimit::ENTRY,
    ratelimit::ENTRY,
    rbac::ENTRY,
    set_filter_state::ENTRY,
    set_metadata::ENTRY,
];

/// Access loggers.
pub static ACCESS_LOGGERS: &[&AccessLogEntry] = &[
    &access_log::FILE,
    &access_log::STDERR,
    &access_log::STDOUT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_and_name_messages_that_exist() {
        assert!(HTTP_FILTERS.is_sorted_by(|a, b| a.name < b.name));
        assert!(ACCESS_LOGGERS.is_sorted_by(|a, b| a.name < b.name));
        for entry in ACCESS_LOGGERS {
            assert!(nuncio_api::schema::message(entry.message).is_some(), "{}: no message", entry.name);
        }
        for entry in HTTP_FILTERS {
            for message in [entry.message, entry.route_message].into_iter().filter(|m| !m.is_empty()) {
                assert!(nuncio_api::schema::message(message).is_some(), "{}: no message {message}", entry.name);
            }
        }
    }
}
