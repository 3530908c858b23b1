//! What RE2 refuses, and what it means by what it takes.

use super::*;

fn refused(pattern: &str) -> String {
    translate(pattern).expect_err(pattern).message
}

#[test]
fn what_re2_refuses_is_refused_in_its_words() {
    for (pattern, message) in [
        ("[", "missing ]: ["),
        ("/h(", "missing ): /h("),
        ("a)", "unexpected ): a)"),
        ("(?!x)", "invalid perl operator: (?!"),
        ("(?<=x)", "invalid perl operator: (?<="),
        ("(?x)a", "invalid perl operator: (?x"),
        ("*a", "no argument for repetition operator: *"),
        ("a**", "bad repetition operator: **"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("a{2,1}", "invalid repetition size: {2,1}"),
        ("a\\", "trailing \\"),
        ("\\y", "invalid escape sequence: \\y"),
        ("(a)\\1", "invalid escape sequence: \\1"),
        ("[z-a]", "invalid character class range: z-a"),
        ("[[:nope:]]", "invalid character class range: [:nope:]"),
        ("(?P<n", "invalid named capture group: (?P<n"),
        ("(?", "invalid perl operator: (?"),
        ("(?P", "invalid perl operator: (?P"),
        ("(?i", "invalid perl operator: (?i"),
        ("(?i-)a", "invalid perl operator: (?i-)"),
        ("(?--i)", "invalid perl operator: (?--"),
        ("a*?+", "bad repetition operator: *?+"),
        ("x{2}{3}", "bad repetition operator: {2}{3}"),
        ("(ab{500}){3}", "invalid repetition size: {3}"),
        ("((a{100}){100}){100}", "invalid repetition size: {100}"),
        ("\\x{110000}", "invalid escape sequence: \\x{110"),
        ("\\x", "invalid escape sequence: \\x"),
        ("\\xg", "invalid escape sequence: \\xg"),
        ("\\u1234", "invalid escape sequence: \\u"),
        ("[a-\\d]", "invalid escape sequence: \\d"),
        ("\\p{Nope}", "invalid character class range: \\p{Nope}"),
    ] {
        assert_eq!(refused(pattern), message, "{pattern}");
    }
}

#[test]
fn the_place_of_the_mistake_is_told() {
    assert_eq!(translate("ab[c").expect_err("open").at, 2);
    assert_eq!(translate("ab(?!c)").expect_err("perl").at, 2);
}

#[test]
fn what_re2_takes_is_taken_and_means_the_same() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (r"/item/\d+", &["/item/42"], &["/item/x", "/item/٣"]),
        (r"\w+", &["a_1"], &["é", ""]),
        (r"[\s]\S", &["\t!"], &["\x0b!"]),
        (r"a{,2}", &["a{,2}"], &["aa"]),
        (r"x{", &["x{"], &["x"]),
        (r"[[a]+", &["[a"], &["b"]),
        (r"[a&&b]+", &["a&b"], &["c"]),
        (r"[!--]+", &["!,-"], &["."]),
        (r"[a-b-c]+", &["a-c"], &["d"]),
        (r"a(?i)*b", &["aaB", "b"], &["Ab"]),
        (r"[]a]+", &["]a"], &["b"]),
        (r"\Qa.b\E+", &["a.b", "a.bb"], &["axb"]),
        (r"\x41\x{42}\103", &["ABC"], &["abc"]),
        (r"(?P<n>a)(?<m>b)(?P<n>c)", &["abc"], &["a"]),
        (r"(?i)abc", &["ABC"], &["ABD"]),
        (r"\<a\>", &["<a>"], &["a"]),
        (r"[\d\-.]+", &["1-2.3"], &["a"]),
        (r"[^\W]+", &["ab"], &["a-"]),
        (r"[[:alpha:]]+", &["ab"], &["a1"]),
        (r"\pL+", &["ab"], &["a1"]),
        (r"[^\p{Greek}]", &["a"], &["ab"]),
        (r"\p{Greek}", &[], &["a", "α"]),
    ];
    for (pattern, yes, no) in cases {
        let regex = compiled(pattern);
        assert!(yes.iter().all(|t| regex.is_match(t.as_bytes())), "{regex}: {yes:?}");
        assert!(!no.iter().any(|t| regex.is_match(t.as_bytes())), "{regex}: {no:?}");
    }
}

