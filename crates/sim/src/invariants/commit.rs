//! What is committed. I6: never changed. I7: on a durable quorum. I8: by counting only in the leader's own term.

use quorate_consensus::{Epoch, Index, NodeId, Payload, Role, Status};

use super::{Oracle, Scene, quorum};
use crate::{marks::Mark, reference::Committed};

impl Oracle {
    /// `node` says in this epoch that it has everything up to here durably: I15 has looked whether it is so.
    pub(crate) fn acknowledged(&mut self, node: NodeId, epoch: Epoch, index: Index) {
        let most = self.acknowledged.entry((node, epoch)).or_default();
        *most = index.max(*most);
    }

    /// Did it say so to whoever leads in one of these epochs? What it said in an earlier one may have been replaced since.
    fn has_said(&self, node: NodeId, epochs: [Epoch; 2], commit: u64) -> bool {
        let said = |epoch| self.acknowledged.get(&(node, epoch)).is_some_and(|index| index.0 >= commit);
        epochs.into_iter().any(said)
    }

    /// The commit index of a host moved.
    pub(super) fn commits(&mut self, before: &Status, after: &Status, scene: &mut Scene<'_>) {
        let host = scene.host;
        let commit = after.commit.0;
        let leads = before.role == Role::Leader && after.role == Role::Leader && before.epoch == after.epoch;
        let epoch_there = self.watches[host].mirror.epoch(commit);
        if leads && epoch_there.is_some_and(|epoch| epoch != after.epoch) {
            let what =
                format!("the leader of term {} commits {epoch_there:?}.{commit} by counting", after.epoch);
            scene.fail("I8", what);
        }
        let new_from = self.committed() + 1;
        if commit >= new_from {
            self.durable_quorum(before, after, commit, scene);
        }
        for index in before.commit.0 + 1..=commit {
            let Some(epoch) = self.watches[host].mirror.epoch(index) else {
                if index > self.committed() {
                    let what = format!("{index} is committed here and its entry is nowhere");
                    return scene.fail("I6", what);
                }
                continue;
            };
            self.commit_one(index, epoch, after.epoch, scene);
        }
    }

    /// I7: a quorum of the membership in force holds the entry durably at the moment it is first committed.
    fn durable_quorum(&self, before: &Status, after: &Status, commit: u64, scene: &mut Scene<'_>) {
        let (host, hosts) = (scene.host, scene.hosts);
        let Some(epoch) = self.watches[host].mirror.epoch(commit) else { return };
        // A leader may give up in the very event in which it commits.
        let epochs = [before.epoch, after.epoch];
        let mut holders = Vec::new();
        for (place, other) in hosts.iter().enumerate() {
            let id = other.id;
            let member = after.membership.is_voter(id) || before.membership.is_voter(id);
            // What a lost disk held counted while it was there. {3 leads term 3 and is paused; 1 says that it has 53, and loses its disk; 3 goes on, counts, and hears
            // of term 4 in the same event}: 3 does not say any more who had said what, and the frame in which 1 said it did.
            let lost = other.is_lost() && self.has_said(id, epochs, commit);
            if member && (lost || scene.durable(place).holds(self.group, Index(commit), epoch)) {
                holders.push(id);
            }
        }
        // Nor what a member had that was replaced before the group let it go: its host has another id by now, and an empty disk.
        let gone =
            |id: &&NodeId| hosts.iter().all(|host| host.id != **id) && self.has_said(**id, epochs, commit);
        for membership in [&before.membership, &after.membership] {
            holders.extend(membership.voters().iter().chain(membership.outgoing()).filter(gone));
        }
        // The commit may have come before the membership changed, within one event.
        let memberships = [&before.membership, &after.membership];
        if !memberships.into_iter().any(|membership| quorum(membership, &holders)) {
            let what = format!(
                "{epoch}.{commit} committed as {:?} of term {}, durable only on {holders:?} of {:?}",
                after.role, after.epoch, after.membership
            );
            scene.fail("I7", what);
        }
    }

    /// I6: what is committed at an index never changes, on any host.
    pub(super) fn commit_one(&mut self, index: u64, epoch: Epoch, seen_in: Epoch, scene: &mut Scene<'_>) {
        if let Some(first) = self.committed.get(index as usize - 1) {
            if first.epoch != epoch {
                let what = format!("at {index} {} was committed, here {epoch}", first.epoch);
                scene.fail("I6", what);
            }
        } else if index == self.committed() + 1 {
            self.committed.push(Committed { epoch, seen_in });
            if epoch < seen_in {
                scene.marks.hit(Mark::EntryOfEarlierTermCommitted);
                if self.epochs.is_some() {
                    scene.marks.hit(Mark::ZabHistoryCommitted);
                }
            }
        }
    }

    /// Executes what is committed and known, in order.
    pub(super) fn execute(&mut self, scene: &mut Scene<'_>) {
        while let Some(committed) = self.committed.get(self.execution.last() as usize) {
            let index = self.execution.last() + 1;
            let known = self.known.get(&(index, committed.epoch)).and_then(|known| known.entry.as_ref());
            let Some(entry) = known.cloned() else { return };
            if let Payload::Membership(membership) = &entry.payload {
                self.config_committed(index, membership.clone(), scene);
            }
            let step = self.execution.execute(entry, scene.origins);
            if step.duplicate {
                scene.marks.hit(Mark::DuplicateAnswered);
            }
            if let Some(operation) = step.twice {
                let what =
                    format!("operation {operation} without a session is in the log twice, again at {index}");
                scene.fail("X1", what);
            }
        }
    }
}
