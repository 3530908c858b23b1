//! "Did you mean": the known word closest to a mistyped one.

/// The closest of `known` to `word`, if it is close enough to be meant.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed || (word.len() >= 3 && candidate.starts_with(word)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words, letter case ignored.
fn distance(a: &str, b: &str) -> usize {
    let fold =
        |text: &str| text.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect::<Vec<_>>();
    let (a, b) = (fold(a), fold(b));
    let width = b.len() + 1;
    let mut table = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let at = |i: usize, j: usize| table[i * width + j];
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = at(i - 1, j - 1) + usize::from(a[i - 1] != b[j - 1]);
                let swap = if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    at(i - 2, j - 2) + 1
                } else {
                    usize::MAX
                };
                change.min(swap).min(at(i - 1, j) + 1).min(at(i, j - 1) + 1)
            };
        }
    }
    table[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_words_are_found_and_far_ones_are_not() {
        let known = ["concurrency", "config-path", "log-level", "mode"];
        for (word, want) in [
            ("concurency", Some("concurrency")),
            ("config_path", Some("config-path")),
            ("conc", Some("concurrency")),
            ("lgo-level", Some("log-level")),
            ("Mode", Some("mode")),
            ("nope", None),
        ] {
            assert_eq!(closest(word, known.into_iter()), want, "{word}");
        }
    }
}
