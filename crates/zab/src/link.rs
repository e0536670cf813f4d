//! A leader's side of a link to one learner.

use std::collections::VecDeque;

use quorate_consensus::{Epoch, FetchToken, Index, Instant};

use crate::message::{History, LinkId};

/// How far the learner has been brought.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LinkStage {
    /// FOLLOWERINFO came; no epoch is chosen yet.
    Waiting,
    /// NEWEPOCH was sent.
    Asked,
    /// ACKEPOCH came: this is what the learner has.
    Promised(History),
    /// A snapshot is on its way; nothing else is sent. Sent again with a heartbeat if it failed.
    Snapshot { to: Index, end: Index, failed: bool },
    /// The history is sent, up to its end.
    History { end: Index },
    /// NEWLEADER is queued, so what is proposed now follows it.
    NewLeader,
    /// NEWLEADER was acknowledged: what the learner acknowledges counts.
    Live,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    /// What the learner had promised when it came.
    pub(crate) accepted: Epoch,
    pub(crate) stage: LinkStage,
    /// The number of the next packet of the stream.
    pub(crate) sequence: u64,
    /// The next entry to send.
    pub(crate) next: Index,
    /// The learner's log is durable up to here, and a beginning of the leader's. Never falls.
    pub(crate) durable: Index,
    /// Unacknowledged messages: their last index and their bytes.
    inflight: VecDeque<(Index, u64)>,
    inflight_bytes: u64,
    /// When the learner last said anything.
    pub(crate) heard_at: Instant,
    /// The newest read round it confirmed; none before it acknowledged NEWLEADER.
    pub(crate) round: u64,
    /// The commit index it was last told.
    pub(crate) told_commit: Index,
    /// Old entries for it are being fetched.
    pub(crate) fetching: Option<FetchToken>,
}

impl Link {
    pub(crate) fn new(id: LinkId, accepted: Epoch, now: Instant) -> Link {
        Link {
            id,
            accepted,
            stage: LinkStage::Waiting,
            sequence: 0,
            next: Index(1),
            durable: Index::ZERO,
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            heard_at: now,
            round: 0,
            told_commit: Index::ZERO,
            fetching: None,
        }
    }

    /// NEWLEADER was queued on it, so it may be acknowledged.
    pub(crate) fn has_new_leader(&self) -> bool {
        match self.stage {
            LinkStage::NewLeader | LinkStage::Live => true,
            LinkStage::Waiting
            | LinkStage::Asked
            | LinkStage::Promised(_)
            | LinkStage::Snapshot { .. }
            | LinkStage::History { .. } => false,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.stage == LinkStage::Live
    }

    /// Packets that have left; a snapshot on its way has not.
    pub(crate) fn sent_packets(&self) -> u64 {
        match self.stage {
            LinkStage::Snapshot { .. } => self.sequence.saturating_sub(1),
            _ => self.sequence,
        }
    }

    pub(crate) fn sent(&mut self, last: Index, bytes: u64) {
        self.inflight.push_back((last, bytes));
        self.inflight_bytes += bytes;
        self.next = last.next();
    }

    pub(crate) fn is_full(&self, messages_max: usize, bytes_max: u64) -> bool {
        self.inflight.len() >= messages_max || self.inflight_bytes >= bytes_max
    }

    /// The learner's log is durable up to `index`. Acknowledgements are cumulative, and reordered ones take nothing back. What was never sent on this link
    /// cannot be acknowledged on it.
    pub(crate) fn acknowledge(&mut self, index: Index) {
        if index >= self.next {
            return;
        }
        while self.inflight.front().is_some_and(|(last, _)| *last <= index) {
            if let Some((_, bytes)) = self.inflight.pop_front() {
                self.inflight_bytes -= bytes;
            }
        }
        self.durable = self.durable.max(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z07_acknowledgements_are_cumulative_and_take_nothing_back() {
        let mut link = Link::new(LinkId { life: 1, attempt: 1 }, Epoch(1), Instant::START);
        link.sent(Index(5), 10);
        link.sent(Index(9), 10);
        assert!(link.is_full(2, 100) && link.is_full(3, 20));
        link.acknowledge(Index(9));
        link.acknowledge(Index(5));
        link.acknowledge(Index(10));
        assert_eq!((link.durable, link.next), (Index(9), Index(10)), "10 was never sent");
        assert!(!link.is_full(1, 1));
    }
}
