//! Who leads. I1: one leader a term. I5: a leader has everything that was committed in earlier terms.

use quorate_consensus::{Role, Status};

use super::{Held, Oracle, Scene};
use crate::{
    host::Host,
    marks::{Mark, Marks},
};

impl Oracle {
    /// I1: one leader a term. I5: a leader has everything that was committed in earlier terms.
    pub(super) fn roles(&mut self, before: &Status, after: &Status, scene: &mut Scene<'_>) {
        let (host, node) = (scene.host, scene.hosts[scene.host].id);
        if before.role == Role::Leader && after.role != Role::Leader {
            scene.marks.hit(Mark::LeaderSteppedDown);
        }
        if before.role == Role::Candidate && after.role == Role::Candidate && after.epoch > before.epoch
            || before.role == Role::Candidate && after.role == Role::PreCandidate
        {
            scene.marks.hit(Mark::SplitVote);
        }
        if after.role != Role::Leader || (before.role == Role::Leader && before.epoch == after.epoch) {
            return;
        }
        scene.marks.hit(Mark::LeaderElected);
        let others = self.watches.iter().enumerate();
        if others.filter(|(other, w)| *other != host && w.status.role == Role::Leader).count() > 0 {
            scene.marks.hit(Mark::TwoLeadersAtOnce);
            if self.epochs.is_some() {
                scene.marks.hit(Mark::ZabTwoLeadersAtOnce);
            }
        }
        if self.leaders.last_key_value().is_some_and(|(last, _)| last.0 + 1 < after.epoch.0) {
            scene.marks.hit(Mark::TermWithoutLeader);
            if self.epochs.is_some() {
                scene.marks.hit(Mark::EpochWithoutLeader);
            }
        }
        let first = *self.leaders.entry(after.epoch).or_insert(node);
        if first != node {
            scene.fail("I1", format!("{first} and {node} both lead term {}", after.epoch));
        }
        let earlier = self.committed.iter().rposition(|entry| entry.seen_in < after.epoch);
        if let Some(place) = earlier {
            let (index, entry) = (place as u64 + 1, self.committed[place]);
            let mirror = &self.watches[host].mirror;
            if index > mirror.base && mirror.epoch(index) != Some(entry.epoch) {
                let has = mirror.epoch(index);
                let what = format!(
                    "leads term {} without {}.{index}, committed in term {}; it has {has:?} there",
                    after.epoch, entry.epoch, entry.seen_in
                );
                scene.fail("I5", what);
            }
        }
    }

    /// Handovers of leadership, for the marks.
    pub(super) fn transfers(&mut self, before: &Status, after: &Status, scene: &mut Scene<'_>) {
        let node = scene.hosts[scene.host].id;
        if before.transfer_to.is_none()
            && let Some(to) = after.transfer_to
        {
            scene.marks.hit(Mark::TransferStarted);
            self.transfer = Some((to, after.epoch));
        }
        if before.transfer_to.is_some() && after.transfer_to.is_none() && after.role == Role::Leader {
            scene.marks.hit(Mark::TransferAborted);
        }
        if after.role == Role::Leader
            && before.role != Role::Leader
            && let Some((to, epoch)) = self.transfer.take()
            && to == node
            && after.epoch.0 == epoch.0 + 1
        {
            scene.marks.hit(Mark::TransferCompleted);
        }
    }

    /// A host is about to lose its power.
    pub(super) fn before_crash(
        &mut self,
        host: usize,
        hosts: &[Host],
        held: Option<Held>,
        marks: &mut Marks,
    ) {
        let watch = &mut self.watches[host];
        let status = &mut watch.status;
        if hosts[host].runs() && status.role == Role::Leader {
            marks.hit(Mark::LeaderCrashed);
            let zab = self.epochs.is_some();
            if status.last.index > status.commit {
                marks.hit(Mark::LeaderCrashedWithTail);
                marks.add(Mark::ZabLeaderCrashedWithTail, u64::from(zab));
            }
            if status.membership.is_joint() {
                marks.hit(Mark::JointLeaderCrashed);
                marks.add(Mark::ZabJointLeaderCrashed, u64::from(zab));
            }
        }
        status.role = Role::Follower;
        watch.digest_at = 0;
        watch.at_crash = held.or(watch.at_crash);
    }
}
