//! Behaviours of the filter engine, each with the smallest filters that show it.

use super::chain::{Chain, Installed};
use super::engine::{Dir, Ends, Engine, Piece, Verdict};
use nuncio_core::{ConnInfo, Hold, HttpFilter, LocalReply, Phases, Step, StreamCx, Worker};
use nuncio_rt::{Address, Buf, Time};
use nuncio_stats::Lane;
use std::{
    cell::Cell,
    future::poll_fn,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

fn stream() -> StreamCx {
    let nowhere = || Address::Pipe(PathBuf::new());
    let conn = ConnInfo {
        id: 1,
        start: Time::default(),
        direct_remote: nowhere(),
        remote: nowhere(),
        local: nowhere(),
        listener: "test".into(),
        filter_chain: "".into(),
        server_name: None,
        tls: false,
        client_certificate: Default::default(),
        tls_facts: None,
        transport_failure: Default::default(),
        fingerprints: None,
        attached: Default::default(),
    };
    StreamCx::new(Worker::new(0, Lane::worker(0)), Rc::new(conn))
}

/// What left the lanes, in short: `H.` a head that ends, `Dab` data, `T` trailers.
#[derive(Default)]
struct Log {
    up: Vec<String>,
    down: Vec<String>,
}

fn show(piece: &Piece) -> String {
    let end = |end: bool| if end { "." } else { "" };
    match piece {
        Piece::Head { end: e } => format!("H{}", end(*e)),
        Piece::Data { bytes, end: e } => format!("D{}{}", String::from_utf8_lossy(bytes.filled()), end(*e)),
        Piece::Trailers => "T.".into(),
    }
}

impl Ends for Log {
    fn to_upstream(&mut self, _: &mut StreamCx, piece: Piece) {
        self.up.push(show(&piece));
    }
    fn to_client(&mut self, _: &mut StreamCx, piece: Piece) {
        self.down.push(show(&piece));
    }
}

struct Run {
    cx: StreamCx,
    engine: Engine,
    log: Log,
}

impl Run {
    fn new(filters: Vec<Arc<dyn HttpFilter>>) -> Run {
        let installed = filters.into_iter().map(|filter| Installed { name: "f".into(), filter, disabled: false }).collect();
        let mut engine = Engine::default();
        engine.begin(Rc::new(Chain::new(installed)), 8);
        Run { cx: stream(), engine, log: Log::default() }
    }
    fn send(&mut self, dir: Dir, piece: Piece) -> &mut Run {
        self.engine.arrive(&mut self.cx, &mut self.log, dir, piece);
        self
    }
    fn head(&mut self, end: bool) -> &mut Run {
        self.send(Dir::Request, Piece::Head { end })
    }
    fn data(&mut self, text: &str, end: bool) -> &mut Run {
        self.send(Dir::Request, Piece::Data { bytes: Buf::copy_of(text.as_bytes()), end })
    }
    fn wait(&mut self) -> bool {
        self.wait_with([true; 2])
    }
    fn wait_with(&mut self, room: [bool; 2]) -> bool {
        self.engine.poll_answers(&mut Context::from_waker(Waker::noop()), &mut self.cx, &mut self.log, room)
    }
    fn verdict(&mut self) -> Option<String> {
        self.engine.take_verdict().map(|v| match v {
            Verdict::Reply(reply) => format!("{} {}", reply.status, reply.details),
            Verdict::Reset => "reset".into(),
        })
    }
}

const REQUEST: Phases = Phases::REQUEST_HEADERS.and(Phases::REQUEST_DATA).and(Phases::REQUEST_TRAILERS);

#[derive(Debug)]
struct Note(Arc<Mutex<Vec<&'static str>>>, &'static str);
impl HttpFilter for Note {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::RESPONSE_HEADERS)
    }
    fn request_headers(&self, _: &mut StreamCx, _: bool) -> Step {
        self.0.lock().expect("test lock").push(self.1);
        Step::Continue
    }
    fn response_headers(&self, _: &mut StreamCx, _: bool) -> Step {
        self.0.lock().expect("test lock").push(self.1);
        Step::Continue
    }
}

