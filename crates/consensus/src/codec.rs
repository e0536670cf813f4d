//! Reading and writing bytes: little-endian integers, LEB128 varints, length-prefixed strings. Every reader is bounded by its input:
//! nothing is allocated that the input does not hold.

use std::fmt;

use bytes::{Buf, BufMut, Bytes};

/// Why bytes were not understood. A message says what was read, so that a log line is enough to find the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The input ended early.
    Truncated,
    /// More bytes than the value takes.
    Trailing {
        /// How many are left over.
        bytes: usize,
    },
    /// A tag that this build does not know.
    Unknown {
        /// What was read.
        what: &'static str,
        /// The tag.
        value: u64,
    },
    /// A value out of its range.
    Invalid {
        /// What was read.
        what: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated => write!(f, "the bytes end early"),
            DecodeError::Trailing { bytes } => write!(f, "{bytes} bytes too many"),
            DecodeError::Unknown { what, value } => write!(f, "unknown {what} {value}"),
            DecodeError::Invalid { what } => write!(f, "invalid {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Writes into a growing buffer.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// An empty writer with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { buffer: Vec::with_capacity(bytes) }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.buffer.push(value);
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32_le(value);
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) {
        self.buffer.put_u64_le(value);
    }

    /// One to ten bytes, LEB128.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.buffer.push(u8::from(value));
    }

    /// A varint length, then the bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.varint(value.len() as u64);
        self.buffer.extend_from_slice(value);
    }

    /// The bytes alone, without a length.
    pub fn raw(&mut self, value: &[u8]) {
        self.buffer.extend_from_slice(value);
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// What was written so far, to look at or to patch a length that was not known before.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// What was written so far.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// Forgets what was written, keeps the room.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    /// What was written, without a copy.
    #[must_use]
    pub fn finish(self) -> Bytes {
        Bytes::from(self.buffer)
    }
}

/// Reads from shared bytes; what it hands out shares their memory.
#[derive(Clone, Debug)]
pub struct Reader {
    input: Bytes,
}

impl Reader {
    /// Reads `input` from its start.
    #[must_use]
    pub fn new(input: Bytes) -> Reader {
        Reader { input }
    }

    /// The next byte, which stays where it is; `None` at the end.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.input.first().copied()
    }

    /// Bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.input.len()
    }

    /// One byte.
    ///
    /// # Errors
    /// Truncated input; so with all readers below.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.need(1)?;
        Ok(self.input.get_u8())
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// Truncated input.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.need(4)?;
        Ok(self.input.get_u32_le())
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// Truncated input.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.need(8)?;
        Ok(self.input.get_u64_le())
    }

    /// A LEB128 varint, in its shortest form only, so that one value has one encoding.
    ///
    /// # Errors
    /// Truncated input, more than 64 bits, or a padded form.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Invalid { what: "varint" });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(DecodeError::Invalid { what: "varint" })
                } else {
                    Ok(value)
                };
            }
        }
        Err(DecodeError::Invalid { what: "varint" })
    }

    /// One byte, 0 or 1.
    ///
    /// # Errors
    /// Truncated input, or another value.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid { what: "bool" }),
        }
    }

    /// A varint length, then that many bytes, sharing the input's memory.
    ///
    /// # Errors
    /// Truncated input; the length is checked against what is there before anything is made.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.varint()?;
        self.raw(usize::try_from(length).map_err(|_| DecodeError::Truncated)?)
    }

    /// The next `length` bytes, sharing the input's memory.
    ///
    /// # Errors
    /// Truncated input.
    pub fn raw(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.need(length)?;
        Ok(self.input.split_to(length))
    }

    /// A length-prefixed UTF-8 string.
    ///
    /// # Errors
    /// Truncated input, or not UTF-8.
    pub fn string(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| DecodeError::Invalid { what: "UTF-8" })
    }

    /// A count of things that take at least `bytes_each` bytes each: a count that the rest of the input cannot hold is refused
    /// before anything is allocated for it.
    ///
    /// # Errors
    /// Truncated input, or a count too large for it.
    pub fn count(&mut self, bytes_each: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
        if count > self.remaining() / bytes_each.max(1) {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    /// Everything that is left.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.input
    }

    /// Says that nothing may be left.
    ///
    /// # Errors
    /// Bytes are left over.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.input.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }

    fn need(&self, bytes: usize) -> Result<(), DecodeError> {
        if self.input.len() < bytes { Err(DecodeError::Truncated) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_has_exactly_one_encoding() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut to = Writer::new();
            to.varint(value);
            let mut from = Reader::new(to.finish());
            assert_eq!(from.varint(), Ok(value));
            assert_eq!(from.finish(), Ok(()));
        }
        assert!(Reader::new(Bytes::from_static(&[0x80, 0x00])).varint().is_err());
        assert!(Reader::new(Bytes::from_static(&[0xff; 10])).varint().is_err());
    }

    #[test]
    fn a_length_beyond_the_input_is_refused_before_it_is_allocated() {
        let mut to = Writer::new();
        to.varint(u64::MAX);
        to.raw(b"abc");
        assert_eq!(Reader::new(to.clone().finish()).bytes(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(to.finish()).count(1), Err(DecodeError::Truncated));
    }
}
