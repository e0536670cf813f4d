//! ZooKeeper's tree in the state half: its replica, and what connections and the steward are told of it.

use std::fmt;

use bytes::Bytes;
use quorate_consensus::{
    DecodeError, Entry, GroupId, Index, Membership, NodeId, Reader, RestoreError, RoleChange, SnapshotMeta,
    StateMachine, Writer,
};
use quorate_node::{Applied, FromState, NodeInput, Replica, StateOutputs, Ticket, ToState};
use quorate_znodes::{Event, SessionId, View, Znodes};

use super::{Reply, State};
use crate::TREE;

/// Sessions in one word to the leader; more are said in several.
pub const TOUCHES_MAX: usize = 4_096;

/// What happens to the tree on this node, in the order in which it happens.
#[derive(Debug)]
pub enum TreeNews {
    /// Entries were applied: the tree is now this, and that happened since the one before.
    Applied(View, Vec<Event>),
    /// A snapshot took its place: nobody knows what happened in between.
    Replaced(View),
    /// This node's role in the group changed, or its leader did.
    Role(RoleChange),
    /// A member has heard of these clients; for the steward, on the leader.
    Touched(Vec<SessionId>),
}

/// Hears of what happens to the tree. Called in the state thread; must not wait.
pub type TreeSink = Box<dyn FnMut(TreeNews) + Send>;

/// What the tree begins as, and who is told of it once it has.
#[derive(Default)]
pub(super) struct Seed {
    born: Znodes,
    sink: Option<TreeSink>,
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seed").field("born", &self.born).finish_non_exhaustive()
    }
}

/// The replica, and who is told.
pub(super) struct Tree {
    pub(super) replica: Replica<Znodes>,
    applied: Applied<Znodes>,
    sink: Option<TreeSink>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("replica", &self.replica).finish_non_exhaustive()
    }
}

/// The word with which a member tells the leader of the tree which clients it has heard of: a version, a count, so many ids.
fn touch_word(sessions: &[SessionId]) -> Bytes {
    let mut to = Writer::new();
    to.u8(TOUCH_VERSION);
    to.varint(sessions.len() as u64);
    sessions.iter().for_each(|session| to.u64(session.0 as u64));
    to.finish()
}

const TOUCH_VERSION: u8 = 1;

fn touched(word: Bytes) -> Result<Vec<SessionId>, DecodeError> {
    let mut from = Reader::new(word);
    let version = from.u8()?;
    if version != TOUCH_VERSION {
        return Err(DecodeError::Unknown {
            what: "version of a word about sessions",
            value: u64::from(version),
        });
    }
    let count = from.varint()?;
    if count > TOUCHES_MAX as u64 {
        return Err(DecodeError::Invalid { what: "a word about too many sessions" });
    }
    let sessions = (0..count).map(|_| Ok(SessionId(from.u64()? as _))).collect::<Result<_, DecodeError>>()?;
    from.finish()?;
    Ok(sessions)
}

impl Tree {
    pub(super) fn new(Seed { born, sink }: Seed, birth: Membership, node: NodeId, life: u64) -> Tree {
        Tree { replica: Replica::new(born, birth, node, life), applied: Applied::default(), sink }
    }

    fn publish(&mut self, news: TreeNews) {
        if let Some(sink) = &mut self.sink {
            sink(news);
        }
    }

    /// Publishes what was applied before anybody is answered: an answer that waits for the view finds it there.
    pub(super) fn done(&mut self, jumped: bool, out: &mut StateOutputs<Reply>) {
        self.replica.release_reads(&mut self.applied);
        let events = self.applied.events.drain(..).flat_map(|(_, events)| events);
        if let Some(sink) = &mut self.sink {
            let (view, events) = (self.replica.machine().view(), events.collect());
            sink(if jumped { TreeNews::Replaced(view) } else { TreeNews::Applied(view, events) });
        } else {
            drop(events);
        }
        let replies = self.applied.replies.drain(..);
        out.replies.extend(replies.map(|(ticket, outcome)| (ticket, Reply::Tree(outcome))));
        let own = std::mem::take(&mut self.applied.own);
        self.serve(out);
        out.core.push(NodeInput::State(self.replica.report(TREE, own, jumped)));
    }

    fn serve(&mut self, out: &mut StateOutputs<Reply>) {
        if !self.applied.reads.is_empty() {
            let view = self.replica.machine().view();
            let reads = self.applied.reads.drain(..);
            out.replies.extend(reads.map(|ticket| (ticket, Reply::TreeView(view.clone()))));
        }
    }

