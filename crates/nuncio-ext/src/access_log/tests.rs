use super::*;
use nuncio_api::envoy::{
    config::core::v3::{SubstitutionFormatString, substitution_format_string},
    extensions::access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat},
};
use nuncio_core::{AccessLogCx, AccessLogger, ConnInfo, FilterConfig, LogFiles, StreamCx, Worker};
use nuncio_stats::{CounterId, Lane, Store, tables::filesystem};
use prost::Message;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

const WRITER: Lane = Lane(2);
const LIMIT: Duration = Duration::from_secs(10);

fn never() -> FlushOptions {
    FlushOptions { interval: Duration::from_secs(3600), ..FlushOptions::default() }
}

/// A directory of its own for a test; gone when dropped.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("nuncio-access-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn count(store: &Arc<Store>, id: CounterId) -> u64 {
    store.scope("filesystem.", &filesystem::FILESYSTEM).counter(id)
}

fn buffered(store: &Arc<Store>) -> u64 {
    store.scope("filesystem.", &filesystem::FILESYSTEM).gauge(filesystem::WRITE_TOTAL_BUFFERED)
}

/// Waits for something another thread does soon.
fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn lines_wait_for_a_flush_and_are_counted() {
    let (dir, store) = (Dir::new("flush"), Store::new(3));
    let files = BackgroundFiles::new(&store, WRITER, never());
    let path = dir.file("a.log");
    let sink = files.file(&path);
    assert!(!PathBuf::from(&path).exists(), "building opens nothing");
    files.open_pending().unwrap();
    sink.write(Lane(1), b"one\n");
    sink.write(Lane(0), b"two\n");
    assert_eq!((count(&store, filesystem::WRITE_BUFFERED), buffered(&store)), (2, 8));
    files.flush(LIMIT);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\none\n", "one ring per thread, each in order");
    assert_eq!((count(&store, filesystem::WRITE_COMPLETED), buffered(&store)), (1, 0));
}

#[test]
fn the_timer_and_a_full_ring_flush_too() {
    let (dir, store) = (Dir::new("timer"), Store::new(3));
    let options = FlushOptions { interval: Duration::from_millis(5), ..FlushOptions::default() };
    let files = BackgroundFiles::new(&store, WRITER, options);
    let path = dir.file("a.log");
    let sink = files.file(&path);
    files.open_pending().unwrap();
    sink.write(Lane(1), b"by timer\n");
    until("the timer writes", || std::fs::read(&path).is_ok_and(|text| text == b"by timer\n"));
    assert!(count(&store, filesystem::FLUSHED_BY_TIMER) > 0);

    let files = BackgroundFiles::new(&Store::new(3), WRITER, FlushOptions { min_bytes: 100, ..never() });
    let path = dir.file("b.log");
    let sink = files.file(&path);
    files.open_pending().unwrap();
    sink.write(Lane(1), &[b'x'; 200]);
    until("a full ring writes", || std::fs::read(&path).is_ok_and(|text| text.len() == 200));
}

#[test]
fn rotation_moves_on_to_a_new_file_and_loses_nothing() {
    let (dir, store) = (Dir::new("rotate"), Store::new(3));
    let files = BackgroundFiles::new(&store, WRITER, never());
    let path = dir.file("a.log");
    let sink = files.file(&path);
    files.open_pending().unwrap();
    sink.write(Lane(1), b"old\n");
    std::fs::rename(&path, dir.file("a.log.1")).unwrap();
    files.reopen();
    files.flush(LIMIT);
    sink.write(Lane(1), b"new\n");
    files.flush(LIMIT);
    assert_eq!(std::fs::read_to_string(dir.file("a.log.1")).unwrap(), "old\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
}

#[test]
fn a_file_that_cannot_be_reopened_goes_on_as_it_is() {
    let (dir, store) = (Dir::new("reopen"), Store::new(3));
    let files = BackgroundFiles::new(&store, WRITER, never());
    std::fs::create_dir(dir.file("sub")).unwrap();
    let path = dir.file("sub/a.log");
    let sink = files.file(&path);
    files.open_pending().unwrap();
    std::fs::rename(dir.file("sub"), dir.file("moved")).unwrap();
    files.reopen();
    sink.write(Lane(1), b"kept\n");
    files.flush(LIMIT);
    assert_eq!(count(&store, filesystem::REOPEN_FAILED), 1);
    assert_eq!(std::fs::read_to_string(dir.file("moved/a.log")).unwrap(), "kept\n");
}

#[test]
fn a_file_that_cannot_be_opened_is_refused_when_starting() {
    let files = BackgroundFiles::new(&Store::new(3), WRITER, never());
    let _sink = files.file("/no/such/directory/a.log");
    let errors = files.open_pending().unwrap_err();
    assert_eq!(errors[0].path, "/no/such/directory/a.log");
    assert!(files.open_pending().is_ok(), "it is forgotten");
}

#[test]
fn a_stalled_disk_drops_lines_and_blocks_nobody() {
    let (dir, store) = (Dir::new("stall"), Store::new(3));
    let path = dir.file("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // A reader that never reads, so that the pipe opens and then stalls.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let files = BackgroundFiles::new(&store, WRITER, FlushOptions { min_bytes: 1, ..never() });
    let sink = files.file(&path);
    files.open_pending().unwrap();
    let start = Instant::now();
    for _ in 0..3_000 {
        sink.write(Lane(1), &[b'x'; 1000]);
    }
    assert!(start.elapsed() < LIMIT);
    assert!(count(&store, filesystem::WRITE_DROPPED) > 1_000);
    drop(reader);
}

#[test]
fn one_path_is_one_file_and_it_closes_with_its_last_user() {
    let (dir, store) = (Dir::new("share"), Store::new(3));
    let files = BackgroundFiles::new(&store, WRITER, FlushOptions { interval: Duration::from_millis(1), ..never() });
    let path = dir.file("a.log");
    let (one, two) = (files.file(&path), files.file(&path));
    assert!(Arc::ptr_eq(&one, &two));
    files.open_pending().unwrap();
    one.write(Lane(1), b"last words\n");
    drop((one, two));
    let open = |path: &str| {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == *path))
    };
    until("the file is closed", || !open(&path));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "last words\n");
}

