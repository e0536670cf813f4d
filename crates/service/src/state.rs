//! The state half of a node: the replicas of its groups, and what follows from the cluster's records.
//!
//! Membership has one source of truth, the `meta` group. A change is an intent there; every node's state half tells its core what each group
//! should become, whoever leads a group brings it there, and the one who asked is answered when this node has seen every group get there. A
//! leader that dies in the middle leaves the intent to the next one (no second change, no zombie member).

use std::collections::BTreeSet;

use quorate_consensus::{ClusterId, GroupId, Incarnation, Membership, NodeId, Role, StateMachine};
use quorate_keyspace::{Keyspace, View as KeysView};
use quorate_node::{
    Applied, FromState, Node, NodeInput, Outcome, Replica, StateHalf, StateOutputs, Ticket, ToState,
};
use quorate_placement::{Command as MetaCommand, Placement, View as MetaView};

use crate::{
    KEYS, META, TREE,
    agreement::{Agreement, Word},
    shards::{Keys, NodeShards, ShardsOut, Undone},
};

mod added;
mod compared;
mod keys;
mod records;
mod sharded;
mod tree;

use added::Added;
pub use added::tree_word;
use keys::Listener;
pub use keys::{KeysNews, KeysSink};
pub use sharded::{FOUNDED_MAX, Founding, founding_entry, shards_tick};
use tree::Tree;
pub use tree::{TOUCHES_MAX, TreeNews, TreeSink, touch};

/// What those who wait are told by the state half.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A command on the keys came to this.
    Keys(Outcome<quorate_keyspace::Response>),
    /// A command on the keys was not done, for a reason that the keyspace does not know of.
    Undone(Undone),
    /// The keys, as of the read.
    KeysView(KeysView),
    /// A change of the cluster's records came to this; if it changed members, every group has followed.
    Meta(Outcome<quorate_placement::Response>),
    /// The cluster's records, as of the read.
    MetaView(MetaView),
    /// A command on the tree came to this.
    Tree(Outcome<quorate_znodes::Response>),
    /// The tree, as of the read.
    TreeView(quorate_znodes::View),
}

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Its disk.
    pub incarnation: Incarnation,
    /// This life of its process.
    pub life: u64,
    /// Its name, for people.
    pub name: String,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
}

/// What a new cluster's records begin with; the first leader of `meta` writes it.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The command that initialises the records.
    pub initialise: MetaCommand,
    /// The membership that every group is born with.
    pub birth: Membership,
}

/// The state half of a node that runs `meta`, `keys` and, once the records name it, `tree`.
#[derive(Debug)]
pub struct State {
    identity: Identity,
    bootstrap: Option<MetaCommand>,
    meta: Replica<Placement>,
    keys: Replica<Keys>,
    /// The shards of the keys, once they are founded.
    shards: Option<NodeShards>,
    founding: Option<Founding>,
    keys_listener: Listener,
    agreement: Agreement,
    tree: Option<Tree>,
    added: Added,
    leads_meta: bool,
    /// Answers to changes of members that wait until every group has followed.
    settling: Vec<(Ticket, Reply)>,
    /// What this node has already announced of itself.
    announced: BTreeSet<Announcement>,
    /// Removed members that the core has been told of.
    let_go: BTreeSet<NodeId>,
    next_own_ticket: u64,
    /// How often this node tried to hand `meta` over to one who stays.
    handed_over: usize,
    /// The read of the records under way that says what they want.
    confirming: Option<Ticket>,
    meta_applied: Applied<Placement>,
    keys_applied: Applied<Keys>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Announcement {
    Records,
    Disk,
    Name,
}

impl State {
    /// The state before the first entry. `bootstrap` is `None` on a node that joins a cluster that exists.
    #[must_use]
    pub fn new(identity: Identity, bootstrap: Option<Bootstrap>) -> State {
        let birth = bootstrap.as_ref().map(|bootstrap| bootstrap.birth.clone()).unwrap_or_default();
        let (node, life) = (identity.node, identity.life);
        State {
            meta: Replica::new(Placement::new(), birth.clone(), node, life),
            keys: Replica::new(Keys::Alone(Keyspace::new()), birth.clone(), node, life),
            shards: None,
            founding: None,
            keys_listener: Listener::default(),
            agreement: Agreement::default(),
            tree: None,
            added: Added::new(birth),
            identity,
            bootstrap: bootstrap.map(|bootstrap| bootstrap.initialise),
            leads_meta: false,
            settling: Vec::new(),
            announced: BTreeSet::new(),
            let_go: BTreeSet::new(),
            next_own_ticket: Node::OWN_TICKETS_FROM,
            handed_over: 0,
            confirming: None,
            meta_applied: Applied::default(),
            keys_applied: Applied::default(),
        }
    }

