//! What a leader believes of its members.

use quorate_consensus::{Role, Status};

use super::{Oracle, Scene};

impl Oracle {
    /// I11: what a leader believes of a member is durable there.
    pub(super) fn progress(&mut self, before: &Status, after: &Status, scene: &mut Scene<'_>) {
        if after.role != Role::Leader {
            return;
        }
        let (host, hosts) = (scene.host, scene.hosts);
        let same_lead = before.role == Role::Leader && before.epoch == after.epoch;
        for (node, matched) in &after.matched {
            let old = if same_lead { before.matched.get(node).copied() } else { None };
            if old == Some(*matched) {
                continue;
            }
            if old.is_some_and(|old| old > *matched) && same_lead {
                scene.fail("I11", format!("match of {node} fell from {old:?} to {matched}"));
            }
            let Some(other) = hosts.iter().position(|other| other.id == *node) else { continue };
            let epoch = self.watches[host].mirror.epoch(matched.0);
            let Some(epoch) = epoch.filter(|_| !hosts[other].is_lost()) else { continue };
            // A member that follows a later leader may have replaced what it acknowledged to this one.
            let durable = scene.durable(other);
            if durable.term(self.group) <= after.epoch && !durable.holds(self.group, *matched, epoch) {
                let end = durable.last(self.group);
                let what = format!("believes {node} holds {epoch}.{matched}; durable there is up to {end}");
                scene.fail("I11", what);
            }
        }
    }
}
