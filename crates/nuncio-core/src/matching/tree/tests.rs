//! What leads where, and what waits.

use super::*;
use crate::matching::{Cidr, Fold, TextMatch};
use nuncio_codec::headers::{HeaderMap, HeaderName};
use nuncio_rt::Address;

fn header(name: &str) -> Input {
    Input::RequestHeader(HeaderName::new(name).expect("valid"))
}

fn is(input: Input, text: &str) -> Predicate {
    Predicate::Single(input, Test::Text(TextMatch::Exact(Fold::exact(text))))
}

fn list(entries: Vec<(Predicate, OnMatch<u32>)>, otherwise: Option<OnMatch<u32>>) -> MatchTree<u32> {
    MatchTree { choice: Choice::List(entries.into()), otherwise }
}

fn head(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

fn find(tree: &MatchTree<u32>, head: &HeaderMap) -> Option<u32> {
    tree.find(&Facts { request: Some(head), ..Facts::default() }).action().copied()
}

fn tree(tree: MatchTree<u32>) -> OnMatch<u32> {
    OnMatch { keep_matching: false, then: Then::Tree(Box::new(tree)) }
}

#[test]
fn the_first_match_that_leads_somewhere_is_taken() {
    let nowhere = tree(list(vec![(is(header("x-b"), "1"), OnMatch::action(1))], None));
    let kept = OnMatch { keep_matching: true, then: Then::Action(9) };
    let entries = vec![(is(header("x-a"), "1"), kept), (is(header("x-a"), "1"), nowhere), (is(header("x-a"), "1"), OnMatch::action(2))];
    let asked = list(entries, Some(OnMatch::action(3)));
    assert_eq!(find(&asked, &head(&[("x-a", "1"), ("x-b", "1")])), Some(1));
    assert_eq!(find(&asked, &head(&[("x-a", "1")])), Some(2));
    assert_eq!(find(&asked, &head(&[])), Some(3));
}

#[test]
fn the_longest_prefix_that_leads_somewhere_is_taken() {
    let nowhere = tree(list(vec![(is(header("x-b"), "1"), OnMatch::action(1))], None));
    let map = [(&b"/a"[..], OnMatch::action(2)), (b"/a/b", nowhere), (b"/", OnMatch::action(4))].map(|(prefix, to)| (prefix.into(), to));
    let asked = MatchTree { choice: Choice::Prefix(header(":path"), PrefixMap::new(map.into())), otherwise: Some(OnMatch::action(3)) };
    assert_eq!(find(&asked, &head(&[(":path", "/a/b"), ("x-b", "1")])), Some(1));
    assert_eq!(find(&asked, &head(&[(":path", "/a/b")])), Some(2));
    assert_eq!(find(&asked, &head(&[(":path", "/x")])), Some(4));
    assert_eq!(find(&asked, &head(&[(":path", "*")])), Some(3));
    assert_eq!(find(&asked, &head(&[])), Some(3));
}

#[test]
fn what_has_not_come_makes_the_answer_wait() {
    let response = || Input::ResponseHeader(HeaderName::new("x-a").expect("valid"));
    let both = |first, second| Predicate::All([first, second].into());
    let either = |first, second| Predicate::Or([first, second].into());
    let yes = || is(header("x-b"), "1");
    let no = || is(header("x-b"), "2");
    let request = head(&[("x-b", "1")]);
    let answer = head(&[("x-a", "1")]);
    let early = Facts { request: Some(&request), ..Facts::default() };
    let late = Facts { response: Some(&answer), ..early };
    let cases = [
        (is(response(), "1"), Truth::NotYet, Truth::Yes),
        (both(no(), is(response(), "1")), Truth::No, Truth::No),
        (both(is(response(), "1"), no()), Truth::NotYet, Truth::No),
        (either(is(response(), "1"), yes()), Truth::Yes, Truth::Yes),
        (either(is(response(), "2"), no()), Truth::NotYet, Truth::No),
        (Predicate::Not(Box::new(is(response(), "1"))), Truth::NotYet, Truth::No),
    ];
    for (predicate, before, after) in cases {
        assert_eq!((predicate.holds(&early), predicate.holds(&late)), (before, after), "{predicate:?}");
        let waits = before == Truth::NotYet;
        assert_eq!(list(vec![(predicate, OnMatch::action(1))], None).find(&early) == Outcome::NotYet, waits);
    }
}

#[test]
fn the_narrowest_range_is_asked_first() {
    let range = |first: &str, bits| Cidr::new(first.parse().expect("address"), bits);
    let asked = |exclusive| MatchTree {
        choice: Choice::Ranges(
            Input::SourceIp,
            RangeMap::new(vec![
                (vec![range("10.0.0.0", 8), range("fe80::", 16)], OnMatch::action(1), exclusive),
                (vec![range("10.1.0.0", 16)], tree(list(vec![], None)), false),
                (vec![range("10.2.0.0", 16)], OnMatch::action(2), false),
            ]),
        ),
        otherwise: None,
    };
    for (from, wanted, exclusive) in [
        ("10.2.0.1:1", Some(2), Some(2)),
        ("10.1.0.1:1", Some(1), None),
        ("10.9.0.1:1", Some(1), Some(1)),
        ("[fe80::1]:1", Some(1), Some(1)),
        ("11.0.0.1:1", None, None),
    ] {
        let from = Address::Ip(from.parse().expect("address"));
        let connection = ConnectionFacts {
            local: &from,
            remote: &from,
            direct_remote: &from,
            server_name: None,
            transport_protocol: "",
            application_protocols: &["h2", "http/1.1"],
            tls: None,
        };
        let facts = Facts { connection: Some(connection), ..Facts::default() };
        assert_eq!(asked(false).find(&facts).action().copied(), wanted, "{from:?}");
        assert_eq!(asked(true).find(&facts).action().copied(), exclusive, "{from:?}, exclusive");
        assert_eq!(is(Input::ApplicationProtocol, "'h2','http/1.1'").holds(&facts), Truth::Yes);
        assert_eq!(is(Input::SourcePort, "1").holds(&facts), Truth::Yes);
    }
}

#[test]
fn the_most_specific_name_is_asked_first() {
    let name = |names: &[&str], to| (names.iter().map(|name| (*name).to_owned()).collect(), to);
    let map = NameMap::new(vec![
        name(&["*"], OnMatch::action(1)),
        name(&["*.example.com", "example.com"], OnMatch::action(2)),
        name(&["a.example.com"], tree(list(vec![(is(header("x-b"), "1"), OnMatch::action(3))], None))),
    ]);
    let asked = MatchTree { choice: Choice::Names(header(":authority"), map), otherwise: Some(OnMatch::action(4)) };
    for (host, wanted) in [("example.com", 2), ("b.a.example.com", 2), ("b.EXAMPLE.com", 1), ("a.example.com", 2), ("other", 1), (".com", 1)] {
        assert_eq!(find(&asked, &head(&[(":authority", host)])), Some(wanted), "{host}");
    }
    assert_eq!(find(&asked, &head(&[(":authority", "a.example.com"), ("x-b", "1")])), Some(3));
    assert_eq!(find(&asked, &head(&[])), Some(4));
}

#[test]
fn query_parameters_are_decoded() {
    let asked = is(Input::QueryParameter((*b"q").into()), "a b");
    let holds = |path| asked.holds(&Facts { request: Some(&head(&[(":path", path)])), ..Facts::default() });
    assert_eq!((holds("/?q=a%20b&q=c"), holds("/?q=a+b"), holds("/")), (Truth::Yes, Truth::No, Truth::No));
}

/// Small random numbers that are the same in every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % sides
    }

    fn text(&mut self, most: usize) -> String {
        (0..self.roll(most)).map(|_| ["a", "b", "/", "."][self.roll(4)]).collect()
    }
}

