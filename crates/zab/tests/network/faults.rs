//! What befalls the nodes: clients, changes of membership, and everything that breaks.

use quorate_consensus::{
    Duration, Engine, Incarnation, Input, MembershipChange, NodeId, Payload, Position, Proposal, ProposalId,
    ReadId, SnapshotMeta,
};

use crate::world::World;

impl World {
    pub(crate) fn crash(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).expect("a host");
        host.up = false;
        self.reads.retain(|(node, _), _| *node != id);
    }

    pub(crate) fn restart(&mut self, id: NodeId) {
        let disk = self.hosts[&id].disk.clone();
        self.boot(id, disk);
    }

    pub(crate) fn snapshot(&mut self, id: NodeId) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.up && host.installing.is_none()) else {
            return;
        };
        let status = host.engine.status();
        let at = status.commit.min(status.durable);
        let old = host.disk.snapshot.position.index;
        if at <= old || !host.writes.is_empty() {
            return;
        }
        let epoch = host.engine.epoch_at(at).expect("a committed entry's epoch");
        let mut membership = (host.disk.snapshot.membership_at, host.disk.snapshot.membership.clone());
        for entry in host.disk.log.iter().filter(|entry| entry.position.index <= at) {
            if let Payload::Membership(m) = &entry.payload {
                membership = (entry.position.index, m.clone());
            }
        }
        let position = Position { epoch, index: at };
        let (membership_at, membership) = membership;
        // A node that was born without a membership does not know the one that its group was born with: a snapshot that knows no voter is not kept.
        if membership.voters().is_empty() {
            return;
        }
        let meta = SnapshotMeta { position, membership, membership_at, size_bytes: 0, digest: 0 };
        host.disk.snapshot = meta.clone();
        host.disk.log.retain(|entry| entry.position.index > at);
        self.step(id, Input::SnapshotTaken { meta });
        self.step(id, Input::Compacted { to: at });
    }

    pub(crate) fn client(&mut self) {
        self.next += 1;
        let id = self.any();
        match self.random.below(20) {
            0..=12 => {
                let command = format!("command {}", self.next).into();
                let proposal = Proposal { id: ProposalId(self.next), command, forward: true };
                self.step(id, Input::Propose(vec![proposal]));
            }
            13..=17 => {
                let read = ReadId(self.next);
                if self.hosts[&id].up {
                    self.reads.insert((id, read), self.commit_seen);
                    self.step(id, Input::ReadBarrier { id: read });
                }
            }
            18 if self.random.chance(1, 6) => {
                if let Some(leader) = self.leader() {
                    self.step(leader, Input::TransferLeadership { to: None });
                }
            }
            19 if self.random.chance(1, 3) => self.change(),
            _ => {}
        }
    }

    pub(crate) fn change(&mut self) {
        let Some(leader) = self.leader() else { return };
        let all: Vec<NodeId> = self.hosts.keys().copied().collect();
        let voters: Vec<NodeId> = all.iter().copied().filter(|_| self.random.chance(2, 3)).collect();
        if voters.len() < 2 {
            return;
        }
        let learners = all.iter().copied().filter(|node| !voters.contains(node)).collect();
        self.counts.changes += 1;
        let change = MembershipChange::Set { voters, learners };
        self.step(leader, Input::ChangeMembership { id: ProposalId(self.next), change });
    }

    pub(crate) fn vouch(&mut self) {
        let up: Vec<NodeId> = self.hosts.iter().filter(|(_, host)| host.up).map(|(id, _)| *id).collect();
        let until = self.now + Duration::from_millis(100);
        for (id, peer) in up.iter().flat_map(|id| up.iter().map(move |peer| (*id, *peer))) {
            let cut = self.cut.contains(&(id, peer)) || self.cut.contains(&(peer, id));
            if id != peer && !cut {
                self.step(id, Input::PeerVouched { peer, incarnation: Incarnation(1), until });
            }
        }
    }

    pub(crate) fn fault(&mut self) {
        let id = self.any();
        match self.random.below(1_000) {
            0..=3 if self.hosts[&id].up => self.crash(id),
            0..=40 if !self.hosts[&id].up => self.restart(id),
            41..=45 => {
                let other = self.any();
                self.cut.insert((id, other));
            }
            46..=48 => {
                let all: Vec<NodeId> = self.hosts.keys().copied().collect();
                for other in all {
                    self.cut.insert((id, other));
                    self.cut.insert((other, id));
                }
            }
            49..=56 => self.cut.clear(),
            57..=62 => self.snapshot(id),
            63..=64 => {
                let peer = self.any();
                self.step(id, Input::PeerUnreachable { peer });
            }
            // The power of the whole house fails: what no disk has is gone.
            65 if self.random.chance(1, 2) => {
                let all: Vec<NodeId> = self.hosts.keys().copied().collect();
                for id in all {
                    self.crash(id);
                }
            }
            _ => {}
        }
    }
}
