//! The rules that Envoy has built in.

use super::tokens::Tokens;
use super::{Condition, Pattern, TagRules, Words, first_word};
use regex::Regex;

/// How a built-in rule is written down.
enum Form {
    Code,
    Class,
    /// Words between dots.
    Path(&'static str),
    /// A regex with the shorthands of [`SHORTHANDS`], and a word that every match has.
    Regex(&'static str, Words),
    /// A regex, and the one value that does not count; an empty one excludes nothing.
    RegexBut(&'static str, &'static str),
}
use Form::{Class, Code, Path};

const SHORTHANDS: [(&str, &str); 8] = [
    ("<TAG>", r"[^.]+"),
    (
        "<ADDRESS>",
        r"(?:(?:[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[[a-fA-F_0-9]+\])_[0-9]+)",
    ),
    ("<CIPHER>", r"[0-9A-Za-z_-]+"),
    ("<VERSION>", r"TLSv[0-9]\.[0-9]"),
    ("<ROUTES>", r"[0-9A-Za-z_\-./]+"),
    ("<SCOPED>", r"[0-9A-Za-z_\-.]+"),
    ("<TLS>", r"(?:listener|cluster)\..*?"),
    ("<WORD>", r"[0-9A-Za-z_]"),
];

/// Tag names and where to find them, in Envoy's order.
const RULES: &[(&str, Form)] = &[
    ("envoy.response_code", Code),
    ("envoy.response_code_class", Class),
    (
        "envoy.dynamo_partition_id",
        Form::Regex(
            r"^http\.<TAG>\.dynamodb\.table\.<TAG>\.capacity\.<TAG>(\.__partition_id=(<WORD>{7}))$",
            Words::DYNAMODB,
        ),
    ),
    (
        "envoy.dynamo_operation",
        Form::Regex(
            r"^http\.<TAG>\.dynamodb.(?:operation|table\.<TAG>\.capacity)(\.(<TAG>))(?:\.|$)",
            Words::DYNAMODB,
        ),
    ),
    (
        "envoy.mongo_callsite",
        Path("mongo.*.collection.*.callsite.$.query.**"),
    ),
    (
        "envoy.dynamo_table",
        Form::Regex(
            r"^http\.<TAG>\.dynamodb.(?:table|error)\.((<TAG>)\.)",
            Words::DYNAMODB,
        ),
    ),
    (
        "envoy.mongo_collection",
        Path("mongo.*.collection.$.**.query.*"),
    ),
    ("envoy.mongo_cmd", Path("mongo.*.cmd.$.**")),
    ("envoy.grpc_bridge_method", Path("cluster.*.grpc.*.$.**")),
    ("envoy.http_user_agent", Path("http.*.user_agent.$.**")),
    ("envoy.virtual_cluster", Path("vhost.*.vcluster.$.**")),
    ("envoy.fault_downstream_cluster", Path("http.*.fault.$.**")),
    (
        "envoy.ssl_cipher",
        Form::Regex(r"^listener\..*?\.ssl\.ciphers(\.(<CIPHER>))$", Words::SSL),
    ),
    (
        "cipher_suite",
        Form::Regex(r"^cluster\.<TAG>\.ssl\.ciphers(\.(<CIPHER>))$", Words::SSL),
    ),
    (
        "envoy.ssl_curve",
        Form::Regex(r"^<TLS>\.ssl\.curves(\.(<CIPHER>))$", Words::SSL),
    ),
    (
        "envoy.ssl_sigalg",
        Form::Regex(r"^<TLS>\.ssl\.sigalgs(\.(<CIPHER>))$", Words::SSL),
    ),
    (
        "envoy.ssl_version",
        Form::Regex(r"^<TLS>\.ssl\.versions(\.(<VERSION>))$", Words::SSL),
    ),
    ("envoy.grpc_bridge_service", Path("cluster.*.grpc.$.**")),
    ("envoy.tcp_prefix", Path("tcp.$.**")),
    ("envoy.udp_prefix", Path("udp.$.**")),
    ("envoy.clientssl_prefix", Path("auth.clientssl.$.**")),
    ("envoy.ratelimit_prefix", Path("ratelimit.$.**")),
    (
        "envoy.health_check_name",
        Form::Regex(
            r"^cluster\.<TAG>\.health_check(\.name\.(<TAG>))\..+",
            Words::HEALTH_CHECK,
        ),
    ),
    ("envoy.cluster_name", Path("cluster.$.**")),
    (
        "envoy.http_conn_manager_prefix",
        Form::Regex(r"^listener\..*?\.http\.((<TAG>)\.)", Words::HTTP),
    ),
    ("envoy.ext_authz_prefix", Path("cluster.*.ext_authz.$.**")),
    ("envoy.ext_authz_prefix", Path("http.*.ext_authz.$.**")),
    (
        "envoy.rbac_policy_name",
        Form::Regex(
            r"^http\.<TAG>\.rbac\.(?:<TAG>\.)?policy\.((<TAG>)\.)(allowed|shadow_allowed|denied|shadow_denied)$",
            Words::RBAC,
        ),
    ),
    (
        "envoy.rbac_http_prefix",
        Form::RegexBut(r"^http\.<TAG>\.rbac\.((<TAG>)\.).*?", "policy"),
    ),
    (
        "envoy.rds_route_config",
        Form::Regex(r"^http\.<TAG>\.rds\.((<ROUTES>)\.)<WORD>+?$", Words::RDS),
    ),
    (
        "envoy.scoped_rds_config",
        Form::Regex(
            r"^http\.<TAG>\.scoped_rds\.((<SCOPED>)\.)<WORD>+?$",
            Words::SCOPED_RDS,
        ),
    ),
    ("envoy.http_conn_manager_prefix", Path("http.$.**")),
    (
        "envoy.listener_address",
        Form::RegexBut(r"^listener\.((<ADDRESS>|<TAG>)\.)", "admin"),
    ),
    ("envoy.virtual_host", Path("vhost.$.**")),
    ("envoy.mongo_prefix", Path("mongo.$.**")),
    ("envoy.route", Path("vhost.*.route.$.**")),
    (
        "envoy.worker_id",
        Form::Regex(
            r"^(?:listener\.(?:<ADDRESS>|<TAG>)|server|listener_manager|thread_local_cluster_manager)\.worker_(([0-9]+)\.)",
            Words::WORKER,
        ),
    ),
    ("envoy.thrift_prefix", Path("thrift.$.**")),
    ("envoy.redis_prefix", Path("redis.$.**")),
    (
        "envoy.connection_limit_prefix",
        Path("connection_limit.$.**"),
    ),
    (
        "envoy.local_network_ratelimit_prefix",
        Path("local_rate_limit.$.**"),
    ),
    (
        "envoy.local_listener_ratelimit_prefix",
        Path("listener_local_ratelimit.$.**"),
    ),
    (
        "envoy.local_http_ratelimit_prefix",
        Path("$.http_local_rate_limit.**"),
    ),
    ("envoy.dns_filter_prefix", Path("dns_filter.$.**")),
    ("envoy.rbac_prefix", Path("$.rbac.**")),
    (
        "envoy.proxy_protocol_prefix",
        Form::RegexBut(r"^proxy_proto\.((<TAG>)\.).+$", "versions"),
    ),
    (
        "envoy.proxy_protocol_version",
        Form::Regex(
            r"^proxy_proto\.((?:<TAG>\.)?versions\.v([0-9])\.)<WORD>+$",
            Words::VERSIONS,
        ),
    ),
    ("envoy.google_grpc_client_prefix", Path("grpc.$.**")),
    (
        "envoy.tls_certificate",
        Form::Regex(r"^<TLS>\.ssl\.certificate\.((<TAG>)\.).*$", Words::SSL),
    ),
    (
        "envoy.xds_resource_name",
        Form::RegexBut(r"^sds\.((<TAG>)\.).+", ""),
    ),
];

/// Adds the built-in rules, all or those for the tag `only`. Says whether there were any.
pub(super) fn add(rules: &mut TagRules, only: Option<&str>) -> bool {
    let mut any = false;
    for (tag, form) in RULES
        .iter()
        .filter(|(tag, _)| only.is_none_or(|only| only == *tag))
    {
        any = true;
        match form {
            Code => rules.add(tag, None, Pattern::ResponseCode),
            Class => rules.add(tag, None, Pattern::ResponseCodeClass),
            Path(words) => {
                let tokens = Tokens::new(words);
                rules.add(tag, tokens.first_word(), Pattern::Tokens(tokens));
            }
            Form::Regex(pattern, word) => add_regex(rules, tag, pattern, Condition::Has(*word)),
            Form::RegexBut(pattern, value) => {
                add_regex(rules, tag, pattern, Condition::ValueIsNot(value))
            }
        }
    }
    any
}

fn add_regex(rules: &mut TagRules, tag: &str, pattern: &str, condition: Condition) {
    let full = SHORTHANDS
        .iter()
        .fold(pattern.to_owned(), |text, (short, long)| {
            text.replace(short, long)
        });
    if let Ok(regex) = Regex::new(&full) {
        rules.add(tag, first_word(pattern), Pattern::Regex(regex, condition));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_rule_is_well_formed() {
        let mut rules = TagRules::none();
        add(&mut rules, None);
        let all = rules.unprefixed.len() + rules.prefixed.values().map(Vec::len).sum::<usize>();
        assert_eq!(all, RULES.len());
    }
}
