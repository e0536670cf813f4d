//! Jute, the encoding of ZooKeeper's wire: big-endian fields one after the other, without names, tags or versions.
//!
//! | jute | Rust | bytes |
//! |---|---|---|
//! | int, long | `i32`, `i64` | 4, 8 |
//! | boolean | `bool` | 1; whatever is not zero is true, as Java reads it |
//! | ustring | `String`, `Option<String>` | an int, the length in bytes, and UTF-8; −1 is null |
//! | buffer | `Option<Bytes>` | an int, the length, and the bytes; −1 is null |
//! | vector | `Vec<T>` | an int, how many, and the items; −1 is null, read as empty |
//! | record | a struct | its fields |
//!
//! Architecture Invariant: nothing is allocated on the word of a length. A string or a buffer is taken out of the bytes that are there, and a
//! vector makes room for no more items than those bytes can hold. Records hold no records of their own kind, so nesting is as deep as the types say.
//!
//! Bad UTF-8 is read as ZooKeeper reads it: each bad sequence becomes U+FFFD, which no path may hold.

use std::{error, fmt};

use bytes::{Buf, Bytes};

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JuteError {
    /// They end too early, or a length says more than there is.
    Ended,
    /// A negative length that is not −1.
    NegativeLength(i32),
    /// A string is null that must not be.
    Null,
    /// A number that stands for nothing here.
    Unknown {
        /// What it should stand for.
        what: &'static str,
        /// The number.
        value: i32,
    },
}

impl fmt::Display for JuteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JuteError::Ended => f.write_str("the record ends too early, or a length in it is too large"),
            JuteError::NegativeLength(length) => {
                write!(f, "a length of {length}; only −1, for null, may be negative")
            }
            JuteError::Null => f.write_str("a string is null where there must be one"),
            JuteError::Unknown { what, value } => write!(f, "{value} is no {what}"),
        }
    }
}

impl error::Error for JuteError {}

/// Something with a place on the wire.
pub trait Jute: Sized {
    /// The fewest bytes it takes.
    const BYTES_MIN: usize;

    /// Reads it.
    ///
    /// # Errors
    /// The bytes are something else.
    fn read(from: &mut Reader) -> Result<Self, JuteError>;

    /// Writes it.
    fn write(&self, to: &mut Writer);
}

/// Reads jute. Buffers are parts of the bytes given to it, and keep all of those alive.
#[derive(Clone, Debug)]
pub struct Reader {
    rest: Bytes,
}

impl Reader {
    /// A reader of these bytes.
    #[must_use]
    pub fn new(bytes: Bytes) -> Reader {
        Reader { rest: bytes }
    }

    /// How many bytes are left. ZooKeeper does not mind bytes after a record, and neither do we.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that are left.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.rest
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], JuteError> {
        let bytes = *self.rest.first_chunk::<N>().ok_or(JuteError::Ended)?;
        self.rest.advance(N);
        Ok(bytes)
    }

    /// A length: none for −1, and never more than there are bytes left, `unit` of them for each.
    fn length(&mut self, unit: usize) -> Result<Option<usize>, JuteError> {
        let length = i32::read(self)?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| JuteError::NegativeLength(length))?;
        match length.checked_mul(unit) {
            Some(bytes) if bytes <= self.rest.len() => Ok(Some(length)),
            Some(_) | None => Err(JuteError::Ended),
        }
    }
}

/// Writes jute.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer with nothing written.
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A writer with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(bytes) }
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Past 2³¹ − 1 the length is wrong, but then so is the frame's, which is refused.
    fn length(&mut self, length: usize) {
        i32::try_from(length).unwrap_or(i32::MAX).write(self);
    }

    /// A string.
    pub fn string(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

impl Jute for () {
    const BYTES_MIN: usize = 0;

    fn read(_from: &mut Reader) -> Result<(), JuteError> {
        Ok(())
    }

    fn write(&self, _to: &mut Writer) {}
}

impl Jute for i32 {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader) -> Result<i32, JuteError> {
        from.fixed().map(i32::from_be_bytes)
    }

    fn write(&self, to: &mut Writer) {
        to.bytes.extend_from_slice(&self.to_be_bytes());
    }
}

impl Jute for i64 {
    const BYTES_MIN: usize = 8;

    fn read(from: &mut Reader) -> Result<i64, JuteError> {
        from.fixed().map(i64::from_be_bytes)
    }

    fn write(&self, to: &mut Writer) {
        to.bytes.extend_from_slice(&self.to_be_bytes());
    }
}

impl Jute for bool {
    const BYTES_MIN: usize = 1;

    fn read(from: &mut Reader) -> Result<bool, JuteError> {
        from.fixed::<1>().map(|[byte]| byte != 0)
    }

    fn write(&self, to: &mut Writer) {
        to.bytes.push(u8::from(*self));
    }
}

