//! The keys of a cluster whose shards are founded: their groups, and what waits for the order over them.

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{EngineKind, Entry, GroupId, Membership, NodeId, Payload, Role, RoleChange, ShardId};
use quorate_keyspace::Response;
use quorate_node::{FromState, NodeInput, Origin, Outcome, StateOutputs, TaggedCommand, Ticket};
use quorate_order::TxnId;
use quorate_placement::shards::{Command as MapCommand, Founder, Rule, ShardMap, Token};

use super::{KeysNews, Reply, State};
use crate::{
    KEYS,
    shards::{FORGOTTEN, KeysResponse, NodeShards, ShardsOut, Undone, Word, found_entry, founders, is_new},
};

/// The group of a founded cluster's first shard; those of the others follow.
const FIRST_GROUP: u64 = 16;
/// Shards that a cluster is founded with, at most: as many as a transaction over all of them may touch.
pub const FOUNDED_MAX: u16 = quorate_order::TRANSACTION_SHARDS_MAX as u16;

/// With how many shards of keys a new cluster is founded, and what drives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founding {
    /// 2 to [`FOUNDED_MAX`].
    pub shards: u16,
    /// The protocol of each.
    pub engine: EngineKind,
}

/// The entry that founds shards, by hash, with these members, which are the cluster's.
#[must_use]
pub fn founding_entry(founding: Founding, members: &Membership) -> Bytes {
    found_entry(&founding_of(founding, members))
}

fn founding_of(founding: Founding, members: &Membership) -> MapCommand {
    let count = u64::from(founding.shards);
    let founder = |place: u64| Founder {
        shard: ShardId(place as u32 + 1),
        group: GroupId(FIRST_GROUP + place),
        from: if place == 0 { Token::least() } else { Token::new(hash_at(place, count)) },
        members: members.clone(),
        engine: founding.engine,
    };
    MapCommand::Found { rule: Rule::Hash, shards: (0..count).map(founder).collect() }
}

/// The input with which a node tells its state half that [`TICK`](crate::shards::TICK) has passed. To be given at that pace.
#[must_use]
pub fn shards_tick(node: NodeId) -> NodeInput {
    NodeInput::Relay { group: KEYS, to: Some(node), bytes: Word::Tick.encode() }
}

impl State {
    /// Should the cluster be new, its keys are founded with so many shards.
    #[must_use]
    pub fn with_founding(mut self, founding: Option<Founding>) -> State {
        self.founding = founding.filter(|founding| (2..=FOUNDED_MAX).contains(&founding.shards));
        self
    }

    /// Is the shards' founding still to come, and this node the one to propose it?
    pub(super) fn found(&mut self, leads_keys: bool, out: &mut StateOutputs<Reply>) {
        let Some(founding) = self.founding.filter(|_| leads_keys) else { return };
        let Ok(keyspace) = self.keys.machine().alone() else {
            self.founding = None;
            return;
        };
        let members = self.keys.membership().clone();
        if !is_new(keyspace) || members.is_joint() || members.voters().is_empty() {
            return;
        }
        let found = founding_of(founding, &members);
        self.propose_own(KEYS, &found_entry(&found), out);
    }

    /// An entry of the group of keys, as it counts at its place of the log: groups are born there with the members that the group of keys has there, or not at all.
    ///
    /// {1 and 8 are the members, and 1 is removed; a founding that was proposed before comes into the log behind the first half of that change}: 1 would be needed in the new
    /// groups, and never hear of them. Found by the simulator (I20).
    ///
    /// Every replica comes to the same. One that joined, and has read of no change of members so far, does not know who they are; but whoever proposes takes members of whom it
    /// knows that they are committed, and before the first change those are the first ones.
    pub(super) fn with_members_of_now(&mut self, mut entry: Entry) -> Entry {
        let members = self.keys.membership();
        if members.voters().is_empty() || quorate_consensus::planted!("L24") {
            return entry;
        }
        if self.keys.machine().order().is_some() {
            let members = members.clone();
            if let Some(order) = self.keys.machine_mut().order_mut() {
                order.are_members(members);
            }
        } else if let Payload::Command(bytes) = &entry.payload
            && let Ok(tagged) = TaggedCommand::decode(bytes.clone())
            && founders(&tagged.command).is_some_and(|founders| founders != *members)
        {
            entry.payload = Payload::Noop;
        }
        entry
    }

    /// Is the entry a command over shards that is to be done once only? If so, the last transaction that had begun before it.
    pub(super) fn begins_once(&self, entry: &Entry) -> Option<TxnId> {
        let order = self.keys.machine().order()?;
        let Payload::Command(bytes) = &entry.payload else { return None };
        let tagged = TaggedCommand::decode(bytes.clone()).ok()?;
        tagged.session.map(|_| order.orderer().last_begun())
    }

