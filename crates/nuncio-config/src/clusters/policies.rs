//! What `HttpProtocolOptions` says about requests to the cluster: `retry_policy`, `request_mirror_policies`,
//! `outlier_detection`.

use crate::context::CompileCx;
use crate::routes;
use nuncio_api::envoy::config::common::matcher::v3::{HttpHeadersMatch, MatchPredicate, match_predicate::Rule};
use nuncio_api::envoy::extensions::upstreams::http::v3::{HttpProtocolOptions, http_protocol_options::OutlierDetection};
use nuncio_http::routes::{ClusterPolicies, ResponseMatch};
use nuncio_upstream::config::Attached;
use prost::Message;

/// Compiles them; `None` where there are none.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: &HttpProtocolOptions) -> Option<Attached> {
    let HttpProtocolOptions { retry_policy, request_mirror_policies, outlier_detection, .. } = from;
    if retry_policy.is_none() && request_mirror_policies.is_empty() && outlier_detection.is_none() {
        return None;
    }
    let made = ClusterPolicies {
        retry: routes::retry_policy(cx, retry_policy.as_ref()),
        mirrors: routes::mirrors_of_cluster(cx, request_mirror_policies),
        failures: outlier_detection.as_ref().and_then(|from| {
            let OutlierDetection { error_matcher } = from;
            cx.at("outlier_detection", |cx| Some(cx.at("error_matcher", |cx| predicate(cx, error_matcher.as_ref()?)))?)
        }),
    };
    // What else the message says makes no difference that matters here: the same bytes are the same policies.
    Some(Attached::new(from.encode_to_vec(), made))
}

/// `MatchPredicate`; `None` for one without a rule.
fn predicate(cx: &mut CompileCx<'_>, from: &MatchPredicate) -> Option<ResponseMatch> {
    let all = |cx: &mut CompileCx<'_>, field, rules: &[MatchPredicate]| {
        cx.at(field, |cx| cx.each("rules", rules, predicate)).into_boxed_slice()
    };
    Some(match from.rule.as_ref()? {
        Rule::OrMatch(set) => ResponseMatch::Or(all(cx, "or_match", &set.rules)),
        Rule::AndMatch(set) => ResponseMatch::And(all(cx, "and_match", &set.rules)),
        Rule::NotMatch(rule) => ResponseMatch::Not(Box::new(cx.at("not_match", |cx| predicate(cx, rule))?)),
        Rule::AnyMatch(_) => ResponseMatch::Any,
        Rule::HttpResponseHeadersMatch(HttpHeadersMatch { headers }) => {
            let headers = cx.at("http_response_headers_match", |cx| cx.each("headers", headers, routes::header_matcher));
            ResponseMatch::Headers(headers.into())
        }
        Rule::HttpRequestHeadersMatch(_) => never(cx, "http_request_headers_match"),
        Rule::HttpRequestTrailersMatch(_) => never(cx, "http_request_trailers_match"),
        Rule::HttpResponseTrailersMatch(_) => never(cx, "http_response_trailers_match"),
        Rule::HttpRequestGenericBodyMatch(_) => never(cx, "http_request_generic_body_match"),
        Rule::HttpResponseGenericBodyMatch(_) => never(cx, "http_response_generic_body_match"),
    })
}

/// Envoy takes these, and shows the matcher nothing but the head of a response.
fn never(cx: &mut CompileCx<'_>, field: &'static str) -> ResponseMatch {
    cx.without_effect(field).note("only the head of a response is looked at: it never matches");
    ResponseMatch::Never
}
