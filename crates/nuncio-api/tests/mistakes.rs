//! Mistakes that people make in a configuration: each is one change to a good file, with what must be said and where.

use nuncio_api::envoy::config::bootstrap::v3::Bootstrap;
use nuncio_api::{
    Diagnostic, Document, Fix, Look, Options, Source, Syntax, apply_fixes, decode, render,
};

const BASE: &str = include_str!("mistakes/base.yaml");

/// A change to the good file, and the finding that it must give.
struct Mistake {
    from: &'static str,
    to: &'static str,
    code: &'static str,
    /// `line:column`
    at: &'static str,
    /// Parts of what is printed.
    says: &'static [&'static str],
    /// The file is still taken.
    taken: bool,
    /// The repair leads back to a file without findings.
    repaired: bool,
}

const fn mistake(
    from: &'static str,
    to: &'static str,
    code: &'static str,
    at: &'static str,
) -> Mistake {
    Mistake {
        from,
        to,
        code,
        at,
        says: &[],
        taken: false,
        repaired: false,
    }
}

impl Mistake {
    const fn says(mut self, says: &'static [&'static str]) -> Self {
        self.says = says;
        self
    }

    const fn taken(mut self) -> Self {
        self.taken = true;
        self
    }

    const fn repaired(mut self) -> Self {
        self.repaired = true;
        self
    }
}

const ROUTER: &str = "
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

