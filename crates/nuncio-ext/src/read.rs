//! Parts of messages that several extensions have, read into plain values: matchers, fractions, durations, metadata.
//!
//! What is wrong is a [`ConfigError`] with the field that is wrong. The API's own rules (required fields, lengths,
//! expressions' syntax and size) have been judged before any of this runs.

use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::config::route::v3 as route;
use nuncio_api::envoy::r#type::matcher::v3 as proto;
use nuncio_api::envoy::r#type::metadata::v3 as key;
use nuncio_api::envoy::r#type::v3 as kinds;
use nuncio_codec::headers::HeaderName;
use nuncio_core::format::{Format, Formatter};
use nuncio_core::matching::{
    Cidr, Fold, HeaderMatch, HeaderTest, MetadataMatcher, Pattern, QueryMatch, QueryTest, TextMatch, ValueMatch,
};
use nuncio_core::metadata::{Metadata, MetadataValue};
use nuncio_core::{ConfigError, FilterConfig, Fraction, RuntimeFlag, RuntimeFraction};
use prost::Message;
use prost_types::value::Kind;
use std::collections::BTreeMap;
use std::time::Duration;

/// An extension's own message.
pub(crate) fn message<M: Message + Default>(config: FilterConfig<'_>) -> Result<M, ConfigError> {
    M::decode(config.value).map_err(|error| ConfigError::at("", error.to_string()))
}

/// The same error one field further out.
pub(crate) fn within(field: &str) -> impl FnOnce(ConfigError) -> ConfigError + '_ {
    move |error| match error.path.is_empty() {
        true => ConfigError::at(field, error.message),
        false => ConfigError::at(format!("{field}.{}", error.path), error.message),
    }
}

/// Each item of a list, made by `make`.
pub(crate) fn each<T, M>(field: &str, list: &[T], make: impl Fn(&T) -> Result<M, ConfigError>) -> Result<Box<[M]>, ConfigError> {
    list.iter().enumerate().map(|(index, item)| make(item).map_err(within(&format!("{field}[{index}]")))).collect()
}

/// `StringMatcher`
pub fn text(from: &proto::StringMatcher) -> Result<TextMatch, ConfigError> {
    use proto::string_matcher::MatchPattern;
    let proto::StringMatcher { ignore_case, match_pattern } = from;
    let fold = |text: &str| Fold::new(text.as_bytes(), *ignore_case);
    Ok(match match_pattern {
        Some(MatchPattern::Exact(text)) => TextMatch::Exact(fold(text)),
        Some(MatchPattern::Prefix(text)) => TextMatch::Prefix(fold(text)),
        Some(MatchPattern::Suffix(text)) => TextMatch::Suffix(fold(text)),
        Some(MatchPattern::Contains(text)) => TextMatch::Contains(fold(text)),
        Some(MatchPattern::SafeRegex(regex)) => TextMatch::Regex(pattern(regex).map_err(within("safe_regex"))?),
        Some(MatchPattern::Custom(custom)) => {
            return Err(ConfigError::at("custom", format!("the string matcher `{}` is not built yet", custom.name)));
        }
        None => return Err(ConfigError::at("", "this says nothing of the text")),
    })
}

/// `RegexMatcher`
pub fn pattern(from: &proto::RegexMatcher) -> Result<Pattern, ConfigError> {
    Pattern::new(&from.regex).map_err(|error| ConfigError::at("regex", error.message))
}

/// A header's name.
pub fn header_name(name: &str) -> Result<HeaderName, ConfigError> {
    HeaderName::new(name).ok_or_else(|| ConfigError::at("", format!("`{name}` is not a header name")))
}

/// `HeaderMatcher`
#[allow(deprecated, reason = "accepted as long as Envoy accepts it")]
pub fn header(from: &route::HeaderMatcher) -> Result<HeaderMatch, ConfigError> {
    use route::header_matcher::HeaderMatchSpecifier as Specifier;
    let route::HeaderMatcher { name, invert_match, treat_missing_header_as_empty, header_match_specifier } = from;
    let fold = |text: &str| Fold::new(text.as_bytes(), false);
    let test = match header_match_specifier {
        None => HeaderTest::Present(true),
        Some(Specifier::PresentMatch(wanted)) => HeaderTest::Present(*wanted),
        Some(Specifier::RangeMatch(kinds::Int64Range { start, end })) => HeaderTest::Range { start: *start, end: *end },
        Some(Specifier::StringMatch(matcher)) => HeaderTest::Text(text(matcher).map_err(within("string_match"))?),
        Some(Specifier::ExactMatch(text)) if text.is_empty() => HeaderTest::Text(TextMatch::Any),
        Some(Specifier::ExactMatch(text)) => HeaderTest::Text(TextMatch::Exact(fold(text))),
        Some(Specifier::PrefixMatch(text)) => HeaderTest::Text(TextMatch::Prefix(fold(text))),
        Some(Specifier::SuffixMatch(text)) => HeaderTest::Text(TextMatch::Suffix(fold(text))),
        Some(Specifier::ContainsMatch(text)) => HeaderTest::Text(TextMatch::Contains(fold(text))),
        Some(Specifier::SafeRegexMatch(regex)) => {
            HeaderTest::Text(TextMatch::Regex(pattern(regex).map_err(within("safe_regex_match"))?))
        }
    };
    let name = header_name(name).map_err(within("name"))?;
    Ok(HeaderMatch { name, test, invert: *invert_match, missing_as_empty: *treat_missing_header_as_empty })
}