    /// The keys, for checkers.
    #[must_use]
    pub fn keys(&self) -> &Replica<Keys> {
        &self.keys
    }

    /// The cluster's records, for checkers.
    #[must_use]
    pub fn meta(&self) -> &Replica<Placement> {
        &self.meta
    }

    fn entries(
        &mut self,
        group: GroupId,
        entries: Vec<quorate_consensus::Entry>,
        out: &mut StateOutputs<Reply>,
        mut observe: impl FnMut(&State, GroupId),
    ) {
        match group {
            META => {
                for entry in entries {
                    self.meta.apply(entry, &mut self.meta_applied);
                    observe(self, META);
                }
                self.meta_done(false, out);
            }
            KEYS => {
                for entry in entries {
                    let entry = self.with_members_of_now(entry);
                    let once = self.begins_once(&entry);
                    self.keys.apply(entry, &mut self.keys_applied);
                    self.keys_reached(out);
                    observe(self, KEYS);
                    if let Some(order) = self.keys.machine().order() {
                        // What had changed before the founding, in the same batch: told before anybody is answered, as always.
                        let revision = order.orderer().revision();
                        self.keys_listener.changed(revision, &mut self.keys_applied.events);
                        self.open_shards(out);
                        self.expect_answer(once);
                        self.keys_answers(out);
                    }
                }
                self.keys_done(false, out);
            }
            TREE => {
                for entry in entries {
                    let Some(tree) = &mut self.tree else { return };
                    tree.apply(entry);
                    observe(self, TREE);
                }
                if let Some(tree) = &mut self.tree {
                    tree.done(false, out);
                }
                self.followed(out);
            }
            group => self.shard_entries(group, entries, out),
        }
    }

    fn keys_done(&mut self, jumped: bool, out: &mut StateOutputs<Reply>) {
        let applied = &mut self.keys_applied;
        self.keys.release_reads(applied);
        match self.keys.machine().alone() {
            // Before anybody is answered: whoever is told of a write finds it in what the front end has heard of.
            Ok(keyspace) => self.keys_listener.applied(keyspace, &mut applied.events, jumped),
            // What shards did they tell themselves.
            Err(_) => applied.events.clear(),
        }
        self.keys_answers(out);
        let own = std::mem::take(&mut self.keys_applied.own);
        Self::serve_keys(&self.keys, &mut self.keys_applied, out);
        self.order_done(jumped, out);
        out.core.push(NodeInput::State(self.keys.report(KEYS, own, jumped)));
        self.followed(out);
    }

    fn meta_done(&mut self, jumped: bool, out: &mut StateOutputs<Reply>) {
        let applied = &mut self.meta_applied;
        self.meta.release_reads(applied);
        for (ticket, outcome) in applied.replies.drain(..) {
            self.settling.push((ticket, Reply::Meta(outcome)));
        }
        let changed = !applied.events.is_empty() || jumped;
        applied.events.clear();
        let own = std::mem::take(&mut applied.own);
        self.open_tree(out);
        self.confirmed(out);
        Self::serve_meta(&self.meta, &mut self.meta_applied, out);
        out.core.push(NodeInput::State(self.meta.report(META, own, jumped)));
        if changed {
            self.records_changed(out);
            self.confirm(out);
        }
        self.announce(out);
        self.followed(out);
    }

    /// One view for all reads of a batch: taking it costs nothing, but the writer pays for every one that is still held.
    fn serve_keys(keys: &Replica<Keys>, applied: &mut Applied<Keys>, out: &mut StateOutputs<Reply>) {
        if !applied.reads.is_empty() && keys.machine().alone().is_ok() {
            let view = keys.machine().view();
            out.replies.extend(applied.reads.drain(..).map(|ticket| (ticket, Reply::KeysView(view.clone()))));
        }
    }

    fn serve_meta(
        meta: &Replica<Placement>,
        applied: &mut Applied<Placement>,
        out: &mut StateOutputs<Reply>,
    ) {
        if !applied.reads.is_empty() {
            let view = meta.machine().view();
            out.replies.extend(applied.reads.drain(..).map(|ticket| (ticket, Reply::MetaView(view.clone()))));
        }
    }

    // ── what follows from the records ───────────────────────────────────────────────────────────────────────────────

