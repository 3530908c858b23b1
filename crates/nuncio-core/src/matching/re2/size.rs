//! How large RE2 would find an expression: Envoy refuses those over a limit (`re2.max_program_size`, 100 unless
//! configured).
//!
//! An estimate: it counts what RE2's compiler emits for each construct, but not the few instructions that its
//! flattening repeats where loops end inside loops. Only strictness depends on it.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, Hir, HirKind, Look};

/// What every program has: two instructions that search, one that matches, one that fails.
const FRAME: usize = 4;

/// About how many instructions RE2 needs for an expression, given in translation.
pub(crate) fn program_size(translated: &str) -> usize {
    let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(translated);
    parsed.map_or(0, |hir| whole(&hir) + FRAME)
}

/// The text behind a leading `^` is compared, not compiled.
fn whole(hir: &Hir) -> usize {
    let HirKind::Concat(parts) = hir.kind() else { return size(hir) };
    match parts.split_first() {
        Some((first, rest)) if *first.kind() == HirKind::Look(Look::Start) => {
            rest.iter().skip_while(|part| matches!(part.kind(), HirKind::Literal(_))).map(size).sum()
        }
        _ => parts.iter().map(size).sum(),
    }
}

fn size(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty => 0,
        HirKind::Literal(text) => text.0.len(),
        HirKind::Class(Class::Bytes(class)) => ranges(class),
        HirKind::Class(Class::Unicode(class)) => class.ranges().len(),
        HirKind::Look(_) => 1,
        HirKind::Capture(group) => size(&group.sub) + 2,
        HirKind::Concat(parts) => parts.iter().map(size).sum(),
        HirKind::Alternation(branches) => {
            let texts = branches.iter().map(|branch| match branch.kind() {
                HirKind::Literal(text) => Some(&*text.0),
                _ => None,
            });
            // Only alternatives that are all texts are worth the look for what they share.
            match texts.collect::<Option<Vec<&[u8]>>>() {
                Some(texts) => shared(&texts),
                None => branches.iter().map(size).sum(),
            }
        }
        HirKind::Repetition(repetition) => {
            let one = size(&repetition.sub);
            let least = repetition.min as usize;
            match (repetition.max, least) {
                (None, 0) => one,
                // The last of those that must be there is the loop.
                (None, least) => least * one + 1,
                (Some(most), least) => least * one + (most as usize).saturating_sub(least) * (one + 1),
            }
        }
    }
}

/// Alternative texts: neighbours share what they begin with, and neighbours of one last byte are a class.
fn shared(texts: &[&[u8]]) -> usize {
    let mut count = 0;
    let mut class: Vec<u8> = Vec::new();
    for run in texts.chunk_by(|a, b| a.first() == b.first()) {
        let Some((&first, _)) = run[0].split_first() else { continue };
        let rest: Vec<&[u8]> = run.iter().map(|text| &text[1..]).filter(|rest| !rest.is_empty()).collect();
        if rest.is_empty() {
            class.push(first);
            continue;
        }
        count += 1 + shared(&rest);
    }
    class.sort_unstable();
    count + class.chunk_by(|a, b| a.abs_diff(*b) <= 1).count()
}

/// A range is one instruction; if both letter cases are in the class alike, those of one count for both.
fn ranges(class: &ClassBytes) -> usize {
    let has = |byte: u8| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte));
    let folds = (b'A'..=b'Z').all(|upper| has(upper) == has(upper.to_ascii_lowercase()));
    let counted = class.ranges().iter().filter(|range| !(folds && range.start() >= b'A' && range.end() <= b'Z'));
    counted.count()
}
