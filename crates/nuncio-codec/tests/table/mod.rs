//! Reading the recorded answers.

/// One recorded exchange.
pub struct Row {
    pub name: String,
    pub listener: String,
    pub input: Vec<u8>,
    pub log: Vec<Entry>,
    pub forwarded: Option<Vec<u8>>,
}

/// One access-log line.
pub struct Entry {
    pub status: u16,
    pub details: String,
    pub method: String,
    pub path: String,
    pub authority: String,
}

pub fn rows(text: &str) -> Vec<Row> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(row)
        .collect()
}

fn row(line: &str) -> Row {
    let columns: Vec<&str> = line.split('\t').collect();
    let [name, listener, input, log, forwarded] = columns[..] else {
        panic!("{} columns: {line}", columns.len())
    };
    Row {
        name: name.into(),
        listener: listener.into(),
        input: unescape(input),
        log: log
            .split(" ; ")
            .filter(|entry| *entry != "-")
            .map(entry)
            .collect(),
        forwarded: (forwarded != "-").then(|| unescape(forwarded)),
    }
}

fn entry(text: &str) -> Entry {
    let raw: String = unescape(text).iter().map(|&b| b as char).collect();
    // The path may hold the separator itself.
    let fields: Vec<&str> = raw.split('|').collect();
    let last = fields.len() - 1;
    Entry {
        status: fields[0].parse().unwrap(),
        details: fields[1].into(),
        method: fields[4].into(),
        path: fields[5..last - 2].join("|"),
        authority: fields[last - 2].into(),
    }
}

/// `\r`, `\n`, `\t`, `\\`, `\xNN` and `\rep{c*N}`.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((repeat, after)) = rest.strip_prefix("\\rep{").and_then(|r| r.split_once('}')) {
            let (what, count) = repeat.split_once('*').unwrap();
            out.extend(what.bytes().cycle().take(count.parse().unwrap()));
            rest = after;
        } else if c == '\\' {
            let (byte, used) = match rest.as_bytes()[1] {
                b'r' => (b'\r', 2),
                b'n' => (b'\n', 2),
                b't' => (b'\t', 2),
                b'\\' => (b'\\', 2),
                b'x' => (u8::from_str_radix(&rest[2..4], 16).unwrap(), 4),
                other => panic!("unknown escape {}", other as char),
            };
            out.push(byte);
            rest = &rest[used..];
        } else {
            out.push(c as u8);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}