    /// The records changed: tell the core whom it may believe, and, once it is certain that they are the newest, what every group should become.
    fn records_changed(&mut self, out: &mut StateOutputs<Reply>) {
        let view = self.meta.machine().view();
        if !view.is_initialised() {
            return;
        }
        for member in view.members().values() {
            let (peer, incarnation) = (member.id, member.incarnation);
            out.core.push(NodeInput::PeerKnown { peer, incarnation, removed: false });
        }
    }

    /// Every group has followed the records: those that were removed are believed no more.
    ///
    /// Not before. A removed voter still counts in the outgoing half of a joint membership: of {1, 2} losing 2, nothing is committed without 2's word,
    /// the leaving of 2 included; deaf to 2 from the moment that the records say so, 1 would wait for ever.
    fn let_go(&mut self, view: &MetaView, out: &mut StateOutputs<Reply>) {
        for peer in view.removed() {
            if self.let_go.insert(*peer) {
                out.core.push(NodeInput::PeerKnown { peer: *peer, incarnation: None, removed: true });
            }
        }
    }

    fn own_ticket(&mut self) -> Ticket {
        self.next_own_ticket += 1;
        Ticket(self.next_own_ticket)
    }

    /// Whoever waited for every group to follow the records is answered, and whoever was removed is let go, once they have.
    ///
    /// By the word of each group's leader in its log ([`Replica::followed`]). What a group's membership is here says nothing by itself: a replica that is behind
    /// goes through memberships of long ago, and a leader may be about to change what is committed. {Members 1 to 5, 7 comes, 7 is to go; 5 starts again, and
    /// applies its old log}: it sees the keys without 7, as the records want them, before it has seen 7 come. Found by the simulator (I12).
    fn followed(&mut self, out: &mut StateOutputs<Reply>) {
        let view = self.meta.machine().view();
        if self.settling.is_empty() && view.removed().len() == self.let_go.len() {
            return;
        }
        let settled = self.data_followed().min(self.meta.followed()) >= view.version();
        let gone = view.is_initialised() && view.member(self.identity.node).is_none();
        if settled || gone || !view.is_initialised() {
            out.replies.append(&mut self.settling);
        }
        if settled && view.is_initialised() {
            self.let_go(&view, out);
        }
    }

    /// What this node has to say of itself, if the records do not say it yet: the records' beginning, its disk, its name.
    fn announce(&mut self, out: &mut StateOutputs<Reply>) {
        let view = self.meta.machine().view();
        if !view.is_initialised() {
            if self.leads_meta
                && let Some(initialise) = self.bootstrap.clone()
            {
                self.say(Announcement::Records, &initialise, out);
            }
            return;
        }
        let id = self.identity.node;
        let Some(member) = view.member(id) else { return };
        if member.incarnation.is_none() {
            let incarnation = self.identity.incarnation;
            self.say(Announcement::Disk, &MetaCommand::RegisterDisk { id, incarnation }, out);
        }
        if member.name != self.identity.name || member.client_urls != self.identity.client_urls {
            let (name, client_urls) = (self.identity.name.clone(), self.identity.client_urls.clone());
            self.say(Announcement::Name, &MetaCommand::Publish { id, name, client_urls }, out);
        }
    }

