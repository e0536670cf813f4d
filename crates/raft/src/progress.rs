//! What a leader knows of one peer.

use std::collections::VecDeque;

use quorate_consensus::{FetchToken, Index, Instant, planted};

/// How entries go to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flow {
    /// Where the logs agree is not known: one message at a time.
    Probe {
        /// A probe is under way, or was lost: the next heartbeat's answer sends another.
        waiting: bool,
    },
    /// The logs agree: entries leave as they come, many messages ahead of the answers.
    Replicate,
    /// A snapshot is on its way; nothing else is sent.
    Snapshot {
        /// Up to where it goes.
        index: Index,
    },
}

/// One peer's progress.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Progress {
    /// The peer's log agrees with the leader's up to here, durably. Never falls within a leadership.
    pub(crate) matched: Index,
    /// The next entry to send; always above `matched`.
    pub(crate) next: Index,
    pub(crate) flow: Flow,
    /// Unanswered messages: their last index and their bytes.
    inflight: VecDeque<(Index, u64)>,
    inflight_bytes: u64,
    /// When the peer last said anything in this term.
    pub(crate) heard_at: Instant,
    /// Has it said anything at all?
    pub(crate) heard: bool,
    /// The newest read round it confirmed.
    pub(crate) round: u64,
    /// The commit index it was last told.
    pub(crate) told_commit: Index,
    /// Old entries for it are being fetched.
    pub(crate) fetching: Option<FetchToken>,
    /// Where `matched` stood when the last heartbeat left: no progress since, and something must have been lost.
    pub(crate) matched_at_heartbeat: Index,
}

impl Progress {
    pub(crate) fn new(next: Index, now: Instant) -> Progress {
        Progress {
            matched: Index::ZERO,
            next,
            flow: Flow::Probe { waiting: false },
            inflight: VecDeque::new(),
            inflight_bytes: 0,
            heard_at: now,
            heard: false,
            round: 0,
            told_commit: Index::ZERO,
            fetching: None,
            matched_at_heartbeat: Index::ZERO,
        }
    }

    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard_at = now;
        self.heard = true;
    }

    /// The peer acknowledged up to `index`. True if that is news.
    ///
    /// Reordered and duplicated acknowledgements are the rule, not the exception: neither index ever goes back (B04, B05).
    pub(crate) fn acknowledge(&mut self, index: Index) -> bool {
        while self.inflight.front().is_some_and(|(last, _)| *last <= index) {
            if let Some((_, bytes)) = self.inflight.pop_front() {
                self.inflight_bytes -= bytes;
            }
        }
        if planted!("B04") {
            self.matched = index;
            return true;
        }
        if index <= self.matched {
            return false;
        }
        self.matched = index;
        self.next = self.next.max(index.next());
        self.check();
        true
    }

    pub(crate) fn sent(&mut self, last: Index, bytes: u64) {
        self.inflight.push_back((last, bytes));
        self.inflight_bytes += bytes;
        self.next = last.next();
    }

    pub(crate) fn is_full(&self, messages_max: usize, bytes_max: u64) -> bool {
        self.inflight.len() >= messages_max || self.inflight_bytes >= bytes_max
    }

    /// Begin to look for agreement again, at `next`.
    pub(crate) fn probe_from(&mut self, next: Index) {
        self.forget_inflight();
        self.fetching = None;
        self.flow = Flow::Probe { waiting: false };
        self.next = if planted!("B05") { next } else { next.max(self.matched.next()) };
        self.check();
    }

    /// Unanswered messages are not waited for any more. Their bytes go with them, or lost messages would fill the window for ever (B20).
    fn forget_inflight(&mut self) {
        self.inflight.clear();
        if !planted!("B20") {
            self.inflight_bytes = 0;
        }
    }

    /// I11: what is sent next is above what the peer is known to hold. Otherwise entries that it has acknowledged are sent for ever, and a late refusal
    /// moves the search below them (B05).
    ///
    /// I22: bytes are counted of what is unanswered alone.
    fn check(&self) {
        assert!(
            !self.inflight.is_empty() || self.inflight_bytes == 0,
            "I22: {} bytes of nothing",
            self.inflight_bytes
        );
        assert!(self.next > self.matched, "I11: next {} is not above matched {}", self.next, self.matched);
    }

    pub(crate) fn replicate(&mut self) {
        self.forget_inflight();
        self.flow = Flow::Replicate;
        self.next = self.matched.next();
        self.check();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b04_a_reordered_acknowledgement_takes_nothing_back() {
        let mut progress = Progress::new(Index(1), Instant::START);
        progress.replicate();
        progress.sent(Index(5), 10);
        progress.sent(Index(9), 10);
        assert!(progress.acknowledge(Index(9)));
        assert!(!progress.acknowledge(Index(5)));
        assert_eq!((progress.matched, progress.next), (Index(9), Index(10)));
        assert!(!progress.is_full(1, 1));
    }

    #[test]
    fn b20_lost_messages_do_not_fill_the_window_for_ever() {
        let mut progress = Progress::new(Index(1), Instant::START);
        progress.replicate();
        progress.sent(Index(5), 10);
        assert!(progress.is_full(1, 100));
        progress.probe_from(Index(1));
        assert!(!progress.is_full(1, 1));
    }
}
