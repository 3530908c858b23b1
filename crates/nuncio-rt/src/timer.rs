//! One hierarchical timer wheel per worker, and deadlines that re-arm lazily.
//!
//! Levels of 64 slots, 1 ms at the finest; arming and cancelling are O(1). One driver task per worker sleeps
//! until the next slot that holds anything, so an idle worker never wakes.
//!
//! A [`Deadline`] costs nothing per request: moving it later only stores a number. Its wheel entry fires at
//! the moment it was armed for, sees that the deadline has moved, and arms itself again.

use crate::Time;
use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

const LEVELS: usize = 6;
const SLOTS: usize = 64;
const BITS: u32 = 6;
const NONE: u32 = u32::MAX;

/// Longest distance a timer is armed for: 2^36 ms, about two years.
const HORIZON_MS: u64 = (1 << (BITS * LEVELS as u32)) - 1;

#[derive(Debug)]
struct Entry {
    due_ms: u64,
    waker: Option<Waker>,
    prev: u32,
    next: u32,
    level: u8,
    slot: u8,
    live: bool,
}

#[derive(Debug)]
struct Wheel {
    now_ms: u64,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The moment the driver sleeps until, and how to wake it when something earlier is armed.
    sleeps_until_ms: u64,
    driver: Option<Waker>,
}

/// A worker's timers. Clones share the wheel.
#[derive(Debug, Clone)]
pub struct Timers {
    wheel: Rc<RefCell<Wheel>>,
}

impl Default for Timers {
    fn default() -> Self {
        Timers::starting_at(Time::now())
    }
}

impl Timers {
    fn starting_at(now: Time) -> Timers {
        Timers {
            wheel: Rc::new(RefCell::new(Wheel {
                now_ms: now.as_millis(),
                heads: [[NONE; SLOTS]; LEVELS],
                occupied: [0; LEVELS],
                entries: Vec::new(),
                free: Vec::new(),
                sleeps_until_ms: u64::MAX,
                driver: None,
            })),
        }
    }

    /// Runs the wheel; one such task per worker, for as long as the worker lives.
    pub async fn drive(self) {
        let mut sleep = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        poll_fn(|cx| {
            loop {
                for waker in self.advance(Time::now()) {
                    waker.wake();
                }
                let mut wheel = self.wheel.borrow_mut();
                wheel.driver = Some(cx.waker().clone());
                let Some(next) = wheel.next_due() else {
                    wheel.sleeps_until_ms = u64::MAX;
                    return Poll::<()>::Pending;
                };
                wheel.sleeps_until_ms = next;
                drop(wheel);
                let wait = Duration::from_millis(next.saturating_sub(Time::now().as_millis()).max(1));
                sleep.as_mut().reset(tokio::time::Instant::now() + wait);
                if std::future::Future::poll(sleep.as_mut(), cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Waits for `d`.
    pub async fn sleep(&self, d: Duration) {
        let mut deadline = Deadline::new(self.clone());
        deadline.set(Some(Time::now() + d));
        poll_fn(|cx| deadline.poll(cx, Time::now())).await;
    }

    fn arm(&self, at: Time, waker: Waker) -> u32 {
        let mut wheel = self.wheel.borrow_mut();
        let due = at.as_millis().saturating_add(1).min(wheel.now_ms.saturating_add(HORIZON_MS));
        let due = due.max(wheel.now_ms + 1);
        let id = wheel.insert(due, waker);
        if due < wheel.sleeps_until_ms
            && let Some(driver) = wheel.driver.take()
        {
            drop(wheel);
            driver.wake();
        }
        id
    }

    fn cancel(&self, id: u32) {
        self.wheel.borrow_mut().remove(id);
    }

    /// Moves the wheel to `now` and returns whom to wake.
    fn advance(&self, now: Time) -> Vec<Waker> {
        let mut wheel = self.wheel.borrow_mut();
        let mut due = Vec::new();
        let target = now.as_millis();
        while let Some(next) = wheel.next_due() {
            if next > target {
                break;
            }
            wheel.turn_to(next, &mut due);
        }
        wheel.now_ms = wheel.now_ms.max(target);
        due
    }
}

impl Wheel {
    fn insert(&mut self, due_ms: u64, waker: Waker) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { due_ms: 0, waker: None, prev: NONE, next: NONE, level: 0, slot: 0, live: false });
            (self.entries.len() - 1) as u32
        });
        self.entries[id as usize].due_ms = due_ms;
        self.entries[id as usize].waker = Some(waker);
        self.entries[id as usize].live = true;
        self.link(id);
        id
    }

    /// Puts an entry into the slot where `now` and its due time first differ.
    fn link(&mut self, id: u32) {
        let due = self.entries[id as usize].due_ms;
        let differ = (due ^ self.now_ms) | 1;
        let level = (((63 - differ.leading_zeros()) / BITS) as usize).min(LEVELS - 1);
        let slot = (due >> (BITS * level as u32)) as usize % SLOTS;
        let head = self.heads[level][slot];
        let entry = &mut self.entries[id as usize];
        (entry.level, entry.slot, entry.prev, entry.next) = (level as u8, slot as u8, NONE, head);
        if head != NONE {
            self.entries[head as usize].prev = id;
        }
        self.heads[level][slot] = id;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, id: u32) {
        let (prev, next, level, slot) = {
            let e = &self.entries[id as usize];
            (e.prev, e.next, usize::from(e.level), usize::from(e.slot))
        };
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if prev != NONE {
            self.entries[prev as usize].next = next;
        } else {
            self.heads[level][slot] = next;
            if next == NONE {
                self.occupied[level] &= !(1 << slot);
            }
        }
    }

    /// Forgets an entry, whether it has fired or not, and frees its place.
    fn remove(&mut self, id: u32) {
        if self.entries[id as usize].live {
            self.unlink(id);
        }
        let entry = &mut self.entries[id as usize];
        entry.live = false;
        entry.waker = None;
        self.free.push(id);
    }

    /// Start of the earliest occupied slot: exact at level 0, a moment to cascade at above.
    fn next_due(&self) -> Option<u64> {
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = BITS * level as u32;
            let here = (self.now_ms >> shift) as u32 % SLOTS as u32;
            let ahead = self.occupied[level].rotate_right(here).trailing_zeros();
            let base = self.now_ms >> shift << shift;
            return Some((base + (u64::from(ahead) << shift)).max(self.now_ms));
        }
        None
    }