fn exchange() -> StreamCx {
    let address = nuncio_rt::Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 80)));
    let conn = ConnInfo {
        id: 1,
        start: nuncio_rt::Time::ORIGIN,
        direct_remote: address.clone(),
        remote: address.clone(),
        local: address,
        listener: Arc::from(""),
        filter_chain: Arc::from(""),
        server_name: None,
        tls: false,
        client_certificate: Default::default(),
        tls_facts: None,
        transport_failure: Default::default(),
        fingerprints: None,
        attached: Default::default(),
    };
    let mut stream = StreamCx::new(Worker::new(0, Lane(1)), Rc::new(conn));
    stream.info.status = 200;
    stream
}

fn build(config: &FileAccessLog, files: &BackgroundFiles) -> Result<(Arc<dyn AccessLogger>, usize), String> {
    let value = config.encode_to_vec();
    let stats = nuncio_stats::Store::new(1);
    let mut cx = AccessLogCx::new(files, &stats);
    let logger = (FILE.build)(FilterConfig { type_url: FILE.message, value: &value }, &mut cx)
        .map_err(|error| error.to_string())?;
    Ok((logger, cx.warnings.len()))
}

fn text(format: &str) -> Option<AccessLogFormat> {
    #[allow(deprecated, reason = "the shortest form")]
    Some(AccessLogFormat::LogFormat(SubstitutionFormatString {
        format: Some(substitution_format_string::Format::TextFormat(format.to_owned())),
        ..SubstitutionFormatString::default()
    }))
}

#[test]
fn a_logger_writes_the_exchange_in_its_format() {
    let dir = Dir::new("logger");
    let files = BackgroundFiles::new(&Store::new(3), WRITER, never());
    let path = dir.file("a.log");
    for format in [text("%RESPONSE_CODE% %CEL(xds.node)%\n"), None] {
        let warned = usize::from(format.is_some());
        let (logger, warnings) =
            build(&FileAccessLog { path: path.clone(), access_log_format: format }, &files).unwrap();
        assert_eq!(warnings, warned);
        files.open_pending().unwrap();
        logger.log(&exchange());
        files.flush(LIMIT);
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let (first, second) = written.split_once('\n').unwrap();
    assert_eq!(first, "200 -");
    assert!(second.contains("] \"- - HTTP/1.1\" 200 - 0 0 "), "{second}");
}

#[test]
fn a_bad_format_names_its_field() {
    let files = BackgroundFiles::new(&Store::new(3), WRITER, never());
    let error = build(&FileAccessLog { path: "/x".into(), access_log_format: text("%NOPE%") }, &files).unwrap_err();
    assert_eq!(error, "log_format.text_format: Not supported field in StreamInfo: NOPE");
}

#[test]
fn a_pipe_that_nobody_reads_and_a_full_disk_hold_nobody_up() {
    let dir = Dir::new("pipe");
    let (pipe, plain) = (dir.file("pipe"), dir.file("plain"));
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()));
    let store = Store::new(3);
    let options = FlushOptions { interval: Duration::from_millis(5), ..FlushOptions::default() };
    let files = BackgroundFiles::new(&store, WRITER, options);
    let (stalled, full, good) = (files.file(&pipe), files.file("/dev/full"), files.file(&plain));
    files.open_pending().unwrap();
    let line = [[b'x'; 999].as_slice(), b"\n"].concat();
    for _ in 0..3000 {
        stalled.write(Lane(0), &line);
    }
    assert!(count(&store, filesystem::WRITE_DROPPED) > 0, "a ring holds a thousand such lines, a pipe 64");
    full.write(Lane(0), b"lost\n");
    good.write(Lane(1), b"kept\n");
    until("the other file is written", || std::fs::read(&plain).is_ok_and(|text| text == b"kept\n"));
    until("the full disk is counted", || count(&store, filesystem::WRITE_FAILED) > 0);
    // Once somebody reads, whole lines come out.
    let reader = std::thread::spawn(move || {
        let mut text = vec![0; 500_000];
        std::io::Read::read_exact(&mut std::fs::File::open(pipe).unwrap(), &mut text).unwrap();
        text
    });
    let text = reader.join().unwrap();
    assert!(text.chunks_exact(1000).all(|read| read == line));
}
