//! What the cluster's records want every group to be, told to the core.

use quorate_consensus::{GroupId, Membership, NodeId, StateMachine};
use quorate_node::{Node, NodeInput, StateOutputs};

use super::{Reply, State};
use crate::{KEYS, META};

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
        let divided = self.shards.is_some();
        for group in self.data_groups().into_iter().filter(|group| *group != KEYS || !divided) {
            out.core.push(NodeInput::Desired { group, version, membership: desired.clone(), more: false });
        }
        self.order_wanted(version, &desired, out);
        // Only the leader of `meta` says what `meta` should be: another may know less of the keys, and would bring back whom the leader has let go.
        if !self.leads_meta {
            return;
        }
        let now = self.meta.membership().clone();
        let membership =
            if self.data_followed() >= version { desired.clone() } else { with_those_who_go(&now, &desired) };
        self.want(META, version, (&now, membership), &desired, out);
    }

    /// What the order over shards should be, by the word of whoever leads it: like `meta`, it lets nobody go before the shards have followed.
    ///
    /// {1 and 8 found shards, and 1 is removed; 1 has the founding in its log and has not heard that it is committed}: let go by the order, 1 would never open the shards'
    /// groups, and 8 needs its vote in each of them. Found by the simulator (I20).
    fn order_wanted(&mut self, version: u64, desired: &Membership, out: &mut StateOutputs<Reply>) {
        let leads = self.agreement.leader == Some(self.identity.node);
        let Some(shards) = self.shards.as_ref().filter(|_| leads) else { return };
        let now = self.keys.membership().clone();
        let followed = shards.followed() >= version;
        let membership = if followed { desired.clone() } else { with_those_who_go(&now, desired) };
        self.want(KEYS, version, (&now, membership), desired, out);
    }

    /// Says what a group should be that others lean on. First whoever comes is taken in: nothing is changed while the lead is being handed over.
    fn want(
        &mut self,
        group: GroupId,
        version: u64,
        (now, membership): (&Membership, Membership),
        desired: &Membership,
        out: &mut StateOutputs<Reply>,
    ) {
        let more = membership != *desired;
        if more && *now == membership && !desired.contains(self.identity.node) {
            self.hand_over(group, now, desired, out);
        }
        out.core.push(NodeInput::Desired { group, version, membership, more });
    }

    /// Who is to go cannot know when the groups have followed that lean on this one: they may have let it go. It leaves that to one who stays, and each time to another one.
    ///
    /// {3 leads and is to be replaced by 5; 1 hears nothing}: were it always the first, 3 would hand over to 1 for ever. Found by the simulator (I20).
    fn hand_over(
        &mut self,
        group: GroupId,
        now: &Membership,
        desired: &Membership,
        out: &mut StateOutputs<Reply>,
    ) {
        let heirs: Vec<NodeId> =
            desired.voters().iter().copied().filter(|node| now.is_voter(*node)).collect();
        self.handed_over += 1;
        if let Some(heir) = heirs.get(self.handed_over % heirs.len().max(1)) {
            out.core.push(NodeInput::TransferLeadership { group, to: Some(*heir) });
        }
    }
}

/// What `meta` itself should be until the other groups have followed, and the order until the shards have: it takes in at once whoever comes, and lets nobody go.
///
/// Whoever leads the keys must hear of the records. {1, 2 and 3 are replaced by 6 and 7, one by one}: `meta` comes to be {6, 7} while the keys are still
/// {1, 2, 3}; nobody of those hears of the records any more, nobody who does is in the keys, and the keys never follow. Found by the simulator (I20).
fn with_those_who_go(now: &Membership, desired: &Membership) -> Membership {
    let stay = |nodes: &[NodeId]| -> Vec<NodeId> {
        nodes.iter().copied().filter(|node| !desired.contains(*node)).collect()
    };
    let voters = desired.voters().iter().copied().chain(stay(now.voters()));
    let learners = desired.learners().iter().copied().chain(stay(now.learners()));
    Membership::new(voters, learners)
}