    /// Says it once per epoch of `meta`; all of it may be said twice without harm.
    fn say(&mut self, what: Announcement, command: &MetaCommand, out: &mut StateOutputs<Reply>) {
        if self.announced.insert(what) {
            self.propose_own(META, &command.encode(), out);
        }
    }
}

impl State {
    /// Takes one input, as [`StateHalf::handle`] does, and shows the state to `observe` after every single entry: for checkers, which compare the
    /// states of replicas that were given their entries in other batches.
    pub fn handle_observed(
        &mut self,
        input: ToState,
        out: &mut StateOutputs<Reply>,
        observe: impl FnMut(&State, GroupId),
    ) {
        match input {
            ToState::Entries { group, entries } => self.entries(group, entries, out, observe),
            ToState::Restore { group, meta, chunks } => {
                let restored = match group {
                    META => self.meta.restore(&meta, chunks),
                    KEYS => self.keys.restore(&meta, chunks),
                    TREE => match &mut self.tree {
                        Some(tree) => tree.restore(&meta, chunks, out),
                        None => return,
                    },
                    _ => {
                        let (Some(order), Some(shards)) = (self.keys.machine().order(), &mut self.shards)
                        else {
                            return;
                        };
                        let mut done = ShardsOut::default();
                        let restored = shards.restore(group, &meta, chunks, order, &mut done);
                        restored.map(|report| {
                            out.core.extend(report.map(NodeInput::State));
                            self.advance_shards(done, out);
                        })
                    }
                };
                match restored {
                    Ok(()) if group == META => self.meta_done(true, out),
                    Ok(()) if group == KEYS => self.keys_done(true, out),
                    Ok(()) => self.followed(out),
                    Err(error) => {
                        let why = error.to_string();
                        out.core.push(NodeInput::State(FromState::RestoreFailed { group, why }));
                    }
                }
            }
            ToState::ReadSafe { group, tickets, index } => match group {
                META => {
                    for ticket in tickets {
                        self.meta.read_at(index, ticket, &mut self.meta_applied);
                    }
                    self.confirmed(out);
                    Self::serve_meta(&self.meta, &mut self.meta_applied, out);
                }
                KEYS => {
                    for ticket in tickets {
                        self.keys.read_at(index, ticket, &mut self.keys_applied);
                    }
                    Self::serve_keys(&self.keys, &mut self.keys_applied, out);
                    self.serve_order_reads(out);
                }
                TREE => {
                    if let Some(tree) = &mut self.tree {
                        tree.read_at(index, tickets, out);
                    }
                }
                _ => {}
            },
            ToState::ReadLocal { group, ticket } => match group {
                META => out.replies.push((ticket, Reply::MetaView(self.meta.machine().view()))),
                KEYS if self.shards.is_some() => self.read_shards_here(ticket, out),
                KEYS => out.replies.push((ticket, Reply::KeysView(self.keys.machine().view()))),
                TREE => {
                    let view = self.tree.as_ref().map(|tree| tree.replica.machine().view());
                    out.replies.extend(view.map(|view| (ticket, Reply::TreeView(view))));
                }
                _ => {}
            },
            ToState::SnapshotDue { group } => {
                let snapshot = match group {
                    META => {
                        let (meta, chunks) = self.meta.snapshot();
                        FromState::Snapshot { group, meta, chunks: Box::new(chunks) }
                    }
                    KEYS => {
                        let (meta, chunks) = self.keys.snapshot();
                        FromState::Snapshot { group, meta, chunks: Box::new(chunks) }
                    }
                    TREE => match &self.tree {
                        Some(tree) => tree.snapshot(),
                        None => return,
                    },
                    group => match self.shards.as_mut().and_then(|shards| shards.snapshot(group)) {
                        Some(snapshot) => snapshot,
                        None => return,
                    },
                };
                out.core.push(NodeInput::State(snapshot));
            }
            ToState::Role { group: TREE, .. } | ToState::Relayed { group: TREE, .. } => {
                if let Some(tree) = &mut self.tree {
                    tree.hear(input);
                }
            }
            ToState::Relayed { group: META, from, bytes } => self.hear_of_tree(from, bytes, out),
            ToState::Relayed { group: KEYS, from, bytes } if Word::is_one(&bytes) => {
                self.hear_of_agreement(from, bytes, out);
            }
            ToState::Relayed { group: KEYS, from, bytes } if crate::shards::Word::is_one(&bytes) => {
                self.hear_of_shards(from, bytes, out);
            }
            ToState::Relayed { group: KEYS, from, bytes } => {
                self.keys_listener.tell(KeysNews::Word { from, bytes });
            }
            ToState::Relayed { .. } => {}
            ToState::Role { group, change } => {
                if group == KEYS {
                    self.agreement.new_lead(change.leader);
                    self.keys_listener.tell(KeysNews::Role(change));
                    self.found(change.role == Role::Leader, out);
                }
                self.shards_role(group, change, out);
                // Whoever leads the order says what that should be, and nobody else does.
                if group == KEYS && change.role == Role::Leader && self.shards.is_some() {
                    self.confirm(out);
                }
                if group == META {
                    self.leads_meta = change.role == Role::Leader;
                    self.added.new_lead();
                }
                if group == META && change.leader.is_some() {
                    self.announced.clear();
                    self.announce(out);
                    if self.confirming.is_some() || change.role == Role::Leader {
                        self.confirm(out);
                    }
                }
            }
            ToState::Kept { group, position, compacted } => {
                if let Some(shards) = &mut self.shards {
                    shards.kept(group, position.index, compacted);
                }
            }
            ToState::Confirm { .. } if self.confirming.is_none() => self.confirm(out),
            ToState::Confirm { .. } => {}
            // In force is not yet committed; what is committed shows when it is applied.
            ToState::Membership { .. } => {}
        }
    }
}

impl StateHalf for State {
    type Reply = Reply;

    fn handle(&mut self, input: ToState, out: &mut StateOutputs<Reply>) {
        self.handle_observed(input, out, |_, _| {});
    }
}
