//! Dates as lines have them: the same within a second but for the fraction, so that each thread makes the rest of one once
//! a second.
//!
//! A thread keeps the dates of a few formats; where several share a place they push each other out, and are only made anew.

use super::date::{DateFormat, fraction};
use super::zone::Civil;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

/// Dates that a thread keeps.
const KEPT: usize = 8;

/// A date format whose text is kept for a second.
#[derive(Debug)]
pub(super) struct RecentDate {
    /// Tells it from others; never 0.
    id: u64,
    before: DateFormat,
    /// Digits of the second's fraction, where there are any.
    digits: Option<u8>,
    after: DateFormat,
    local: bool,
}

/// The last second of one format.
struct Kept {
    id: u64,
    second: u64,
    text: Vec<u8>,
    /// Where the fraction goes.
    split: usize,
}

thread_local! {
    static DATES: RefCell<[Kept; KEPT]> = const {
        RefCell::new([const { Kept { id: 0, second: 0, text: Vec::new(), split: 0 } }; KEPT])
    };
}

impl RecentDate {
    /// The format, if nothing but one fraction in it changes within a second.
    pub(super) fn new(format: &DateFormat, local: bool) -> Option<RecentDate> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (before, digits, after) = format.split_at_fraction()?;
        Some(RecentDate { id: NEXT.fetch_add(1, Relaxed), before, digits, after, local })
    }

    /// Appends a moment; false (and nothing written) for one before 1970.
    pub(super) fn write(&self, time: SystemTime, out: &mut Vec<u8>) -> bool {
        let Ok(since) = time.duration_since(SystemTime::UNIX_EPOCH) else { return false };
        let second = since.as_secs();
        DATES.with_borrow_mut(|dates| {
            let kept = &mut dates[self.id as usize % KEPT];
            if kept.id != self.id || kept.second != second {
                let at = if self.local { Civil::local(time) } else { Civil::utc(time) };
                kept.text.clear();
                self.before.write(&at, &mut kept.text);
                kept.split = kept.text.len();
                self.after.write(&at, &mut kept.text);
                (kept.id, kept.second) = (self.id, second);
            }
            let (before, after) = kept.text.split_at(kept.split);
            out.extend_from_slice(before);
            if let Some(digits) = self.digits {
                fraction(since.subsec_nanos(), digits, out);
            }
            out.extend_from_slice(after);
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_kept_date_prints_what_a_fresh_one_does() {
        for text in ["%Y-%m-%dT%H:%M:%E3SZ", "%s.%6f", "%H:%M:%S", "%f", "plain", ""] {
            let format = DateFormat::new(text);
            let recent = RecentDate::new(&format, false).expect("one fraction at most");
            for millis in [0, 1, 999, 1_000, 1_001, 86_399_999, 86_400_000, 1_795_234_588_720, 1_795_234_588_721, 5] {
                let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
                let (mut fresh, mut kept) = (Vec::new(), Vec::new());
                format.write(&Civil::utc(time), &mut fresh);
                assert!(recent.write(time, &mut kept));
                assert_eq!(kept, fresh, "{text} at {millis}");
            }
        }
        for text in ["%E*S", "%3f %6f"] {
            assert!(RecentDate::new(&DateFormat::new(text), false).is_none(), "{text}");
        }
    }
}