/// A list of `HeaderMatcher`.
pub fn headers(field: &str, from: &[route::HeaderMatcher]) -> Result<Box<[HeaderMatch]>, ConfigError> {
    each(field, from, header)
}

/// `QueryParameterMatcher`
pub fn query(from: &route::QueryParameterMatcher) -> Result<QueryMatch, ConfigError> {
    use route::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
    let route::QueryParameterMatcher { name, query_parameter_match_specifier } = from;
    let test = match query_parameter_match_specifier {
        None => QueryTest::Present(true),
        Some(Specifier::PresentMatch(wanted)) => QueryTest::Present(*wanted),
        Some(Specifier::StringMatch(matcher)) => QueryTest::Text(text(matcher).map_err(within("string_match"))?),
    };
    Ok(QueryMatch { name: name.as_bytes().into(), test })
}

/// `MetadataMatcher`
pub fn metadata_matcher(from: &proto::MetadataMatcher) -> Result<MetadataMatcher, ConfigError> {
    use proto::metadata_matcher::{PathSegment, path_segment::Segment};
    let proto::MetadataMatcher { filter, path, value: wanted, invert } = from;
    let path = path.iter().map(|PathSegment { segment }| match segment {
        Some(Segment::Key(key)) => Ok(key.as_str().into()),
        None => Err(ConfigError::at("path", "a part of the path is empty")),
    });
    let wanted = wanted.as_ref().ok_or_else(|| ConfigError::at("value", "is missing"))?;
    Ok(MetadataMatcher {
        namespace: filter.as_str().into(),
        path: path.collect::<Result<_, _>>()?,
        value: value_matcher(wanted).map_err(within("value"))?,
        invert: *invert,
    })
}

/// `ValueMatcher`
pub fn value_matcher(from: &proto::ValueMatcher) -> Result<ValueMatch, ConfigError> {
    use proto::{double_matcher, list_matcher, value_matcher::MatchPattern};
    let none = || ConfigError::at("", "this says nothing of the value");
    Ok(match from.match_pattern.as_ref().ok_or_else(none)? {
        MatchPattern::NullMatch(_) => ValueMatch::Null,
        MatchPattern::DoubleMatch(double) => match double.match_pattern.as_ref().ok_or_else(none)? {
            double_matcher::MatchPattern::Range(kinds::DoubleRange { start, end }) => ValueMatch::Range(*start, *end),
            double_matcher::MatchPattern::Exact(number) => ValueMatch::Number(*number),
        },
        MatchPattern::StringMatch(matcher) => ValueMatch::Text(text(matcher).map_err(within("string_match"))?),
        MatchPattern::BoolMatch(wanted) => ValueMatch::Bool(*wanted),
        MatchPattern::PresentMatch(wanted) => ValueMatch::Present(*wanted),
        MatchPattern::ListMatch(list) => {
            let list_matcher::MatchPattern::OneOf(one) = list.match_pattern.as_ref().ok_or_else(none)?;
            ValueMatch::OneOf(Box::new(value_matcher(one).map_err(within("list_match.one_of"))?))
        }
        MatchPattern::OrMatch(any) => {
            ValueMatch::Or(each("value_matchers", &any.value_matchers, value_matcher).map_err(within("or_match"))?)
        }
    })
}

/// Namespace and path of a `MetadataKey`.
pub fn metadata_key(from: &key::MetadataKey) -> Result<(Box<str>, Box<[Box<str>]>), ConfigError> {
    use key::metadata_key::{PathSegment, path_segment::Segment};
    let path = from.path.iter().map(|PathSegment { segment }| match segment {
        Some(Segment::Key(key)) => Ok(key.as_str().into()),
        Some(Segment::Index(_)) => Err(ConfigError::at("path", "an index is not built yet")),
        None => Err(ConfigError::at("path", "a part of the path is empty")),
    });
    Ok((from.key.as_str().into(), path.collect::<Result<_, _>>()?))
}

/// `CidrRange`
pub fn cidr(from: &core::CidrRange) -> Result<Cidr, ConfigError> {
    let core::CidrRange { address_prefix, prefix_len } = from;
    let address = address_prefix.parse().map_err(|_| ConfigError::at("address_prefix", format!("`{address_prefix}` is not an IP address")))?;
    Ok(Cidr::new(address, u8::try_from(prefix_len.unwrap_or(0)).unwrap_or(u8::MAX)))
}

/// `FractionalPercent`
pub fn fraction(from: &kinds::FractionalPercent) -> Fraction {
    use kinds::fractional_percent::DenominatorType;
    let kinds::FractionalPercent { numerator, denominator } = from;
    let denominator = match DenominatorType::try_from(*denominator) {
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Million) => 1_000_000,
        Ok(DenominatorType::Hundred) | Err(_) => 100,
    };
    Fraction { numerator: *numerator, denominator }
}

