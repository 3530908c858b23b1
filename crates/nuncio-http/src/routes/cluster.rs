//! What a cluster says about requests to it (`HttpProtocolOptions`): it goes before what their routes say.

use super::action::MirrorPolicy;
use super::retry::RetryPolicy;
use nuncio_codec::headers::HeaderMap;
use nuncio_core::matching::HeaderMatch;
use nuncio_upstream::ClusterConfig;
use std::sync::Arc;

/// Policies of a cluster, kept with its configuration.
#[derive(Debug, Default)]
pub struct ClusterPolicies {
    /// `retry_policy`.
    pub retry: Option<Arc<RetryPolicy>>,
    /// `request_mirror_policies`; empty for the route's.
    pub mirrors: Box<[MirrorPolicy]>,
    /// `outlier_detection.error_matcher`: which answers are a host's failures, instead of those with a 5xx.
    pub failures: Option<ResponseMatch>,
}

impl ClusterPolicies {
    /// Those of a cluster that has any.
    #[inline]
    pub fn of(config: &ClusterConfig) -> Option<&ClusterPolicies> {
        config.http_policies.as_ref()?.get()
    }
}

/// `MatchPredicate`, as far as the head of a response can decide it.
#[derive(Debug)]
pub enum ResponseMatch {
    /// `any_match`
    Any,
    /// What looks at something else, which no response's head has.
    Never,
    /// `or_match`
    Or(Box<[ResponseMatch]>),
    /// `and_match`
    And(Box<[ResponseMatch]>),
    /// `not_match`
    Not(Box<ResponseMatch>),
    /// `http_response_headers_match`: all of these.
    Headers(Box<[HeaderMatch]>),
}

impl ResponseMatch {
    /// Whether a response with this head is meant.
    pub fn matches(&self, head: &HeaderMap) -> bool {
        match self {
            ResponseMatch::Any => true,
            ResponseMatch::Never => false,
            ResponseMatch::Or(rules) => rules.iter().any(|rule| rule.matches(head)),
            ResponseMatch::And(rules) => rules.iter().all(|rule| rule.matches(head)),
            ResponseMatch::Not(rule) => !rule.matches(head),
            ResponseMatch::Headers(headers) => headers.iter().all(|header| header.matches(head)),
        }
    }
}
