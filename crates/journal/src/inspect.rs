//! For checkers that ask again and again what would be recovered if the power failed now: what has been read once is not read again.

use bytes::Bytes;

use crate::{Journal, recovery::Parsed, segments::segment_path};

/// How far a journal has read the newest segment there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its file.
    pub path: std::sync::Arc<str>,
    sequence: u64,
    /// Where its last whole frame ends.
    pub end: u64,
    synced: u64,
}

impl Journal {
    /// Where a journal that has just recovered stopped reading. `None` if there is no segment, or one above the newest that has a beginning.
    #[must_use]
    pub fn inspected(&self) -> Option<Inspected> {
        let (sequence, end) = self.writer.newest_before()?;
        // The mark is read again from the segment's first frames on: zero is a lower bound, and only makes damage harder to see, never easier.
        Some(Inspected { path: segment_path(sequence), sequence, end, synced: 0 })
    }

    /// Goes on reading where `inspected` stopped, in the same segment as it now is. A journal that is read so is good for nothing else any more.
    ///
    /// # Errors
    /// What recovery would call damage.
    pub fn inspect(&mut self, inspected: &mut Inspected, segment: &Bytes) -> Result<(), String> {
        let from = (inspected.end as usize, inspected.synced);
        match self.parse(inspected.sequence, None, from, segment, &mut Vec::new()) {
            Parsed::Whole(end, synced) => {
                (inspected.end, inspected.synced) = (end as u64, synced);
                Ok(())
            }
            Parsed::Damaged(offset, what) => Err(format!("{} at byte {offset}: {what}", inspected.path)),
        }
    }
}
