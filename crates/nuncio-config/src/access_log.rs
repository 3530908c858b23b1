//! `AccessLog` lists → loggers, through the registry.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::accesslog::v3 as proto;
use nuncio_api::envoy::data::accesslog::v3::AccessLogType;
use nuncio_api::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use nuncio_core::format::LogMoment;
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{
    AccessLogCx, AccessLogger, Comparison, FilterConfig, FilteredLogger, Fraction, LogFilter, LogSample, ResponseFlags, RuntimeUint, TraceReason,
};
use proto::access_log_filter::FilterSpecifier;
use nuncio_ext::cel::{self, CelError};
use prost::{Message, Name};
use std::sync::Arc;

/// Compiles the list in the field `field` of the current message.
pub fn compile(cx: &mut CompileCx<'_>, field: &'static str, logs: &[proto::AccessLog]) -> Vec<Arc<dyn AccessLogger>> {
    cx.each(field, logs, one)
}

fn one(cx: &mut CompileCx<'_>, log: &proto::AccessLog) -> Option<Arc<dyn AccessLogger>> {
    let proto::AccessLog { name, filter, config_type } = log;
    let filter = match filter {
        Some(filter) => cx.at("filter", |cx| filter_of(cx, filter)),
        None => Some(LogFilter::And(Vec::new())),
    };
    let proto::access_log::ConfigType::TypedConfig(config) = config_type.as_ref()?;
    let message = nuncio_api::schema::type_name(&config.type_url);
    let logger = cx.at("typed_config", |cx| {
        let Some(entry) = cx.access_loggers.iter().find(|e| e.message == message) else {
            cx.value_without_effect(&format!("the access logger `{name}`"));
            return None;
        };
        let (files, stats) = (cx.log_files.clone(), cx.stats.clone());
        let mut build = AccessLogCx::new(&*files, &stats);
        let built = (entry.build)(FilterConfig { type_url: &config.type_url, value: &config.value }, &mut build);
        let AccessLogCx { warnings, unsafe_without, .. } = build;
        cx.extension_findings(warnings);
        cx.extension_refusals(unsafe_without);
        built.map_err(|error| format_error(cx, error)).ok()
    })?;
    match filter? {
        LogFilter::And(all) if all.is_empty() => Some(logger),
        filter => Some(Arc::new(FilteredLogger { filter, logger })),
    }
}

fn format_error(cx: &mut CompileCx<'_>, error: nuncio_core::ConfigError) {
    let said = error.message.clone();
    cx.extension_error(codes::BAD_FORMAT, error).envoy(said);
}

/// A filter that must be there; `None` if it cannot be had.
pub(crate) fn filter(cx: &mut CompileCx<'_>, from: Option<&proto::AccessLogFilter>) -> Option<LogFilter> {
    from.and_then(|from| filter_of(cx, from))
}

/// A filter; `None` if it cannot be had, and then nothing is logged.
fn filter_of(cx: &mut CompileCx<'_>, from: &proto::AccessLogFilter) -> Option<LogFilter> {
    let proto::AccessLogFilter { filter_specifier } = from;
    match filter_specifier.as_ref()? {
        FilterSpecifier::StatusCodeFilter(f) => cx.at("status_code_filter", |_| {
            let (op, value) = comparison(f.comparison.as_ref()?);
            Some(LogFilter::StatusCode(op, value))
        }),
        FilterSpecifier::DurationFilter(f) => cx.at("duration_filter", |_| {
            let (op, value) = comparison(f.comparison.as_ref()?);
            Some(LogFilter::Duration(op, value))
        }),
        FilterSpecifier::NotHealthCheckFilter(proto::NotHealthCheckFilter {}) => Some(LogFilter::NotHealthCheck),
        FilterSpecifier::AndFilter(proto::AndFilter { filters }) => {
            cx.at("and_filter", |cx| Some(LogFilter::And(cx.each("filters", filters, filter_of))))
        }
        FilterSpecifier::OrFilter(proto::OrFilter { filters }) => {
            cx.at("or_filter", |cx| Some(LogFilter::Or(cx.each("filters", filters, filter_of))))
        }
        FilterSpecifier::ResponseFlagFilter(proto::ResponseFlagFilter { flags }) => {
            let mut set = ResponseFlags::default();
            for name in flags {
                // The API's rules allow no other names.
                if let Some((flag, _)) = nuncio_core::FLAGS.iter().find(|(_, n)| n.short == name) {
                    set.set(*flag);
                }
            }
            Some(LogFilter::ResponseFlags(set))
        }
        FilterSpecifier::HeaderFilter(proto::HeaderFilter { header }) => cx.at("header_filter", |cx| {
            let header = header.as_ref()?;
            let matcher = cx.at("header", |cx| crate::routes::header_matcher(cx, header))?;
            Some(LogFilter::Test(Arc::new(move |stream| matcher.matches(&stream.request))))
        }),
        FilterSpecifier::TraceableFilter(proto::TraceableFilter {}) => {
            // Those that a service wants traced: Envoy's filter passes no others.
            Some(LogFilter::Test(Arc::new(|cx| cx.info.trace_reason == Some(TraceReason::ServiceForced) && !cx.info.health_check)))
        }
        FilterSpecifier::RuntimeFilter(proto::RuntimeFilter { runtime_key, percent_sampled, use_independent_randomness }) => {
            let part = percent_sampled.as_ref().map_or(Fraction { numerator: 0, denominator: 100 }, crate::routes::fraction);
            let numerator = RuntimeUint { default: part.numerator.into(), key: runtime_key.as_str().into() };
            Some(LogFilter::Sample(LogSample { numerator, denominator: part.denominator, independent: *use_independent_randomness }))
        }
        FilterSpecifier::GrpcStatusFilter(proto::GrpcStatusFilter { statuses, exclude }) => {
            let (statuses, exclude) = (statuses.clone(), *exclude);
            Some(LogFilter::Test(Arc::new(move |stream| {
                let status = nuncio_core::grpc::status(stream);
                statuses.iter().any(|listed| i64::from(*listed) == i64::from(status)) != exclude
            })))
        }
        FilterSpecifier::ExtensionFilter(extension) => extension_filter(cx, extension),
        FilterSpecifier::MetadataFilter(proto::MetadataFilter { matcher, match_if_key_not_found }) => cx.at("metadata_filter", |cx| {
            let missing = match_if_key_not_found.unwrap_or(true);
            let Some(from) = matcher else { return Some(LogFilter::Test(Arc::new(move |_| missing))) };
            let matcher = match nuncio_ext::read::metadata_matcher(from) {
                Ok(matcher) => matcher,
                Err(error) => {
                    let path = format!("matcher.{}", error.path);
                    cx.extension_error(codes::BAD_VALUE, nuncio_core::ConfigError { path, ..error });
                    return None;
                }
            };
            Some(LogFilter::Test(Arc::new(move |stream| {
                let found = stream.metadata.get(&*matcher.namespace);
                let found = found.and_then(|found| found.at(matcher.path.iter().map(|key| &**key)));
                found.filter(|value| **value != MetadataValue::Null).map_or(missing, |value| matcher.value.matches(value))
            })))
        }),
        FilterSpecifier::LogTypeFilter(proto::LogTypeFilter { types, exclude }) => {
            let (types, exclude) = (types.clone(), *exclude);
            Some(LogFilter::Test(Arc::new(move |cx| types.contains(&(kind(cx.info.log_moment()) as i32)) != exclude)))
        }
    }
}

