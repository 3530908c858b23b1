//! Comparing transcripts, and showing where they part.

/// Lines shown before and after a difference.
const CONTEXT: usize = 4;

/// The difference between two texts as lines with `-` (expected) and `+` (got); `None` if there is none.
pub fn difference(expected: &str, got: &str) -> Option<String> {
    if expected == got {
        return None;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let common = longest_common(&old, &new);
    let mut rows: Vec<(char, &str)> = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (a, b) in common.into_iter().chain([(old.len(), new.len())]) {
        rows.extend(old[i..a].iter().map(|line| ('-', *line)));
        rows.extend(new[j..b].iter().map(|line| ('+', *line)));
        if let Some(line) = old.get(a) {
            rows.push((' ', line));
        }
        (i, j) = (a + 1, b + 1);
    }
    let near = |row: usize| {
        let from = row.saturating_sub(CONTEXT);
        rows[from..rows.len().min(row + CONTEXT + 1)].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut out = String::new();
    let mut gap = false;
    for (row, (mark, line)) in rows.iter().enumerate() {
        if near(row) {
            out.push_str(&format!("{mark} {line}\n"));
            gap = false;
        } else if !std::mem::replace(&mut gap, true) {
            out.push_str("  …\n");
        }
    }
    Some(out)
}

/// Pairs of places of a longest common subsequence.
fn longest_common(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i * width + j] = if old[i] == new[j] {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            pairs.push((i, j));
            i += 1;
            j += 1;
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}
