//! The invariants, looked at after every step (their names are those of the catalogue of reliability).

use quorate_consensus::{Engine, Epoch, NodeId, Role};
use quorate_zab::{Message, Packet};

use crate::world::World;

impl World {
    /// What leaves a node is true of its disk (I15, Z7, Z9).
    pub(crate) fn check_said(&self, from: NodeId, message: &Message) {
        let disk = &self.hosts[&from].disk;
        let hard = disk.hard.unwrap_or_default();
        match message {
            Message::AckEpoch { epoch, .. } | Message::Stream { packet: Packet::NewEpoch(epoch), .. } => {
                assert!(hard.accepted >= *epoch, "I15: {from} says {epoch} before its promise is durable");
            }
            Message::AckNewLeader { epoch, durable, .. } => {
                assert!(hard.current >= *epoch, "Z9: {from} acknowledged epoch {epoch} before it is durable");
                assert!(
                    disk.last().index >= *durable,
                    "Z9: {from} acknowledged {durable} before it is durable"
                );
            }
            Message::Stream { packet: Packet::NewLeader { epoch, .. }, .. } => {
                assert!(hard.current >= *epoch, "Z7: NEWLEADER before the leader's own epoch is durable");
            }
            Message::Ack { durable, .. } | Message::Pong { durable, .. } => {
                assert!(disk.last().index >= *durable, "I15: {from} acknowledged {durable}: not durable");
            }
            _ => {}
        }
    }

    pub(crate) fn check(&mut self, id: NodeId) {
        let host = &self.hosts[&id];
        let status = host.engine.status();
        if status.role == Role::Leader {
            if !self.leaders.contains_key(&status.epoch) {
                self.established(id, status.epoch);
            }
            assert_eq!(
                self.leaders[&status.epoch], id,
                "Z1: two established leaders of epoch {}",
                status.epoch
            );
        }
        self.check_committed(id);
    }

    /// An epoch begins: what was committed before is in its history (Z3), and its history on a quorum's disks, with the epoch.
    pub(crate) fn established(&mut self, id: NodeId, epoch: Epoch) {
        self.counts.leaders += 1;
        self.leaders.insert(epoch, id);
        let status = self.hosts[&id].engine.status();
        let ready = |node: NodeId| {
            let host = self.hosts.get(&node);
            host.is_some_and(|host| host.disk.hard.is_some_and(|hard| hard.current >= epoch))
        };
        assert!(status.membership.is_quorum(ready), "Z7: epoch {epoch} is not on a quorum's disks");
        let engine = &self.hosts[&id].engine;
        if let Some((index, entry)) = self.committed.last_key_value()
            && *index > status.compacted.index
        {
            assert_eq!(
                engine.epoch_at(*index),
                Some(entry.position.epoch),
                "Z3: {id} leads epoch {epoch} without what was committed before: {entry:?}"
            );
        }
        // All before the epoch's first entry.
        let mut end = status.last.index;
        while engine.epoch_at(end) == Some(epoch) {
            end = end.previous();
        }
        self.initial.insert(epoch, end);
    }

    pub(crate) fn check_committed(&mut self, id: NodeId) {
        self.check_known_commits(id);
        let host = &self.hosts[&id];
        let status = host.engine.status();
        // The last committed entry is the one that everybody has there.
        if let Some(entry) = self.committed.get(&status.commit)
            && let Some(epoch) = host.engine.epoch_at(status.commit)
        {
            assert_eq!(epoch, entry.position.epoch, "Z5: {id} committed another entry at {}", status.commit);
        }
        if status.commit <= self.commit_seen {
            return;
        }
        let from = self.commit_seen.next();
        let entries = host.entries(from, status.commit);
        for entry in entries {
            let at = entry.position.index;
            let holds =
                |node: NodeId| self.hosts.get(&node).is_some_and(|host| host.disk.holds(entry.position));
            // What a leader newly calls committed is on the disks of a quorum of the membership that it acts by.
            assert!(status.membership.is_quorum(holds), "I7: {entry:?} without a quorum of disks");
            if let Some((_, before)) = self.committed.last_key_value() {
                let (a, b) = (before.position, entry.position);
                assert!(b.index == a.index.next() && b.epoch >= a.epoch, "Z2: {b} was committed after {a}");
            }
            self.committed.insert(at, entry);
            self.commit_seen = at;
        }
    }

    /// What a node newly calls committed is what others called so before, entry by entry (Z4, Z5).
    pub(crate) fn check_known_commits(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a host");
        let commit = host.engine.status().commit;
        let from = host.told.next();
        if commit < from {
            return;
        }
        host.told = commit;
        for entry in &host.entries(from, commit) {
            if let Some(known) = self.committed.get(&entry.position.index) {
                assert_eq!(known, entry, "Z4: {id} committed another entry");
            }
        }
    }

    /// Z8: a zxid's counter stays within its bits.
    pub(crate) fn check_counter(&mut self, id: NodeId) {
        let Some(last) = self.hosts[&id].disk.log.last().map(|entry| entry.position) else { return };
        let log = &self.hosts[&id].disk.log;
        let first =
            log.iter().find(|entry| entry.position.epoch == last.epoch).map(|entry| entry.position.index);
        let counter = first.map_or(0, |first| last.index.0 - first.0);
        assert!(counter <= self.counter_max, "Z8: counter {counter} at {last}");
        self.counts.overflows += u64::from(counter == self.counter_max);
    }
}
