//! Writing zeros ahead of the log.
//!
//! Space that `fallocate` reserved is not initialised: the first sync over each block must also record that it now is, and the file system
//! writes that into its own journal, with a flush of its own. Over blocks that hold zeros a sync writes data and nothing else: on ext4 here
//! 0.23 ms instead of 0.37 ms. So the write that reaches uninitialised space initialises a stretch behind itself, for the next thousand.

use std::{collections::HashMap, ops::Range, sync::Arc};

/// One sync in so many bytes carries the zeros for those that follow.
const STEP_BYTES: u64 = 256 << 10;

/// As many zeros as are ever written at once.
pub(crate) static ZEROS: [u8; STEP_BYTES as usize] = [0; STEP_BYTES as usize];

/// The files whose space was reserved here and has not all been written.
///
/// Invariant: at and behind `written`, nothing was written since the file was made. So zeros there change nothing that anyone can read.
/// A file that held anything when this process came to it is not here: where it ends is not known.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    files: HashMap<Arc<str>, Reserved>,
}

#[derive(Debug)]
struct Reserved {
    written: u64,
    length: u64,
}

impl Ahead {
    /// A file that holds no written byte got `length` bytes reserved.
    pub(crate) fn reserved(&mut self, path: &Arc<str>, length: u64) {
        self.files.insert(Arc::clone(path), Reserved { written: 0, length });
    }

    /// The file has another name now; what had that name is gone.
    pub(crate) fn renamed(&mut self, from: &str, to: &str) {
        self.files.remove(to);
        if let Some(reserved) = self.files.remove(from) {
            self.files.insert(to.into(), reserved);
        }
    }

    /// The file is gone, or was cut.
    pub(crate) fn forget(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// A write ended at `end`: where zeros are to follow it.
    pub(crate) fn behind(&mut self, path: &str, end: u64) -> Option<Range<u64>> {
        let reserved = self.files.get_mut(path)?;
        if end <= reserved.written {
            return None;
        }
        let until = (end + STEP_BYTES).min(reserved.length);
        if until <= end {
            // Written to its end, or beyond what was reserved.
            self.files.remove(path);
            return None;
        }
        reserved.written = until;
        Some(end..until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_follow_the_write_that_reaches_new_space_and_never_cover_what_was_written() {
        let mut ahead = Ahead::default();
        let path: Arc<str> = "a".into();
        assert_eq!(ahead.behind("a", 10), None, "a file of which nothing is known");
        ahead.reserved(&path, 3 * STEP_BYTES);
        assert_eq!(ahead.behind("a", 10), Some(10..10 + STEP_BYTES));
        // Within the zeros, also backwards: whatever stands behind may have been written since.
        assert_eq!(ahead.behind("a", 500), None);
        assert_eq!(ahead.behind("a", 20), None);
        ahead.renamed("a", "b");
        assert_eq!(ahead.behind("a", 1 << 30), None);
        assert_eq!(ahead.behind("b", 11 + STEP_BYTES), Some(11 + STEP_BYTES..11 + 2 * STEP_BYTES));
        assert_eq!(ahead.behind("b", 12 + 2 * STEP_BYTES), Some(12 + 2 * STEP_BYTES..3 * STEP_BYTES));
        assert_eq!(ahead.behind("b", 3 * STEP_BYTES), None);
        assert_eq!(ahead.behind("b", 4 * STEP_BYTES), None, "beyond what was reserved");
    }

    #[test]
    fn a_name_that_changed_hands_is_not_mistaken_for_the_file_it_was() {
        let mut ahead = Ahead::default();
        ahead.reserved(&"a".into(), STEP_BYTES);
        ahead.renamed("x", "a");
        assert_eq!(ahead.behind("a", 10), None);
        ahead.reserved(&"a".into(), STEP_BYTES);
        ahead.forget("a");
        assert_eq!(ahead.behind("a", 10), None);
    }
}
