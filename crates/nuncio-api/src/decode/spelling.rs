//! "Did you mean": the nearest of some names.

/// The candidate nearest to what was written, when it is near enough: a third of the letters at most may differ.
pub(crate) fn nearest<'c>(
    written: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let limit = (written.chars().count() / 3).clamp(1, 4);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let limit = best.map_or(limit, |(distance, _)| distance.saturating_sub(1));
        if let Some(distance) = distance(written, candidate, limit) {
            best = Some((distance, candidate));
            if distance == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Number of letters to change, add, drop or swap; `None` above the limit. Case and separators count for nothing.
pub(crate) fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let letters = |s: &str| -> Vec<char> {
        s.chars()
            .filter(|c| !matches!(c, '_' | '-'))
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let (a, b) = (letters(a), letters(b));
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (row[j] + 1)
                .min(last[j + 1] + 1)
                .min(last[j] + usize::from(x != y));
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        if row.iter().all(|cost| *cost > limit) {
            return None;
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|d| *d <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_and_only_when_near() {
        let names = ["connect_timeout", "circuit_breakers", "type", "name"];
        let near = |written| nearest(written, names.into_iter());
        assert_eq!(near("conect_timeout"), Some("connect_timeout"));
        assert_eq!(near("ConnectTimeout"), Some("connect_timeout"));
        assert_eq!(near("tpye"), Some("type"));
        assert_eq!(near("retry_policy"), None);
        assert_eq!(near("x"), None);
    }
}