#[test]
fn patterns_are_about_bytes() {
    let cases: &[(&str, &[&[u8]], &[&[u8]])] = &[
        ("a.b", &[b"a\xffb"], &["aéb".as_bytes()]),
        ("aé*b", &["aéb".as_bytes(), b"a\xc3\xa9\xa9b", b"a\xc3b"], &[b"ab"]),
        (r"\x{e9}", &[b"\xe9"], &["é".as_bytes()]),
        ("[é]", &[b"\xc3", b"\xa9"], &["é".as_bytes()]),
        (r"\pL\D", &[b"\xe9\xe9"], &["é1".as_bytes()]),
    ];
    for (pattern, yes, no) in cases {
        let regex = compiled(pattern);
        assert!(yes.iter().all(|t| regex.is_match(t)), "{regex}: {yes:?}");
        assert!(!no.iter().any(|t| regex.is_match(t)), "{regex}: {no:?}");
    }
}

fn compiled(pattern: &str) -> regex::bytes::Regex {
    let text = format!("^(?:{})$", translate(pattern).expect(pattern));
    regex::bytes::RegexBuilder::new(&text).unicode(false).build().expect(&text)
}

#[test]
fn every_translation_compiles_or_is_refused_before() {
    // Pieces that are easy to get wrong, in all orders.
    let pieces = ["(", ")", "[", "]", "{2}", "{", "}", "\\", "^", "-", "a", "?", "*", "|", "&&", "(?i)", "\\d", ":"];
    let count = pieces.len();
    for n in 0..count.pow(4) {
        let pattern: String =
            [n, n / count, n / count / count, n / count.pow(3)].iter().map(|i| pieces[i % count]).collect();
        if let Ok(text) = translate(&pattern) {
            assert!(regex_compiles(&text), "{pattern} became {text}");
        }
    }
}

fn regex_compiles(text: &str) -> bool {
    regex::bytes::RegexBuilder::new(text).unicode(false).build().is_ok()
}

#[test]
fn sizes_are_those_that_re2_finds() {
    // Measured behind a hundred letters, which Envoy's limit hides otherwise.
    for (pattern, size) in [
        ("", 0),
        ("[a-z]", 1),
        ("[a-zA-Z]", 1),
        ("[a-zA-Z0-9]", 2),
        ("[^/]+", 3),
        (r"\w", 3),
        ("a?", 2),
        ("(a)", 3),
        ("a{2,4}", 6),
        ("a{2,}", 3),
        ("(?:ab){2,4}", 10),
        ("(?i)ab", 2),
        (r"\d+\.\d+", 5),
        ("(?:[0-9a-f]{4}-){3}", 27),
        ("(?:https?|ftp)://", 12),
        ("(?:ab|ac)", 2),
        ("(foo|bar|baz)/", 10),
        ("(/.*)?", 6),
        ("(?:ab|cd)", 4),
        ("(?:abc|abd|x)", 4),
    ] {
        let translated = translate(&format!("{pattern}{}", "z".repeat(100))).expect(pattern);
        assert_eq!(program_size(&translated), size + 104, "{pattern}");
    }
    let numbered: Vec<String> = (0..200).map(|n| format!("x{n}")).collect();
    assert!(program_size(&translate(&numbered.join("|")).expect("valid")) <= 100);
    let behind = translate(&format!("^{}[0-9]+", "z".repeat(200))).expect("valid");
    assert_eq!(program_size(&behind), 6);
}
