//! `envoy.filters.network.rbac`: who may connect, by the policies of the HTTP filter of that name.
//!
//! Asked when the first bytes arrive, or all of them (`enforcement_type`): over TLS the client is known then. A policy
//! that asks for headers never holds.

use crate::http::rbac::{Engine, Judgement, config, details};
use crate::matcher::Place;
use crate::read;
use nuncio_api::envoy::extensions::filters::network::rbac::v3 as proto;
use nuncio_core::metadata::{MetadataValue, set_dynamic};
use nuncio_core::{
    BuildCx, ConfigError, DataWatch, FilterConfig, NetworkFilter, NetworkFilterEntry, NetworkPart, NetworkStep, Posture, StreamCx,
};
use nuncio_stats::{Scope, stats_table};
use proto::rbac::EnforcementType;
use std::{sync::Arc, time::Duration};

/// The registry's line.
pub const ENTRY: NetworkFilterEntry = NetworkFilterEntry {
    name: "envoy.filters.network.rbac",
    message: "envoy.extensions.filters.network.rbac.v3.RBAC",
    posture: Posture::UntrustedBoth,
    build,
};

stats_table! {
    /// `<prefix>.rbac.`
    pub NETWORK_RBAC: "network_rbac" {
        /// Connections let through.
        counter ALLOWED = "allowed",
        /// Connections closed.
        counter DENIED = "denied",
    }
}

stats_table! {
    /// `<prefix>.rbac.<shadow prefix>`
    pub NETWORK_RBAC_SHADOW: "network_rbac_shadow" {
        /// Connections that the shadow rules would let through.
        counter SHADOW_ALLOWED = "shadow_allowed",
        /// Connections that the shadow rules would close.
        counter SHADOW_DENIED = "shadow_denied",
    }
}

/// The namespace of what shadow rules leave as metadata.
const NAMESPACE: &str = "envoy.filters.network.rbac";

#[derive(Debug)]
struct Rbac {
    rules: Option<Engine>,
    shadow: Option<Engine>,
    shadow_prefix: String,
    continuous: bool,
    delay: Duration,
    stats: Arc<Scope>,
    shadow_stats: Arc<Scope>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<NetworkPart, ConfigError> {
    let proto::Rbac { rules, matcher, shadow_rules, shadow_matcher, shadow_rules_stat_prefix, stat_prefix, enforcement_type, delay_deny } =
        read::message(config)?;
    let dotted = |text: &str| if text.is_empty() || text.ends_with('.') { text.to_owned() } else { format!("{text}.") };
    let prefix = format!("{}rbac.", dotted(&stat_prefix));
    Ok(NetworkPart::Filter(Arc::new(Rbac {
        rules: config::engine(Place::Network, rules.as_ref(), matcher.as_ref(), ["rules", "matcher"], cx)?,
        shadow: config::engine(Place::Network, shadow_rules.as_ref(), shadow_matcher.as_ref(), ["shadow_rules", "shadow_matcher"], cx)?,
        continuous: enforcement_type == EnforcementType::Continuous as i32,
        delay: delay_deny.as_ref().map_or(Duration::ZERO, read::duration),
        stats: cx.stats.scope(&prefix, &NETWORK_RBAC),
        shadow_stats: cx.stats.scope(&format!("{prefix}{}", dotted(&shadow_rules_stat_prefix)), &NETWORK_RBAC_SHADOW),
        shadow_prefix: shadow_rules_stat_prefix,
    })))
}

impl Rbac {
    /// Works the shadow rules out, for the statistics and as metadata.
    fn shadow(&self, cx: &mut StreamCx) {
        let Some(shadow) = &self.shadow else { return };
        let Judgement { passes, met, .. } = shadow.judge(cx);
        self.shadow_stats.inc(cx.worker.lane, if passes { SHADOW_ALLOWED } else { SHADOW_DENIED });
        let mut note = |key: &str, text: &str| {
            let key = format!("{}shadow_{key}", self.shadow_prefix);
            set_dynamic(&mut cx.metadata, NAMESPACE, &key, MetadataValue::Text(text.to_owned()));
        };
        if let Some(policy) = met {
            note("effective_policy_id", policy);
        }
        note("engine_result", if passes { "allowed" } else { "denied" });
    }
}

impl NetworkFilter for Rbac {
    fn watches(&self) -> DataWatch {
        if self.continuous { DataWatch::Always } else { DataWatch::First }
    }

    fn on_data(&self, cx: &mut StreamCx) -> NetworkStep {
        self.shadow(cx);
        let Some(rules) = &self.rules else { return NetworkStep::Continue };
        let Judgement { passes, met, hint } = rules.judge(cx);
        if let Some(hint) = hint {
            set_dynamic(&mut cx.metadata, "envoy.common", "access_log_hint", MetadataValue::Bool(hint));
        }
        self.stats.inc(cx.worker.lane, if passes { ALLOWED } else { DENIED });
        if passes {
            return NetworkStep::Continue;
        }
        cx.info.termination_details = details(met).into();
        if self.delay.is_zero() {
            return NetworkStep::Close;
        }
        let (worker, delay) = (cx.worker.clone(), self.delay);
        NetworkStep::wait(async move {
            worker.timers.sleep(delay).await;
            |_: &mut StreamCx| NetworkStep::Close
        })
    }
}