/// Holds everything until the request is whole.
#[derive(Debug)]
struct Whole;
impl HttpFilter for Whole {
    fn phases(&self) -> Phases {
        REQUEST
    }
    fn request_headers(&self, _: &mut StreamCx, end: bool) -> Step {
        if end { Step::Continue } else { Step::Hold(Hold::Buffer) }
    }
    fn request_data(&self, _: &mut StreamCx, _: &mut Buf, end: bool) -> Step {
        if end { Step::Continue } else { Step::Hold(Hold::Buffer) }
    }
}

/// Sees data only, and shouts it.
#[derive(Debug)]
struct Upper;
impl HttpFilter for Upper {
    fn phases(&self) -> Phases {
        Phases::REQUEST_DATA
    }
    fn request_data(&self, _: &mut StreamCx, data: &mut Buf, _: bool) -> Step {
        data.filled_mut().make_ascii_uppercase();
        Step::Continue
    }
}

thread_local! { static ANSWER: Cell<Option<bool>> = const { Cell::new(None) }; }

/// Waits for [`ANSWER`], then lets the request on or refuses it.
#[derive(Debug)]
struct Ask;
impl HttpFilter for Ask {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }
    fn request_headers(&self, _: &mut StreamCx, _: bool) -> Step {
        Step::wait(async {
            let allowed = poll_fn(|_| ANSWER.get().map_or(Poll::Pending, Poll::Ready)).await;
            move |_: &mut StreamCx| if allowed { Step::Continue } else { Step::reply(LocalReply::new(403, "denied")) }
        })
    }
}

#[test]
fn requests_run_forwards_and_responses_backwards() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut run = Run::new(vec![Arc::new(Note(seen.clone(), "a")), Arc::new(Note(seen.clone(), "b"))]);
    run.head(true).send(Dir::Response, Piece::Head { end: true });
    assert_eq!(*seen.lock().expect("test lock"), ["a", "b", "b", "a"]);
    assert_eq!((run.log.up, run.log.down), (vec!["H.".to_owned()], vec!["H.".to_owned()]));
}

#[test]
fn a_held_head_goes_before_the_data_that_frees_it() {
    let mut run = Run::new(vec![Arc::new(Whole), Arc::new(Upper)]);
    run.head(false).data("ab", false);
    assert!(run.log.up.is_empty());
    run.data("cd", true);
    assert_eq!(run.log.up, ["H", "DAB", "DCD."]);
}

#[test]
fn a_body_that_outgrows_the_limit_is_answered_413() {
    let mut run = Run::new(vec![Arc::new(Whole)]);
    run.head(false).data("12345", false).data("6789", false);
    assert_eq!(run.verdict().as_deref(), Some("413 request_payload_too_large"));
    assert!(run.log.up.is_empty());
}

#[test]
fn a_route_may_allow_larger_request_bodies() {
    let mut run = Run::new(vec![Arc::new(Whole)]);
    run.engine.allow_request_bytes(9);
    run.head(false).data("12345", false).data("6789", false);
    assert_eq!(run.verdict(), None);
    run.data("0", false);
    assert_eq!(run.verdict().as_deref(), Some("413 request_payload_too_large"));
}

#[test]
fn data_waits_behind_an_answer_and_is_then_shown_to_later_filters() {
    ANSWER.set(None);
    let mut run = Run::new(vec![Arc::new(Ask), Arc::new(Upper)]);
    run.head(false).data("ab", true);
    assert!(!run.wait() && run.log.up.is_empty());
    ANSWER.set(Some(true));
    assert!(run.wait());
    assert_eq!(run.log.up, ["H", "DAB."]);
}

#[test]
fn after_a_refusal_nothing_of_the_request_goes_on() {
    ANSWER.set(Some(false));
    let mut run = Run::new(vec![Arc::new(Ask)]);
    run.head(false).data("ab", true);
    assert!(run.wait());
    assert_eq!(run.verdict().as_deref(), Some("403 denied"));
    run.engine.close_request();
    run.send(Dir::Request, Piece::Trailers);
    assert!(run.log.up.is_empty());
}

#[test]
fn two_filters_may_hold_at_once_without_mixing_their_data() {
    ANSWER.set(None);
    let mut run = Run::new(vec![Arc::new(Whole), Arc::new(Ask), Arc::new(Upper)]);
    run.head(false).data("ab", false).data("cd", true);
    assert!(run.log.up.is_empty());
    ANSWER.set(Some(true));
    run.wait();
    assert_eq!(run.log.up, ["H", "DAB", "DCD."]);
}

