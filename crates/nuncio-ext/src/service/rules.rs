//! `HeaderMutationRules`: which request headers a service may change.

use crate::read::{self, within};
use nuncio_api::envoy::config::common::mutation_rules::v3 as proto;
use nuncio_core::ConfigError;
use nuncio_core::matching::Pattern;

/// The rules.
#[derive(Debug, Default)]
pub struct MutationRules {
    allow_all_routing: bool,
    allow_envoy: bool,
    disallow_system: bool,
    disallow_all: bool,
    allow: Option<Pattern>,
    disallow: Option<Pattern>,
    /// A change that is not allowed is an error, and not only left out.
    pub is_error: bool,
}

impl MutationRules {
    /// Reads the message.
    pub fn read(from: &proto::HeaderMutationRules) -> Result<MutationRules, ConfigError> {
        let proto::HeaderMutationRules {
            allow_all_routing,
            allow_envoy,
            disallow_system,
            disallow_all,
            allow_expression,
            disallow_expression,
            disallow_is_error,
        } = from;
        Ok(MutationRules {
            allow_all_routing: allow_all_routing.unwrap_or(false),
            allow_envoy: allow_envoy.unwrap_or(false),
            disallow_system: disallow_system.unwrap_or(false),
            disallow_all: disallow_all.unwrap_or(false),
            allow: allow_expression.as_ref().map(read::pattern).transpose().map_err(within("allow_expression"))?,
            disallow: disallow_expression.as_ref().map(read::pattern).transpose().map_err(within("disallow_expression"))?,
            is_error: disallow_is_error.unwrap_or(false),
        })
    }

    /// Whether the header of this name, in lower case, may be changed.
    pub fn allows(&self, name: &str) -> bool {
        let matches = |pattern: &Option<Pattern>| pattern.as_ref().is_some_and(|pattern| pattern.matches(name.as_bytes()));
        if matches(&self.disallow) {
            return false;
        }
        if matches(&self.allow) {
            return true;
        }
        if self.disallow_all || self.disallow_system && name.starts_with(':') {
            return false;
        }
        let routing = matches!(name, "host" | ":authority" | ":scheme" | ":method");
        let envoys = name.starts_with("x-envoy-");
        !(routing && !self.allow_all_routing || envoys && !self.allow_envoy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_and_envoys_own_headers_are_safe_unless_allowed() {
        let rules = MutationRules::default();
        for (name, want) in [(":path", true), ("x-a", true), ("host", false), (":method", false), ("x-envoy-x", false)] {
            assert_eq!(rules.allows(name), want, "{name}");
        }
        let open = MutationRules { allow_all_routing: true, allow_envoy: true, disallow_system: true, ..MutationRules::default() };
        assert!(open.allows("host") && open.allows("x-envoy-x") && !open.allows(":path"));
    }

    #[test]
    fn what_is_expressly_disallowed_or_allowed_goes_before_all_else() {
        let pattern = |text: &str| Pattern::new(text).ok();
        let rules = MutationRules { disallow_all: true, allow: pattern("x-ok.*"), disallow: pattern("x-ok-not"), ..MutationRules::default() };
        assert!(rules.allows("x-ok-1") && !rules.allows("x-ok-not") && !rules.allows("x-a"));
    }
}