    pub(super) fn apply(&mut self, entry: Entry) {
        self.replica.apply(entry, &mut self.applied);
    }

    pub(super) fn restore(
        &mut self,
        meta: &SnapshotMeta,
        chunks: impl IntoIterator<Item = Bytes>,
        out: &mut StateOutputs<Reply>,
    ) -> Result<(), RestoreError> {
        self.replica.restore(meta, chunks)?;
        self.done(true, out);
        Ok(())
    }

    pub(super) fn read_at(&mut self, index: Index, tickets: Vec<Ticket>, out: &mut StateOutputs<Reply>) {
        for ticket in tickets {
            self.replica.read_at(index, ticket, &mut self.applied);
        }
        self.serve(out);
    }

    pub(super) fn snapshot(&self) -> FromState {
        let (meta, chunks) = self.replica.snapshot();
        FromState::Snapshot { group: TREE, meta, chunks: Box::new(chunks) }
    }

    /// What needs no answer.
    pub(super) fn hear(&mut self, input: ToState) {
        match input {
            ToState::Role { change, .. } => self.publish(TreeNews::Role(change)),
            // Outside input: what does not decode is not said.
            ToState::Relayed { bytes, .. } => {
                if let Ok(sessions) = touched(bytes) {
                    self.publish(TreeNews::Touched(sessions));
                }
            }
            ToState::Entries { .. }
            | ToState::Restore { .. }
            | ToState::ReadSafe { .. }
            | ToState::ReadLocal { .. }
            | ToState::SnapshotDue { .. }
            | ToState::Confirm { .. }
            | ToState::Kept { .. }
            | ToState::Membership { .. } => {}
        }
    }
}

impl State {
    /// What happens to the tree is told to `sink`, once the records name it and this node runs it.
    #[must_use]
    pub fn with_tree(self, sink: Option<TreeSink>) -> State {
        self.with_tree_of(Znodes::new(), sink)
    }

    /// The same, with a tree that is born as `born`: the same one on every node.
    #[must_use]
    pub fn with_tree_of(mut self, born: Znodes, sink: Option<TreeSink>) -> State {
        self.added.seed = Seed { born, sink };
        self
    }

    /// The tree, for checkers; none before the records name it.
    #[must_use]
    pub fn tree(&self) -> Option<&Replica<Znodes>> {
        self.tree.as_ref().map(|tree| &tree.replica)
    }

    /// How many answers wait for the groups to follow a change of members.
    #[must_use]
    pub fn settling(&self) -> usize {
        self.settling.len()
    }

    /// How far the groups that clients write to have followed the records: the one that is behind all others.
    pub(super) fn data_followed(&self) -> u64 {
        let tree = self.tree.as_ref().map_or(u64::MAX, |tree| tree.replica.followed());
        let shards = self.shards.as_ref().map_or(u64::MAX, crate::shards::NodeShards::followed);
        self.keys.followed().min(tree).min(shards)
    }

    /// The groups that become what the records want as soon as they do.
    pub(super) fn data_groups(&self) -> Vec<GroupId> {
        let shards = self.shards.iter().flat_map(crate::shards::NodeShards::groups);
        [crate::KEYS].into_iter().chain(self.tree.as_ref().map(|_| TREE)).chain(shards).collect()
    }
}

/// The input that tells the leader of the tree which clients were heard of.
#[must_use]
pub fn touch(sessions: &[SessionId]) -> Vec<NodeInput> {
    sessions
        .chunks(TOUCHES_MAX)
        .map(|some| NodeInput::Relay { group: TREE, to: None, bytes: touch_word(some) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_about_sessions_reads_back_and_a_forged_one_is_refused() {
        let sessions: Vec<SessionId> = (0..5).map(SessionId).collect();
        assert_eq!(touched(touch_word(&sessions)), Ok(sessions.clone()));
        let word = touch_word(&sessions);
        for length in 0..word.len() {
            assert!(touched(word.slice(..length)).is_err(), "{length} bytes of it");
        }
        let mut forged = Writer::new();
        forged.u8(TOUCH_VERSION);
        forged.varint(u64::MAX);
        assert!(touched(forged.finish()).is_err());
        assert_eq!(touch(&vec![SessionId(1); TOUCHES_MAX + 1]).len(), 2);
    }
}