impl Jute for Option<Bytes> {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader) -> Result<Option<Bytes>, JuteError> {
        Ok(from.length(1)?.map(|length| from.rest.split_to(length)))
    }

    fn write(&self, to: &mut Writer) {
        match self {
            None => (-1_i32).write(to),
            Some(bytes) => {
                to.length(bytes.len());
                to.bytes.extend_from_slice(bytes);
            }
        }
    }
}

impl Jute for Option<String> {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader) -> Result<Option<String>, JuteError> {
        Ok(Option::<Bytes>::read(from)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn write(&self, to: &mut Writer) {
        match self {
            None => (-1_i32).write(to),
            Some(text) => to.string(text),
        }
    }
}

/// A string that must be there.
impl Jute for String {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader) -> Result<String, JuteError> {
        Option::<String>::read(from)?.ok_or(JuteError::Null)
    }

    fn write(&self, to: &mut Writer) {
        to.string(self);
    }
}

/// A vector. Null is read as empty: no request means something else by it.
impl<T: Jute> Jute for Vec<T> {
    const BYTES_MIN: usize = 4;

    fn read(from: &mut Reader) -> Result<Vec<T>, JuteError> {
        const { assert!(T::BYTES_MIN > 0, "items without bytes could be without number") }
        let Some(count) = from.length(T::BYTES_MIN)? else { return Ok(Vec::new()) };
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(T::read(from)?);
        }
        Ok(items)
    }

    fn write(&self, to: &mut Writer) {
        to.length(self.len());
        for item in self {
            item.write(to);
        }
    }
}

/// Records: structs whose fields stand on the wire in the order in which they are named.
macro_rules! records {
    ($($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ty,)* })+) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl $crate::jute::Jute for $name {
            const BYTES_MIN: usize = 0 $(+ <$kind as $crate::jute::Jute>::BYTES_MIN)*;

            fn read(from: &mut $crate::jute::Reader) -> Result<Self, $crate::jute::JuteError> {
                Ok(Self { $($field: $crate::jute::Jute::read(from)?,)* })
            }

            fn write(&self, to: &mut $crate::jute::Writer) {
                $($crate::jute::Jute::write(&self.$field, to);)*
            }
        }
    )+};
}
pub(crate) use records;

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Jute>(bytes: &'static [u8]) -> Result<T, JuteError> {
        T::read(&mut Reader::new(Bytes::from_static(bytes)))
    }

    fn written(value: &impl Jute) -> Bytes {
        let mut to = Writer::new();
        value.write(&mut to);
        to.finish()
    }

    #[test]
    fn null_is_minus_one_and_no_other_length_is_negative() {
        assert_eq!(read::<Option<Bytes>>(&[0xff; 4]), Ok(None));
        assert_eq!(read::<Option<String>>(&[0xff; 4]), Ok(None));
        assert_eq!(read::<String>(&[0xff; 4]), Err(JuteError::Null));
        assert_eq!(read::<Vec<i32>>(&[0xff; 4]), Ok(vec![]));
        let minus_two = &[0xff, 0xff, 0xff, 0xfe];
        assert_eq!(read::<Option<Bytes>>(minus_two), Err(JuteError::NegativeLength(-2)));
        assert_eq!(read::<String>(minus_two), Err(JuteError::NegativeLength(-2)));
        assert_eq!(read::<Vec<i32>>(minus_two), Err(JuteError::NegativeLength(-2)));
    }

    #[test]
    fn a_length_beyond_the_bytes_is_refused_before_anything_is_allocated() {
        let huge = &[0x7f, 0xff, 0xff, 0xff, 1, 2, 3];
        assert_eq!(read::<Option<Bytes>>(huge), Err(JuteError::Ended));
        assert_eq!(read::<String>(huge), Err(JuteError::Ended));
        assert_eq!(read::<Vec<i64>>(huge), Err(JuteError::Ended));
        assert_eq!(
            read::<Vec<i32>>(&[0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7]),
            Err(JuteError::Ended),
            "one byte short"
        );
    }

    #[test]
    fn numbers_are_big_endian_and_booleans_lenient() {
        assert_eq!(read::<i32>(&[0xff, 0xff, 0xff, 0xfe]), Ok(-2));
        assert_eq!(read::<i64>(&[0, 0, 0, 1, 0, 0, 0, 2]), Ok((1 << 32) + 2));
        assert_eq!(read::<bool>(&[7]), Ok(true));
        assert_eq!(&*written(&true), &[1]);
        assert_eq!(&*written(&Some("ab".to_owned())), &[0, 0, 0, 2, b'a', b'b']);
    }

    #[test]
    fn bad_utf8_becomes_the_replacement_character_as_in_java() {
        assert_eq!(read::<String>(&[0, 0, 0, 3, b'a', 0xff, b'b']).as_deref(), Ok("a\u{fffd}b"));
    }
}
