//! The membership that the cluster's records want for a group, and how it gets there.

use quorate_consensus::{Duration, Epoch, Input, Instant, Membership, MembershipChange, Proposal};

use super::{Group, Leftover, Surroundings};
use crate::{Channel, Desired, PeerMessage, TaggedCommand, ToState};

/// How often a leader tries to bring its group to the membership that is wanted.
const DESIRE_EVERY: Duration = Duration::from_millis(100);
/// How long one who does not lead leaves that to the leader before telling it, and how often it does.
const DESIRE_TOLD_EVERY: Duration = Duration::from_millis(500);
/// After so long without a word from the group's leader, or from those it leads, its members are asked whether this node is still one of them.
const HELLO_AFTER: Duration = Duration::from_secs(1);
/// When a leader says once more that its group has followed the records.
const STAMP_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What is known of it.
#[derive(Debug)]
pub(super) struct Wanted {
    /// By the newest that was heard of the records.
    desired: Option<Desired>,
    /// The records are being asked whether they still want it.
    confirming: bool,
    /// A change towards it is asked for not before this.
    ask_at: Instant,
    /// When the group was last heard, or was asked because it was silent.
    heard_at: Instant,
    /// The group is known to have followed this version of the records.
    followed: u64,
    /// The newest version of which this node has said so, and the epoch that it led.
    stamped: (Epoch, u64),
    /// That is said again, in the same epoch, not before this: it may have been refused.
    stamp_again_at: Instant,
}

impl Wanted {
    pub(super) fn new(now: Instant) -> Wanted {
        Wanted {
            desired: None,
            confirming: false,
            ask_at: Instant::START,
            heard_at: now,
            followed: 0,
            stamped: (Epoch::ZERO, 0),
            stamp_again_at: Instant::START,
        }
    }

    /// What this node has said as the leader of this epoch. In another one, what it said may have been replaced in the log, and the membership before it, too.
    fn said(&self, epoch: Epoch) -> u64 {
        if self.stamped.0 == epoch { self.stamped.1 } else { 0 }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }
}

impl Group {
    /// When there is something to ask next.
    pub(super) fn wanted_timeout(&self) -> Option<Instant> {
        let desire = self.must_ask().then_some(self.wanted.ask_at);
        let hello = self.has_peers().then_some(self.wanted.heard_at + HELLO_AFTER);
        desire.into_iter().chain(hello).min()
    }

    fn has_peers(&self) -> bool {
        let this = self.node;
        self.membership.voters().iter().chain(self.membership.outgoing()).any(|node| *node != this)
    }

    /// Is there a leader, and is the group's membership not what the cluster's records want?
    fn wants_change(&self) -> bool {
        self.role.leader.is_some()
            && !self.membership.is_joint()
            && self.wanted.desired.as_ref().is_some_and(|desired| desired.membership != self.membership)
    }

    /// Is there anything to ask the records for?
    fn must_ask(&self) -> bool {
        self.wants_change() || (self.leads() && self.is_on_the_way()) || self.is_behind()
    }

    fn is_on_the_way(&self) -> bool {
        self.wanted.desired.as_ref().is_some_and(|desired| desired.more)
    }

    /// Has the group not been said to have followed the newest records that were heard of?
    fn is_behind(&self) -> bool {
        let version = self.wanted.desired.as_ref().map_or(0, |desired| desired.version);
        self.role.leader.is_some() && self.wanted.followed < version
    }

    /// The state half has applied a leader's word that the group has followed the records.
    pub(crate) fn followed(&mut self, version: u64) {
        self.wanted.followed = version;
    }

    /// What the cluster's records want, as they were a moment ago. Whoever leads asks the engine for it; refused or
    /// lost, it is asked for again after a rest. Whoever follows tells the leader, if that has not done it by itself.
    ///
    /// {1 and 2 lose 2, which leads this group; `meta` lets 2 go before 2 has heard why}: 2 never hears of the records again, and without being told would
    /// lead on in a group that should be without it, for ever. Found by the simulator (I20).
    pub(crate) fn wish(&mut self, desired: Desired, around: &mut Surroundings<'_>) -> Leftover {
        if self.wanted.desired.as_ref().is_some_and(|known| known.version > desired.version) {
            return Leftover::default();
        }
        let asked = std::mem::take(&mut self.wanted.confirming);
        self.wanted.desired = Some(desired.clone());
        if !self.wants_change() && !self.is_behind() {
            return Leftover::default();
        }
        if self.leads() {
            self.wanted.ask_at = around.now + DESIRE_EVERY;
            return if self.may_change() {
                self.change_to(desired.membership, around)
            } else {
                Leftover::default()
            };
        }
        if let (true, Some(leader)) = (asked, self.role.leader) {
            around.links.message(leader, Channel::Urgent, self.id, &PeerMessage::Desired(desired));
        } else {
            self.wanted.ask_at = around.now + DESIRE_TOLD_EVERY;
        }
        Leftover::default()
    }