    /// It was applied: its answer is kept on every node, for whoever asks again.
    pub(super) fn expect_answer(&mut self, before: Option<TxnId>) {
        let (Some(order), Some(before)) = (self.keys.machine().order(), before) else { return };
        let begun = order.orderer().last_begun();
        if let (Some(division), Some(shards)) =
            (order.open_division(begun).filter(|_| begun > before), &mut self.shards)
        {
            shards.expect(begun, division);
        }
    }

    /// An entry of the group of keys was applied: answers that stand at once, and transactions that wait.
    pub(super) fn keys_answers(&mut self, out: &mut StateOutputs<Reply>) {
        for (ticket, outcome) in self.keys_applied.replies.drain(..) {
            let reply = match outcome {
                Outcome::Done(KeysResponse::Done(response)) => Reply::Keys(Outcome::Done(response)),
                Outcome::Done(KeysResponse::Undone(undone)) => Reply::Undone(undone),
                Outcome::Done(KeysResponse::Ordered) => {
                    if let Some(shards) = &mut self.shards {
                        shards.settled(ticket);
                    }
                    continue;
                }
                Outcome::Done(KeysResponse::Begun(txn)) => {
                    let order = self.keys.machine().order();
                    let division = order.and_then(|order| order.open_division(txn));
                    let Some(shards) = &mut self.shards else { continue };
                    if order.is_some_and(|order| order.is_handover(txn)) {
                        shards.handover_begun(ticket, txn);
                        continue;
                    }
                    match (shards.answer_of(txn), division) {
                        (Some(answer), _) => answered(answer),
                        (None, Some(division)) => {
                            shards.begun(ticket, txn, division);
                            continue;
                        }
                        // It is decided, and placed here soon.
                        (None, None) if shards.waits_for(ticket, txn) => continue,
                        // It was done before, and what it came to is not kept.
                        (None, None) => Reply::Keys(Outcome::SessionExpired),
                    }
                }
                Outcome::SessionExpired => Reply::Keys(Outcome::SessionExpired),
                Outcome::Malformed(error) => Reply::Keys(Outcome::Malformed(error)),
            };
            out.replies.push((ticket, reply));
        }
    }

    /// The shards are founded, or one has come by a split, as far as this node has heard: they are here from now on.
    pub(super) fn open_shards(&mut self, out: &mut StateOutputs<Reply>) {
        let Some(order) = self.keys.machine().order() else { return };
        let mut done = ShardsOut::default();
        match &mut self.shards {
            Some(shards) => shards.open_new(order, &mut done),
            None => {
                let mut shards = NodeShards::open(order, self.identity.node, self.identity.life, &mut done);
                let leader = self.agreement.leader;
                shards.new_order_leader(leader == Some(self.identity.node), leader.is_some());
                self.shards = Some(shards);
            }
        }
        let new = !done.core.is_empty();
        self.shards_out(done, out);
        if new {
            // What the records want of every group is told to these as well; if nothing changes in the records, nobody else would ask.
            self.confirm(out);
        }
    }

    /// A batch of the order's log was applied, or its snapshot was.
    pub(super) fn order_done(&mut self, jumped: bool, out: &mut StateOutputs<Reply>) {
        self.open_shards(out);
        let (Some(order), Some(shards)) = (self.keys.machine().order(), &mut self.shards) else { return };
        if jumped {
            shards.order_jumped();
        }
        if !shards.follow(order) {
            let failed = FromState::RestoreFailed { group: KEYS, why: FORGOTTEN.to_owned() };
            out.core.push(NodeInput::State(failed));
            return;
        }
        self.serve_order_reads(out);
        self.advance_shards(ShardsOut::default(), out);
    }

    /// Reads that are linearizable as far as the order has come; they wait for the shards.
    pub(super) fn serve_order_reads(&mut self, out: &mut StateOutputs<Reply>) {
        let (Some(order), Some(shards)) = (self.keys.machine().order(), &mut self.shards) else { return };
        let mut done = ShardsOut::default();
        for ticket in self.keys_applied.reads.drain(..) {
            shards.read(ticket, Some(order), &mut done);
        }
        self.shards_out(done, out);
    }

    /// A read of what this node has.
    pub(super) fn read_shards_here(&mut self, ticket: Ticket, out: &mut StateOutputs<Reply>) {
        let Some(shards) = &mut self.shards else { return };
        let mut done = ShardsOut::default();
        shards.read(ticket, None, &mut done);
        self.shards_out(done, out);
    }

