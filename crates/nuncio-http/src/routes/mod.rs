//! Routing: from a request's head to what shall be done with it.
//!
//! * [`RouteConfig`] and its parts: a route configuration in plain terms, made by `nuncio-config`.
//! * [`RouteTable`]: the same compiled; [`RouteTable::find`] costs the same with ten routes and ten thousand,
//!   [`RouteTable::explain`] says why.
//! * [`finalize_request`], [`finalize_response`]: rewrites and header changes of a matched route.
//! * [`RouteAction::pick_cluster`]: which cluster a request goes to.
//! * [`redirect_reply`], [`direct_reply`], [`tls_redirect`]: answers that need no upstream.
//!
//! It leaves to others: reading configuration (`nuncio-config`), timeouts, retries and everything else that happens
//! after a route is found (the router).

mod action;
mod cluster;
mod config;
mod domains;
mod finalize;
mod grpc_timeout;
mod hash;
mod index;
mod lint;
mod matcher;
mod mutation;
mod pick;
mod redirect;
mod retry;
mod scopes;
mod table;
mod template;
mod trie;

pub use action::*;
pub use cluster::{ClusterPolicies, ResponseMatch};
pub use config::*;
pub use domains::DomainMatch;
pub use finalize::{Finalize, finalize_request, finalize_response, rewrite_host};
pub(crate) use grpc_timeout::{grpc_timeout, set_grpc_timeout};
pub use hash::{NewCookie, hash_request};
pub(crate) use hash::source_ip;
pub use lint::{ClusterReference, DeadRoute};
pub(crate) use matcher::is_grpc;
pub use matcher::{MatchCx, Matcher, Mismatch, MoreConditions, PathMatch};
pub use nuncio_core::matching::{
    CookieMatch, Fold, HeaderMatch, HeaderTest, Pattern, PatternError, QueryMatch, QueryTest, Side, Substitution, TextMatch, is_single,
};
pub use nuncio_core::{ClientCertificate, Fraction, RuntimeFraction};
pub use mutation::{
    AppendAction, FormatValue, HeaderAddition, HeaderMutations, HeaderRules, Value,
};
pub use pick::{Draw, PickedCluster};
pub use redirect::{direct_reply, redirect_location, redirect_reply, tls_redirect};
pub use scopes::{Element, KeyPart, Scopes};
pub use retry::{BackOff, HostPredicate, RateLimitedBackOff, ResetHeader, RetryOn, RetryPolicy};
pub use table::{Explanation, HostEntry, PinnedTable, RouteEntry, RouteMatch, RouteTable};
pub use template::{PathTemplate, PathTemplateRewrite};

#[cfg(test)]
mod tests;