    /// A follower says what the records want; it may have led until a moment ago.
    pub(crate) fn told(&mut self, desired: Desired, around: &mut Surroundings<'_>) -> Leftover {
        if self.leads() { self.wish(desired, around) } else { Leftover::default() }
    }

    /// Does this leader know every word of earlier leaders that the group had followed the records?
    ///
    /// They stand in the log before the entry with which its term began, so it does once it has applied an entry of its own term.
    fn knows_what_was_followed(&self) -> bool {
        self.leads() && self.applied.epoch == self.role.epoch
    }

    /// May this leader ask for what the records want?
    ///
    /// Never for what a version wants that the group was said to have followed, or an older one. On that word members were let go, and others were told that it
    /// is done: {5 takes in 6; 6 is removed again; the word is given; then what the older version wanted is brought about}: the joint membership {5, 6} needs
    /// 6, which has stopped for good. Found by the simulator (I20, I12).
    fn may_change(&self) -> bool {
        let version = self.wanted.desired.as_ref().map_or(0, |desired| desired.version);
        self.wants_change()
            && self.knows_what_was_followed()
            && version > self.wanted.said(self.role.epoch).max(self.wanted.followed)
    }

    fn change_to(&mut self, membership: Membership, around: &mut Surroundings<'_>) -> Leftover {
        let id = self.proposals.other_attempt();
        let (voters, learners) = (membership.voters().to_vec(), membership.learners().to_vec());
        self.step(Input::ChangeMembership { id, change: MembershipChange::Set { voters, learners } }, around)
    }

    /// The group is as the records want it: its leader writes that into the log, behind the membership that makes it so. What is committed of that word is true
    /// for good: every later leader has it in its log, and this one has heard of that version.
    pub(super) fn stamp(&mut self, around: &mut Surroundings<'_>) -> Leftover {
        let Some(desired) = &self.wanted.desired else { return Leftover::default() };
        let (version, epoch) = (desired.version, self.role.epoch);
        if version <= self.wanted.followed
            || (self.wanted.stamped == (epoch, version) && around.now < self.wanted.stamp_again_at)
        {
            return Leftover::default();
        }
        let there = !desired.more && desired.membership == self.membership;
        if !there || !self.knows_what_was_followed() {
            return Leftover::default();
        }
        (self.wanted.stamped, self.wanted.stamp_again_at) =
            ((epoch, version), around.now + STAMP_AGAIN_AFTER);
        let command = TaggedCommand::encode_followed(version);
        let proposal = Proposal { id: self.proposals.other_attempt(), command, forward: false };
        self.step(Input::Propose(vec![proposal]), around)
    }

    /// The group is not there yet: the records are asked again before anything is done.
    ///
    /// What they wanted once is not enough. {1 and 3 were 1 to 4; 1 starts again, leads, and applies its old log of the records}: it would bring 2 and 4 back,
    /// which are gone for good, and with them {1, 2, 3, 4} never has a majority again. Found by the simulator (I20).
    pub(super) fn desire(&mut self, around: &mut Surroundings<'_>) {
        if self.must_ask() && around.now >= self.wanted.ask_at {
            self.wanted.ask_at = around.now + if self.leads() { DESIRE_EVERY } else { DESIRE_TOLD_EVERY };
            self.wanted.confirming = true;
            around.out.state.push(ToState::Confirm { group: self.id });
        }
    }

    /// Nobody was heard for long: perhaps this node was removed and nobody who leads speaks to it any more. A learner, or a voter that its own newest
    /// membership leaves out, would never say a word by itself, and so never be told. Found by the simulator (I20).
    pub(super) fn hello(&mut self, around: &mut Surroundings<'_>) {
        if !self.has_peers() || around.now < self.wanted.heard_at + HELLO_AFTER {
            return;
        }
        self.wanted.heard_at = around.now;
        let this = self.node;
        for peer in self.membership.members().filter(|peer| *peer != this) {
            around.links.message(peer, Channel::Urgent, self.id, &PeerMessage::Hello);
        }
    }
}
