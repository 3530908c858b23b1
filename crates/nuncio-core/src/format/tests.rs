use super::{fixture::*, *};
use nuncio_rt::Time;

fn text(stream: &StreamCx, format: &str) -> String {
    let (format, _) = Format::compile(format).unwrap();
    let mut out = Vec::new();
    format.write(stream, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn check(stream: &StreamCx, cases: &[(&str, &str)]) {
    for (format, want) in cases {
        assert_eq!(text(stream, format), *want, "{format}");
    }
}

#[test]
fn a_proxied_exchange_prints_as_in_envoy() {
    check(
        &proxied(),
        &[
            ("100%% %PROTOCOL%%RESPONSE_CODE%", "100% HTTP/1.1200"),
            ("%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH):4% %REQ(:PATH)%", "GET /b/x /rew?a=1%202&b=xyz+w&c=%zz&e"),
            ("%REQ(x-two)% %REQ(?x-two)% %REQ(nope?)% [%REQ(x-empty)%] %REQ(x-two):0%", "1 1 - [] "),
            ("%RESP(content-type)% %RESP(:status)% %TRAILER(x)% %REQ(HOST)%", "text/plain 200 - ex.com:8080"),
            ("%QUERY_PARAM(a)%|%QUERY_PARAM(b):2%|%QUERY_PARAM(z)%|%QUERY_PARAM(e)%|%QUERY_PARAM(c)%", "1 2|xy|-||%zz"),
            ("%QUERY_PARAMS:3%|%QUERY_PARAMS(DECODED)%", "a=1|a=1%202&b=xyz+w&c=zz&e"),
            ("%PATH(NQ)%|%PATH(WQ):6%|%PATH(NQ:PATH):3%|%PATH(NQ:ORIG)%", "/b/x|/b/x?a|/re|/b/x"),
            ("%RESPONSE_CODE_DETAILS% %RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", "via_upstream via upstream"),
            ("%RESPONSE_FLAGS%%RESPONSE_FLAGS_LONG% %BYTES_SENT% %BYTES_RECEIVED% %CONNECTION_ID%", "-- 5 0 7"),
            ("%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "6 1 5 1"),
            ("%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)% %COMMON_DURATION(US_RX_BEG:DS_TX_END)%", "6900 1"),
            ("%COMMON_DURATION(FOO:DS_TX_END:ns)% %UPSTREAM_CONNECTION_POOL_READY_DURATION%", "- 1"),
            ("%UPSTREAM_HOST% %UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW%", "127.0.0.1:18081 alt_b b"),
            ("%UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%", "127.0.0.1:18081 127.0.0.1"),
            ("%UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_CONNECTION_IDS_ATTEMPTED%", "127.0.0.1:18081 9"),
            ("%UPSTREAM_LOCAL_PORT% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)%", "46906 127.0.0.0/16"),
            (
                "%UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID%|%UPSTREAM_DETECTED_CLOSE_TYPE%|%UPSTREAM_PROTOCOL%",
                "|Normal|HTTP/1.1",
            ),
            ("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_PORT%", "10.1.2.3:4567 10000"),
            (
                "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(33)%",
                "10.1.2.3 10.1.2.3/32",
            ),
            (
                "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(0)% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(8)%",
                "0.0.0.0/0 127.0.0.0/8",
            ),
            (
                "%ROUTE_NAME% %STREAM_ID% %VIRTUAL_CLUSTER_NAME% %LISTENER_NAME% %FILTER_CHAIN_NAME%",
                "rb abc-1 - main -",
            ),
            ("%REQUESTED_SERVER_NAME% %REQUESTED_SERVER_NAME(SNI_FIRST)%", "- ex.com:8080"),
            ("%REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)% %GRPC_STATUS% %DOWNSTREAM_TLS_VERSION%", "- - -"),
            (
                "%ACCESS_LOG_TYPE%|%CUSTOM_FLAGS%|%LOCAL_REPLY_BODY%|%ENVIRONMENT(NUNCIO_NO_SUCH_NAME)%",
                "NotSet|||-",
            ),
            (r#"%COALESCE({"operators":["TRACE_ID",{"command":"REQ","param":"user-agent","max_length":4}]})%"#, "curl"),
            (r#"%COALESCE({"operators":["TRACE_ID"]})%"#, "-"),
        ],
    );
}

#[test]
fn what_did_not_happen_prints_as_in_envoy() {
    check(
        &refused(),
        &[
            ("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", "URX,UF UpstreamRetryLimitExceeded,UpstreamConnectionFailure"),
            ("%UPSTREAM_TRANSPORT_FAILURE_REASON%", "delayed_connect_error:_Connection_refused"),
            ("%UPSTREAM_HOST% %UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_REMOTE_PORT%", "[::1]:9 - -"),
            ("%UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID% %UPSTREAM_CONNECTION_ID% %UPSTREAM_PROTOCOL%", "- 0 -"),
            ("%UPSTREAM_DETECTED_CLOSE_TYPE% %RESPONSE_DURATION% %ROUTE_NAME%", "Normal - -"),
            ("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)%", "Unavailable UNAVAILABLE 14"),
            ("%RESPONSE_CODE_DETAILS% %STREAM_ID% %PATH% %QUERY_PARAMS% %UPSTREAM_CLUSTER%", "- - - - down"),
        ],
    );
    check(&empty(), &[("%UPSTREAM_DETECTED_CLOSE_TYPE% %UPSTREAM_HOST% %RESPONSE_CODE%", "- - 0")]);
}

#[test]
fn hosts_attempted_are_those_that_got_a_connection() {
    let mut cx = proxied();
    cx.info.upstream.host = Some(host("127.0.0.1:18081", "b.test:80"));
    check(
        &cx,
        &[
            ("%UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%", "127.0.0.1"),
            ("%UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT%", "b.test"),
            ("%UPSTREAM_CONNECTION_IDS_ATTEMPTED%", "9"),
        ],
    );
    cx.info.upstream.turn_to(host("127.0.0.2:80", ""));
    check(&cx, &[("%UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_CONNECTION_IDS_ATTEMPTED% %UPSTREAM_HOST%", "- - 127.0.0.2:80")]);
}

#[test]
fn the_default_format_prints_envoys_line() {
    let line = text(&proxied(), DEFAULT_ACCESS_LOG);
    let (stamp, rest) = line.split_at(line.find(']').unwrap_or_default());
    assert_eq!(stamp.len(), "[2026-11-21T04:16:28.720Z".len());
    assert_eq!(
        rest,
        "] \"GET /b/x?a=1%202&b=xyz+w&c=%zz&e HTTP/1.1\" 200 - 0 5 6 5 \"-\" \"curl/7.88.1\" \"abc-1\" \
         \"ex.com:8080\" \"127.0.0.1:18081\"\n"
    );
}

#[test]
fn unknown_values_can_be_left_out() {
    let (format, _) = Format::compile("[%REQ(zz)%] [%RESPONSE_FLAGS%]").unwrap();
    let mut out = Vec::new();
    format.omit_empty().write(&proxied(), &mut out);
    assert_eq!(out, b"[] [-]");
}

/// Recorded from Envoy 1.40.
#[test]
fn bad_formats_are_refused_in_envoys_words() {
    let position =
        |format: &str, at| format!("Incorrect configuration: {format}. Couldn't find valid command at position {at}");
    for (format, at, want) in [
        ("%REQ(x", 0, position("%REQ(x", 0)),
        ("a%", 1, position("a%", 1)),
        ("%%REQ(a)%", 8, position("%%REQ(a)%", 8)),
        ("é %REQ(x", 3, position("é %REQ(x", 3)),
        ("%REQ(a):x%", 0, position("%REQ(a):x%", 0)),
        ("%REQ(a):5", 0, position("%REQ(a):5", 0)),
        ("%req(a)%", 0, position("%req(a)%", 0)),
        ("%REQ(a\nb)%", 0, position("%REQ(a\nb)%", 0)),
        ("%REQ(a):99999999999999999999999%", 0, position("%REQ(a):99999999999999999999999%", 0)),
        ("x %NOPE% y", 2, "Not supported field in StreamInfo: NOPE".into()),
        ("%REQ()%", 0, "REQ requires parameters".into()),
        ("%REQ(a?b?c)%", 0, "More than 1 alternative header specified in token: a?b?c".into()),
        ("%REQ(a b)%", 0, "Invalid header configuration. Format string contains invalid characters.".into()),
        ("%DURATION(x)%", 0, "DURATION does not take any parameters or length".into()),
        ("%DURATION:3%", 0, "DURATION does not take any parameters or length".into()),
        ("%START_TIME():4%", 0, "START_TIME does not allow length to be specified.".into()),
        ("%START_TIME(%%n)%", 0, "Invalid header configuration. Format string contains newline.".into()),
        ("%COMMON_DURATION(DS_RX_BEG)%", 0, "Invalid common duration configuration: DS_RX_BEG.".into()),
        ("%COMMON_DURATION(A:B:x)%", 0, "Invalid common duration precision: x.".into()),
        ("%METADATA(X:a)%", 0, "X is not supported type of metadata".into()),
        ("%FILTER_STATE%", 0, "Invalid filter state configuration, key cannot be empty.".into()),
        ("%PATH(XX)%", 0, "Invalid PATH option: 'XX', only 'WQ'/'NQ' are allowed".into()),
        ("%XFCC_VALUE%", 0, "XFCC_VALUE command requires a subcommand".into()),
        (
            r#"%COALESCE({"operators":["NOPE"]})%"#,
            0,
            "COALESCE: failed to parse operator at index 0: unknown command: 'NOPE'".into(),
        ),
        (
            r#"%COALESCE({"operators":[{"command":"REQ"}]})%"#,
            0,
            "COALESCE: failed to parse operator at index 0: REQ requires parameters".into(),
        ),
    ] {
        match Format::compile(format) {
            Ok(_) => unreachable!("{format} was accepted"),
            Err(error) => assert_eq!((error.message, error.at), (want, at), "{format}"),
        }
    }
}

#[test]
fn odd_formats_are_accepted_where_envoy_accepts_them() {
    for format in ["%REQ(A%B)%", "%DURATION()%", "%CEL(size(request.path))%", "%ENVIRONMENT( )%", "%QUERY_PARAM(a b)%"]
    {
        assert!(Format::compile(format).is_ok(), "{format}");
    }
}

#[test]
fn commands_without_effect_warn_and_say_where() {
    let (_, warnings) = Format::compile("a %DURATION% %CEL(xds.node)%").unwrap();
    assert_eq!(warnings.iter().map(|w| (w.at, w.command)).collect::<Vec<_>>(), [(13, "CEL")]);
    assert!(Format::compile("%DOWNSTREAM_PEER_SUBJECT% %TRACE_ID%").unwrap().1.is_empty());
}

#[test]
fn formatters_add_their_commands() {
    let formatter = |name: &str| Formatter::by_message(&format!("envoy.extensions.formatter.{name}")).unwrap();
    let format = "%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ_WITHOUT_QUERY(:PATH):2%";
    assert!(Format::compile(format).is_err());
    let (compiled, _) = Format::compile_with(format, &[formatter("req_without_query.v3.ReqWithoutQuery")]).unwrap();
    let mut out = Vec::new();
    compiled.write(&proxied(), &mut out);
    assert_eq!(out, b"/b/x /r");
    let (_, warnings) = Format::compile_with("%SECRET(x)%", &[formatter("generic_secret.v3.GenericSecret")]).unwrap();
    assert_eq!(warnings[0].command, "SECRET");
}

#[test]
fn json_keeps_types_and_sorts_properties() {
    let s = |text: &str| JsonTemplate::String(text.to_owned());
    let template = JsonTemplate::Object(vec![
        ("status".into(), s("%RESPONSE_CODE%")),
        (
            "a".into(),
            JsonTemplate::Array(vec![s("%REQ(zz)%"), JsonTemplate::Number(3.0), JsonTemplate::Null, s("lit")]),
        ),
        ("mix".into(), s("%REQ(zz)%-%BYTES_SENT%")),
        ("raw".into(), s("%REQ(x-raw)%")),
        ("co".into(), s(r#"%COALESCE({"operators":["TRACE_ID","RESPONSE_CODE"]})%"#)),
        ("o".into(), JsonTemplate::Object(vec![("m".into(), s("%REQ(zz)%"))])),
        ("q\"".into(), s("")),
        ("yes".into(), JsonTemplate::Bool(true)),
    ]);
    for (omit_empty, want) in [
        (
            false,
            r#"{"a":[null,3,null,"lit"],"co":200,"mix":"--5","o":{"m":null},"q\"":"","raw":"\u00e9 \u0022q\u0022","status":200,"yes":true}"#,
        ),
        (true, r#"{"a":[3,"lit"],"co":200,"mix":"-5","q\"":"","raw":"\u00e9 \u0022q\u0022","status":200,"yes":true}"#),
    ] {
        let (format, _) = JsonFormat::compile(&template, omit_empty).unwrap();
        let mut out = Vec::new();
        format.write(&proxied(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), want);
    }
}

#[test]
fn json_errors_and_warnings_carry_their_path() {
    let template = |text: &str| {
        JsonTemplate::Object(vec![("a".into(), JsonTemplate::Array(vec![JsonTemplate::String(text.into())]))])
    };
    let error = JsonFormat::compile(&template("%NOPE%"), false).unwrap_err();
    assert_eq!((error.path.as_str(), error.error.at), ("a[0]", 0));
    let (_, warnings) = JsonFormat::compile(&template("%CEL(xds.node.id)%"), false).unwrap();
    assert_eq!(warnings[0].0, "a[0]");
}

#[test]
fn a_running_exchange_has_lasted_until_now() {
    let mut cx = empty();
    cx.info.start = Time::now();
    assert_eq!(text(&cx, "%DURATION%"), "0");
}
