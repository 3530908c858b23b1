//! What each endpoint answers, against what Envoy 1.40 answered.

mod process;

use nuncio_admin::{AdminRequest, AdminResponse, handle};
use nuncio_stats::Lane;
use nuncio_stats::tables::listener::{DOWNSTREAM_CX_TOTAL, LISTENER};
use process::Process;

const TEXT: &str = "text/plain; charset=UTF-8";

fn ask(process: &Process, line: &str) -> AdminResponse {
    let (method, target) = line.split_once(' ').expect("a method and a target");
    handle(&AdminRequest::new(method, target), process)
}

#[test]
fn short_answers() {
    let process = Process::new();
    for (line, status, body) in [
        ("GET /ready", 200, "LIVE\n"),
        ("POST /healthcheck/fail", 200, "OK\n"),
        ("GET /ready?x=y", 503, "DRAINING\n"),
        ("POST /healthcheck/ok", 200, "OK\n"),
        ("HEAD /ready", 200, "LIVE\n"),
        (
            "GET /healthcheck/fail",
            405,
            "Method GET not allowed, POST required.",
        ),
        (
            "DELETE /quitquitquit",
            405,
            "Method DELETE not allowed, POST required.",
        ),
        ("GET /hot_restart_version", 200, "disabled"),
        (
            "POST /contention",
            200,
            "Mutex contention tracing is not enabled. To enable, run Envoy with flag --enable-mutex-tracing.",
        ),
        (
            "GET /listeners",
            200,
            "main_listener::127.0.0.1:10000\nback::127.0.0.1:10001\n",
        ),
        ("GET /clusters?filter=(", 400, "Invalid re2 regex"),
        (
            "GET /stats?filter=(&type=zzz",
            400,
            "Invalid re2 regex: missing ): (",
        ),
        (
            "GET /stats?type=Foo&format=zzz",
            400,
            "invalid &type= param",
        ),
        (
            "GET /stats?format=foo",
            400,
            "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n",
        ),
        (
            "GET /stats?hidden=foo&format=",
            400,
            "usage: /stats?hidden=(include|only|exclude)\n\n",
        ),
        (
            "GET /stats?type=Foo&histogram_buckets=blah",
            400,
            "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary|prometheusnative)\n",
        ),
        (
            "GET /stats?histogram_buckets=prometheusnative",
            400,
            "Invalid histogram_buckets type for non prometheus stats type",
        ),
        (
            "GET /stats/prometheus?histogram_buckets=detailed",
            400,
            "unsupported prometheus histogram bucket mode",
        ),
        ("POST /cpuprofiler?enable=x", 400, "?enable=<y|n>\n"),
        (
            "POST /heapprofiler",
            501,
            "The current build does not support heap profiler",
        ),
        ("POST /reset_counters", 200, "OK\n"),
        ("POST /reopen_logs", 200, "OK\n"),
        ("POST /quitquitquit", 200, "OK\n"),
        (
            "POST /runtime_modify",
            400,
            "usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n       or send the parameters as form values\n\
             use an empty value to remove a previously added override",
        ),
    ] {
        let answer = ask(&process, line);
        assert_eq!(
            (answer.status, answer.body.as_str(), answer.content_type),
            (status, body, TEXT),
            "{line}"
        );
    }
    assert!(ask(&process, "POST /quitquitquit").then_quit);
}

#[test]
fn commands_reach_the_process() {
    let process = Process::new();
    for line in [
        "POST /drain_listeners?graceful&skip_exit",
        "POST /drain_listeners?inboundonly",
        "POST /runtime_modify?x.y=9&new.key=hello",
        "POST /logging?level=debug",
        "POST /logging?admin=info",
        "POST /logging?paths=admin:trace,main:off,",
        "POST /reopen_logs",
    ] {
        assert_eq!(ask(&process, line).status, 200, "{line}");
    }
    assert_eq!(
        process.told.take(),
        [
            "drain Drain { graceful: true, skip_exit: true, inbound_only: false }",
            "drain Drain { graceful: false, skip_exit: false, inbound_only: true }",
            "runtime [(\"x.y\", \"9\"), (\"new.key\", \"hello\")]",
            "log * debug",
            "log admin info",
            "log admin trace",
            "log main off",
            "reopen",
        ]
    );
}