    pub(super) fn shard_entries(
        &mut self,
        group: GroupId,
        entries: Vec<Entry>,
        out: &mut StateOutputs<Reply>,
    ) {
        let Some(shards) = &mut self.shards else { return };
        out.core.extend(shards.entries(group, entries).map(NodeInput::State));
        self.advance_shards(ShardsOut::default(), out);
        self.followed(out);
    }

    /// Lets the shards go on, and hands out what came of it.
    pub(super) fn advance_shards(&mut self, mut done: ShardsOut, out: &mut StateOutputs<Reply>) {
        if let (Some(order), Some(shards)) = (self.keys.machine().order(), &mut self.shards) {
            shards.advance(order, &mut done);
            // Before anybody is answered: whoever is told of a write is refused the next one, if that was the last for which there was room.
            if let Some(bytes) = shards.room_bytes() {
                self.keys_listener.room(bytes);
            }
        }
        self.shards_out(done, out);
    }

    fn shards_out(&mut self, done: ShardsOut, out: &mut StateOutputs<Reply>) {
        let ShardsOut { proposals, words, replies, reads, news, snapshots, replaced, core, divided } = done;
        out.core.extend(core);
        // Before anybody is answered: whoever is told of a write finds it in what the front end has heard of.
        if let Some((before, revision, news)) = news {
            self.keys_listener.tell(KeysNews::Applied { before, revision, news });
        }
        if let Some(shards) = self.shards.as_ref().filter(|_| replaced) {
            let (revision, auth) = (shards.revision(), Arc::clone(shards.view().auth()));
            self.keys_listener.tell(KeysNews::Replaced { revision, auth });
        }
        if let Some(map) = divided {
            self.keys_listener.tell(KeysNews::Divided(map));
        }
        out.replies.extend(replies.into_iter().map(|(ticket, answer)| (ticket, answered(answer))));
        if let Some(shards) = self.shards.as_ref().filter(|_| !reads.is_empty()) {
            let view = shards.view();
            out.replies.extend(reads.into_iter().map(|ticket| (ticket, Reply::KeysView(view.clone()))));
        }
        for (group, command, order) in proposals {
            let ticket = self.own_ticket();
            let origin = Origin { node: self.identity.node, life: self.identity.life, ticket };
            let command = TaggedCommand::encode(Some(origin), None, |to| to.raw(&command));
            if let (Some(order), Some(shards)) = (order, &mut self.shards) {
                shards.proposed(ticket, order);
            }
            out.core.push(NodeInput::Propose { group, ticket, command });
        }
        out.core.extend(snapshots.into_iter().map(|group| NodeInput::TakeSnapshot { group }));
        for word in words {
            out.core.push(NodeInput::Relay { group: KEYS, to: None, bytes: word.encode() });
        }
    }

    /// A word about shards. Outside input: what does not decode is not said.
    pub(super) fn hear_of_shards(&mut self, from: NodeId, bytes: Bytes, out: &mut StateOutputs<Reply>) {
        let Ok(word) = Word::decode(bytes) else { return };
        if word == Word::Tick && from == self.identity.node {
            let leads = self.agreement.leader == Some(self.identity.node);
            self.found(leads, out);
        }
        let members: Vec<NodeId> = self.keys.membership().members().collect();
        let (Some(order), Some(shards)) = (self.keys.machine().order(), &mut self.shards) else { return };
        let mut done = ShardsOut::default();
        shards.hear(from, self.identity.node, word, order, &members, &mut done);
        self.advance_shards(done, out);
    }

    pub(super) fn shards_role(&mut self, group: GroupId, change: RoleChange, out: &mut StateOutputs<Reply>) {
        let Some(shards) = &mut self.shards else { return };
        if group == KEYS {
            shards.new_order_leader(change.role == Role::Leader, change.leader.is_some());
        } else if shards.has(group) {
            shards.role(group, change);
        } else {
            return;
        }
        self.advance_shards(ShardsOut::default(), out);
    }

    /// The shards of this node, for checkers; none before they are founded.
    #[must_use]
    pub fn shards(&self) -> Option<&NodeShards> {
        self.shards.as_ref()
    }

    /// How the keys are divided; none while they are not.
    #[must_use]
    pub fn shard_map(&self) -> Option<&Arc<ShardMap>> {
        self.keys.machine().order().map(crate::shards::Order::map)
    }
}

fn answered(answer: Result<Response, Undone>) -> Reply {
    match answer {
        Ok(response) => Reply::Keys(Outcome::Done(response)),
        Err(undone) => Reply::Undone(undone),
    }
}

/// Where shard `place` of `count` begins in the space of hashes.
fn hash_at(place: u64, count: u64) -> Vec<u8> {
    let at = (u128::from(place) << 64) / u128::from(count);
    (at as u64).to_be_bytes().to_vec()
}
