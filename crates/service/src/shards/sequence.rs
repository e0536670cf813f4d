//! What the shards of a node have placed, as one sequence.

use std::collections::BTreeMap;

use quorate_consensus::ShardId;
use quorate_keyspace::News;

use super::Numbered;

/// Gathers what shards place, each at its own pace, and lets it out revision by revision.
///
/// Architecture Invariant: a revision comes out whole, and after all those before it. {T puts into A and B at 6; A has placed it, B has not}: nothing of 6 is seen, and
/// nothing of 7.
#[derive(Debug, Default)]
pub struct Sequence {
    /// By revision; the change itself before what was told of it; then in order of arrival within a shard.
    waiting: BTreeMap<(u64, bool, ShardId, u64), Numbered>,
    arrived: u64,
    /// All up to here came out.
    out: u64,
}

impl Sequence {
    /// Of a node whose state is as of `revision`.
    #[must_use]
    pub fn new(revision: u64) -> Sequence {
        Sequence { waiting: BTreeMap::new(), arrived: 0, out: revision }
    }

    /// The revision up to which everything came out: what a read on this node sees.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.out
    }

    /// A shard has placed something.
    pub fn add(&mut self, numbered: Numbered) {
        self.arrived += 1;
        let told = !numbered.changes;
        self.waiting.insert((numbered.revision, told, numbered.shard, self.arrived), numbered);
    }

    /// All shards have placed what they have up to `reached`: the items that come out by that, in order.
    pub fn advance(&mut self, reached: u64) -> Vec<Numbered> {
        self.out = self.out.max(reached);
        let rest = self.waiting.split_off(&(self.out + 1, false, ShardId(0), 0));
        let mut out: Vec<Numbered> = std::mem::replace(&mut self.waiting, rest).into_values().collect();
        number_changes(&mut out);
        out
    }
}

/// Each shard numbers its own changes of a revision from 0; here all of one revision follow each other, shard by shard.
fn number_changes(out: &mut [Numbered]) {
    let (mut revision, mut next) = (0, 0);
    for numbered in out {
        if numbered.revision != revision {
            (revision, next) = (numbered.revision, 0);
        }
        for news in &mut numbered.news {
            if let News::Changed(event) = news {
                event.sub = next;
                next += 1;
            }
        }
    }
}
