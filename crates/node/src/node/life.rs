//! The beginning and the end of a node: what comes before the journal has been read, what it starts from, and what a stopped one answers.

use quorate_consensus::{Engine, GroupId, GroupStart, Index, Instant, Membership, Position, SnapshotMeta};

use super::{Node, Phase};
use crate::{
    Answer, EngineHardState, Fatal, GroupConfig, GroupEngine, NodeInput, Notice, Outputs,
    disks::{Disks, OWN_GROUP},
    group::Group,
};

const EARLY_INPUTS_MAX: usize = 10_000;

impl Node {
    pub(super) fn handle_early(&mut self, now: Instant, input: NodeInput, out: &mut Outputs) {
        match input {
            NodeInput::Disk(completion) => self.disk(now, completion, out),
            NodeInput::Propose { ticket, .. } | NodeInput::Read { ticket, .. }
                if self.early.len() >= EARLY_INPUTS_MAX =>
            {
                out.answers.push((ticket, Answer::Busy));
            }
            NodeInput::Propose { .. }
            | NodeInput::Read { .. }
            | NodeInput::Desired { .. }
            | NodeInput::Open(_)
            | NodeInput::PeerKnown { .. } => self.early.push(input),
            // A frame is lost, as frames may be; whoever sent it will say it again.
            NodeInput::Frame(_)
            | NodeInput::Cancel { .. }
            | NodeInput::ChangeMembership { .. }
            | NodeInput::TransferLeadership { .. }
            | NodeInput::TakeSnapshot { .. }
            | NodeInput::Relay { .. }
            | NodeInput::State(_)
            | NodeInput::PeerLost(_)
            | NodeInput::Wake => {}
        }
    }

    pub(super) fn answer_stopped(&self, input: &NodeInput, out: &mut Outputs) {
        match input {
            NodeInput::Propose { ticket, .. }
            | NodeInput::Read { ticket, .. }
            | NodeInput::ChangeMembership { ticket, .. } => out.answers.push((*ticket, Answer::Stopped)),
            NodeInput::Frame(_)
            | NodeInput::Disk(_)
            | NodeInput::Cancel { .. }
            | NodeInput::TransferLeadership { .. }
            | NodeInput::TakeSnapshot { .. }
            | NodeInput::Desired { .. }
            | NodeInput::Relay { .. }
            | NodeInput::Open(_)
            | NodeInput::State(_)
            | NodeInput::PeerLost(_)
            | NodeInput::PeerKnown { .. }
            | NodeInput::Wake => {}
        }
    }

    pub(super) fn stop(&mut self, fatal: Fatal, out: &mut Outputs) {
        if self.stopped().is_some() {
            return;
        }
        for group in self.groups.values_mut() {
            out.answers.extend(group.drain().into_iter().map(|ticket| (ticket, Answer::Stopped)));
        }
        out.notices.push(Notice::Fatal(fatal.clone()));
        self.phase = Phase::Stopped(fatal);
    }

    /// The journal has been read: every configured group starts from what was durable.
    pub(super) fn recovered(&mut self, now: Instant, notes: Vec<String>, out: &mut Outputs) {
        out.notices.push(Notice::Recovered { notes });
        if let Some(kept) = self.journal.group(OWN_GROUP).and_then(|own| own.hard_state.clone()) {
            match Disks::decode(kept) {
                Ok(_) if quorate_consensus::planted!("A23") => {}
                Ok(disks) => self.links.disks = disks,
                // Not as if none were known: another disk would be believed.
                Err(why) => return self.stop(Fatal::Damaged(format!("the disks of peers: {why}")), out),
            }
        }
        for group in self.config.groups.clone() {
            self.open(now, &group, out);
            if self.stopped().is_some() {
                return;
            }
        }
        self.phase = Phase::Running;
        for input in std::mem::take(&mut self.early) {
            self.handle(now, input, out);
        }
    }

    /// A group starts from what the journal has of it. Whether it starts sooner or later in a life makes no difference to its peers: until then it is as silent as
    /// a node that is down.
    pub(super) fn open(&mut self, now: Instant, group: &GroupConfig, out: &mut Outputs) {
        if self.groups.contains_key(&group.id) {
            return;
        }
        let Some(start) = self.start_of(group.id, &group.birth) else {
            // Not as if there were none: a vote that was given would be given again.
            let why = format!("the hard state of group {} does not decode", group.id);
            return self.stop(Fatal::Damaged(why), out);
        };
        let snapshot = start.snapshot.clone();
        let (mut raft, mut zab) = (self.config.raft.clone(), self.config.zab.clone());
        // Another life draws other numbers: answers to an earlier life's questions must not pass for this one's.
        let lot = group.id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.config.life;
        raft.seed ^= lot;
        zab.seed ^= lot;
        match GroupEngine::start(group.engine, (raft, zab), start, now) {
            Ok(engine) => {
                let state =
                    Group::new((group.id, self.config.node), engine, &snapshot, self.config.explain, now);
                self.groups.insert(group.id, state);
            }
            Err(why) => return self.stop(Fatal::Engine(format!("group {}: {why}", group.id)), out),
        }
        let status = self.groups[&group.id].engine.status();
        let (index, membership) = (status.membership_at, status.membership);
        self.with(group.id, now, out, |group, around| group.tell_membership(index, membership, around));
        if snapshot.position != Position::ZERO {
            self.load(group.id, snapshot);
        }
    }

    /// `None` if the hard state is none.
    pub(super) fn start_of(&self, group: GroupId, birth: &Membership) -> Option<GroupStart<EngineHardState>> {
        let born = SnapshotMeta {
            position: Position::ZERO,
            membership: birth.clone(),
            membership_at: Index::ZERO,
            size_bytes: 0,
            digest: 0,
        };
        let Some(found) = self.journal.group(group) else {
            return Some(GroupStart {
                node: self.config.node,
                hard_state: None,
                snapshot: born,
                compacted: Position::ZERO,
                last: Position::ZERO,
                epochs: Vec::new(),
                memberships: Vec::new(),
            });
        };
        let hard_state = match found.hard_state.clone() {
            Some(bytes) => {
                Some(GroupEngine::decode_hard_state(&mut quorate_consensus::Reader::new(bytes)).ok()?)
            }
            None => None,
        };
        Some(GroupStart {
            node: self.config.node,
            hard_state,
            snapshot: found.snapshot.clone().unwrap_or(born),
            compacted: found.compacted,
            last: found.last,
            epochs: found.epochs.clone(),
            // C03: forgets the memberships that no snapshot holds.
            memberships: if quorate_consensus::planted!("C03") {
                Vec::new()
            } else {
                found.memberships.clone()
            },
        })
    }
}