/// A filter of another kind: an expression in CEL.
fn extension_filter(cx: &mut CompileCx<'_>, from: &proto::ExtensionFilter) -> Option<LogFilter> {
    let proto::ExtensionFilter { name: _, config_type: Some(proto::extension_filter::ConfigType::TypedConfig(config)) } = from else {
        return all_logged(cx, "extension_filter");
    };
    if nuncio_api::any_type(config) != ExpressionFilter::full_name() {
        return all_logged(cx, "extension_filter");
    }
    let ExpressionFilter { expression, cel_config } = ExpressionFilter::decode(&*config.value).ok()?;
    let made = cel::options(cel_config.as_ref()).and_then(|()| cel::text("expression", &expression));
    cx.at("extension_filter", |cx| {
        cx.at("typed_config", |cx| match made {
            Ok(program) => Some(LogFilter::Test(Arc::new(move |stream| program.holds(stream)))),
            Err(CelError::Wrong(error)) => {
                let said = error.message.clone();
                cx.extension_error(codes::BAD_VALUE, error).envoy(said);
                None
            }
            Err(CelError::Unbuilt(error)) => {
                cx.extension_findings(vec![error]);
                Some(LogFilter::And(Vec::new()))
            }
        })
    })
}

fn kind(moment: LogMoment) -> AccessLogType {
    match moment {
        LogMoment::NotSet => AccessLogType::NotSet,
        LogMoment::TcpConnectionStart => AccessLogType::TcpConnectionStart,
        LogMoment::TcpUpstreamConnected => AccessLogType::TcpUpstreamConnected,
        LogMoment::TcpConnectionPeriodic => AccessLogType::TcpPeriodic,
        LogMoment::TcpConnectionEnd => AccessLogType::TcpConnectionEnd,
        LogMoment::UdpSessionEnd => AccessLogType::UdpSessionEnd,
        LogMoment::DownstreamStart => AccessLogType::DownstreamStart,
        LogMoment::DownstreamPeriodic => AccessLogType::DownstreamPeriodic,
        LogMoment::DownstreamEnd => AccessLogType::DownstreamEnd,
        LogMoment::DownstreamTunnelSuccessfullyEstablished => AccessLogType::DownstreamTunnelSuccessfullyEstablished,
        LogMoment::UpstreamPoolReady => AccessLogType::UpstreamPoolReady,
        LogMoment::UpstreamPeriodic => AccessLogType::UpstreamPeriodic,
        LogMoment::UpstreamEnd => AccessLogType::UpstreamEnd,
    }
}

fn all_logged(cx: &mut CompileCx<'_>, field: &'static str) -> Option<LogFilter> {
    cx.without_effect(field).note("every exchange passes it");
    Some(LogFilter::And(Vec::new()))
}

fn comparison(from: &proto::ComparisonFilter) -> (Comparison, RuntimeUint) {
    let proto::ComparisonFilter { op, value } = from;
    use proto::comparison_filter::Op;
    let op = match Op::try_from(*op).unwrap_or_default() {
        Op::Eq => Comparison::Eq,
        Op::Ge => Comparison::Ge,
        Op::Le => Comparison::Le,
        Op::Ne => Comparison::Ne,
    };
    (op, value.as_ref().map_or(RuntimeUint::from(0), crate::runtime::uint32))
}
