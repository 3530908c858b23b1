//! What a matcher asks of an input, read.

use super::{message, type_of};
use crate::cel::{self, CelError};
use crate::read::{each, pattern, runtime_fraction, value_matcher, within};
use nuncio_api::envoy::extensions::matching::input_matchers::{
    consistent_hashing::v3::ConsistentHashing, ip::v3::Ip, metadata::v3::Metadata, runtime_fraction::v3::RuntimeFraction,
};
use nuncio_api::envoy::r#type::matcher::v3::RegexMatcher;
use nuncio_api::xds::core::v3::{CidrRange, TypedExtensionConfig};
use nuncio_api::xds::r#type::matcher::v3 as proto;
use nuncio_core::matching::tree::Test;
use nuncio_core::matching::{Cidr, Fold, TextMatch};
use nuncio_core::{ConfigError, Fraction};
use proto::matcher::matcher_list::predicate::single_predicate::Matcher;
use std::{collections::HashSet, sync::Arc};

/// The test of a single predicate; what is not built is added to `refusals`.
pub(super) fn read(from: Option<&Matcher>, refusals: &mut Vec<ConfigError>, path: &[String]) -> Result<Test, ConfigError> {
    let test = match from {
        Some(Matcher::ValueMatch(wanted)) => Some(Test::Text(text(wanted).map_err(within("value_match"))?)),
        Some(Matcher::CustomMatch(config)) => custom(config).map_err(within("custom_match"))?,
        None => return Err(ConfigError::at("", "this asks nothing: set `value_match` or `custom_match`")),
    };
    Ok(test.unwrap_or_else(|| {
        let kind = if let Some(Matcher::CustomMatch(config)) = from { type_of(config) } else { "custom" };
        refusals.push(ConfigError::at(path.join("."), format!("the matcher `{kind}` is not built yet, and unsafe to ignore")));
        Test::Never
    }))
}

fn custom(from: &TypedExtensionConfig) -> Result<Option<Test>, ConfigError> {
    let inside = "typed_config";
    Ok(Some(match type_of(from) {
        "envoy.extensions.matching.input_matchers.ip.v3.Ip" => {
            // Its one statistic counts values that are no addresses.
            let Ip { cidr_ranges, stat_prefix: _ } = message(from)?;
            Test::Ip(each("cidr_ranges", &cidr_ranges, crate::read::cidr).map_err(within(inside))?)
        }
        "envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction" => {
            let RuntimeFraction { runtime_fraction: fraction, seed } = message(from)?;
            Test::Fraction { fraction: runtime_fraction(fraction.as_ref(), Fraction { numerator: 0, denominator: 100 }), seed }
        }
        "envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing" => {
            let ConsistentHashing { threshold, modulo, seed } = message(from)?;
            Test::Hash { threshold: threshold.into(), modulo: modulo.into(), seed }
        }
        "envoy.extensions.matching.input_matchers.metadata.v3.Metadata" => {
            let Metadata { value, invert } = message(from)?;
            let value = value.ok_or_else(|| ConfigError::at("typed_config.value", "is missing"))?;
            Test::Value { wanted: value_matcher(&value).map_err(within("value")).map_err(within(inside))?, invert }
        }
        "xds.type.matcher.v3.CelMatcher" => {
            let proto::CelMatcher { expr_match, description: _ } = message(from)?;
            let expression = expr_match.ok_or_else(|| ConfigError::at("typed_config.expr_match", "is missing"))?;
            match cel::expression(&expression) {
                Ok(program) => Test::Cel(Arc::new(program)),
                Err(CelError::Wrong(error)) => return Err(within(inside)(within("expr_match")(error))),
                Err(CelError::Unbuilt(_)) => return Ok(None),
            }
        }
        _ => return Ok(None),
    }))
}

/// `StringMatcher` of the xDS package.
fn text(from: &proto::StringMatcher) -> Result<TextMatch, ConfigError> {
    use proto::string_matcher::MatchPattern;
    let proto::StringMatcher { ignore_case, match_pattern } = from;
    let fold = |text: &str| Fold::new(text.as_bytes(), *ignore_case);
    Ok(match match_pattern {
        Some(MatchPattern::Exact(text)) => TextMatch::Exact(fold(text)),
        Some(MatchPattern::Prefix(text)) => TextMatch::Prefix(fold(text)),
        Some(MatchPattern::Suffix(text)) => TextMatch::Suffix(fold(text)),
        Some(MatchPattern::Contains(text)) => TextMatch::Contains(fold(text)),
        Some(MatchPattern::SafeRegex(regex)) => {
            let regex = RegexMatcher { regex: regex.regex.clone(), ..RegexMatcher::default() };
            TextMatch::Regex(pattern(&regex).map_err(within("safe_regex"))?)
        }
        Some(MatchPattern::Custom(custom)) => {
            return Err(ConfigError::at("custom", format!("the string matcher `{}` is not built yet", custom.name)));
        }
        None => return Err(ConfigError::at("", "this says nothing of the text")),
    })
}

/// `CidrRange` of the xDS package.
pub(super) fn cidr(from: &CidrRange) -> Result<Cidr, ConfigError> {
    let CidrRange { address_prefix, prefix_len } = from;
    let address = address_prefix.parse().map_err(|_| ConfigError::at("address_prefix", format!("`{address_prefix}` is not an IP address")))?;
    Ok(Cidr::new(address, u8::try_from(prefix_len.unwrap_or(0)).unwrap_or(u8::MAX)))
}

/// A name, or one behind `*.`, or `*`; none twice.
pub(super) fn domain(name: &String, seen: &HashSet<&String>) -> Result<String, ConfigError> {
    let wrong = if name.is_empty() {
        "Empty domain in ServerNameMatcher".to_owned()
    } else if seen.contains(name) {
        format!("Duplicate domain in ServerNameMatcher: {name}")
    } else if name.contains('*') && name != "*" && !(name.starts_with("*.") && name.len() > 2) {
        format!("Invalid wildcard domain format: {name}. Only '*' and '*.domain' patterns are supported")
    } else if name.strip_prefix("*.").is_some_and(|rest| rest.contains('*')) {
        format!("Invalid wildcard domain format: {name}. Multiple wildcards are not supported")
    } else {
        return Ok(name.clone());
    };
    Err(ConfigError::at("", wrong))
}
