//! A learner's end of a leader's stream: in order, without a gap, or not at all.
//!
//! ZAB assumes FIFO channels that die whole. Our networks drop, duplicate and reorder, so each link makes its own: packets are numbered, a packet that comes
//! early waits a while for those before it, and a gap that stays ends the link.

use std::collections::BTreeMap;

use quorate_consensus::{Duration, Instant};

use crate::message::Packet;

#[derive(Clone, Debug, Hash)]
pub(crate) struct Inbound {
    /// The next packet.
    next: u64,
    /// Packets that came early.
    early: BTreeMap<u64, Packet>,
    early_bytes: u64,
    /// The leader says that so many have left.
    sent: u64,
    /// A gap: `next` when it was seen, and when it ends the link.
    gap: Option<(u64, Instant)>,
}

/// How much may wait, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) packets_max: usize,
    pub(crate) bytes_max: u64,
    /// For a gap with packets behind it: the transport is in order, but for the two lanes that it has.
    pub(crate) gap: Duration,
    /// For packets that the leader says have left: they may be long on the way.
    pub(crate) tail: Duration,
}

impl Inbound {
    pub(crate) fn new() -> Inbound {
        Inbound { next: 0, early: BTreeMap::new(), early_bytes: 0, sent: 0, gap: None }
    }

    /// A packet came. False: more waits than may, and the link is at its end.
    pub(crate) fn arrived(
        &mut self,
        now: Instant,
        sequence: u64,
        packet: Packet,
        patience: Patience,
    ) -> bool {
        if sequence < self.next || self.early.contains_key(&sequence) {
            return true;
        }
        let bytes = packet.entries_bytes();
        // The next one is always taken: otherwise nothing could ever pass.
        if sequence > self.next
            && (self.early.len() >= patience.packets_max || self.early_bytes + bytes > patience.bytes_max)
        {
            return false;
        }
        self.early_bytes += bytes;
        self.early.insert(sequence, packet);
        self.watch(now, patience);
        true
    }

    /// The packet whose turn it is.
    pub(crate) fn take(&mut self, now: Instant, patience: Patience) -> Option<Packet> {
        let packet = self.early.remove(&self.next)?;
        self.early_bytes -= packet.entries_bytes();
        self.next += 1;
        self.watch(now, patience);
        Some(packet)
    }

    /// So many packets have left.
    pub(crate) fn sent(&mut self, now: Instant, sent: u64, patience: Patience) {
        self.sent = self.sent.max(sent);
        self.watch(now, patience);
    }

    fn watch(&mut self, now: Instant, patience: Patience) {
        let wait = match self.early.first_key_value() {
            Some((first, _)) if *first == self.next => None,
            Some(_) => Some(patience.gap),
            None if self.sent > self.next => Some(patience.tail),
            None => None,
        };
        self.gap = match (wait, self.gap) {
            (None, _) => None,
            (Some(wait), Some((next, until))) if next == self.next => Some((next, until.min(now + wait))),
            (Some(wait), _) => Some((self.next, now + wait)),
        };
    }

    /// When a gap ends the link.
    pub(crate) fn gap_until(&self) -> Option<Instant> {
        self.gap.map(|(_, until)| until)
    }

    /// The newest that came early, if any: what a bug would take for the next.
    pub(crate) fn newest_early(&self) -> Option<&Packet> {
        self.early.last_key_value().map(|(_, packet)| packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_consensus::Index;

    const PATIENCE: Patience = Patience {
        packets_max: 3,
        bytes_max: 100,
        gap: Duration::from_millis(1),
        tail: Duration::from_millis(9),
    };

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    #[test]
    fn z07_packets_come_out_in_order_once_each() {
        let mut inbound = Inbound::new();
        for sequence in [1, 0, 1, 0, 2, 2] {
            assert!(inbound.arrived(at(0), sequence, Packet::UpToDate(Index(sequence)), PATIENCE));
        }
        let order: Vec<_> = std::iter::from_fn(|| inbound.take(at(0), PATIENCE)).collect();
        assert_eq!(order, [0, 1, 2].map(|n| Packet::UpToDate(Index(n))));
        assert!(inbound.arrived(at(0), 1, Packet::UpToDate(Index(1)), PATIENCE));
        assert_eq!(inbound.take(at(0), PATIENCE), None);
    }

    #[test]
    fn a_gap_is_waited_for_and_then_ends_the_link() {
        let mut inbound = Inbound::new();
        inbound.sent(at(0), 2, PATIENCE);
        assert_eq!(inbound.gap_until(), Some(at(9)));
        inbound.arrived(at(2), 1, Packet::UpToDate(Index(1)), PATIENCE);
        assert_eq!(inbound.gap_until(), Some(at(3)));
        inbound.arrived(at(2), 0, Packet::UpToDate(Index(0)), PATIENCE);
        assert_eq!(inbound.gap_until(), None);
        while inbound.take(at(2), PATIENCE).is_some() {}
        for sequence in [7, 6, 5] {
            assert!(inbound.arrived(at(2), sequence, Packet::UpToDate(Index(0)), PATIENCE));
        }
        assert!(!inbound.arrived(at(2), 8, Packet::UpToDate(Index(0)), PATIENCE), "more than may wait");
    }
}
