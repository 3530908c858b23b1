//! A load report as JSON: an object of numbers, and of objects of numbers. Nothing else is a report.

use super::LoadReport;

/// Fields by both of their names.
const NUMBERS: [[&str; 2]; 5] = [
    ["cpu_utilization", "cpuUtilization"],
    ["mem_utilization", "memUtilization"],
    ["application_utilization", "applicationUtilization"],
    ["rps_fractional", "rpsFractional"],
    ["eps", "eps"],
];
const MAPS: [[&str; 2]; 3] = [["request_cost", "requestCost"], ["utilization", "utilization"], ["named_metrics", "namedMetrics"]];

/// Reads a report.
pub(super) fn read(text: &str) -> Option<LoadReport> {
    let mut report = LoadReport::default();
    let mut rest = text;
    object(&mut rest, |rest, key| {
        if let Some([name, _]) = MAPS.iter().find(|names| names.contains(&key)) {
            return object(rest, |rest, key| {
                report.set(&format!("{name}.{key}"), number(rest)?);
                Some(())
            });
        }
        let value = number(rest)?;
        match NUMBERS.iter().find(|names| names.contains(&key)) {
            Some([name, _]) => report.set(name, value),
            // Queries per second as they were once given; nothing is made of them.
            None if key == "rps" => {}
            None => return None,
        }
        Some(())
    })?;
    rest.trim_ascii().is_empty().then_some(report)
}

/// Reads an object, telling each key; the value is the other's to read.
fn object<'a>(rest: &mut &'a str, mut member: impl FnMut(&mut &'a str, &str) -> Option<()>) -> Option<()> {
    skip(rest, '{')?;
    if skip(rest, '}').is_some() {
        return Some(());
    }
    loop {
        let key = string(rest)?;
        skip(rest, ':')?;
        member(rest, key)?;
        if skip(rest, ',').is_none() {
            return skip(rest, '}');
        }
    }
}

fn skip(rest: &mut &str, what: char) -> Option<()> {
    *rest = rest.trim_ascii_start().strip_prefix(what)?;
    Some(())
}

/// A string, which for a metric's name needs no escapes.
fn string<'a>(rest: &mut &'a str) -> Option<&'a str> {
    skip(rest, '"')?;
    let (text, after) = rest.split_once('"')?;
    *rest = after;
    (!text.contains('\\')).then_some(text)
}

/// A number, also as a string.
fn number(rest: &mut &str) -> Option<f64> {
    let text = rest.trim_ascii_start();
    let digits = if text.starts_with('"') {
        string(rest)?
    } else {
        let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+' | 'e' | 'E')).unwrap_or(text.len());
        let (digits, after) = text.split_at(end);
        *rest = after;
        digits
    };
    digits.parse().ok()
}
