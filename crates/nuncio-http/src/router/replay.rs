//! The request body kept for another attempt, up to a limit.

use nuncio_rt::Buf;

/// What has been sent of a request's body.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    bytes: Vec<u8>,
}

impl Replay {
    /// Keeps a copy of a piece. False, and nothing kept any more, when it grows beyond `limit` bytes.
    pub(crate) fn keep(&mut self, piece: &Buf, limit: usize) -> bool {
        if self.bytes.len() + piece.len() > limit {
            self.clear();
            return false;
        }
        self.bytes.extend_from_slice(piece.filled());
        true
    }

    /// The body so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The body, to be kept here no longer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Forgets it.
    pub(crate) fn clear(&mut self) {
        self.bytes = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_beyond_the_limit_is_not_kept_at_all() {
        let mut replay = Replay::default();
        assert!(replay.keep(&Buf::copy_of(b"abc"), 5));
        assert!(!replay.keep(&Buf::copy_of(b"def"), 5));
        assert!(replay.bytes().is_empty());
    }
}
