//! The RBAC filter's messages, read.
//!
//! A condition that is not built can never hold, whatever is made of it: rules with one are refused when starting.

use super::policy::{Condition, Policy};
use super::{Action, Engine, Keys, PolicyStats, RBAC, RBAC_SHADOW, Rbac, Rules, Settings, Verdict};
use crate::cel::{self, CelError};
use crate::matcher::{self, Findings, Place};
use crate::read::{self, within};
use nuncio_api::envoy::config::rbac::v3 as proto;
use nuncio_api::envoy::extensions::filters::http::rbac::v3 as filter;
use nuncio_api::envoy::r#type::matcher::v3::{FilterStateMatcher, PathMatcher, filter_state_matcher, path_matcher};
use nuncio_api::envoy::r#type::v3::Int32Range;
use nuncio_api::xds::core::v3::TypedExtensionConfig;
use nuncio_api::xds::r#type::matcher::v3::Matcher;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter};
use proto::{permission::Rule, principal::Identifier};
use std::{any::Any, sync::Arc};

pub(super) fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let config: filter::Rbac = read::message(config)?;
    let settings = settings(&config, cx)?;
    let prefix = format!("{}rbac.", cx.stat_prefix);
    let scope = |own: &str| if own.is_empty() { prefix.clone() } else { format!("{prefix}{own}.") };
    Ok(Arc::new(Rbac {
        name: cx.filter_name.to_owned(),
        stats: cx.stats.scope(&scope(&config.rules_stat_prefix), &RBAC),
        shadow_stats: cx.stats.scope(&scope(&config.shadow_rules_stat_prefix), &RBAC_SHADOW),
        policy_stats: PolicyStats { store: cx.stats.clone(), prefix: prefix.clone(), scopes: Default::default() },
        settings,
    }))
}

/// Without rules the filter is off on the route.
pub(super) fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let filter::RbacPerRoute { rbac } = read::message(config)?;
    Ok(Arc::new(match rbac {
        Some(rbac) => settings(&rbac, cx).map_err(within("rbac"))?,
        None => Settings::default(),
    }))
}

fn settings(from: &filter::Rbac, cx: &mut BuildCx<'_>) -> Result<Settings, ConfigError> {
    let filter::Rbac { rules, rules_stat_prefix, matcher, shadow_rules, shadow_matcher, shadow_rules_stat_prefix, track_per_rule_stats } = from;
    Ok(Settings {
        rules: engine(Place::Rbac, rules.as_ref(), matcher.as_ref(), ["rules", "matcher"], cx)?,
        shadow: engine(Place::Rbac, shadow_rules.as_ref(), shadow_matcher.as_ref(), ["shadow_rules", "shadow_matcher"], cx)?,
        rules_keys: Keys::new(rules_stat_prefix, "enforced"),
        shadow_keys: Keys::new(shadow_rules_stat_prefix, "shadow"),
        per_rule_stats: *track_per_rule_stats,
    })
}

/// A matcher has the last word where there are rules as well.
pub(crate) fn engine(
    place: Place,
    rules: Option<&proto::Rbac>,
    matcher: Option<&Matcher>,
    fields: [&str; 2],
    cx: &mut BuildCx<'_>,
) -> Result<Option<Engine>, ConfigError> {
    let made = rules.map(|rules| self::rules(rules, cx).map_err(within(fields[0]))).transpose()?;
    if rules.is_some() && matcher.is_some() {
        cx.warnings.push(ConfigError::at(fields[0], format!("has no effect beside `{}`", fields[1])));
    }
    Ok(match matcher {
        Some(matcher) => Some(tree(matcher, place, cx).map_err(within(fields[1]))?),
        None => made.map(Engine::Rules),
    })
}

fn tree(from: &Matcher, place: Place, cx: &mut BuildCx<'_>) -> Result<Engine, ConfigError> {
    let mut findings = Findings::default();
    let mut notes = false;
    let mut action = |at: &str, config: &TypedExtensionConfig, findings: &mut Findings| {
        let made = verdict(config).map_err(within(at)).map_err(|error| findings.errors.push(error)).ok()?;
        notes |= made.action == Action::Log;
        Some(made)
    };
    let made = matcher::read(from, place, &mut action, &mut findings);
    cx.unsafe_without.append(&mut findings.refusals);
    match (made, findings.errors.into_iter().next()) {
        (Some(tree), None) => Ok(Engine::Tree { tree, notes }),
        (_, error) => Err(error.unwrap_or_else(|| ConfigError::at("", "this leads nowhere"))),
    }
}

