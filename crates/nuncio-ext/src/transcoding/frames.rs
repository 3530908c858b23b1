//! Messages of gRPC in a stream of bytes: a flag, a length, and so many bytes.

/// Bytes before each message.
pub(crate) const PREFIX: usize = 5;

/// A message with its prefix.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + message.len());
    out.extend_from_slice(&prefix(message.len()));
    out.extend_from_slice(message);
    out
}

/// The prefix of a message that is not compressed.
pub(crate) fn prefix(length: usize) -> [u8; PREFIX] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

/// Takes a stream of bytes apart. How much it may keep is its user's to limit.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    kept: Vec<u8>,
    from: usize,
}

impl Frames {
    /// Adds what came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.from > 0 {
            self.kept.drain(..self.from);
            self.from = 0;
        }
        self.kept.extend_from_slice(bytes);
    }

    /// Bytes that have not been given out.
    pub(crate) fn len(&self) -> usize {
        self.kept.len() - self.from
    }

    /// The next whole message, with its flag.
    pub(crate) fn next(&mut self) -> Option<(u8, &[u8])> {
        let rest = &self.kept[self.from..];
        let (prefix, body) = rest.split_first_chunk::<PREFIX>()?;
        let [flag, a, b, c, d] = *prefix;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let message = body.get(..length)?;
        self.from += PREFIX + length;
        Some((flag, message))
    }

    /// The flag of the next message, once its prefix is there.
    pub(crate) fn flag(&self) -> Option<u8> {
        self.kept[self.from..].first_chunk::<PREFIX>().map(|prefix| prefix[0])
    }

    /// What is wrong with what is left when nothing more comes.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let rest = &self.kept[self.from..];
        match rest.split_first_chunk::<PREFIX>() {
            None if rest.is_empty() => None,
            None => Some("Incomplete gRPC frame header received".to_owned()),
            Some(([_, a, b, c, d], body)) => {
                let length = u32::from_be_bytes([*a, *b, *c, *d]);
                Some(format!("Incomplete gRPC frame expected size: {length} actual size: {}", body.len()))
            }
        }
    }
}
