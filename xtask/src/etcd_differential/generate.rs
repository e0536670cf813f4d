//! What is asked next: drawn, from a small world in which keys, leases and revisions meet often.

mod kv;
mod others;
mod watch;

pub(super) use watch::MARKER;

use super::call::Call;
use crate::torture::Mixer;

/// Leases that live at a time, at most.
const LEASES_MAX: usize = 16;

/// What the calls so far have come to, as far as the next ones are drawn from it.
pub(super) struct World {
    random: Mixer,
    /// The store's revision, and the one that it is compacted at.
    pub(super) revision: i64,
    pub(super) compacted: i64,
    leases: Vec<i64>,
    /// Open streams of watches.
    streams: Vec<watch::Open>,
    opened: usize,
    /// Names of locks and elections that nobody has used.
    names: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Mixer(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..4 {
            random.below(2);
        }
        World {
            random,
            revision: 1,
            compacted: 0,
            leases: Vec::new(),
            streams: Vec::new(),
            opened: 0,
            names: 0,
        }
    }

    /// The next calls, one after another: usually one.
    pub(super) fn next(&mut self) -> Vec<Call> {
        match self.random.below(1_000) {
            0..260 => vec![Call::Range(self.range())],
            260..430 => vec![Call::Put(self.put())],
            430..500 => vec![Call::DeleteRange(self.delete())],
            500..680 => vec![Call::Txn(self.txn(0))],
            680..700 => vec![self.compact()],
            700..702 => self.heavy(),
            702..800 => self.lease(),
            800..830 => self.recipe(),
            830..860 => self.maintenance(),
            860..863 => self.alarm(),
            _ => self.watch(),
        }
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.random.below(chances) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = self.random.below(from.len() as u64) as usize;
        from[at].clone()
    }

    /// A revision: most from the recent past, some compacted, some not yet, some absurd.
    fn some_revision(&mut self) -> i64 {
        let back = self.random.below(30) as i64;
        match self.random.below(20) {
            0 => self.compacted,
            1 => self.compacted - 1,
            2 => self.compacted + 1,
            3 => self.revision,
            4 => self.revision + 1,
            5 => self.revision + 1_000_000,
            6 => -1 - back,
            7 => i64::MAX,
            8 => i64::MIN,
            _ => (self.revision - back).max(1),
        }
    }

    /// The id of a lease: most live.
    fn some_lease(&mut self) -> i64 {
        match self.random.below(12) {
            0 => 999_999,
            1 => -999_999,
            _ if self.leases.is_empty() => 999_998,
            _ => {
                let leases = self.leases.clone();
                self.pick(&leases)
            }
        }
    }
}
