//! `envoy.filters.http.rbac`: who may do what, by policies.
//!
//! A request meets a policy if it has one of its permissions and is one of its principals. Rules allow what meets a policy
//! and nothing else, or deny what does, or only note it. Shadow rules are worked out as well, counted, and left as metadata.
//!
//! What is not built is refused when the configuration is built for running: nothing is ever allowed because a condition was
//! left out.

pub(crate) mod config;
mod policy;

use nuncio_core::matching::tree::{Facts, MatchTree};
use nuncio_core::metadata::{MetadataValue, set_dynamic};
use nuncio_core::{HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, Step, StreamCx};
use nuncio_stats::{CounterId, Scope, Store, stats_table};
use policy::{Asked, Policy};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.rbac",
    message: "envoy.extensions.filters.http.rbac.v3.RBAC",
    route_message: "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
    posture: Posture::UntrustedBoth,
    build: config::build,
    route: config::route,
};

stats_table! {
    /// `http.<prefix>.rbac.<rules_stat_prefix>`
    pub RBAC: "rbac" {
        /// Requests let through.
        counter ALLOWED = "allowed",
        /// Requests refused.
        counter DENIED = "denied",
    }
}

stats_table! {
    /// `http.<prefix>.rbac.<shadow_rules_stat_prefix>`
    pub RBAC_SHADOW: "rbac_shadow" {
        /// Requests that the shadow rules would let through.
        counter SHADOW_ALLOWED = "shadow_allowed",
        /// Requests that the shadow rules would refuse.
        counter SHADOW_DENIED = "shadow_denied",
    }
}

stats_table! {
    /// `http.<prefix>.rbac.policy.<name>.`
    pub RBAC_POLICY: "rbac_policy" {
        /// Requests let through by this policy.
        counter POLICY_ALLOWED = "allowed" [lazy],
        /// Requests refused by this policy.
        counter POLICY_DENIED = "denied" [lazy],
        /// Requests that this policy of the shadow rules would let through.
        counter POLICY_SHADOW_ALLOWED = "shadow_allowed" [lazy],
        /// Requests that this policy of the shadow rules would refuse.
        counter POLICY_SHADOW_DENIED = "shadow_denied" [lazy],
    }
}

/// The namespace of what rules leave as metadata.
const NAMESPACE: &str = "envoy.filters.http.rbac";

/// What meeting a policy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Deny,
    /// Everybody passes; logs are told who met a policy.
    Log,
}

/// Policies by name, and what meeting one means.
#[derive(Debug)]
pub(crate) struct Rules {
    action: Action,
    /// Sorted by name.
    policies: Vec<(Box<str>, Policy)>,
}

#[derive(Debug, Default)]
struct Settings {
    rules: Option<Engine>,
    shadow: Option<Engine>,
    rules_keys: Keys,
    shadow_keys: Keys,
    per_rule_stats: bool,
}

#[derive(Debug)]
struct Rbac {
    name: String,
    settings: Settings,
    stats: Arc<Scope>,
    shadow_stats: Arc<Scope>,
    /// Counters of policies, made when one is first met.
    policy_stats: PolicyStats,
}

#[derive(Debug)]
struct PolicyStats {
    store: Arc<Store>,
    prefix: String,
    scopes: Mutex<HashMap<Box<str>, Arc<Scope>>>,
}

impl PolicyStats {
    fn inc(&self, cx: &StreamCx, policy: &str, id: CounterId) {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || self.store.scope(&format!("{}policy.{policy}.", self.prefix), &RBAC_POLICY);
        scopes.entry(policy.into()).or_insert_with(make).inc(cx.worker.lane, id);
    }
}

/// How requests are judged.
#[derive(Debug)]
pub(crate) enum Engine {
    /// `rules`
    Rules(Rules),
    /// `matcher`: leads to a verdict; where it leads to none, nobody passes.
    Tree {
        /// The matcher.
        tree: MatchTree<Verdict>,
        /// One of its verdicts is for logs.
        notes: bool,
    },
}

/// `envoy.config.rbac.v3.Action`
#[derive(Debug)]
pub(crate) struct Verdict {
    name: Box<str>,
    action: Action,
}

