//! Mutations as the configuration says them.

use super::{HeaderMutation, Mutation, Mutations, ParameterMutation, Text};
use crate::read::{self, within};
use nuncio_api::envoy::config::common::mutation_rules::v3::{HeaderMutation as MutationProto, header_mutation::Action};
use nuncio_api::envoy::config::core::v3::{HeaderValueOption, KeyValueMutation, header_value_option::HeaderAppendAction};
use nuncio_api::envoy::extensions::filters::http::header_mutation::v3 as proto;
use nuncio_core::format::Formatter;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter};
use prost_types::value::Kind;
use std::{any::Any, sync::Arc};

pub(super) fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::HeaderMutation { mutations, most_specific_header_mutations_wins: most_specific_wins } = read::message(config)?;
    let mutations = all(mutations.unwrap_or_default(), cx).map_err(within("mutations"))?;
    Ok(Arc::new(HeaderMutation { name: cx.filter_name.to_owned(), mutations, most_specific_wins }))
}

pub(super) fn route(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn Any + Send + Sync>, ConfigError> {
    let proto::HeaderMutationPerRoute { mutations } = read::message(config)?;
    Ok(Arc::new(all(mutations.unwrap_or_default(), cx).map_err(within("mutations"))?))
}

/// What texts are made with.
struct Maker {
    formatters: Vec<Formatter>,
    warnings: Vec<ConfigError>,
}

impl Maker {
    fn text(&mut self, text: &str) -> Result<Text, ConfigError> {
        let format = read::format_with(text, &self.formatters, &mut self.warnings)?;
        Ok(format.constant().map_or_else(|| Text::Made(format), Text::Fixed))
    }
}

fn all(from: proto::Mutations, cx: &mut BuildCx<'_>) -> Result<Mutations, ConfigError> {
    let proto::Mutations {
        request_mutations,
        query_parameter_mutations,
        response_mutations,
        response_trailers_mutations,
        request_trailers_mutations,
        formatters,
    } = from;
    let mut warnings = Vec::new();
    let formatters = read::formatters("formatters", &formatters, &mut warnings);
    let mut maker = Maker { formatters, warnings };
    let mutations = Mutations {
        request: list("request_mutations", request_mutations, &mut maker)?,
        query: parameters(query_parameter_mutations, &mut maker)?,
        request_trailers: list("request_trailers_mutations", request_trailers_mutations, &mut maker)?,
        response: list("response_mutations", response_mutations, &mut maker)?,
        response_trailers: list("response_trailers_mutations", response_trailers_mutations, &mut maker)?,
    };
    cx.warnings.extend(maker.warnings.into_iter().map(|warning| within("mutations")(warning)));
    Ok(mutations)
}

fn list(field: &str, from: Vec<MutationProto>, maker: &mut Maker) -> Result<Vec<Mutation>, ConfigError> {
    let mut mutations = Vec::with_capacity(from.len());
    for (index, MutationProto { action }) in from.into_iter().enumerate() {
        mutations.extend(one(action, maker).map_err(within(&format!("{field}[{index}]")))?);
    }
    Ok(mutations)
}

fn one(action: Option<Action>, maker: &mut Maker) -> Result<Option<Mutation>, ConfigError> {
    Ok(match action {
        None => None,
        Some(Action::Remove(name)) => Some(Mutation::Remove(read::header_name(&name).map_err(within("remove"))?)),
        Some(Action::RemoveOnMatch(on_match)) => {
            let matcher = on_match.key_matcher.as_ref().map(read::text).transpose();
            matcher.map_err(within("remove_on_match.key_matcher"))?.map(Mutation::RemoveMatching)
        }
        Some(Action::Append(option)) => Some(set(option, maker).map_err(within("append"))?),
    })
}

fn set(option: HeaderValueOption, maker: &mut Maker) -> Result<Mutation, ConfigError> {
    #[allow(deprecated, reason = "Envoy still obeys it")]
    let action = match option.append {
        Some(true) => HeaderAppendAction::AppendIfExistsOrAdd,
        Some(false) => HeaderAppendAction::OverwriteIfExistsOrAdd,
        None => option.append_action(),
    };
    let header = option.header.unwrap_or_default();
    let raw = String::from_utf8_lossy(&header.raw_value).into_owned();
    let text = if header.value.is_empty() { raw } else { header.value };
    Ok(Mutation::Set {
        name: read::header_name(&header.key).map_err(within("header.key"))?,
        value: maker.text(&text).map_err(within("header.value"))?,
        action,
        keep_empty: option.keep_empty_value,
    })
}

fn parameters(from: Vec<KeyValueMutation>, maker: &mut Maker) -> Result<Vec<ParameterMutation>, ConfigError> {
    let mut mutations = Vec::with_capacity(from.len());
    for (index, mutation) in from.into_iter().enumerate() {
        mutations.push(parameter(mutation, maker).map_err(within(&format!("query_parameter_mutations[{index}]")))?);
    }
    Ok(mutations)
}

fn parameter(from: KeyValueMutation, maker: &mut Maker) -> Result<ParameterMutation, ConfigError> {
    let KeyValueMutation { append, remove } = from;
    let append = match (append, remove.is_empty()) {
        (Some(append), true) => append,
        (None, false) => return Ok(ParameterMutation::Remove(remove.into_bytes().into())),
        (None, true) => return Err(ConfigError::at("", "one of `append` and `remove` is needed")),
        (Some(_), false) => return Err(ConfigError::at("", "`append` and `remove` exclude each other")),
    };
    let action = append.action();
    #[allow(deprecated, reason = "Envoy still obeys it")]
    let (name, value) = match (append.record, append.entry) {
        (Some(record), _) => match record.value.and_then(|value| value.kind) {
            Some(Kind::StringValue(text)) => (record.key, text),
            _ => return Err(ConfigError::at("append.record.value", "the value of a query parameter is a text")),
        },
        (None, Some(entry)) => (entry.key, String::from_utf8_lossy(&entry.value).into_owned()),
        (None, None) => return Err(ConfigError::at("append", "names no parameter")),
    };
    let value = maker.text(&value).map_err(within("append.record.value"))?;
    Ok(ParameterMutation::Set { name: name.into_bytes().into(), value, action })
}
