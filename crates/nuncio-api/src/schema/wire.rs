//! The protobuf wire format, read by hand: a cursor over tags and values.
//!
//! Promises: never panics, never reads past its slice; a malformed message is a [`WireError`].

/// The bytes are not a well-formed protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError;

/// One value as it lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wire<'a> {
    /// Varint.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// A length and as many bytes.
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    /// The bytes of a length-delimited value, else nothing.
    pub fn bytes(self) -> &'a [u8] {
        if let Wire::Bytes(b) = self { b } else { &[] }
    }

    /// The text of a length-delimited value; invalid UTF-8 reads as empty.
    pub fn text(self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// The integer of a varint or fixed value, else 0.
    pub fn integer(self) -> u64 {
        match self {
            Wire::Varint(v) | Wire::Fixed64(v) => v,
            Wire::Fixed32(v) => u64::from(v),
            Wire::Bytes(_) => 0,
        }
    }
}

/// Reads the fields of one message, in order.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the first field.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// A bare varint, as packed repeated fields hold them.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in 0..10 {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (7 * shift).min(63);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError)
    }

    /// Nothing left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Eight bare bytes.
    pub fn fixed64(&mut self) -> Result<u64, WireError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(WireError)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*head))
    }

    /// Four bare bytes.
    pub fn fixed32(&mut self) -> Result<u32, WireError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(WireError)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*head))
    }

    /// The next field number and value; `None` at the end.
    pub fn field(&mut self) -> Result<Option<(u32, Wire<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| WireError)?;
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.fixed64()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError)?;
                let (head, rest) = self.rest.split_at_checked(length).ok_or(WireError)?;
                self.rest = rest;
                Wire::Bytes(head)
            }
            5 => Wire::Fixed32(self.fixed32()?),
            // Groups are of proto2 and nowhere in this API.
            _ => return Err(WireError),
        };
        Ok(Some((number, value)))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (u32, Wire<'a>);

    /// Ends at the end of the message or at the first malformed byte: for input that is known to be good.
    fn next(&mut self) -> Option<Self::Item> {
        self.field().ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_wire_type() {
        let bytes = [
            0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0,
        ];
        let fields: Vec<_> = Reader::new(&bytes).collect();
        assert_eq!(
            fields,
            [
                (1, Wire::Varint(150)),
                (2, Wire::Bytes(b"hi")),
                (3, Wire::Fixed32(1)),
                (4, Wire::Fixed64(2))
            ]
        );
    }

    #[test]
    fn truncated_input_is_an_error_not_a_panic() {
        for bytes in [&[0x08][..], &[0x12, 5, 1], &[0x80; 11], &[0x1d, 0], &[0x0b]] {
            assert_eq!(Reader::new(bytes).field(), Err(WireError));
        }
    }
}