/// What became of a request.
pub(crate) struct Judgement<'r> {
    pub(crate) passes: bool,
    /// The policy that it met.
    pub(crate) met: Option<&'r str>,
    /// What logs are told, if anything.
    pub(crate) hint: Option<bool>,
}

impl Engine {
    pub(crate) fn judge(&self, cx: &StreamCx) -> Judgement<'_> {
        match self {
            Engine::Rules(rules) => {
                let (passes, met) = rules.judge(cx);
                Judgement { passes, met, hint: (rules.action == Action::Log).then_some(met.is_some()) }
            }
            Engine::Tree { tree, notes } => {
                let runtime = cx.worker.runtime.values();
                let verdict = tree.find(&Facts::of(cx, &runtime)).action();
                Judgement {
                    passes: verdict.is_some_and(|verdict| verdict.action != Action::Deny),
                    met: verdict.map(|verdict| &*verdict.name),
                    hint: verdict.filter(|_| *notes).map(|verdict| verdict.action == Action::Log),
                }
            }
        }
    }
}

impl Rules {
    /// Whether the request passes, and the policy it met.
    fn judge(&self, cx: &StreamCx) -> (bool, Option<&str>) {
        let asked = Asked::of(cx);
        let met = self.policies.iter().find(|(_, policy)| policy.matches(&asked)).map(|(name, _)| &**name);
        let passes = match self.action {
            Action::Allow => met.is_some(),
            Action::Deny => met.is_none(),
            Action::Log => true,
        };
        (passes, met)
    }
}

/// Under which names the outcome is left as metadata.
#[derive(Debug, Default)]
struct Keys {
    policy: String,
    result: String,
}

impl Keys {
    /// For the rules (`enforced`) or the shadow rules (`shadow`).
    fn new(own: &str, which: &str) -> Keys {
        Keys { policy: format!("{own}{which}_effective_policy_id"), result: format!("{own}{which}_engine_result") }
    }

    fn note(&self, cx: &mut StreamCx, passes: bool, met: Option<&str>) {
        if let Some(policy) = met {
            set_dynamic(&mut cx.metadata, NAMESPACE, &self.policy, MetadataValue::Text(policy.to_owned()));
        }
        let result = if passes { "allowed" } else { "denied" };
        set_dynamic(&mut cx.metadata, NAMESPACE, &self.result, MetadataValue::Text(result.to_owned()));
    }
}

/// How logs tell of a refusal.
pub(crate) fn details(met: Option<&str>) -> String {
    let policy = met.unwrap_or("none").replace(|c: char| c.is_ascii_whitespace(), "_");
    format!("rbac_access_denied_matched_policy[{policy}]")
}

impl HttpFilter for Rbac {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let route = cx.configured_route();
        let settings = super::settings(&route, &self.name, &self.settings);
        let lane = cx.worker.lane;
        if let Some(shadow) = &settings.shadow {
            let Judgement { passes, met, .. } = shadow.judge(cx);
            self.shadow_stats.inc(lane, if passes { SHADOW_ALLOWED } else { SHADOW_DENIED });
            if let (true, Some(policy)) = (settings.per_rule_stats, met) {
                self.policy_stats.inc(cx, policy, if passes { POLICY_SHADOW_ALLOWED } else { POLICY_SHADOW_DENIED });
            }
            settings.shadow_keys.note(cx, passes, met);
        }
        let Some(rules) = &settings.rules else { return Step::Continue };
        let Judgement { passes, met, hint } = rules.judge(cx);
        if let Some(hint) = hint {
            set_dynamic(&mut cx.metadata, "envoy.common", "access_log_hint", MetadataValue::Bool(hint));
        }
        self.stats.inc(lane, if passes { ALLOWED } else { DENIED });
        if let (true, Some(policy)) = (settings.per_rule_stats, met) {
            self.policy_stats.inc(cx, policy, if passes { POLICY_ALLOWED } else { POLICY_DENIED });
        }
        settings.rules_keys.note(cx, passes, met);
        if passes {
            return Step::Continue;
        }
        Step::reply(LocalReply::new(403, details(met)).body("RBAC: access denied"))
    }
}
