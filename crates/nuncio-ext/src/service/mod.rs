//! Asking services: gRPC calls and what they have in common with plain HTTP ones.

pub mod grpc;
pub mod grpc_stream;
pub mod rules;
pub mod scopes;
pub mod value;

use crate::read;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_core::{ClientRetry, ConfigError};
use std::{sync::Arc, time::Duration};

/// `core.v3.RetryPolicy` of a service. What has no effect is added to `warnings`, under `field`.
pub fn retry(field: &str, from: Option<&core::RetryPolicy>, warnings: &mut Vec<ConfigError>) -> Option<Arc<ClientRetry>> {
    let core::RetryPolicy { retry_back_off, num_retries, retry_on, retry_priority, retry_host_predicate, host_selection_retry_max_attempts } =
        from?;
    for (name, set) in [
        ("retry_priority", retry_priority.is_some()),
        ("retry_host_predicate", !retry_host_predicate.is_empty()),
        ("host_selection_retry_max_attempts", *host_selection_retry_max_attempts != 0),
    ] {
        if set {
            warnings.push(ConfigError::at(format!("{field}.{name}"), "is accepted without effect: it is not built for services"));
        }
    }
    let back_off = retry_back_off.as_ref().map(|core::BackoffStrategy { base_interval, max_interval }| {
        let base = base_interval.as_ref().map_or(Duration::from_millis(25), read::duration);
        (base, max_interval.as_ref().map_or(base * 10, read::duration))
    });
    Some(Arc::new(ClientRetry { retry_on: retry_on.clone(), num_retries: num_retries.unwrap_or(1), back_off }))
}