/// `RuntimeFractionalPercent`; `missing` where there is none.
pub fn runtime_fraction(from: Option<&core::RuntimeFractionalPercent>, missing: Fraction) -> RuntimeFraction {
    let none = Fraction { numerator: 0, denominator: 100 };
    match from {
        None => RuntimeFraction { default: missing, key: Box::default() },
        Some(core::RuntimeFractionalPercent { default_value, runtime_key }) => RuntimeFraction {
            default: default_value.as_ref().map_or(none, fraction),
            key: runtime_key.as_str().into(),
        },
    }
}

/// `RuntimeFeatureFlag`; on where there is none.
pub fn runtime_flag(from: Option<&core::RuntimeFeatureFlag>) -> RuntimeFlag {
    match from {
        None => RuntimeFlag { default: true, key: Box::default() },
        Some(core::RuntimeFeatureFlag { default_value, runtime_key }) => {
            RuntimeFlag { default: default_value.unwrap_or(false), key: runtime_key.as_str().into() }
        }
    }
}

/// A duration; a negative one is none.
pub fn duration(from: &prost_types::Duration) -> Duration {
    match (u64::try_from(from.seconds), u32::try_from(from.nanos)) {
        (Ok(seconds), Ok(nanos)) => Duration::new(seconds, nanos.min(999_999_999)),
        _ => Duration::ZERO,
    }
}

/// A substitution format without extra formatters; its warnings are added to `warnings`.
pub fn format(text: &str, warnings: &mut Vec<ConfigError>) -> Result<Format, ConfigError> {
    format_with(text, &[], warnings)
}

/// The same with the commands that formatters add.
pub fn format_with(text: &str, formatters: &[Formatter], warnings: &mut Vec<ConfigError>) -> Result<Format, ConfigError> {
    let (format, told) = Format::compile_with(text, formatters).map_err(|error| ConfigError::at("", error.to_string()))?;
    warnings.extend(told.iter().map(|warning| ConfigError::at("", warning.to_string())));
    Ok(format.omit_empty())
}

/// `formatters`: those that are built; a warning for each of the others.
pub fn formatters(field: &str, from: &[core::TypedExtensionConfig], warnings: &mut Vec<ConfigError>) -> Vec<Formatter> {
    let mut known = Vec::new();
    for (index, formatter) in from.iter().enumerate() {
        let type_url = formatter.typed_config.as_ref().map_or("", |any| any.type_url.as_str());
        match Formatter::by_message(type_url.rsplit('/').next().unwrap_or_default()) {
            Some(formatter) => known.push(formatter),
            None => {
                let message = format!("formatter `{}` is accepted without effect: it is not built yet", formatter.name);
                warnings.push(ConfigError::at(format!("{field}[{index}]"), message));
            }
        }
    }
    known
}

/// What a data source holds. A file is read now, and not again.
pub fn data_source(from: &core::DataSource) -> Result<Vec<u8>, ConfigError> {
    use core::data_source::Specifier;
    let core::DataSource { watched_directory: _, specifier } = from;
    match specifier {
        Some(Specifier::InlineString(text)) => Ok(text.clone().into_bytes()),
        Some(Specifier::InlineBytes(bytes)) => Ok(bytes.clone()),
        Some(Specifier::Filename(path)) => {
            std::fs::read(path).map_err(|error| ConfigError::at("filename", format!("cannot read `{path}`: {error}")))
        }
        Some(Specifier::EnvironmentVariable(name)) => {
            std::env::var(name).map(String::into_bytes).map_err(|_| ConfigError::at("environment_variable", format!("`{name}` is not set")))
        }
        None => Err(ConfigError::at("", "names no source")),
    }
}

/// A text from a data source.
pub fn text_source(from: &core::DataSource) -> Result<String, ConfigError> {
    String::from_utf8(data_source(from)?).map_err(|_| ConfigError::at("", "is not UTF-8"))
}

/// `core.v3.Metadata`, its structured part.
pub fn metadata(from: &core::Metadata) -> Metadata {
    from.filter_metadata.iter().map(|(filter, value)| (filter.clone(), MetadataValue::Struct(fields(value)))).collect()
}

/// The fields of a structure.
pub fn fields(from: &prost_types::Struct) -> BTreeMap<String, MetadataValue> {
    from.fields.iter().map(|(key, v)| (key.clone(), value(v))).collect()
}

/// A value of a structure.
pub fn value(from: &prost_types::Value) -> MetadataValue {
    match &from.kind {
        None | Some(Kind::NullValue(_)) => MetadataValue::Null,
        Some(Kind::BoolValue(b)) => MetadataValue::Bool(*b),
        Some(Kind::NumberValue(n)) => MetadataValue::Number(*n),
        Some(Kind::StringValue(s)) => MetadataValue::Text(s.clone()),
        Some(Kind::ListValue(list)) => MetadataValue::List(list.values.iter().map(value).collect()),
        Some(Kind::StructValue(of)) => MetadataValue::Struct(fields(of)),
    }
}
