//! First the history durable, then the current epoch durable, then NEWLEADER is acknowledged, or sent: in that order, because nothing else compiles.
//!
//! ```text
//!   history_durable() ─► HistoryDurable ─► write_current_epoch() ─► EpochWriting ─► epoch_durable() ─► EpochDurable
//!                                                                                                        │  a learner: AckNewLeader
//!                                                                                                        └─ a leader: NewLeader
//! ```
//!
//! Each value can be made here alone, and only from the one before. The current epoch says of a log that it holds all that this epoch's leader began with;
//! it is what the next election judges by. {S3 writes epoch 2 before the history of epoch 2 and loses power between: it comes back with the short log of
//! epoch 1, wins with the best vote of all, and cuts from S1 and S2 what they committed}: ZOOKEEPER-4643, H02. {S3 acknowledges before either is durable:
//! S1 commits by S3's word, both lose power}: ZOOKEEPER-4646, H01.

use quorate_consensus::{Epoch, PersistToken, Position, planted};

use crate::{Zab, message::Packet, role::Role};

/// The log is durable up to the end of the history.
pub(crate) struct HistoryDurable(());

/// The current epoch is being written, after the history became durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EpochWriting {
    epoch: Epoch,
    token: PersistToken,
}

/// The history is durable, and after it the current epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EpochDurable {
    epoch: Epoch,
}

impl EpochWriting {
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl EpochDurable {
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The leader's NEWLEADER: to be had only here.
    pub(crate) fn new_leader(&self, last: Position) -> Packet {
        Packet::NewLeader { epoch: self.epoch, last }
    }
}

impl Zab {
    /// Is the history up to `last` durable?
    pub(crate) fn history_durable(&self, last: Position) -> Option<HistoryDurable> {
        let durable = self.log.durable() >= last.index || self.is_hasty(last.epoch.next());
        durable.then_some(HistoryDurable(()))
    }

    /// Writes the current epoch, if it is not that one already.
    pub(crate) fn write_current_epoch(&mut self, _: HistoryDurable, epoch: Epoch) -> EpochWriting {
        // H03: the epoch is taken on at UPTODATE.
        if self.hard.current < epoch && !planted!("H03") {
            self.hard.current = epoch;
            self.write_hard_state();
        }
        EpochWriting { epoch, token: self.hard_token() }
    }

    pub(crate) fn epoch_durable(&self, writing: EpochWriting) -> Option<EpochDurable> {
        let durable = self.is_persisted(writing.token) || self.is_hasty(writing.epoch);
        durable.then_some(EpochDurable { epoch: writing.epoch })
    }

    /// H01: a learner does not wait for what an epoch's history has of older epochs and is still on its way to the disk.
    fn is_hasty(&self, epoch: Epoch) -> bool {
        let next = self.log.epoch_at(self.log.durable().next());
        matches!(self.role, Role::Following(_)) && next.is_some_and(|next| next < epoch) && planted!("H01")
    }
}
