use super::*;
use nuncio_core::logging::Level;
use std::time::Duration;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn run(line: &str) -> Options {
    match parse(&words(line), false) {
        Ok(Invocation::Run(options)) => *options,
        other => unreachable!("{line}: {other:?}"),
    }
}

#[test]
fn values_stand_beside_or_behind_an_equals_sign() {
    for line in ["-c a.yaml --concurrency 2 -l debug", "--config-path=a.yaml --concurrency=2 --log-level=debug"] {
        let options = run(line);
        assert_eq!((options.config_path.as_str(), options.workers(), options.log_level), ("a.yaml", 2, Level::Debug));
    }
    assert_eq!(run("--log-format [%l]=%v").log_format.as_deref(), Some("[%l]=%v"));
    assert_eq!(run("--service-node= --service-zone z").service_zone, "z");
}

#[test]
fn defaults_are_envoys() {
    let options = run("");
    assert_eq!(options.drain_time, Duration::from_secs(600));
    assert_eq!(options.parent_shutdown_time, Duration::from_secs(900));
    assert_eq!(options.file_flush_interval, Duration::from_secs(10));
    assert_eq!((options.mode, options.log_level), (Mode::Serve, Level::Info));
    assert_eq!(options.socket_path, "@envoy_domain_socket");
    assert_eq!(run("--concurrency 0").workers(), 1);
}

#[test]
fn flags_do_what_they_say() {
    let options =
        run("--mode validate --component-log-level upstream:debug,config:warn --stats-tag a:b --stats-tag c:d:e \
         --drain-strategy immediate --socket-mode 640 --local-address-ip-version v6 --drain-time-s 5 \
         --file-flush-interval-msec 50 --allow-unknown-fields --disable-extensions a,b");
    assert_eq!(options.mode, Mode::Validate);
    assert_eq!(
        options.component_levels,
        [("upstream".to_owned(), Level::Debug), ("config".to_owned(), Level::Warning)]
    );
    assert_eq!(options.stats_tags, [("a".into(), "b".into()), ("c".into(), "d:e".into())]);
    assert_eq!((options.drain_strategy, options.socket_mode), (DrainStrategy::Immediate, 0o640));
    assert_eq!(options.local_address_ip_version, IpVersion::V6);
    assert_eq!((options.drain_time, options.file_flush_interval), (Duration::from_secs(5), Duration::from_millis(50)));
    assert!(options.allow_unknown_static_fields);
    assert_eq!(options.without_effect.len(), 2, "--socket-mode and --disable-extensions");
}

#[test]
fn what_follows_two_dashes_is_ignored() {
    assert_eq!(run("-c a.yaml -- --nope").config_path, "a.yaml");
}

#[test]
fn parity_is_strict() {
    let Ok(Invocation::Run(options)) = parse(&[], true) else { unreachable!("it runs") };
    assert!(options.parity && options.strict);
}

#[test]
fn mistakes_say_what_was_meant() {
    for (line, want) in [
        ("--concurency 2", "error: unknown flag --concurency\n  did you mean --concurrency?"),
        ("--log_path x", "error: unknown flag --log_path\n  did you mean --log-path?"),
        ("--conc 1", "error: unknown flag --conc\n  did you mean --concurrency?"),
        ("--zzz", "error: unknown flag --zzz\n  `nuncio --help` lists all flags"),
        ("-x", "error: unknown flag -x\n  `nuncio --help` lists all flags"),
        (
            "-c a b.yaml",
            "error: unknown flag b.yaml\n  flags begin with --; a configuration file is given with -c FILE",
        ),
        ("--concurrency abc", "error: --concurrency takes a whole number from 0 to 4294967295, not 'abc'"),
        ("--concurrency -1", "error: --concurrency takes a whole number from 0 to 4294967295, not '-1'"),
        ("--drain-time-s 1.5", "error: --drain-time-s takes a whole number from 0 to 4294967295, not '1.5'"),
        ("--service-node", "error: --service-node needs a value\n  --service-node NAME   Node ID"),
        ("-c a -c b", "error: --config-path is given more than once"),
        ("--enable-core-dump=1", "error: --enable-core-dump takes no value"),
        (
            "-l bogus",
            "error: invalid log level specified 'bogus': expected one of trace, debug, info, warning, error, critical, off",
        ),
        (
            "--component-log-level upsteam:debug",
            "error: invalid component specified 'upsteam': did you mean 'upstream'?",
        ),
        (
            "--component-log-level upstream",
            "error: component log level not correctly specified 'upstream': expected component:level",
        ),
        ("--mode foo", "error: unknown mode 'foo': expected serve, validate or init_only"),
        ("--drain-strategy foo", "error: unknown drain-strategy 'foo': expected gradual or immediate"),
        ("--stats-tag foo", "error: misformatted stats-tag 'foo': expected name:value"),
        ("--stats-tag a.b:c", "error: misformatted stats-tag 'a.b:c' contains invalid char in 'a.b'"),
        ("--restart-epoch 1 --use-dynamic-base-id", "error: cannot use --restart-epoch=1 with --use-dynamic-base-id"),
        (
            "--enable-fine-grain-logging --component-log-level upstream:debug",
            "error: --component-log-level will not work with --enable-fine-grain-logging",
        ),
        ("chek a.yaml", "error: unknown command chek\n  did you mean `nuncio check`?"),
        (
            "a.yaml",
            "error: unknown command a.yaml\n  to run this file: nuncio -c a.yaml; to judge it: nuncio check a.yaml",
        ),
        ("check", "error: no file to check\n  usage: nuncio check FILE… [--format text|json] [--fix] [--strict]"),
        (
            "check --fromat json a",
            "error: unexpected --fromat\n  usage: nuncio check FILE… [--format text|json] [--fix] [--strict]",
        ),
        ("explain-code", "error: one code is needed\n  usage: nuncio explain-code CODE"),
    ] {
        match parse(&words(line), false) {
            Err(error) => assert_eq!(error.to_string(), want, "{line}"),
            Ok(other) => unreachable!("{line}: {other:?}"),
        }
    }
}

#[test]
fn commands_take_their_words() {
    let parsed = |line: &str| parse(&words(line), false).unwrap();
    assert_eq!(
        parsed("check a.yaml --format=json --fix b.yaml"),
        Invocation::Check(CheckArgs {
            files: vec!["a.yaml".into(), "b.yaml".into()],
            format: CheckFormat::Json,
            fix: true,
            strict: false
        })
    );
    assert_eq!(parsed("demo --write x"), Invocation::Demo(DemoArgs { write: Some("x".into()) }));
    assert_eq!(parsed("reload --pid 7"), Invocation::Reload(ReloadArgs { pid: Some(7), admin: None }));
    assert_eq!(parsed("explain-code nun0103"), Invocation::ExplainCode("NUN0103".into()));
    assert_eq!(parsed("version"), parsed("--version"));
    assert_eq!(parsed("--hot-restart-version"), Invocation::Version("11.104".into()));
}

#[test]
fn help_is_answered_whatever_else_is_wrong_and_fits_a_screen() {
    let Ok(Invocation::Help(text)) = parse(&words("--help --nope"), false) else { unreachable!("help is help") };
    for line in text.lines() {
        assert!(line.chars().count() <= 160, "{line}");
    }
    assert!(text.contains("-c, --config-path PATH") && text.contains("explain-code"));
    assert!(parse(&words("help check"), false).is_ok() && parse(&words("check --help"), false).is_ok());
}
