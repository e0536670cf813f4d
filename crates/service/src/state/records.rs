//! What the cluster's records want every group to be, told to the core.

use quorate_consensus::{Membership, NodeId, StateMachine};
use quorate_node::{Node, NodeInput, StateOutputs};
use quorate_placement::View as MetaView;

use super::{Reply, State};
use crate::META;

impl State {
    /// Reads the records, to tell the core what they want now: a replica that is behind wants what they wanted long ago.
    pub(super) fn confirm(&mut self, out: &mut StateOutputs<Reply>) {
        let ticket = self.own_ticket();
        self.confirming = Some(ticket);
        out.core.push(NodeInput::Read { group: META, ticket });
    }

    /// The read of the records, if it is among those that may be served, says what every group should become.
    pub(super) fn confirmed(&mut self, out: &mut StateOutputs<Reply>) {
        let confirming = self.confirming;
        let mut served = false;
        self.meta_applied.reads.retain(|ticket| {
            served |= confirming == Some(*ticket);
            ticket.0 < Node::OWN_TICKETS_FROM
        });
        let view = self.meta.machine().view();
        if !served || !view.is_initialised() {
            return;
        }
        self.confirming = None;
        let (version, desired) = (view.version(), view.desired_membership());
        for group in self.data_groups() {
            out.core.push(NodeInput::Desired { group, version, membership: desired.clone(), more: false });
        }
        // Only the leader of `meta` says what `meta` should be: another may know less of the keys, and would bring back whom the leader has let go.
        if !self.leads_meta {
            return;
        }
        let membership = self.meta_wanted(&view, &desired);
        let more = membership != desired;
        // First whoever comes is taken in: nothing is changed while the lead is being handed over.
        let taken_in = *self.meta.membership() == membership;
        if more && taken_in && !desired.contains(self.identity.node) {
            self.hand_meta_over(&desired, out);
        }
        out.core.push(NodeInput::Desired { group: META, version, membership, more });
    }

    /// Who is to go cannot know when the keys have followed: they may have let it go. It leaves that to one who stays, and each time to another one.
    ///
    /// {3 leads and is to be replaced by 5; 1 hears nothing}: were it always the first, 3 would hand over to 1 for ever. Found by the simulator (I20).
    fn hand_meta_over(&mut self, desired: &Membership, out: &mut StateOutputs<Reply>) {
        let now = self.meta.membership().voters();
        let heirs: Vec<NodeId> = desired.voters().iter().copied().filter(|node| now.contains(node)).collect();
        self.handed_over += 1;
        if let Some(heir) = heirs.get(self.handed_over % heirs.len().max(1)) {
            out.core.push(NodeInput::TransferLeadership { group: META, to: Some(*heir) });
        }
    }

    /// What `meta` itself should be: it takes in at once whoever comes, and lets nobody go before the keys have followed.
    ///
    /// Whoever leads the keys must hear of the records. {1, 2 and 3 are replaced by 6 and 7, one by one}: `meta` comes to be {6, 7} while the keys are still
    /// {1, 2, 3}; nobody of those hears of the records any more, nobody who does is in the keys, and the keys never follow. Found by the simulator (I20).
    fn meta_wanted(&self, view: &MetaView, desired: &Membership) -> Membership {
        if self.data_followed() >= view.version() {
            return desired.clone();
        }
        let now = self.meta.membership();
        let stay = |nodes: &[NodeId]| -> Vec<NodeId> {
            nodes.iter().copied().filter(|node| !desired.contains(*node)).collect()
        };
        let voters = desired.voters().iter().copied().chain(stay(now.voters()));
        let learners = desired.learners().iter().copied().chain(stay(now.learners()));
        Membership::new(voters, learners)
    }
}