const MISTAKES: &[Mistake] = &[
    // Syntax.
    mistake("                    clusters:\n", "                     clusters:\n", "NUN0001", "27:22")
        .says(&["indented by 21", "siblings by 20"]),
    mistake("    connect_timeout: 2s\n    load", "\tconnect_timeout: 2s\n    load", "NUN0001", "42:1").says(&["tab"]),
    mistake("domains: [\"shop.test\"]", "domains: [\"shop.test\"", "NUN0001", "20:24"),
    mistake("stat_prefix: front", "stat_prefix: @front", "NUN0001", "15:24").says(&["quotes"]),
    mistake("    connect_timeout: 2s\n    load", "      connect_timeout: 2s\n    load", "NUN0001", "42:7")
        .says(&["indented by 6", "siblings by 4"]),
    // Names.
    mistake("    connect_timeout: 2s\n    load", "    conect_timeout: 2s\n    load", "NUN0103", "42:5")
        .says(&["unknown field `conect_timeout` in Cluster", "did you mean `connect_timeout`?"])
        .repaired(),
    mistake("    connect_timeout: 2s\n    load", "    ConnectTimeout: 2s\n    load", "NUN0103", "42:5")
        .says(&["did you mean `connect_timeout`?"])
        .repaired(),
    mistake(
        "                  retry_policy:\n                    retry_on: \"5xx\"\n                    num_retries: 2\n",
        "                retry_policy:\n                  retry_on: \"5xx\"\n                  num_retries: 2\n",
        "NUN0103",
        "32:17",
    )
    .says(&["`retry_policy` belongs inside `route:` — indent lines 32–34 by 2 spaces", "`route` starts here"])
    .repaired(),
    mistake("admin:\n", "clusters: []\nadmin:\n", "NUN0103", "1:1").says(&["`clusters` belongs inside `static_resources"]),
    mistake("admin:\n", "circuit_breakers: {}\nadmin:\n", "NUN0103", "1:1").says(&["static_resources.clusters[]"]),
    mistake(
        "      cluster_name: cart\n",
        "      cluster_name: cart\n      circuit_breakers: {}\n",
        "NUN0103",
        "45:7",
    )
    .says(&["belongs further out"]),
    mistake("    type: STATIC", "    type: STATIC\n    hosts: []", "NUN0111", "52:5").says(&["v2 API", "load_assignment"]),
    mistake(BASE, "apiVersion: v1\nkind: Service\nmetadata: {}\n", "NUN0112", "2:1").says(&["Kubernetes object (Service)"]),
    // Types.
    mistake("port_value: 80 }", "port_value: http }", "NUN0101", "49:65").says(&["a whole number from 0 to 65535"]),
    mistake("weight: 3", "weight: -3", "NUN0102", "29:31").says(&["0 or more"]),
    mistake("weight: 3", "weight: 2.5", "NUN0102", "29:31").says(&["fraction"]),
    mistake("    - filters:\n", "    - filters: word\n      x:\n", "NUN0101", "11:16").says(&["object"]),
    mistake("stat_prefix: front", "stat_prefix: yes", "NUN0110", "15:24").says(&["YAML reads it as a boolean"]).repaired(),
    mistake("cluster_name: cart", "cluster_name: 7", "NUN0110", "44:21").says(&["write \"7\""]).repaired(),
    mistake("type: STRICT_DNS", "type: STRICT_DSN", "NUN0104", "41:11")
        .says(&["did you mean `STRICT_DNS`?", "`LOGICAL_DNS`"])
        .repaired(),
    mistake("connect_timeout: 2s\n    load", "connect_timeout: 2sec\n    load", "NUN0108", "42:22")
        .says(&["did you mean `2s`?"])
        .repaired(),
    mistake("connect_timeout: 2s\n    load", "connect_timeout: 250ms\n    load", "NUN0108", "42:22")
        .says(&["did you mean `0.25s`?"])
        .repaired(),
    mistake("connect_timeout: 2s\n    load", "connect_timeout: 2\n    load", "NUN0108", "42:22").repaired(),
    mistake("{ path: \"/cart\" }", "{ path: \"/cart\", prefix: \"/c\" }", "NUN0105", "22:41")
        .says(&["only one of `path` and `prefix` may be set", "already set at 22:26"]),
    // `@type`.
    mistake("v3.Router", "v3.Rooter", "NUN0106", "38:24")
        .says(&["did you mean `envoy.extensions.filters.http.router.v3.Router`?"])
        .repaired(),
    mistake(
        "extensions.filters.network.http_connection_manager.v3",
        "config.filter.network.http_connection_manager.v2",
        "NUN0111",
        "14:20",
    )
    .says(&["v2 API, which was removed", "the v3 name is"])
    .repaired(),
    mistake("type.googleapis.com/envoy.extensions.filters.http", "envoy.extensions.filters.http", "NUN0106", "38:24").repaired(),
    mistake(ROUTER, "", "NUN0107", "36:19").says(&["its default configuration is used"]).taken().repaired(),
    mistake(
        "          - name: envoy.filters.http.router\n",
        "          - name: acme\n          - name: envoy.filters.http.router\n",
        "NUN0107",
        "36:19",
    ),
    mistake(
        "          - name: envoy.filters.http.router\n",
        "          - name: envoy.filters.http.rbac\n          - name: envoy.filters.http.router\n",
        "NUN0113",
        "36:19",
    )
    .says(&["access control"]),
    mistake("filters.http.router.v3.Router", "filters.network.echo.v3.Echo", "NUN0114", "38:24")
        .says(&["envoy.filters.http", "did you mean `envoy.extensions.filters.http.router.v3.Router`?"])
        .repaired(),
    // Rules.
    mistake("{ path: \"/cart\" }", "{}", "NUN0203", "22:24").says(&["choose one of `prefix`, `path`, `safe_regex`"]),
    mistake("connect_timeout: 2s\n    load", "connect_timeout: 0s\n    load", "NUN0201", "42:22").says(&["must be > 0s"]),
    mistake("port_value: 8080", "port_value: 99999", "NUN0201", "9:55").says(&["must be <= 65535, it is 99999"]),
    mistake("domains: [\"shop.test\"]", "domains: []", "NUN0205", "19:15").says(&["at least 1 item"]),
    mistake("          stat_prefix: front\n", "", "NUN0202", "13:9").says(&["`stat_prefix` must be set"]),
    // What works, but should not stay.
    mistake("                      weight: 1\n", "                      weight: 1\n                    total_weight: 4\n", "NUN0301", "32:21")
        .says(&["`total_weight` is deprecated", "weights are relative"])
        .taken()
        .repaired(),
    mistake("    type: STATIC\n", "    type: EDS\n    type: STATIC\n", "NUN0006", "52:5").taken(),
    mistake("    type: STATIC\n", "    type: STATIC\n    <<: { connect_timeout: 1s }\n", "NUN0007", "52:5").taken(),
];

