//! Applying repairs to a text.

use crate::diagnostic::{Edit, Fix};
use crate::source::Source;

/// The text with all repairs made. One that touches what an earlier one changes is left out: run again for it.
pub fn apply_fixes(source: &Source, fixes: &[Fix]) -> String {
    let mut taken: Vec<&Edit> = Vec::new();
    for fix in fixes {
        let clash = |edit: &Edit| taken.iter().any(|other| overlap(edit, other));
        let valid = |edit: &Edit| source.text.get(edit.span.range()).is_some();
        if fix.edits.iter().all(|edit| valid(edit) && !clash(edit)) {
            taken.extend(&fix.edits);
        }
    }
    taken.sort_by_key(|edit| edit.span);
    let mut text = String::with_capacity(source.text.len());
    let mut at = 0;
    for edit in taken {
        // Within one fix nothing overlaps; should it, the later edit goes.
        if let Some(kept) = source.text.get(at..edit.span.start as usize) {
            text.push_str(kept);
            text.push_str(&edit.text);
            at = edit.span.end as usize;
        }
    }
    text.push_str(source.text.get(at..).unwrap_or(""));
    text
}

fn overlap(a: &Edit, b: &Edit) -> bool {
    let (a, b) = (a.span, b.span);
    a == b || (a.start < b.end && b.start < a.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Span;

    #[test]
    fn repairs_are_made_together_and_clashing_ones_left_out() {
        let source = Source::new("x", "one two three");
        let fixes = [
            Fix::replace("", Span::new(4, 7), "2"),
            Fix::replace("", Span::new(5, 9), "clash"),
            Fix::replace("", Span::new(0, 3), "1"),
            Fix::replace("", Span::new(90, 99), "outside"),
        ];
        assert_eq!(apply_fixes(&source, &fixes), "1 2 three");
    }
}
