//! How many frames wait to be written: a peer that makes us answer and does not read is cut off.

use super::error::Fault;
use std::collections::VecDeque;

/// Frames that have been queued and not yet written, oldest first.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// Where each ends, counted in bytes from the connection's beginning, doubled; odd for control frames.
    ends: VecDeque<u64>,
    queued: u64,
    written: u64,
    control: u32,
}

impl Outbound {
    /// A frame of so many bytes was queued.
    #[inline]
    pub(super) fn add(&mut self, bytes: usize, control: bool) {
        self.queued += bytes as u64;
        self.ends.push_back(self.queued << 1 | u64::from(control));
        self.control += u32::from(control);
    }

    /// So many bytes were written.
    #[inline]
    pub(super) fn written(&mut self, bytes: u64) {
        self.written += bytes;
        while let Some(&end) = self.ends.front()
            && end >> 1 <= self.written
        {
            self.ends.pop_front();
            self.control -= (end & 1) as u32;
        }
    }

    /// Frames of all kinds, and control frames, that wait.
    pub(super) fn waiting(&self) -> (u32, u32) {
        (self.ends.len() as u32, self.control)
    }

    #[inline]
    pub(super) fn check(&self, max_frames: u32, max_control: u32) -> Result<(), Fault> {
        let (frames, control) = self.waiting();
        if control > max_control {
            return Err(Fault::OutboundControlFlood);
        }
        if frames > max_frames {
            return Err(Fault::OutboundFlood);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_count_until_their_last_byte_is_written() {
        let mut out = Outbound::default();
        out.add(10, true);
        out.add(20, false);
        out.written(9);
        assert_eq!(out.waiting(), (2, 1));
        out.written(1);
        assert_eq!(out.waiting(), (1, 0));
        out.written(20);
        assert_eq!(out.waiting(), (0, 0));
    }
}
