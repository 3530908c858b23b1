//! Drives a `HeaderMap` and a plain list of pairs with the same edits, which the input spells, and
//! compares them after each.

use nuncio_codec::HeaderMap;

const NAMES: [&str; 10] = [
    "accept",
    "x-a",
    "x-b",
    "cookie",
    "via",
    "x-envoy-a",
    "x-envoy-retry-on",
    "te",
    "content-length",
    "x",
];

/// Two bytes an edit: what, and with which name; the edit's number is the value.
pub fn header_map(data: &[u8]) {
    let mut map = HeaderMap::new();
    let mut model: Vec<(&str, Vec<u8>)> = Vec::new();
    for (step, edit) in data.chunks_exact(2).take(400).enumerate() {
        let name = NAMES[usize::from(edit[1]) % NAMES.len()];
        let value = format!("{step}{}", edit[1] / 10).into_bytes();
        match edit[0] % 8 {
            0 => {
                map.append(name, &value);
                model.push((name, value));
            }
            1 => {
                map.insert(name, &value);
                replace(&mut model, name, value);
            }
            2 => {
                assert_eq!(map.remove(name), model.iter().any(|(n, _)| *n == name));
                model.retain(|(n, _)| *n != name);
            }
            3 => {
                map.remove_where(|_, v| v.ends_with(&value[..1]));
                model.retain(|(_, v)| !v.ends_with(&value[..1]));
            }
            4 => {
                if map.add_if_absent(name, &value) {
                    model.push((name, value));
                }
            }
            5 => {
                map.remove_prefix(&name.as_bytes()[..1]);
                model.retain(|(n, _)| !n.starts_with(&name[..1]));
            }
            6 => {
                map.append_joined(name, ",", &value);
                match model.iter_mut().find(|(n, _)| *n == name) {
                    Some((_, old)) => *old = [&old[..], b",", &value].concat(),
                    None => model.push((name, value)),
                }
            }
            _ => {
                map.set_with(name, |out| out.put(&value));
                replace(&mut model, name, value);
            }
        }
        compare(&map, &model);
    }
}

fn replace(model: &mut Vec<(&str, Vec<u8>)>, name: &'static str, value: Vec<u8>) {
    let Some(first) = model.iter().position(|(n, _)| *n == name) else {
        return model.push((name, value));
    };
    model[first].1 = value;
    let mut index = 0;
    model.retain(|(n, _)| {
        index += 1;
        *n != name || index - 1 == first
    });
}

fn compare(map: &HeaderMap, model: &[(&str, Vec<u8>)]) {
    assert_eq!(map.len(), model.len());
    assert_eq!(
        map.byte_size(),
        model.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
    );
    assert!(
        map.iter()
            .map(|h| (h.name, h.value))
            .eq(model.iter().map(|(n, v)| (n.as_bytes(), &v[..])))
    );
    for name in NAMES {
        let mut values = model
            .iter()
            .filter(|(n, _)| *n == name)
            .map(|(_, v)| &v[..]);
        assert!(map.get_all(name).eq(values.clone()));
        assert_eq!(map.get(name), values.next());
    }
}
