//! The rules that Envoy has built in.

use super::tokens::Tokens;
use super::{Condition, Pattern, TagRules, first_word};
use regex::Regex;

/// How a built-in rule is written down.
enum Form {
    Code,
    Class,
    /// Words between dots.
    Words(&'static str),
    /// A regex with the shorthands of [`SHORTHANDS`], and a text that every match contains.
    Regex(&'static str, &'static str),
    /// A regex, and the one value that does not count.
    RegexBut(&'static str, &'static str),
}
use Form::{Class, Code, Words};

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
            ".dynamodb.",
        ),
    ),
    (
        "envoy.dynamo_operation",
        Form::Regex(
            r"^http\.<TAG>\.dynamodb.(?:operation|table\.<TAG>\.capacity)(\.(<TAG>))(?:\.|$)",
            ".dynamodb",
        ),
    ),
    (
        "envoy.mongo_callsite",
        Words("mongo.*.collection.*.callsite.$.query.**"),
    ),
    (
        "envoy.dynamo_table",
        Form::Regex(
            r"^http\.<TAG>\.dynamodb.(?:table|error)\.((<TAG>)\.)",
            ".dynamodb",
        ),
    ),
    (
        "envoy.mongo_collection",
        Words("mongo.*.collection.$.**.query.*"),
    ),
    ("envoy.mongo_cmd", Words("mongo.*.cmd.$.**")),
    ("envoy.grpc_bridge_method", Words("cluster.*.grpc.*.$.**")),
    ("envoy.http_user_agent", Words("http.*.user_agent.$.**")),
    ("envoy.virtual_cluster", Words("vhost.*.vcluster.$.**")),
    ("envoy.fault_downstream_cluster", Words("http.*.fault.$.**")),
    (
        "envoy.ssl_cipher",
        Form::Regex(
            r"^listener\..*?\.ssl\.ciphers(\.(<CIPHER>))$",
            ".ssl.ciphers.",
        ),
    ),
    (
        "cipher_suite",
        Form::Regex(
            r"^cluster\.<TAG>\.ssl\.ciphers(\.(<CIPHER>))$",
            ".ssl.ciphers.",
        ),
    ),
    (
        "envoy.ssl_curve",
        Form::Regex(r"^<TLS>\.ssl\.curves(\.(<CIPHER>))$", ".ssl.curves."),
    ),
    (
        "envoy.ssl_sigalg",
        Form::Regex(r"^<TLS>\.ssl\.sigalgs(\.(<CIPHER>))$", ".ssl.sigalgs."),
    ),
    (
        "envoy.ssl_version",
        Form::Regex(r"^<TLS>\.ssl\.versions(\.(<VERSION>))$", ".ssl.versions."),
    ),
    ("envoy.grpc_bridge_service", Words("cluster.*.grpc.$.**")),
    ("envoy.tcp_prefix", Words("tcp.$.**")),
    ("envoy.udp_prefix", Words("udp.$.**")),
    ("envoy.clientssl_prefix", Words("auth.clientssl.$.**")),
    ("envoy.ratelimit_prefix", Words("ratelimit.$.**")),
    (
        "envoy.health_check_name",
        Form::Regex(
            r"^cluster\.<TAG>\.health_check(\.name\.(<TAG>))\..+",
            ".health_check.",
        ),
    ),
    ("envoy.cluster_name", Words("cluster.$.**")),
    (
        "envoy.http_conn_manager_prefix",
        Form::Regex(r"^listener\..*?\.http\.((<TAG>)\.)", ".http."),
    ),
    ("envoy.ext_authz_prefix", Words("cluster.*.ext_authz.$.**")),
    ("envoy.ext_authz_prefix", Words("http.*.ext_authz.$.**")),
    (
        "envoy.rbac_policy_name",
        Form::Regex(
            r"^http\.<TAG>\.rbac\.(?:<TAG>\.)?policy\.((<TAG>)\.)(allowed|shadow_allowed|denied|shadow_denied)$",
            ".policy.",
        ),
    ),
    (
        "envoy.rbac_http_prefix",
        Form::RegexBut(r"^http\.<TAG>\.rbac\.((<TAG>)\.).*?", "policy"),
    ),
    (
        "envoy.rds_route_config",
        Form::Regex(r"^http\.<TAG>\.rds\.((<ROUTES>)\.)<WORD>+?$", ".rds."),
    ),
    (
        "envoy.scoped_rds_config",
        Form::Regex(
            r"^http\.<TAG>\.scoped_rds\.((<SCOPED>)\.)<WORD>+?$",
            ".scoped_rds.",
        ),
    ),
    ("envoy.http_conn_manager_prefix", Words("http.$.**")),
    (
        "envoy.listener_address",
        Form::RegexBut(r"^listener\.((<ADDRESS>|<TAG>)\.)", "admin"),
    ),
    ("envoy.virtual_host", Words("vhost.$.**")),
    ("envoy.mongo_prefix", Words("mongo.$.**")),
    ("envoy.route", Words("vhost.*.route.$.**")),
    (
        "envoy.worker_id",
        Form::Regex(
            r"^(?:listener\.(?:<ADDRESS>|<TAG>)|server|listener_manager|thread_local_cluster_manager)\.worker_(([0-9]+)\.)",
            ".worker_",
        ),
    ),
    ("envoy.thrift_prefix", Words("thrift.$.**")),
    ("envoy.redis_prefix", Words("redis.$.**")),
    (
        "envoy.connection_limit_prefix",
        Words("connection_limit.$.**"),
    ),
    (
        "envoy.local_network_ratelimit_prefix",
        Words("local_rate_limit.$.**"),
    ),
    (
        "envoy.local_listener_ratelimit_prefix",
        Words("listener_local_ratelimit.$.**"),
    ),
    (
        "envoy.local_http_ratelimit_prefix",
        Words("$.http_local_rate_limit.**"),
    ),
    ("envoy.dns_filter_prefix", Words("dns_filter.$.**")),
    ("envoy.rbac_prefix", Words("$.rbac.**")),
    (
        "envoy.proxy_protocol_prefix",
        Form::RegexBut(r"^proxy_proto\.((<TAG>)\.).+$", "versions"),
    ),
    (
        "envoy.proxy_protocol_version",
        Form::Regex(
            r"^proxy_proto\.((?:<TAG>\.)?versions\.v([0-9])\.)<WORD>+$",
            "versions.v",
        ),
    ),
    ("envoy.google_grpc_client_prefix", Words("grpc.$.**")),
    (
        "envoy.tls_certificate",
        Form::Regex(
            r"^<TLS>\.ssl\.certificate\.((<TAG>)\.).*$",
            ".ssl.certificate.",
        ),
    ),
    (
        "envoy.xds_resource_name",
        Form::Regex(r"^sds\.((<TAG>)\.).+", ""),
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
            Words(words) => {
                let tokens = Tokens::new(words);
                rules.add(tag, tokens.first_word(), Pattern::Tokens(tokens));
            }
            Form::Regex(pattern, within) => {
                add_regex(rules, tag, pattern, Condition::Contains(within))
            }
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
