use super::*;

fn pairs(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    map.iter().map(|h| (text(h.name), text(h.value))).collect()
}

fn request() -> HeaderMap {
    [
        (":method", "GET"),
        (":path", "/a"),
        (":authority", "x.test"),
        ("accept", "*/*"),
        ("x-a", "1"),
        ("x-a", "2"),
    ]
    .into_iter()
    .collect()
}

#[test]
fn an_entry_is_sixteen_bytes() {
    assert_eq!(size_of::<Entry>(), 16);
}

#[test]
fn host_of_a_request_is_its_authority() {
    let mut map = request();
    assert_eq!(map.get("host"), Some(&b"x.test"[..]));
    assert_eq!(map.get(Known::Host), map.authority());
    map.insert("host", "y.test");
    assert_eq!(map.authority(), Some(&b"y.test"[..]));
    assert_eq!(map.len(), 6);
}

#[test]
fn host_of_a_response_is_an_ordinary_header() {
    let map: HeaderMap = [(":status", "200"), ("host", "x")].into_iter().collect();
    assert_eq!(map.get("host"), Some(&b"x"[..]));
    assert_eq!(map.authority(), None);
    assert_eq!(map.status(), Some(200));
}

#[test]
fn a_set_header_keeps_its_place_and_others_of_its_name_go() {
    let mut map = request();
    map.append("x-b", "3");
    map.insert("x-a", "new");
    let regular: Vec<_> = pairs(&map)
        .into_iter()
        .skip(3)
        .map(|(n, v)| format!("{n}={v}"))
        .collect();
    assert_eq!(regular, ["accept=*/*", "x-a=new", "x-b=3"]);
}

#[test]
fn several_values_are_joined_only_when_asked() {
    let mut map = request();
    assert_eq!(map.get_all("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(map.get_joined("x-a").as_deref(), Some(&b"1,2"[..]));
    assert!(matches!(map.get_joined("accept"), Some(Cow::Borrowed(_))));
    map.append_joined("x-forwarded-for", ",", "10.0.0.1");
    map.append_joined(Known::XForwardedFor, ",", "10.0.0.2");
    assert_eq!(
        map.get(Known::XForwardedFor),
        Some(&b"10.0.0.1,10.0.0.2"[..])
    );
}

#[test]
fn a_value_cannot_split_a_message() {
    let mut map = request();
    map.insert("x-evil", "a\r\nset-cookie: b\0");
    map.insert(Known::Path, "/x HTTP/1.1\r\nhost: y");
    assert!(
        map.iter()
            .all(|h| !h.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)))
    );
}

#[test]
fn setting_a_header_for_ever_does_not_grow_the_map() {
    let mut map = request();
    let value = vec![b'v'; 1000];
    for n in 0..10_000 {
        map.insert("x-a", &value);
        map.remove("x-gone");
        map.append("x-gone", if n % 2 == 0 { "even" } else { "odd" });
    }
    assert!(map.capacity_bytes() < 1 << 20, "{}", map.capacity_bytes());
    assert_eq!(map.get("x-a"), Some(&value[..]));
    assert_eq!(map.len(), 6);
}

#[test]
fn a_status_may_have_four_digits_but_no_more() {
    let mut map = HeaderMap::new();
    map.set_status(1000);
    assert_eq!(map.status(), Some(1000));
    map.insert(Known::Status, "99999");
    assert_eq!(map.status(), None);
}

/// The map against a plain list of pairs, under a long run of random edits.
#[test]
fn it_behaves_like_a_list_of_pairs() {
    let names: [&str; 8] = [
        "accept",
        "x-a",
        "x-b",
        "cookie",
        "via",
        "x-envoy-a",
        "x-envoy-retry-on",
        "te",
    ];
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    for _ in 0..300 {
        let mut map = HeaderMap::new();
        let mut model: Vec<(String, String)> = Vec::new();
        for step in 0..60 {
            let name = names[random(8) as usize];
            let value = step.to_string();
            match random(7) {
                0 | 1 => {
                    map.append(name, &value);
                    model.push((name.into(), value));
                }
                2 => {
                    map.insert(name, &value);
                    match model.iter().position(|(n, _)| n == name) {
                        Some(first) => {
                            model[first].1 = value;
                            let mut index = 0;
                            model.retain(|(n, _)| {
                                index += 1;
                                n != name || index - 1 == first
                            });
                        }
                        None => model.push((name.into(), value)),
                    }
                }
                3 => {
                    let had = model.iter().any(|(n, _)| n == name);
                    assert_eq!(map.remove(name), had);
                    model.retain(|(n, _)| n != name);
                }
                4 => {
                    let doomed = random(10).to_string();
                    map.remove_where(|_, v| v.ends_with(doomed.as_bytes()));
                    model.retain(|(_, v)| !v.ends_with(&doomed));
                }
                5 => {
                    if map.add_if_absent(name, &value) {
                        model.push((name.into(), value));
                    }
                }
                _ => {
                    map.remove_prefix(b"x-envoy-");
                    model.retain(|(n, _)| !n.starts_with("x-envoy-"));
                }
            }
            assert_eq!(pairs(&map), model);
            assert_eq!(map.len(), model.len());
            assert_eq!(
                map.byte_size(),
                model.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
            );
            for name in names {
                let all: Vec<_> = map
                    .get_all(name)
                    .map(|v| String::from_utf8_lossy(v).into_owned())
                    .collect();
                let want: Vec<_> = model
                    .iter()
                    .filter(|(n, _)| n == name)
                    .map(|(_, v)| v.clone())
                    .collect();
                assert_eq!(all, want);
                assert_eq!(map.get(name), want.first().map(String::as_bytes));
            }
        }
    }
}

#[test]
fn a_map_stays_small() {
    // Every stream has four; see ARCHITECTURE.md.
    assert_eq!(size_of::<HeaderMap>(), 240);
}
