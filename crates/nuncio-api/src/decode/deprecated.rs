//! Deprecated and disallowed fields and values: a warning or an error, with what to write instead where that is known.
//!
//! Envoy refuses disallowed ones inside an extension's configuration only; elsewhere it goes on.

use super::walker::Walker;
use crate::codes;
use crate::diagnostic::{Diagnostic, Edit, Fix};
use crate::schema::{EnumValue, Field, Label, Message};
use crate::source::Span;
use crate::tree::{NodeId, Value};

/// What to do about a deprecated field.
enum Advice {
    /// It has no effect any more.
    Remove(&'static str),
    /// What replaces it.
    Instead(&'static str),
}

use Advice::{Instead, Remove};

const HTTP_OPTIONS: Advice = Instead(
    "put it into `typed_extension_protocol_options` under envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
);
const DNS: Advice =
    Instead("configure it in `typed_dns_resolver_config` or the cluster's DNS `cluster_type`");
const LOG_FORMAT: Advice = Instead("use `log_format`");

fn advice(message: &str, field: &str) -> Option<Advice> {
    let short = message.strip_prefix("envoy.").unwrap_or(message);
    Some(match (short, field) {
        ("config.route.v3.WeightedCluster", "total_weight") => {
            Remove("weights are relative, their sum is the total")
        }
        ("type.matcher.v3.RegexMatcher", "google_re2") => Remove("RE2 is the only engine there is"),
        ("config.cluster.v3.Cluster", "track_timeout_budgets") => {
            Instead("use `track_cluster_stats: {timeout_budgets: true}`")
        }
        (
            "config.cluster.v3.Cluster",
            "http2_protocol_options"
            | "http_protocol_options"
            | "common_http_protocol_options"
            | "upstream_http_protocol_options"
            | "protocol_selection"
            | "max_requests_per_connection",
        ) => HTTP_OPTIONS,
        (_, "dns_resolution_config" | "use_tcp_for_dns_lookups" | "dns_resolvers") => DNS,
        (
            "config.cluster.v3.Cluster",
            "dns_refresh_rate" | "dns_failure_refresh_rate" | "respect_dns_ttl" | "dns_jitter",
        ) => DNS,
        ("config.route.v3.HeaderMatcher", "exact_match") => Instead("use `string_match: {exact}`"),
        ("config.route.v3.HeaderMatcher", "prefix_match") => {
            Instead("use `string_match: {prefix}`")
        }
        ("config.route.v3.HeaderMatcher", "suffix_match") => {
            Instead("use `string_match: {suffix}`")
        }
        ("config.route.v3.HeaderMatcher", "contains_match") => {
            Instead("use `string_match: {contains}`")
        }
        ("config.route.v3.HeaderMatcher", "safe_regex_match") => {
            Instead("use `string_match: {safe_regex}`")
        }
        ("config.route.v3.RouteAction" | "config.route.v3.VirtualHost", "cors") => Instead(
            "use `typed_per_filter_config` with envoy.extensions.filters.http.cors.v3.CorsPolicy",
        ),
        ("config.route.v3.RouteAction", "max_grpc_timeout" | "grpc_timeout_offset") => {
            Instead("use `max_stream_duration`")
        }
        ("config.route.v3.RouteAction", "internal_redirect_action" | "max_internal_redirects") => {
            Instead("use `internal_redirect_policy`")
        }
        ("config.core.v3.HeaderValueOption", "append") => Instead("use `append_action`"),
        ("config.core.v3.ConfigSource", "path") => Instead("use `path_config_source: {path}`"),
        ("config.bootstrap.v3.Admin", "access_log_path") => {
            Instead("use `access_log` with a FileAccessLog")
        }
        ("config.bootstrap.v3.Bootstrap", "watchdog") => Instead("use `watchdogs`"),
        ("config.core.v3.SubstitutionFormatString", "text_format") => {
            Instead("use `text_format_source: {inline_string}`")
        }
        ("extensions.access_loggers.file.v3.FileAccessLog", _) => LOG_FORMAT,
        ("extensions.filters.http.lua.v3.Lua", "inline_code") => {
            Instead("use `default_source_code: {inline_string}`")
        }
        ("config.listener.v3.FilterChain", "use_proxy_proto") => {
            Instead("use the listener filter envoy.filters.listener.proxy_protocol")
        }
        ("config.listener.v3.Listener", "reuse_port") => Instead("use `enable_reuse_port`"),
        (_, "match_subject_alt_names") => Instead("use `match_typed_subject_alt_names`"),
        (
            _,
            "access_log_flush_interval"
            | "flush_access_log_on_new_request"
            | "flush_access_log_on_connected",
        ) => Instead("use `access_log_options`"),
        (_, "per_request_buffer_limit_bytes") => Instead("use `request_body_buffer_limit`"),
        _ => return None,
    })
}

impl Walker<'_> {
    /// A field that is set: says so when it is deprecated or no longer accepted.
    pub(super) fn deprecations(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        key: NodeId,
        value: NodeId,
    ) {
        if !field.deprecated && !field.disallowed {
            return;
        }
        // protobuf does not know a default value from none.
        if !field.presence
            && matches!(
                self.tree.value(value),
                Value::Bool(false) | Value::Number("0") | Value::String("")
            )
        {
            return;
        }
        let span = self.tree.span(key);
        let name = field.name;
        let mut diagnostic = if field.disallowed {
            Diagnostic::refused_if(
                self.in_any,
                codes::DISALLOWED,
                span,
                format!("`{name}` is no longer accepted by Envoy"),
            )
        } else {
            Diagnostic::warning(codes::DEPRECATED, span, format!("`{name}` is deprecated"))
                .label("deprecated")
        };
        match advice(message.name, name) {
            Some(Remove(why)) => {
                diagnostic.message = format!("`{name}` is deprecated and has no effect");
                let fix = self.remove(key, value, name);
                diagnostic = diagnostic.help(format!("remove it: {why}")).fix(fix);
            }
            Some(Instead(what)) => diagnostic = diagnostic.help(what),
            None => {}
        }
        self.report(diagnostic);
    }

    /// An enum value that is set, as for fields.
    pub(super) fn value_lifecycle(&mut self, value: &EnumValue, node: NodeId) {
        let (span, name) = (self.tree.span(node), value.name);
        if value.disallowed {
            let text = format!("`{name}` is no longer accepted by Envoy");
            self.report(Diagnostic::refused_if(
                self.in_any,
                codes::DISALLOWED,
                span,
                text,
            ));
        } else if value.deprecated {
            self.report(Diagnostic::warning(
                codes::DEPRECATED,
                span,
                format!("`{name}` is deprecated"),
            ));
        }
    }

    /// Enums that are not set, where that stands for a value that is no longer accepted.
    pub(super) fn default_values(&mut self, message: &'static Message, node: NodeId) {
        if !self.in_any {
            return;
        }
        for field in message
            .fields
            .iter()
            .filter(|f| f.label == Label::Single && !f.presence)
        {
            let default = field.kind.enumeration().and_then(|e| e.by_number(0));
            if !default.is_some_and(|value| value.disallowed) || self.is_set(message, field, node) {
                continue;
            }
            let span = self
                .document
                .point(self.places.last().and_then(|p| p.key), node);
            let text = format!(
                "`{}` must be set; its default is no longer accepted by Envoy",
                field.name
            );
            let label = format!("`{}` is missing", field.name);
            self.report(Diagnostic::error(codes::DISALLOWED, span, text).label(label));
        }
    }

    fn is_set(&self, message: &Message, field: &Field, node: NodeId) -> bool {
        let names = |key: NodeId| {
            message
                .field(self.tree.key(key))
                .is_some_and(|f| f.number == field.number)
        };
        self.tree.pairs(node).iter().any(|(key, _)| names(*key))
    }

    /// Takes a key with its value out of the text: its lines, or its place between commas.
    fn remove(&self, key: NodeId, value: NodeId, name: &str) -> Option<Fix> {
        let place = self.places.last()?;
        let (start, end) = (
            self.tree.span(key).start,
            self.tree.end(value).max(self.tree.span(key).end),
        );
        let text = &self.source().text;
        let span = if self.tree.is_flow(place.node) {
            let tail = &text[end as usize..];
            let comma = tail.trim_start();
            match comma.strip_prefix(',') {
                Some(rest) => Span::new(start as usize, text.len() - rest.trim_start().len()),
                None => {
                    let head = text[..start as usize].trim_end();
                    Span::new(head.strip_suffix(',').unwrap_or(head).len(), end as usize)
                }
            }
        } else {
            let line = self.source().line_start(start);
            // The first key of a list item stands behind a dash; its line cannot go as a whole.
            if !text[line..start as usize].trim().is_empty() {
                return None;
            }
            Span::new(line, self.source().line_end(end))
        };
        Some(Fix {
            title: format!("remove `{name}`"),
            edits: vec![Edit {
                span,
                text: String::new(),
            }],
        })
    }
}