#[test]
fn a_response_passes_while_the_request_is_held() {
    let mut run = Run::new(vec![Arc::new(Whole)]);
    run.head(false).send(Dir::Response, Piece::Head { end: true });
    assert_eq!(run.log.down, ["H."]);
}

#[test]
fn a_filter_that_did_not_ask_for_a_piece_is_not_shown_it() {
    let mut run = Run::new(vec![Arc::new(Upper)]);
    run.head(false).send(Dir::Request, Piece::Trailers);
    assert_eq!(run.log.up, ["H", "T."]);
}

#[test]
fn a_waiting_filter_asks_its_peer_to_pause_once_enough_has_queued_up() {
    ANSWER.set(None);
    let mut run = Run::new(vec![Arc::new(Ask)]);
    run.head(false).data("1234", false);
    assert!(!run.engine.is_full(Dir::Request));
    run.data("5678", false);
    assert!(run.engine.is_full(Dir::Request));
}

/// Adds to messages, one way for each kind of piece.
#[derive(Debug)]
struct More(bool);
impl HttpFilter for More {
    fn phases(&self) -> Phases {
        REQUEST
    }
    fn request_headers(&self, _: &mut StreamCx, end: bool) -> Step {
        match (self.0, end) {
            (true, _) => Step::Hold(Hold::Discard),
            (false, true) => Step::Add(Buf::copy_of(b"new")),
            (false, false) => Step::Continue,
        }
    }
    fn request_data(&self, _: &mut StreamCx, _: &mut Buf, end: bool) -> Step {
        match (self.0, end) {
            (true, false) => Step::Hold(Hold::Discard),
            (true, true) => Step::Add(Buf::copy_of(b"all")),
            (false, true) => Step::AddTrailers(None),
            (false, false) => Step::Continue,
        }
    }
    fn request_trailers(&self, _: &mut StreamCx) -> Step {
        if self.0 { Step::Add(Buf::copy_of(b"all")) } else { Step::EndWith(Buf::copy_of(b"end")) }
    }
}

#[test]
fn filters_add_to_messages_and_change_how_they_end() {
    let sent = |held: bool, pieces: &mut dyn FnMut(&mut Run)| {
        let mut run = Run::new(vec![Arc::new(More(held)), Arc::new(Upper)]);
        pieces(&mut run);
        run.log.up.join(" ")
    };
    assert_eq!(sent(false, &mut |run| { run.head(true); }), "H DNEW.");
    assert_eq!(sent(false, &mut |run| { run.head(false).data("a", false).data("b", true); }), "H DA DB T.");
    assert_eq!(sent(false, &mut |run| { run.head(false).data("a", false).send(Dir::Request, Piece::Trailers); }), "H DA DEND.");
    assert_eq!(sent(true, &mut |run| { run.head(false).data("a", false).data("b", true); }), "H DALL DB.");
    assert_eq!(sent(true, &mut |run| { run.head(false).data("a", false).send(Dir::Request, Piece::Trailers); }), "H DALL T.");
}

/// Sends the request's body to somebody beside the stream, who answers later, with more or less: pieces go out and come in
/// at the same time (what processors beside the proxy do).
#[derive(Debug, Default)]
struct Duplex(Arc<Mutex<Beside>>);

