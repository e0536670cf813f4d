//! What must hold in every world, whatever happened: the invariants of the simulator that make sense without clients.
//!
//! What was promised once is part of a world: who led which epoch, which entry is committed where, how far a read must see. Two worlds that differ in
//! that alone are two.

use std::{collections::BTreeMap, hash::Hash};

use quorate_consensus::{Entry, Epoch, Index, Membership, NodeId, ReadId, fingerprint_of};

use crate::world::Violation;

/// What was promised.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Promises {
    /// Who led.
    leaders: BTreeMap<Epoch, NodeId>,
    /// Epoch and fingerprint of every entry that somebody called committed, from index 1 on.
    committed: Vec<(Epoch, u64)>,
    /// What a read must see: what was committed when it was asked for.
    reads: BTreeMap<ReadId, Index>,
}

fn violated(invariant: &'static str, text: String) -> Result<(), Violation> {
    Err(Violation { invariant, text })
}

impl Promises {
    /// I1: at most one leader in an epoch. I7: whoever begins to lead has every entry that was committed.
    pub(crate) fn leads(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        epoch_at: impl Fn(Index) -> Option<Epoch>,
        compacted: Index,
    ) -> Result<(), Violation> {
        let leader = *self.leaders.entry(epoch).or_insert(node);
        if leader != node {
            return violated("I1", format!("nodes {leader} and {node} both lead epoch {epoch}"));
        }
        for (index, (of, _)) in (1..).map(Index).zip(&self.committed) {
            if index > compacted && epoch_at(index) != Some(*of) {
                let has = epoch_at(index);
                return violated(
                    "I7",
                    format!(
                        "node {node} leads epoch {epoch} without entry {index} of epoch {of} (it has {has:?})"
                    ),
                );
            }
        }
        Ok(())
    }

    /// I6: two members never take different entries for committed at one index. Was it new to everybody?
    pub(crate) fn committed(&mut self, node: NodeId, entry: &Entry) -> Result<bool, Violation> {
        let (index, found) = (entry.position.index, (entry.position.epoch, fingerprint_of(&entry.payload)));
        match self.committed.get(index.0 as usize - 1) {
            Some(first) if *first == found => Ok(false),
            Some((epoch, _)) => violated(
                "I6",
                format!(
                    "index {index} was committed in epoch {epoch}, and node {node} commits {entry:?} there"
                ),
            )
            .map(|()| false),
            None if self.committed.len() as u64 + 1 == index.0 => {
                self.committed.push(found);
                Ok(true)
            }
            None => violated(
                "I10",
                format!("node {node} commits {index}, and the entry before was never committed"),
            )
            .map(|()| false),
        }
    }

    /// I8: what is committed is on the disks of a quorum.
    pub(crate) fn durable(
        entry: &Entry,
        membership: &Membership,
        holds: impl Fn(NodeId) -> bool,
    ) -> Result<(), Violation> {
        if membership.is_quorum(holds) {
            return Ok(());
        }
        violated(
            "I8",
            format!(
                "{:?} is called committed and is not on the disks of a quorum of {membership:?}",
                entry.position
            ),
        )
    }

    /// A read is asked for.
    pub(crate) fn asks(&mut self, read: ReadId) {
        self.reads.insert(read, Index(self.committed.len() as u64));
    }

    /// I11: a read sees all that was committed when it was asked for.
    pub(crate) fn safe(&mut self, read: ReadId, index: Index) -> Result<(), Violation> {
        match self.reads.remove(&read) {
            Some(wanted) if index < wanted => violated(
                "I11",
                format!("a read may see {index}, and {wanted} was committed when it was asked for"),
            ),
            Some(_) | None => Ok(()),
        }
    }

    /// Nobody answers it any more.
    pub(crate) fn refused(&mut self, read: ReadId) {
        self.reads.remove(&read);
    }

    /// How far the group is, as far as anybody knows.
    pub(crate) fn commit(&self) -> Index {
        Index(self.committed.len() as u64)
    }
}