fn findings(text: &str, options: Options) -> (Source, Vec<Diagnostic>, bool) {
    let source = Source::new("shop.yaml", text);
    match Document::parse(source.clone(), Syntax::Yaml) {
        Ok(document) => {
            let decoded = decode::<Bootstrap>(&document, &options);
            (source, decoded.diagnostics, decoded.message.is_some())
        }
        Err(found) => (source, found, false),
    }
}

fn lenient(text: &str) -> (Source, Vec<Diagnostic>, bool) {
    findings(text, Options::default())
}

#[test]
fn the_good_file_has_no_findings() {
    let (_, found, taken) = findings(
        BASE,
        Options {
            strict: true,
            allow_unknown: false,
        },
    );
    assert_eq!((found, taken), (vec![], true));
}

#[test]
fn each_mistake_is_found_where_it_is_and_explained() {
    let mut wrong = Vec::new();
    for mistake in MISTAKES {
        assert!(BASE.contains(mistake.from), "{}", mistake.from);
        let (source, found, taken) = lenient(&BASE.replacen(mistake.from, mistake.to, 1));
        let shown: String = found
            .iter()
            .map(|d| render(&source, d, Look::default()))
            .collect();
        let at = |d: &Diagnostic| {
            let at = source.position(d.span.unwrap_or_default().start);
            format!("{}:{}", at.line, at.column)
        };
        let located = found
            .iter()
            .any(|d| d.code == mistake.code && at(d) == mistake.at);
        let said = mistake.says.iter().all(|part| shown.contains(part));
        if !located || !said || taken != mistake.taken {
            wrong.push(format!(
                "{:?} → {:?}, expected {} at {}\n{shown}",
                mistake.from, mistake.to, mistake.code, mistake.at
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mechanical_repairs_lead_back_to_a_good_file() {
    for mistake in MISTAKES.iter().filter(|m| m.repaired) {
        let (source, found, _) = lenient(&BASE.replacen(mistake.from, mistake.to, 1));
        let fixes: Vec<Fix> = found.into_iter().filter_map(|d| d.fix).collect();
        let repaired = apply_fixes(&source, &fixes);
        let (_, found, taken) = lenient(&repaired);
        assert!(found.is_empty() && taken, "{}\n{found:?}", repaired);
    }
}

#[test]
fn all_mistakes_of_a_file_come_in_one_run_in_its_order() {
    let text = BASE
        .replace("port_value: 9901", "port_value: 99901")
        .replace("STRICT_DNS", "STRICT")
        .replace("num_retries", "retries")
        .replace("v3.Router", "v3.Ruter");
    let (_, found, _) = lenient(&text);
    let codes: Vec<&str> = found.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["NUN0201", "NUN0103", "NUN0106", "NUN0104"]);
}

#[test]
fn strict_refuses_what_only_nuncio_takes() {
    let strict = Options {
        strict: true,
        allow_unknown: false,
    };
    let name_only = BASE.replace(ROUTER, "");
    let merge = BASE.replace(
        "    type: STATIC\n",
        "    type: STATIC\n    <<: { connect_timeout: 1s }\n",
    );
    for text in [name_only, merge] {
        assert!(lenient(&text).2 && !findings(&text, strict).2);
    }
}

#[test]
fn unknown_fields_can_be_allowed() {
    let text = BASE.replace("    type: STATIC", "    type: STATIC\n    color: red");
    let (_, found, taken) = findings(
        &text,
        Options {
            strict: false,
            allow_unknown: true,
        },
    );
    assert!(taken && found.len() == 1 && !found[0].is_error());
}

#[test]
fn empty_files_and_broken_json_say_so() {
    let (_, found, _) = lenient("# nothing yet\n");
    assert!(found[0].message.contains("empty"));
    let (source, found, _) = lenient("{ \"static_resources\": { \"listeners\": [ }");
    let at = source.position(found[0].span.expect("a place").start);
    assert_eq!((found[0].code, at.line, at.column), ("NUN0002", 1, 40));
}