#[test]
fn a_wrong_log_level_changes_nothing_and_tells_how() {
    let process = Process::new();
    for (query, why) in [
        ("level=nonsense", "unknown logger level"),
        ("level=WARNING", "unknown logger level"),
        ("nope=info", "unknown logger name"),
        ("paths=admin:debug,nope:info", "unknown logger name"),
        ("paths=admin", "empty logger name or empty logger level"),
        (
            "group=admin:trace",
            "group parameter requires fine-grain logging to be enabled",
        ),
        ("a=b&c=d", "invalid number of parameters"),
    ] {
        let answer = ask(&process, &format!("POST /logging?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(
            answer
                .body
                .starts_with(&format!("error: {why}\n\nusage: /logging?<name>=<level>")),
            "{query}"
        );
    }
    assert!(process.told.take().is_empty());
    let recorded = include_str!("recorded/logging_nonsense.txt");
    let answer = ask(&process, "POST /logging?level=nonsense").body;
    let head = |text: &str| {
        text.split("active loggers")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(head(&answer), head(recorded));
    let answer = ask(&process, "POST /logging").body;
    assert_eq!(
        answer,
        "active loggers:\n  admin: warning\n  main: warning\n\n"
    );
}

#[test]
fn help_is_envoys_and_metrics() {
    let found = ask(&Process::new(), "GET /help").body;
    let mut skip = false;
    let mut without = String::new();
    for line in found.lines() {
        if !line.starts_with("      ") {
            skip = line.starts_with("  /metrics:");
        }
        if !skip {
            without.push_str(line);
            without.push('\n');
        }
    }
    assert_eq!(without, include_str!("recorded/help.txt"));
    let unknown = ask(&Process::new(), "GET /nope");
    assert_eq!(
        (unknown.status, unknown.body),
        (404, format!("invalid path. {found}"))
    );
}

#[test]
fn clusters() {
    let process = Process::new();
    assert_eq!(
        ask(&process, "GET /clusters?filter=1").body,
        include_str!("recorded/clusters_b1.txt")
    );
    let answer = ask(&process, "GET /clusters?filter=1&format=json");
    assert_eq!(answer.body, include_str!("recorded/clusters_b1.json"));
    assert_eq!(answer.content_type, "application/json");
}

#[test]
fn server_info() {
    let answer = ask(&Process::new(), "GET /server_info");
    assert_eq!(answer.body, include_str!("recorded/server_info.json"));
}

#[test]
fn config_dump_of_a_resource() {
    let process = Process::new();
    let answer = ask(
        &process,
        "GET /config_dump?resource=static_clusters&name_regex=b[12]",
    );
    assert_eq!(answer.body, include_str!("recorded/static_clusters.json"));
    let mask = "&mask=cluster.name,cluster.type";
    let answer = ask(
        &process,
        &format!("GET /config_dump?resource=static_clusters&name_regex=b[12]{mask}"),
    );
    assert_eq!(
        answer.body,
        include_str!("recorded/static_clusters_masked.json")
    );
}

#[test]
fn config_dump_of_sections() {
    let process = Process::new();
    let whole = ask(&process, "GET /config_dump?mask=bootstrap.node.id").body;
    let expected = r#"{
 "configs": [
  {
   "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
   "bootstrap": {
    "node": {
     "id": "n-1"
    }
   }
  }
 ]
}
"#;
    assert_eq!(whole, expected);
    let whole = ask(&process, "GET /config_dump").body;
    assert!(whole.contains("\"name\": \"other\"") && whole.contains("ListenersConfigDump"));
    let clusters = ask(
        &process,
        "GET /config_dump?mask=static_clusters&name_regex=other",
    )
    .body;
    assert!(
        clusters.contains("\"name\": \"other\"")
            && !clusters.contains("b1")
            && !clusters.contains("Listeners")
    );
}

#[test]
fn config_dump_refusals() {
    let process = Process::new();
    for (query, status, body) in [
        (
            "resource=nonsense",
            404,
            "nonsense not found in config dump",
        ),
        (
            "resource=bootstrap",
            400,
            "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field",
        ),
        (
            "mask=nonsense",
            400,
            "FieldMask nonsense could not be successfully applied to any configs.",
        ),
        (
            "mask=bootstrap.node.id,foo",
            400,
            "FieldMask bootstrap.node.id,foo could not be successfully applied to any configs.",
        ),
        (
            "resource=static_clusters&mask=nope",
            400,
            "FieldMask paths: \"nope\"\n could not be successfully used.",
        ),
        (
            "name_regex=(",
            400,
            "INVALID_ARGUMENT: Error while parsing name_regex from (: missing ): (",
        ),
        (
            "resource=static_endpoint_configs",
            404,
            "static_endpoint_configs not found in config dump",
        ),
    ] {
        let answer = ask(&process, &format!("GET /config_dump?{query}"));
        let found = (answer.status, answer.body.as_str(), answer.content_type);
        assert_eq!(found, (status, body, "text/plain"), "{query}");
    }
    for query in [
        "resource=dynamic_listeners",
        "resource=static_endpoint_configs&include_eds",
    ] {
        let answer = ask(&process, &format!("GET /config_dump?{query}"));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "{}\n"),
            "{query}"
        );
    }
}

