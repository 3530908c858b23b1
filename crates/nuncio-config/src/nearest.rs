//! "Did you mean": the nearest of some names by edit distance.

/// The candidate that is most likely meant, if any is near enough: one slip in three letters at most.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 3).clamp(1, 4);
    let ranked = candidates.filter(|c| c.len().abs_diff(name.len()) <= 2 * most).map(|c| (distance(name, c), c));
    ranked.filter(|(far, c)| *far <= most && *c != name).min().map(|(_, c)| c)
}

/// Optimal string alignment distance: insert, delete, change, or swap two neighbours. Case does not count.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let names = ["backend_v1", "backend_v2", "auth"];
        assert_eq!(nearest("backend_vl", names.into_iter()), Some("backend_v1"));
        assert_eq!(nearest("auht", names.into_iter()), Some("auth"));
        assert_eq!(nearest("payments", names.into_iter()), None);
    }
}