/// `envoy.config.rbac.v3.Action`
fn verdict(config: &TypedExtensionConfig) -> Result<Verdict, ConfigError> {
    if matcher::type_of(config) != "envoy.config.rbac.v3.Action" {
        let url = config.typed_config.as_ref().map_or("", |any| &any.type_url);
        let message = format!("Didn't find a registered implementation for '{}' with type URL: '{}'", config.name, url.trim_start_matches("type.googleapis.com/"));
        return Err(ConfigError::at("", message));
    }
    let proto::Action { name, action } = matcher::message(config)?;
    Ok(Verdict { name: name.into(), action: self::action(action).map_err(within("typed_config"))? })
}

fn action(number: i32) -> Result<Action, ConfigError> {
    match proto::rbac::Action::try_from(number) {
        Ok(proto::rbac::Action::Allow) => Ok(Action::Allow),
        Ok(proto::rbac::Action::Deny) => Ok(Action::Deny),
        Ok(proto::rbac::Action::Log) => Ok(Action::Log),
        Err(_) => Err(ConfigError::at("action", "is none that there is")),
    }
}

fn rules(from: &proto::Rbac, cx: &mut BuildCx<'_>) -> Result<Rules, ConfigError> {
    let proto::Rbac { action, policies, audit_logging_options } = from;
    if audit_logging_options.is_some() {
        cx.warnings.push(ConfigError::at("audit_logging_options", "is accepted without effect: it is not built yet"));
    }
    let action = self::action(*action)?;
    let mut made = Vec::with_capacity(policies.len());
    for (name, from) in policies {
        made.push((name.as_str().into(), policy(from, action, cx).map_err(within(&format!("policies[{name}]")))?));
    }
    made.sort_by(|a: &(Box<str>, Policy), b| a.0.cmp(&b.0));
    Ok(Rules { action, policies: made })
}

#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
fn policy(from: &proto::Policy, action: Action, cx: &mut BuildCx<'_>) -> Result<Policy, ConfigError> {
    let proto::Policy { permissions, principals, condition, checked_condition, cel_config } = from;
    if condition.is_none() && checked_condition.is_some() {
        // Envoy does not look at it, so that a policy that denies would deny less with it, and one that allows, more without.
        cx.unsafe_without.push(ConfigError::at("checked_condition", "has no effect on Envoy, and is refused here: say it in `condition`"));
    }
    let condition = condition.as_ref().map(|condition| cel::tree("condition", condition));
    let condition = condition.map(|made| cel::options(cel_config.as_ref()).and(made));
    let mut reading = Reading { cx, action };
    let mut permissions = reading.list("permissions", permissions, Reading::permission)?;
    let principals = reading.list("principals", principals, Reading::principal)?;
    if let Some(condition) = condition {
        let condition = match condition {
            Ok(program) => Condition::Cel(program),
            Err(CelError::Wrong(error)) => return Err(error),
            Err(CelError::Unbuilt(error)) => reading.refuse(error),
        };
        permissions = vec![Condition::All(vec![Condition::Or(permissions), condition])];
    }
    Ok(Policy { permissions, principals })
}

/// Reading the conditions of a policy.
struct Reading<'r, 'c> {
    cx: &'r mut BuildCx<'c>,
    action: Action,
}

impl Reading<'_, '_> {
    /// Something that is not built: it makes a policy that allows never hold, and one that denies.
    fn unbuilt(&mut self, field: &str) -> Condition {
        self.refuse(ConfigError::at(field, "is not built yet, and unsafe to ignore"))
    }

    fn refuse(&mut self, why: ConfigError) -> Condition {
        self.cx.unsafe_without.push(why);
        match self.action {
            Action::Allow | Action::Log => Condition::Never,
            Action::Deny => Condition::Any,
        }
    }

    fn list<T>(
        &mut self,
        field: &str,
        list: &[T],
        make: impl Fn(&mut Self, &T) -> Result<Condition, ConfigError>,
    ) -> Result<Vec<Condition>, ConfigError> {
        list.iter().enumerate().map(|(index, one)| make(self, one).map_err(within(&format!("{field}[{index}]")))).collect()
    }

