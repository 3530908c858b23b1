//! A bounded queue of lines from one thread to another, without a lock.
//!
//! One producer, one consumer. Lines lie in words of eight bytes: a word with the length, then the bytes, padded.
//! What is full stays out: [`Ring::push`] says so and nothing waits. Memory comes in segments as it is first used.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Words in a segment: 64 KiB.
const SEGMENT_WORDS: usize = 8 * 1024;
/// Segments of a ring: 1 MiB, some five thousand lines, or a fifth of a second of a worker at full speed.
const SEGMENTS: usize = 16;
/// Words a ring holds.
const WORDS: u64 = (SEGMENT_WORDS * SEGMENTS) as u64;

/// Keeps a counter away from what the other thread writes.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded(AtomicU64);

/// The queue; see the module.
#[derive(Debug)]
pub(super) struct Ring {
    segments: [OnceLock<Box<[AtomicU64]>>; SEGMENTS],
    /// Words ever written; only the producer moves it.
    head: Padded,
    /// Words ever read; only the consumer moves it.
    tail: Padded,
}

impl Ring {
    pub(super) fn new() -> Ring {
        Ring { segments: std::array::from_fn(|_| OnceLock::new()), head: Padded::default(), tail: Padded::default() }
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        &self.words(at)[0]
    }

    /// The words from one on, to the end of its segment; never none.
    fn words(&self, at: u64) -> &[AtomicU64] {
        let index = usize::try_from(at % WORDS).unwrap_or_default();
        let segment = self.segments[index / SEGMENT_WORDS]
            .get_or_init(|| (0..SEGMENT_WORDS).map(|_| AtomicU64::new(0)).collect());
        &segment[index % SEGMENT_WORDS..]
    }

    /// Bytes waiting, padding included.
    pub(super) fn waiting(&self) -> u64 {
        let head = self.head.0.load(Ordering::Acquire);
        (head - self.tail.0.load(Ordering::Relaxed).min(head)) * 8
    }

    /// Adds a line; false if there is no room for it. For the producer only.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let words = line.len().div_ceil(8) as u64 + 1;
        let head = self.head.0.load(Ordering::Relaxed);
        if head - self.tail.0.load(Ordering::Acquire) + words > WORDS {
            return false;
        }
        self.word(head).store(line.len() as u64, Ordering::Relaxed);
        let mut at = head + 1;
        let (mut whole, rest) = line.as_chunks::<8>();
        while !whole.is_empty() {
            let room = self.words(at);
            let (now, later) = whole.split_at(whole.len().min(room.len()));
            for (word, bytes) in room.iter().zip(now) {
                word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
            }
            at += now.len() as u64;
            whole = later;
        }
        if !rest.is_empty() {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            self.word(at).store(u64::from_le_bytes(bytes), Ordering::Relaxed);
            at += 1;
        }
        self.head.0.store(at, Ordering::Release);
        true
    }

    /// Moves whole lines to `into` until that holds `enough` bytes or nothing waits; says how many lines. For the
    /// consumer only.
    pub(super) fn drain(&self, into: &mut Vec<u8>, enough: usize) -> u64 {
        let mut lines = 0;
        let mut at = self.tail.0.load(Ordering::Relaxed);
        let head = self.head.0.load(Ordering::Acquire);
        while at < head && into.len() < enough {
            let len = usize::try_from(self.word(at).load(Ordering::Relaxed)).unwrap_or_default();
            let end = into.len() + len;
            at += 1;
            while into.len() < end {
                let room = self.words(at);
                let words = (end - into.len()).div_ceil(8).min(room.len());
                let from = into.len();
                into.resize(from + words * 8, 0);
                for (bytes, word) in into[from..].as_chunks_mut::<8>().0.iter_mut().zip(room) {
                    *bytes = word.load(Ordering::Relaxed).to_le_bytes();
                }
                at += words as u64;
            }
            // The last word may be padded.
            into.truncate(end);
            lines += 1;
        }
        self.tail.0.store(at, Ordering::Release);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn lines_come_out_as_they_went_in() {
        let ring = Ring::new();
        let lines: [&[u8]; 5] = [b"", b"a", b"12345678", b"123456789\n", &[7; 1000]];
        for line in lines {
            assert!(ring.push(line));
        }
        let mut out = Vec::new();
        assert_eq!(ring.drain(&mut out, usize::MAX), 5);
        assert_eq!(out, lines.concat());
        assert_eq!((ring.waiting(), ring.drain(&mut out, usize::MAX)), (0, 0));
    }

    #[test]
    fn a_full_ring_refuses_and_takes_again_after_a_drain() {
        let ring = Ring::new();
        let line = [b'x'; 4096];
        let mut taken = 0;
        while ring.push(&line) {
            taken += 1;
        }
        assert_eq!(taken, 255, "1 MiB of 4,104 bytes each");
        assert!(!ring.push(&[0; 2 << 20]), "longer than the ring");
        let mut out = Vec::new();
        assert_eq!(ring.drain(&mut out, 1), 1);
        assert!(ring.push(&line));
    }

    #[test]
    fn nothing_is_lost_or_torn_between_two_threads() {
        let ring = Arc::new(Ring::new());
        let producer = Arc::clone(&ring);
        let worker = std::thread::spawn(move || {
            for n in 0..50_000_u32 {
                let line = format!("{n}:{}\n", "y".repeat((n % 97) as usize));
                while !producer.push(line.as_bytes()) {
                    std::thread::yield_now();
                }
            }
        });
        let (mut out, mut lines) = (Vec::new(), 0);
        while lines < 50_000 {
            lines += ring.drain(&mut out, usize::MAX);
        }
        worker.join().unwrap();
        for (n, line) in String::from_utf8(out).unwrap().lines().enumerate() {
            assert_eq!(line, format!("{n}:{}", "y".repeat(n % 97)));
        }
    }
}