    /// Makes `at` the present: entries due are handed out, those of coarser slots move to finer ones.
    fn turn_to(&mut self, at: u64, due: &mut Vec<Waker>) {
        self.now_ms = at;
        for level in (0..LEVELS).rev() {
            let slot = (at >> (BITS * level as u32)) as usize % SLOTS;
            let mut id = std::mem::replace(&mut self.heads[level][slot], NONE);
            self.occupied[level] &= !(1 << slot);
            while id != NONE {
                let next = self.entries[id as usize].next;
                if self.entries[id as usize].due_ms <= at {
                    let entry = &mut self.entries[id as usize];
                    entry.live = false;
                    due.extend(entry.waker.take());
                } else {
                    self.link(id);
                }
                id = next;
            }
        }
    }
}

/// A moment that may move, and wakes the task that polls it when it has come.
#[derive(Debug)]
pub struct Deadline {
    timers: Timers,
    want: Time,
    armed: Option<(u32, Time)>,
}

impl Deadline {
    /// A deadline that never comes until it is set.
    pub fn new(timers: Timers) -> Deadline {
        Deadline { timers, want: Time::NEVER, armed: None }
    }

    /// Moves the deadline; `None` means never. Takes effect at the next poll.
    #[inline]
    pub fn set(&mut self, at: Option<Time>) {
        self.want = at.unwrap_or(Time::NEVER);
    }

    /// Ready when the deadline has passed at `now`. Otherwise the task will be woken in time.
    #[inline]
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Time) -> Poll<()> {
        if self.want <= now {
            return Poll::Ready(());
        }
        match self.armed {
            _ if self.want == Time::NEVER => Poll::Pending,
            Some((_, at)) if at <= self.want && at > now => Poll::Pending,
            _ => self.rearm(cx),
        }
    }

    #[cold]
    fn rearm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((id, _)) = self.armed.take() {
            self.timers.cancel(id);
        }
        let id = self.timers.arm(self.want, cx.waker().clone());
        self.armed = Some((id, self.want));
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some((id, _)) = self.armed.take() {
            self.timers.cancel(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{Arc, Mutex},
        task::Wake,
    };

    struct Note(u64, Arc<Mutex<Vec<u64>>>);
    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().expect("test lock").push(self.0);
        }
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn timers_fire_once_in_order_and_never_early_over_all_levels() {
        let rng = crate::Rng::seeded(5, 6);
        for round in 0..200u64 {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let t = Timers::starting_at(Time::from_nanos(round * 977 * MS));
            let start = round * 977;
            let mut dues: Vec<u64> = (0..50).map(|_| start + 1 + rng.below(1 << rng.below(24))).collect();
            for &due in &dues {
                t.arm(Time::from_nanos((due - 1) * MS), Waker::from(Arc::new(Note(due, seen.clone()))));
            }
            dues.sort_unstable();
            let mut now = start;
            while now < start + (1 << 24) {
                now += 1 + rng.below(1 << rng.below(23));
                t.advance(Time::from_nanos(now * MS)).into_iter().for_each(Waker::wake);
                let fired = seen.lock().expect("test lock").len();
                assert_eq!(fired, dues.iter().filter(|&&d| d <= now).count(), "round {round} at {now}");
            }
        }
    }

    #[test]
    fn a_cancelled_timer_does_not_fire_and_its_place_is_reused() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let t = Timers::starting_at(Time::ORIGIN);
        let a = t.arm(Time::from_nanos(5 * MS), Waker::from(Arc::new(Note(1, seen.clone()))));
        t.cancel(a);
        let b = t.arm(Time::from_nanos(9 * MS), Waker::from(Arc::new(Note(2, seen.clone()))));
        assert_eq!(a, b);
        t.advance(Time::from_nanos(100 * MS)).into_iter().for_each(Waker::wake);
        assert_eq!(*seen.lock().expect("test lock"), [2]);
    }

    #[test]
    fn a_deadline_that_moved_later_rearms_when_its_entry_fires() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let t = Timers::starting_at(Time::ORIGIN);
        let waker = Waker::from(Arc::new(Note(1, seen.clone())));
        let cx = &mut Context::from_waker(&waker);
        let mut d = Deadline::new(t.clone());
        d.set(Some(Time::from_nanos(10 * MS)));
        assert!(d.poll(cx, Time::ORIGIN).is_pending());
        d.set(Some(Time::from_nanos(30 * MS)));
        assert!(d.poll(cx, Time::from_nanos(5 * MS)).is_pending());
        t.advance(Time::from_nanos(12 * MS)).into_iter().for_each(Waker::wake);
        assert_eq!(seen.lock().expect("test lock").len(), 1);
        assert!(d.poll(cx, Time::from_nanos(12 * MS)).is_pending());
        t.advance(Time::from_nanos(32 * MS)).into_iter().for_each(Waker::wake);
        assert_eq!(seen.lock().expect("test lock").len(), 2);
        assert!(d.poll(cx, Time::from_nanos(32 * MS)).is_ready());
    }
}
