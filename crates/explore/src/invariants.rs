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
    /// Every entry that somebody called committed, from index 1 on.
    committed: Vec<Committed>,
    /// What a read must see: what was committed when it was asked for.
    reads: BTreeMap<ReadId, Index>,
}

#[derive(Clone, Debug, Hash)]
struct Committed {
    epoch: Epoch,
    payload: u64,
    /// The epoch that whoever called it so first was in; never before the entry's own.
    during: Epoch,
}

fn violated(invariant: &'static str, text: String) -> Result<(), Violation> {
    Err(Violation { invariant, text })
}

impl Promises {
    /// I1: at most one leader in an epoch. I7: whoever begins to lead has every entry that was committed in an epoch before. (A vote that comes late makes leaders
    /// of old epochs, who need not have what was committed since; nobody follows them.)
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
        for (index, entry) in (1..).map(Index).zip(&self.committed) {
            if entry.during < epoch && index > compacted && epoch_at(index) != Some(entry.epoch) {
                let (has, of) = (epoch_at(index), entry.epoch);
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

    /// I6: two members never take different entries for committed at one index. Was it new to everybody? `during` is the epoch that the member is in.
    pub(crate) fn committed(
        &mut self,
        node: NodeId,
        entry: &Entry,
        during: Epoch,
    ) -> Result<bool, Violation> {
        let (index, epoch) = (entry.position.index, entry.position.epoch);
        let payload = fingerprint_of(&entry.payload);
        match self.committed.get(index.0 as usize - 1) {
            Some(first) if (first.epoch, first.payload) == (epoch, payload) => Ok(false),
            Some(Committed { epoch, .. }) => violated(
                "I6",
                format!(
                    "index {index} was committed in epoch {epoch}, and node {node} commits {entry:?} there"
                ),
            )
            .map(|()| false),
            None if self.committed.len() as u64 + 1 == index.0 => {
                self.committed.push(Committed { epoch, payload, during });
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

#[cfg(test)]
mod tests {
    use quorate_consensus::{Payload, Position};

    use super::*;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    fn entry(epoch: u64, index: u64) -> Entry {
        Entry { position: Position::new(epoch, index), payload: Payload::Noop }
    }

    fn broken<T: std::fmt::Debug>(outcome: Result<T, Violation>) -> &'static str {
        outcome.expect_err("it does not hold").invariant
    }

    #[test]
    fn i1_two_leaders_of_one_epoch() {
        let mut promises = Promises::default();
        let no_log = |_| None;
        promises.leads(ONE, Epoch(3), no_log, Index::ZERO).unwrap();
        promises.leads(ONE, Epoch(3), no_log, Index::ZERO).unwrap();
        promises.leads(TWO, Epoch(4), no_log, Index::ZERO).unwrap();
        assert_eq!(broken(promises.leads(TWO, Epoch(3), no_log, Index::ZERO)), "I1");
    }

    #[test]
    fn i7_a_leader_without_what_was_committed_before() {
        let mut promises = Promises::default();
        promises.committed(ONE, &entry(1, 1), Epoch(1)).unwrap();
        promises.committed(ONE, &entry(2, 2), Epoch(4)).unwrap();
        let whole = |index: Index| [None, Some(Epoch(1)), Some(Epoch(2))][index.0 as usize];
        let first_alone = |index: Index| (index == Index(1)).then_some(Epoch(1));
        promises.leads(ONE, Epoch(5), whole, Index::ZERO).unwrap();
        promises.leads(ONE, Epoch(6), |_| None, Index(2)).unwrap();
        // A late vote makes a leader of epoch 3, in which the second was not committed yet.
        promises.leads(TWO, Epoch(3), first_alone, Index::ZERO).unwrap();
        assert_eq!(broken(promises.leads(TWO, Epoch(7), first_alone, Index::ZERO)), "I7");
        assert_eq!(broken(promises.leads(TWO, Epoch(2), |_| None, Index::ZERO)), "I7");
    }

    #[test]
    fn i6_and_i10_another_entry_and_one_too_early() {
        let mut promises = Promises::default();
        assert!(promises.committed(ONE, &entry(1, 1), Epoch(1)).unwrap());
        assert!(!promises.committed(TWO, &entry(1, 1), Epoch(2)).unwrap(), "it is known");
        assert_eq!(broken(promises.committed(TWO, &entry(2, 1), Epoch(2))), "I6");
        let command = Entry { payload: Payload::Command("put".into()), ..entry(1, 1) };
        assert_eq!(broken(promises.committed(TWO, &command, Epoch(2))), "I6");
        assert_eq!(broken(promises.committed(TWO, &entry(1, 3), Epoch(2))), "I10");
        assert_eq!(promises.commit(), Index(1));
    }

    #[test]
    fn i8_committed_and_on_too_few_disks() {
        let three = Membership::new([ONE, TWO, NodeId(3)], []);
        Promises::durable(&entry(1, 1), &three, |node| node != ONE).unwrap();
        assert_eq!(broken(Promises::durable(&entry(1, 1), &three, |node| node == ONE)), "I8");
    }

    #[test]
    fn i11_a_read_that_sees_too_little() {
        let mut promises = Promises::default();
        promises.committed(ONE, &entry(1, 1), Epoch(1)).unwrap();
        promises.asks(ReadId(7));
        promises.asks(ReadId(8));
        promises.committed(ONE, &entry(1, 2), Epoch(1)).unwrap();
        promises.safe(ReadId(7), Index(1)).unwrap();
        assert_eq!(broken(promises.safe(ReadId(8), Index::ZERO)), "I11");
        // Given up, it promises nothing.
        promises.asks(ReadId(9));
        promises.refused(ReadId(9));
        promises.safe(ReadId(9), Index::ZERO).unwrap();
    }
}