#[test]
fn json_answers() {
    let process = Process::new();
    for (line, body) in [
        ("GET /init_dump", "{}\n"),
        ("GET /certs", "{\n \"certificates\": []\n}\n"),
        (
            "GET /runtime",
            "{\n \"layers\": [\n  \"base\",\n  \"admin\"\n ],\n \"entries\": {\n  \"x.y\": {\n   \"layer_values\": [\n    \
             \"5\",\n    \"\"\n   ],\n   \"final_value\": \"5\"\n  }\n }\n}\n",
        ),
    ] {
        let answer = ask(&process, line);
        assert_eq!(
            (answer.body.as_str(), answer.content_type),
            (body, "application/json"),
            "{line}"
        );
    }
    assert!(
        ask(&process, "GET /memory")
            .body
            .starts_with("{\n \"allocated\": \"1\",\n \"heap_size\": \"0\",")
    );
    assert!(
        ask(&process, "GET /listeners?format=json")
            .body
            .contains("  \"port_value\": 10000\n")
    );
}

#[test]
fn stats_are_filtered_and_refreshed() {
    let process = Process::new();
    let scope = process.store.scope("listener.127.0.0.1_80.", &LISTENER);
    scope.add(Lane::worker(0), DOWNSTREAM_CX_TOTAL, 3);
    for (query, body) in [
        ("/stats?filter=^server.uptime", "server.uptime: 7\n"),
        (
            "/stats?usedonly&filter=listener",
            "listener.127.0.0.1_80.downstream_cx_total: 3\n",
        ),
        (
            "/stats?usedonly&invert_filter&filter=listener",
            "server.uptime: 7\n",
        ),
        ("/stats?usedonly&type=Gauges", "server.uptime: 7\n"),
        ("/stats?hidden=only", ""),
        (
            "/stats?format=json&usedonly&type=Gauges",
            "{\"stats\":[{\"name\":\"server.uptime\",\"value\":7}]}",
        ),
        (
            "/stats/prometheus?filter=cx_total$&type=Gauges",
            "# TYPE envoy_listener_downstream_cx_total counter\n\
             envoy_listener_downstream_cx_total{envoy_listener_address=\"127.0.0.1_80\"} 3\n",
        ),
        (
            "/stats?format=prometheus&usedonly&filter=server",
            "# TYPE envoy_server_uptime gauge\nenvoy_server_uptime{} 7\n",
        ),
    ] {
        assert_eq!(ask(&process, &format!("GET {query}")).body, body, "{query}");
    }
    ask(&process, "POST /reset_counters");
    assert_eq!(scope.counter(DOWNSTREAM_CX_TOTAL), 0);
}

#[test]
fn pages_are_html() {
    let process = Process::new();
    for target in ["/", "/stats?format=html", "/stats?format=active-html"] {
        let answer = ask(&process, &format!("GET {target}"));
        assert_eq!(answer.content_type, "text/html; charset=UTF-8");
        assert!(
            answer.body.starts_with("<!DOCTYPE html>") && answer.body.ends_with("</html>\n"),
            "{target}"
        );
    }
}
