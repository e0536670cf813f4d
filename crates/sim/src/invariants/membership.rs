//! Who is in a group. I12: each acts by the newest membership in its own log, one change at a time, and adjacent memberships share a quorum.

use quorate_consensus::{Membership, NodeId, Payload, Role, Status};

use super::{Oracle, Scene, quorum};
use crate::{host::Host, marks::Mark};

impl Oracle {
    /// I12: the acting membership is the newest in the log, and at most one is not committed.
    pub(super) fn memberships(&mut self, after: &Status, scene: &mut Scene<'_>) {
        let host = scene.host;
        let committed = self.committed();
        let (base, at) = (self.watches[host].mirror.base, after.membership_at.0);
        // Before any entry: all give the group one birth, and the records name it. A founder's is no other's; who joined a group as old as the cluster has none.
        let birth = &self.configs[&0];
        let joined = self.born_at == Some(0) && after.membership == Membership::default();
        if (base, at) == (0, 0) && after.membership != *birth && !joined {
            let what = format!("was opened with {:?}, and was born with {birth:?}", after.membership);
            return scene.fail("I12", what);
        }
        // Where the log begins: by a snapshot, what was committed last before it (I12), and that as it was committed (I16).
        if at <= base
            && (1..=self.execution.last()).contains(&base)
            && let Some((newest, known)) = self.configs.range(..=base).next_back()
            && (*newest, known) != (at, &after.membership)
        {
            let id = if *newest == at { "I16" } else { "I12" };
            let what = format!(
                "acts on {:?} of {at}; committed before {base} is {known:?} of {newest}",
                after.membership
            );
            return scene.fail(id, what);
        }
        let mirror = &mut self.watches[host].mirror;
        let (at, last) = (after.membership_at.0, mirror.last());
        if at > last {
            let what = format!("acts on the membership of {at}, its log ends at {last}");
            return scene.fail("I12", what);
        }
        if at > mirror.base && !mirror.memberships.contains_key(&at) {
            let epoch = mirror.epoch(at).unwrap_or_default();
            let known = self.known.get(&(at, epoch)).and_then(|known| known.entry.as_ref());
            if let Some(entry) = known
                && !matches!(entry.payload, Payload::Membership(_))
            {
                let what = format!("acts on the membership of {at}, where its log holds another entry");
                return scene.fail("I12", what);
            }
            mirror.memberships.insert(at, after.membership.clone());
        }
        if let Some((index, newest)) = mirror.memberships.last_key_value()
            && *index > mirror.base
            && (*index, newest) != (at, &after.membership)
        {
            let what =
                format!("acts on {:?} of {at}, its log's newest is {newest:?} of {index}", after.membership);
            return scene.fail("I12", what);
        }
        if after.role == Role::Leader {
            let open: Vec<u64> = mirror.memberships.range(committed + 1..).map(|(index, _)| *index).collect();
            if open.len() > 1 {
                scene.fail("I12", format!("{} memberships uncommitted at once: {open:?}", open.len()));
            }
        }
    }

    /// I12: any two quorums of adjacent memberships share a node.
    pub(super) fn config_committed(&mut self, index: u64, new: Membership, scene: &mut Scene<'_>) {
        let old = self.membership().clone();
        let nodes: Vec<NodeId> = {
            let mut nodes: Vec<NodeId> = old.members().chain(new.members()).collect();
            nodes.sort_unstable();
            nodes.dedup();
            nodes
        };
        for set in 0..1u32 << nodes.len() {
            let within: Vec<NodeId> = nodes
                .iter()
                .enumerate()
                .filter(|(bit, _)| set >> bit & 1 == 1)
                .map(|(_, node)| *node)
                .collect();
            let without: Vec<NodeId> = nodes.iter().copied().filter(|node| !within.contains(node)).collect();
            if quorum(&old, &within) && quorum(&new, &without) {
                let what = format!("{old:?} then {new:?}: {within:?} and {without:?} are quorums apart");
                scene.fail("I12", what);
                break;
            }
        }
        if new.is_joint() {
            scene.marks.hit(Mark::JointCommitted);
        }
        for node in new.members() {
            if new.learners().contains(&node) && !old.contains(node) {
                scene.marks.hit(Mark::LearnerAdded);
            }
            if new.voters().contains(&node) && old.learners().contains(&node) {
                scene.marks.hit(Mark::LearnerPromoted);
            }
        }
        let gone = old.outgoing().iter().any(|node| !new.contains(*node));
        let come = old.is_joint() && old.voters().iter().any(|node| !old.outgoing().contains(node));
        if gone || old.learners().iter().any(|node| !new.contains(*node)) {
            scene.marks.hit(Mark::MemberRemoved);
        }
        if gone && come {
            scene.marks.hit(Mark::MemberReplaced);
        }
        if old.outgoing().iter().any(|n| !new.contains(*n) && self.leads_now(*n, scene.hosts)) {
            scene.marks.hit(Mark::LeaderRemoved);
        }
        self.configs.insert(index, new);
    }

    fn leads_now(&self, node: NodeId, hosts: &[Host]) -> bool {
        let place = hosts.iter().position(|host| host.id == node);
        place.is_some_and(|place| self.watches[place].status.role == Role::Leader)
    }
}