/// Where an entry leads: to its number, or nowhere for every third.
fn leads(at: usize) -> OnMatch<u32> {
    if at.is_multiple_of(3) { tree(list(vec![], None)) } else { OnMatch::action(at as u32) }
}

#[test]
fn maps_find_what_a_scan_finds() {
    let mut dice = Dice(0x5eed);
    let mut hits = 0;
    for _ in 0..300 {
        let mut texts: Vec<String> = (0..dice.roll(30)).map(|_| dice.text(6)).collect();
        texts.sort();
        texts.dedup();
        let entries = || (0..).zip(&texts).map(|(at, text)| (text.as_bytes().into(), leads(at)));
        let prefixes = MatchTree { choice: Choice::Prefix(header("x-a"), PrefixMap::new(entries().collect())), otherwise: None };
        let exact = MatchTree { choice: Choice::Exact(header("x-a"), entries().collect()), otherwise: None };
        let ranges: Vec<(Cidr, bool)> =
            (0..dice.roll(30)).map(|_| (Cidr::new([dice.roll(3) as u8, dice.roll(3) as u8, 0, 0].into(), dice.roll(20) as u8), dice.roll(4) == 0)).collect();
        let of_ranges = (0..).zip(&ranges).map(|(at, (range, exclusive))| (vec![*range], leads(at), *exclusive)).collect();
        let nets = MatchTree { choice: Choice::Ranges(header("x-ip"), RangeMap::new(of_ranges)), otherwise: None };
        for _ in 0..40 {
            let (text, ip) = (dice.text(8), format!("{}.{}.0.1", dice.roll(3), dice.roll(3)));
            let request = head(&[("x-a", &text), ("x-ip", &ip)]);
            let fitting = (0..).zip(&texts).filter(|(at, prefix): &(usize, _)| !at.is_multiple_of(3) && text.starts_with(prefix.as_str()));
            let wanted = fitting.max_by_key(|(_, prefix)| prefix.len()).map(|(at, _)| at as u32);
            assert_eq!(find(&prefixes, &request), wanted, "{text:?} in {texts:?}");
            let wanted = texts.iter().position(|one| *one == text).filter(|at| !at.is_multiple_of(3)).map(|at| at as u32);
            assert_eq!(find(&exact, &request), wanted, "{text:?} in {texts:?}");
            let mut fitting: Vec<(usize, &(Cidr, bool))> =
                ranges.iter().enumerate().filter(|(_, (range, _))| range.contains(ip.parse().expect("address"))).collect();
            fitting.sort_by_key(|(at, (range, _))| (std::cmp::Reverse(range.bits()), *at));
            let tried = fitting.iter().enumerate().filter(|(nth, (_, (_, exclusive)))| *nth == 0 || !exclusive);
            let wanted = tried.map(|(_, (at, _))| *at).find(|at| !at.is_multiple_of(3)).map(|at| at as u32);
            assert_eq!(find(&nets, &request), wanted, "{ip} in {ranges:?}");
            hits += usize::from(wanted.is_some());
        }
    }
    assert!(hits > 3000, "the test tests too little: {hits}");
}
