//! `stats_config`, `stats_flush_interval`, `stats_flush_on_admin`.

use crate::codes;
use crate::context::CompileCx;
use crate::unbuilt;
use nuncio_api::envoy::config::bootstrap::v3 as proto;
use nuncio_api::envoy::config::metrics::v3 as metrics;
use nuncio_stats::{NameMatch, OutputRules, tags::TagRules};
use proto::bootstrap::StatsFlush;
use std::sync::Arc;
use std::time::Duration;

/// How statistics are flushed and shown.
#[derive(Debug, Clone)]
pub struct StatsOptions {
    /// `stats_flush_interval`; `None` when they are flushed only as the admin interface asks.
    pub flush_interval: Option<Duration>,
    /// Names to labels, histogram buckets.
    pub output: Arc<OutputRules>,
    /// The message that `output` was made from, to see whether it changed.
    pub source: Option<metrics::StatsConfig>,
}

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::Bootstrap) -> StatsOptions {
    let interval = cx.duration("stats_flush_interval", from.stats_flush_interval.as_ref());
    let on_admin = matches!(from.stats_flush, Some(StatsFlush::StatsFlushOnAdmin(true)));
    if on_admin && interval.is_some() {
        cx.at("stats_flush_on_admin", |cx| {
            cx.error(codes::CONFLICT, "either stats_flush_interval or stats_flush_on_admin, not both")
                .envoy("Only one of stats_flush_interval or stats_flush_on_admin should be set!");
        });
    }
    StatsOptions {
        flush_interval: (!on_admin).then(|| interval.unwrap_or(Duration::from_secs(5))),
        output: Arc::new(match &from.stats_config {
            Some(config) => cx.at("stats_config", |cx| output(cx, config)),
            None => OutputRules::default(),
        }),
        source: from.stats_config.clone(),
    }
}

fn output(cx: &mut CompileCx<'_>, from: &metrics::StatsConfig) -> OutputRules {
    let metrics::StatsConfig { stats_tags, use_all_default_tags, stats_matcher, histogram_bucket_settings, allow_default_tag_overrides } = from;
    unbuilt!(cx, allow_default_tag_overrides);
    let mut tags = if use_all_default_tags.unwrap_or(true) { TagRules::default() } else { TagRules::none() };
    cx.each("stats_tags", stats_tags, |cx, tag| {
        tag_rule(cx, &mut tags, tag);
        None::<()>
    });
    let bucket_settings = cx.each("histogram_bucket_settings", histogram_bucket_settings, |cx, setting| {
        let metrics::HistogramBucketSettings { r#match, buckets, bins } = setting;
        unbuilt!(cx, bins);
        let matcher = cx.at("match", |cx| crate::routes::text_matcher(cx, r#match.as_ref()?))?;
        let matches: NameMatch = Box::new(move |name| matcher.matches(name.as_bytes()));
        let mut borders = buckets.clone();
        borders.sort_by(f64::total_cmp);
        (!borders.is_empty()).then_some((matches, borders))
    });
    let accepts = stats_matcher.as_ref().and_then(|from| cx.at("stats_matcher", |cx| accepts(cx, from)));
    OutputRules { tags, accepts, bucket_settings }
}

/// Which statistics there are.
fn accepts(cx: &mut CompileCx<'_>, from: &metrics::StatsMatcher) -> Option<NameMatch> {
    use metrics::stats_matcher::StatsMatcher as Matcher;
    let mut list = |field, list: &nuncio_api::envoy::r#type::matcher::v3::ListStringMatcher| {
        cx.at(field, |cx| cx.each("patterns", &list.patterns, crate::routes::text_matcher))
    };
    match from.stats_matcher.as_ref()? {
        Matcher::RejectAll(reject) => {
            let keep = !reject;
            Some(Box::new(move |_| keep))
        }
        Matcher::ExclusionList(from) => {
            let patterns = list("exclusion_list", from);
            Some(Box::new(move |name| !patterns.iter().any(|p| p.matches(name.as_bytes()))))
        }
        Matcher::InclusionList(from) => {
            let patterns = list("inclusion_list", from);
            Some(Box::new(move |name| patterns.iter().any(|p| p.matches(name.as_bytes()))))
        }
    }
}

fn tag_rule(cx: &mut CompileCx<'_>, tags: &mut TagRules, from: &metrics::TagSpecifier) {
    use metrics::tag_specifier::TagValue;
    let metrics::TagSpecifier { tag_name, tag_value } = from;
    if tag_name.is_empty() {
        cx.error(codes::MISSING, "a tag needs a name").envoy("tag_name cannot be empty");
        return;
    }
    match tag_value {
        Some(TagValue::FixedValue(value)) => tags.add_fixed(tag_name, value),
        Some(TagValue::Regex(regex)) if !regex.is_empty() => {
            match regex::Regex::new(regex) {
                Ok(compiled) => tags.add_regex(tag_name, compiled),
                // Envoy's engine for these alone knows look-around and back-references.
                Err(_) if ["(?=", "(?!", "(?<", "\\1"].iter().any(|only| regex.contains(only)) => cx.at("regex", |cx| {
                    cx.value_without_effect("a regex with look-around");
                }),
                Err(why) => cx.at("regex", |cx| {
                    cx.error(codes::BAD_REGEX, format!("bad regular expression: {why}")).envoy(format!("Invalid regex '{regex}': {why}"));
                }),
            }
        }
        _ => {
            if !tags.add_default(tag_name) {
                cx.at("tag_name", |cx| {
                    cx.error(codes::MISSING, format!("`{tag_name}` is none of the default tags, and has no regex"))
                        .envoy(format!("No regex specified for tag specifier and no default regex for name: '{tag_name}'"));
                });
            }
        }
    }
}