    #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
    fn permission(&mut self, from: &proto::Permission) -> Result<Condition, ConfigError> {
        let Some(rule) = &from.rule else { return Err(ConfigError::at("", "this permits nothing")) };
        Ok(match rule {
            Rule::AndRules(set) => Condition::All(self.list("rules", &set.rules, Self::permission).map_err(within("and_rules"))?),
            Rule::OrRules(set) => Condition::Or(self.list("rules", &set.rules, Self::permission).map_err(within("or_rules"))?),
            Rule::Any(_) => Condition::Any,
            Rule::Header(header) => Condition::Header(read::header(header).map_err(within("header"))?),
            Rule::UrlPath(path) => self::path(path).map_err(within("url_path"))?,
            Rule::DestinationIp(range) => Condition::LocalIp(read::cidr(range).map_err(within("destination_ip"))?),
            Rule::DestinationPort(port) => Condition::LocalPort(*port, port.saturating_add(1)),
            Rule::DestinationPortRange(Int32Range { start, end }) => {
                let number = |n: i32| u32::try_from(n).unwrap_or(0);
                Condition::LocalPort(number(*start), number(*end))
            }
            Rule::Metadata(wanted) => Condition::Metadata(read::metadata_matcher(wanted).map_err(within("metadata"))?),
            Rule::NotRule(rule) => Condition::Not(Box::new(self.permission(rule).map_err(within("not_rule"))?)),
            Rule::RequestedServerName(name) => Condition::ServerName(read::text(name).map_err(within("requested_server_name"))?),
            Rule::SourcedMetadata(wanted) => sourced(wanted).map_err(within("sourced_metadata"))?,
            Rule::Matcher(_) => self.unbuilt("matcher"),
            Rule::UriTemplate(_) => self.unbuilt("uri_template"),
        })
    }

    #[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
    fn principal(&mut self, from: &proto::Principal) -> Result<Condition, ConfigError> {
        let Some(identifier) = &from.identifier else { return Err(ConfigError::at("", "this is nobody")) };
        Ok(match identifier {
            Identifier::AndIds(set) => Condition::All(self.list("ids", &set.ids, Self::principal).map_err(within("and_ids"))?),
            Identifier::OrIds(set) => Condition::Or(self.list("ids", &set.ids, Self::principal).map_err(within("or_ids"))?),
            Identifier::Any(_) => Condition::Any,
            Identifier::Authenticated(proto::principal::Authenticated { principal_name }) => match principal_name {
                None => Condition::Tls,
                Some(name) => Condition::Certificate(read::text(name).map_err(within("authenticated.principal_name"))?),
            },
            Identifier::SourceIp(range) => Condition::SourceIp(read::cidr(range).map_err(within("source_ip"))?),
            Identifier::DirectRemoteIp(range) => Condition::DirectRemoteIp(read::cidr(range).map_err(within("direct_remote_ip"))?),
            Identifier::RemoteIp(range) => Condition::RemoteIp(read::cidr(range).map_err(within("remote_ip"))?),
            Identifier::Header(header) => Condition::Header(read::header(header).map_err(within("header"))?),
            Identifier::UrlPath(path) => self::path(path).map_err(within("url_path"))?,
            Identifier::Metadata(wanted) => Condition::Metadata(read::metadata_matcher(wanted).map_err(within("metadata"))?),
            Identifier::FilterState(FilterStateMatcher { key, matcher }) => match matcher {
                Some(filter_state_matcher::Matcher::StringMatch(text)) => {
                    Condition::FilterState(key.as_str().into(), read::text(text).map_err(within("filter_state.string_match"))?)
                }
                _ => self.unbuilt("filter_state.address_match"),
            },
            Identifier::NotId(id) => Condition::Not(Box::new(self.principal(id).map_err(within("not_id"))?)),
            Identifier::SourcedMetadata(wanted) => sourced(wanted).map_err(within("sourced_metadata"))?,
            Identifier::Custom(_) => self.unbuilt("custom"),
        })
    }
}

fn path(from: &PathMatcher) -> Result<Condition, ConfigError> {
    let Some(path_matcher::Rule::Path(text)) = &from.rule else { return Err(ConfigError::at("path", "is missing")) };
    Ok(Condition::Path(read::text(text).map_err(within("path"))?))
}

fn sourced(from: &proto::SourcedMetadata) -> Result<Condition, ConfigError> {
    let wanted = from.metadata_matcher.as_ref().ok_or_else(|| ConfigError::at("metadata_matcher", "is missing"))?;
    let wanted = read::metadata_matcher(wanted).map_err(within("metadata_matcher"))?;
    let of_route = from.metadata_source == proto::MetadataSource::Route as i32;
    Ok(if of_route { Condition::RouteMetadata(wanted) } else { Condition::Metadata(wanted) })
}
