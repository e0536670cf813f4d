//! One file: what is on the disk for certain, what is only on its way there, and what a power loss makes of the difference.
//!
//! A file's content changes at once for those who read it; each change waits in `pending` until a sync that was submitted after it
//! completes. At a power loss every 512-byte sector comes back as it was after some number of the changes that touch it, each sector for itself:
//! that is what a page cache may have written, and it includes "all", "nothing" and every torn mixture.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use quorate_consensus::Random;

const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { offset: usize, bytes: Bytes },
    Length(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Inode {
    pub(crate) content: Vec<u8>,
    pub(crate) durable: Arc<Vec<u8>>,
    /// The first durable byte that syncs have changed since somebody asked.
    pub(crate) changed_from: Cell<usize>,
    /// Changes that are in `content` and not in `durable`, oldest first; the first has the number `settled`.
    pub(crate) pending: VecDeque<Change>,
    settled: u64,
}

impl Inode {
    pub(crate) fn change(&mut self, change: Change) {
        apply(&mut self.content, &change);
        self.pending.push_back(change);
    }

    pub(crate) fn submitted(&self) -> u64 {
        self.settled + self.pending.len() as u64
    }

    /// Makes the changes below `number` durable. True if there were any.
    pub(crate) fn settle(&mut self, number: u64) -> bool {
        let mut any = false;
        while self.settled < number {
            let Some(change) = self.pending.pop_front() else { break };
            self.settled += 1;
            let first = match &change {
                Change::Write { offset, .. } => *offset,
                Change::Length(length) => self.durable.len().min(*length),
            };
            self.changed_from.set(self.changed_from.get().min(first));
            apply(Arc::make_mut(&mut self.durable), &change);
            any = true;
        }
        any
    }

    pub(crate) fn lose(&mut self, number: u64) {
        while self.settled < number && self.pending.pop_front().is_some() {
            self.settled += 1;
        }
    }

    /// The power fails. True if the file came back as a mixture.
    pub(crate) fn crash(&mut self, random: &mut Random) -> bool {
        let changes: Vec<Change> = self.pending.drain(..).collect();
        let mut torn = false;
        if !changes.is_empty() {
            match random.below(4) {
                0 => {}
                1 => {
                    let durable = Arc::make_mut(&mut self.durable);
                    changes.iter().for_each(|change| apply(durable, change));
                }
                _ => {
                    torn = true;
                    self.tear(&changes, random);
                }
            }
        }
        self.content = self.durable.as_ref().clone();
        self.settled = 0;
        torn
    }

    fn tear(&mut self, changes: &[Change], random: &mut Random) {
        let before = self.durable.len();
        let mut lengths = vec![before];
        let mut length = before;
        for change in changes {
            length = match change {
                Change::Length(length) => *length,
                Change::Write { offset, bytes } => length.max(offset + bytes.len()),
            };
            lengths.push(length);
        }
        let kept = lengths[random.below(lengths.len() as u64) as usize];
        let durable = Arc::make_mut(&mut self.durable);
        let mut touched: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, change) in changes.iter().enumerate() {
            if let Change::Write { offset, bytes } = change
                && !bytes.is_empty()
            {
                for sector in offset / SECTOR..=(offset + bytes.len() - 1) / SECTOR {
                    touched.entry(sector).or_default().push(number);
                }
            }
        }
        durable.resize(kept, 0);
        for (sector, writers) in touched {
            let survive = random.below(writers.len() as u64 + 1) as usize;
            for number in &writers[..survive] {
                if let Change::Write { offset, bytes } = &changes[*number] {
                    let from = (*offset).max(sector * SECTOR);
                    let to = (offset + bytes.len()).min((sector + 1) * SECTOR).min(kept);
                    if from < to {
                        durable[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
                    }
                }
            }
        }
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => {
            let end = offset + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(bytes);
        }
        Change::Length(length) => content.resize(*length, 0),
    }
}