#[derive(Debug, Default)]
struct Beside {
    sent: Vec<String>,
    answers: Vec<(&'static str, bool)>,
    pumping: bool,
    trailers: bool,
}

impl Duplex {
    fn next(beside: Arc<Mutex<Beside>>) -> nuncio_core::Pending {
        Box::pin(async move {
            let (text, end) = poll_fn(|_| {
                let answers = &mut beside.lock().expect("test lock").answers;
                if answers.is_empty() { Poll::Pending } else { Poll::Ready(answers.remove(0)) }
            })
            .await;
            Box::new(move |_: &mut StreamCx| match (text, end) {
                ("", true) if beside.lock().expect("test lock").trailers => Step::Continue,
                (_, true) => Step::Emit(Buf::copy_of(text.as_bytes()), true, None),
                _ => Step::Emit(Buf::copy_of(text.as_bytes()), false, Some(Duplex::next(beside))),
            }) as nuncio_core::Apply
        })
    }
}

impl HttpFilter for Duplex {
    fn phases(&self) -> Phases {
        REQUEST
    }
    fn request_data(&self, _: &mut StreamCx, data: &mut Buf, _: bool) -> Step {
        let mut beside = self.0.lock().expect("test lock");
        beside.sent.push(String::from_utf8_lossy(data.filled()).into_owned());
        if std::mem::replace(&mut beside.pumping, true) { Step::Hold(Hold::Discard) } else { Step::Pump(Duplex::next(self.0.clone())) }
    }
    fn request_trailers(&self, _: &mut StreamCx) -> Step {
        self.0.lock().expect("test lock").trailers = true;
        Step::Hold(Hold::Watermark)
    }
}

#[test]
fn a_body_goes_beside_the_stream_while_another_comes_back() {
    let beside = Arc::new(Mutex::new(Beside::default()));
    let mut run = Run::new(vec![Arc::new(Duplex(beside.clone())), Arc::new(Upper)]);
    run.head(false).data("a", false).data("b", false);
    assert_eq!(beside.lock().expect("test lock").sent, ["a", "b"], "both, before anything came back");
    assert!(!run.wait());
    beside.lock().expect("test lock").answers = vec![("x", false), ("yz", false)];
    assert!(!run.wait_with([false, true]), "not where nobody takes it");
    while run.wait() {}
    assert_eq!(run.log.up, ["H", "DX", "DYZ"]);
    run.data("c", true);
    assert!(!run.wait());
    assert_eq!(run.log.up.len(), 3, "the request's end is not the other body's end");
    beside.lock().expect("test lock").answers = vec![("w", false), ("", true)];
    while run.wait() {}
    assert_eq!(run.log.up, ["H", "DX", "DYZ", "DW", "D."]);
}

#[test]
fn trailers_come_behind_the_other_body() {
    let beside = Arc::new(Mutex::new(Beside::default()));
    let mut run = Run::new(vec![Arc::new(Duplex(beside.clone()))]);
    run.head(false).data("a", false).send(Dir::Request, Piece::Trailers);
    beside.lock().expect("test lock").answers = vec![("x", false), ("", true)];
    while run.wait() {}
    assert_eq!(run.log.up, ["H", "Dx", "T."]);
}

/// Answers from a stored body, piece by piece, as the client takes it.
#[derive(Debug)]
struct Stored(&'static [&'static str]);

impl Stored {
    fn from(pieces: &'static [&'static str]) -> nuncio_core::Pending {
        Box::pin(async move {
            Box::new(move |_: &mut StreamCx| {
                let (first, rest) = pieces.split_first().expect("a piece is left");
                Step::Emit(Buf::copy_of(first.as_bytes()), rest.is_empty(), (!rest.is_empty()).then(|| Stored::from(rest)))
            }) as nuncio_core::Apply
        })
    }
}

impl HttpFilter for Stored {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS.and(Phases::RESPONSE_DATA)
    }
    fn request_headers(&self, _: &mut StreamCx, _: bool) -> Step {
        Step::reply(LocalReply::new(200, "stored").body("-"))
    }
    fn response_data(&self, _: &mut StreamCx, _: &mut Buf, _: bool) -> Step {
        Step::Pump(Stored::from(self.0))
    }
}

#[test]
fn a_stored_body_goes_out_as_the_client_takes_it() {
    let mut run = Run::new(vec![Arc::new(Stored(&["one", "two", "three"]))]);
    run.head(true);
    assert_eq!(run.verdict().as_deref(), Some("200 stored"));
    run.send(Dir::Response, Piece::Head { end: false });
    run.send(Dir::Response, Piece::Data { bytes: Buf::copy_of(b"-"), end: true });
    assert_eq!(run.log.down, ["H"]);
    assert!(run.wait());
    assert!(!run.wait_with([true, false]), "the client takes no more for now");
    assert_eq!(run.log.down, ["H", "Done"]);
    while run.wait() {}
    assert_eq!(run.log.down, ["H", "Done", "Dtwo", "Dthree."]);
}
