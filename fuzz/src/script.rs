//! Bytes as a script: numbers and pieces are taken off the front, and after the end everything is zero.

use bytes::Bytes;

pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(bytes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    /// A piece with its length, two bytes, before it.
    pub(crate) fn piece(&mut self) -> Bytes {
        let length = usize::from(u16::from_be_bytes([self.byte(), self.byte()])).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        Bytes::copy_from_slice(piece)
    }
}

/// What [`Script::piece`] reads.
pub(crate) fn write_piece(to: &mut Vec<u8>, piece: &[u8]) {
    let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
    to.extend(length.to_be_bytes());
    to.extend(&piece[..usize::from(length)]);
}
