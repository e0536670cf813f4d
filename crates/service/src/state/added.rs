//! The tree of a cluster: opened because the records name it, and added to the records of a cluster that was founded without it.
//!
//! ```text
//!   each member, once a second ── tree_word ──► the leader of `meta`: has every member said so, and does one want it?
//!                                                   │ AddGroup, with who was asked
//!                                                   ▼
//!   log of `meta` ──► every member, as it applies it: a replica here, NodeInput::Open for the core
//! ```
//!
//! Architecture Invariant: all members give the tree one birth. Of a tree that was added it stands in the records, and nobody's configuration is asked; one that is
//! as old as the cluster was born with the founders, as its other groups were. Were it taken from a member's own configuration, {1, 2, 3 founded the
//! cluster; 2 and 3 were replaced by 4 and 5}: 1 would go by {1, 2, 3} and 4 by {1, 4, 5}, which have quorums apart.
//!
//! Architecture Invariant: the command comes into the log only when every member knows it. One of an older build would pass it over, and its records would be
//! others from there on. So the leader asks first, and the command names who was asked: if another has come by then, it changes nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{DecodeError, EngineKind, GroupId, Membership, NodeId, Reader, StateMachine, Writer};
use quorate_node::{GroupConfig, NodeInput, Origin, StateOutputs, TaggedCommand};
use quorate_placement::{Command, GroupKind, GroupPlace};

use super::{Reply, State};
use crate::{
    META, TREE,
    state::tree::{Seed, Tree},
};

const WORD_VERSION: u8 = 1;

/// A member that was not heard for so many words of the leader's own may be another build by now.
const SILENT_WORDS_MAX: u8 = 5;

/// After so many words of the leader's own, what it asked for is asked for again.
const ASK_AGAIN_WORDS: u8 = 4;

/// What a member says of the tree while the records have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    /// What should drive it; none if that is all the same to it.
    engine: Option<EngineKind>,
    /// Clients wait for it there.
    wants: bool,
}

impl Word {
    fn encode(self) -> Bytes {
        let mut to = Writer::new();
        to.u8(WORD_VERSION);
        to.u8(match self.engine {
            None => 0,
            Some(EngineKind::Raft) => 1,
            Some(EngineKind::Zab) => 2,
        });
        to.bool(self.wants);
        to.finish()
    }

    fn decode(bytes: Bytes) -> Result<Word, DecodeError> {
        let mut from = Reader::new(bytes);
        match from.u8()? {
            WORD_VERSION => {}
            value => {
                return Err(DecodeError::Unknown {
                    what: "version of a word about the tree",
                    value: value.into(),
                });
            }
        }
        let engine = match from.u8()? {
            0 => None,
            1 => Some(EngineKind::Raft),
            2 => Some(EngineKind::Zab),
            value => return Err(DecodeError::Unknown { what: "engine", value: value.into() }),
        };
        let word = Word { engine, wants: from.bool()? };
        from.finish()?;
        Ok(word)
    }
}

/// The input with which a member says, to the leader of the records, that it knows how a tree is added, what should drive it, and whether clients wait for it
/// there. To be said about once a second for as long as the records name no tree; a word that is lost is made up for by the next.
#[must_use]
pub fn tree_word(engine: Option<EngineKind>, wants: bool) -> NodeInput {
    NodeInput::Relay { group: META, to: None, bytes: Word { engine, wants }.encode() }
}

/// What a leader of the records has heard, in this lead.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Of each member: what it said last, and how often the leader itself has spoken since.
    words: BTreeMap<NodeId, (Word, u8)>,
    /// The version of the records for which the tree was last asked for, and how often the leader has spoken since: the answer is on its way, unless the
    /// entry was refused or lost, which nobody says. Asking again does no harm.
    asked_at: Option<(u64, u8)>,
}

impl Ready {
    /// The leader has spoken: so much time has passed.
    fn pass(&mut self) {
        self.words.values_mut().for_each(|(_, silent)| *silent += 1);
        self.words.retain(|_, (_, silent)| *silent <= SILENT_WORDS_MAX);
        self.asked_at = self.asked_at.map(|(version, since)| (version, since + 1));
        self.asked_at = self.asked_at.filter(|(_, since)| *since < ASK_AGAIN_WORDS);
    }

    /// Is the tree to be asked for, at this version of the records? If so, it is noted that it was.
    fn asks(&mut self, version: u64) -> bool {
        if self.asked_at.is_some_and(|(asked, _)| asked == version) {
            return false;
        }
        self.asked_at = Some((version, 0));
        true
    }

    /// What should drive the tree: none unless all of these members have spoken, one wants it, and they agree.
    fn engine(&self, members: impl IntoIterator<Item = NodeId>) -> Option<EngineKind> {
        let (mut engine, mut wanted) = (None, false);
        for member in members {
            let (word, _) = self.words.get(&member)?;
            wanted |= word.wants;
            if engine.is_some() && word.engine.is_some() && engine != word.engine {
                return None;
            }
            engine = engine.or(word.engine);
        }
        engine.filter(|_| wanted)
    }
}

/// What is to become of the tree on this node.
#[derive(Debug)]
pub(super) struct Added {
    /// What the tree begins as, until it does.
    pub(super) seed: Seed,
    /// What every group that is as old as the cluster is born with; empty on a node that joined.
    founders: Membership,
    ready: Ready,
}

impl Added {
    pub(super) fn new(founders: Membership) -> Added {
        Added { seed: Seed::default(), founders, ready: Ready::default() }
    }

    /// Another leads the records, or this node once more: what was heard before says nothing of now.
    pub(super) fn new_lead(&mut self) {
        self.ready = Ready::default();
    }
}

impl State {
    /// The records name the tree: it is here from now on. In each life of the process they name it again, with the same birth.
    ///
    /// Whether this node is a member just now makes no difference. {1 and 2 are the birth; 2 is removed}: until the tree has followed, 1 needs 2 even to let it go, and
    /// a 2 that had not opened the tree yet would be waited for for ever. One that has been let go is stopped as a whole.
    pub(super) fn open_tree(&mut self, out: &mut StateOutputs<Reply>) {
        let view = self.meta.machine().view();
        let Some(place) = view.groups().get(&TREE).filter(|place| place.kind == GroupKind::Tree) else {
            return;
        };
        if self.tree.is_some() {
            return;
        }
        let birth = view.birth(TREE).unwrap_or(&self.added.founders).clone();
        let (node, life) = (self.identity.node, self.identity.life);
        self.tree = Some(Tree::new(std::mem::take(&mut self.added.seed), birth.clone(), node, life));
        out.core.push(NodeInput::Open(GroupConfig { id: TREE, engine: place.engine, birth }));
    }

    /// A member is ready for the tree. Outside input: what does not decode is not said.
    ///
    /// Only the leader's own words let time pass, and only then is anything proposed: whoever spoke before had its chance to speak again.
    pub(super) fn hear_of_tree(&mut self, from: NodeId, bytes: Bytes, out: &mut StateOutputs<Reply>) {
        let Ok(word) = Word::decode(bytes) else { return };
        if !self.leads_meta {
            return;
        }
        let own = from == self.identity.node;
        if own {
            self.added.ready.pass();
        }
        self.added.ready.words.insert(from, (word, 0));
        let view = self.meta.machine().view();
        if !own || !view.is_initialised() || view.groups().contains_key(&TREE) {
            return;
        }
        let Some(engine) = self.added.ready.engine(view.members().keys().copied()) else { return };
        if !self.added.ready.asks(view.version()) {
            return;
        }
        let place = GroupPlace { kind: GroupKind::Tree, engine };
        let members = view.members().keys().copied().collect();
        self.propose_own(META, &Command::AddGroup { id: TREE, place, members }.encode(), out);
    }

    /// A command that nobody waits for.
    pub(super) fn propose_own(&mut self, group: GroupId, command: &Bytes, out: &mut StateOutputs<Reply>) {
        let ticket = self.own_ticket();
        let origin = Origin { node: self.identity.node, life: self.identity.life, ticket };
        let command = TaggedCommand::encode(Some(origin), None, |to| to.raw(command));
        out.core.push(NodeInput::Propose { group, ticket, command });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZAB: Option<EngineKind> = Some(EngineKind::Zab);
    const RAFT: Option<EngineKind> = Some(EngineKind::Raft);

    fn ready(words: &[(u64, Option<EngineKind>, bool)]) -> Ready {
        let words = words
            .iter()
            .map(|(id, engine, wants)| (NodeId(*id), (Word { engine: *engine, wants: *wants }, 0)));
        Ready { words: words.collect(), asked_at: None }
    }

    #[test]
    fn the_tree_is_asked_for_once_and_again_when_nothing_came_of_it() {
        let mut ready = ready(&[(1, ZAB, true)]);
        assert!(ready.asks(7) && !ready.asks(7));
        assert!(ready.asks(8), "the records are others now");
        (1..ASK_AGAIN_WORDS).for_each(|_| ready.pass());
        assert!(!ready.asks(8), "the answer may be on its way");
        ready.pass();
        assert!(ready.asks(8), "it was refused, or lost");
    }

    #[test]
    fn a_word_about_the_tree_reads_back_and_a_forged_one_is_refused() {
        for (engine, wants) in [(None, false), (RAFT, true), (ZAB, false)] {
            let bytes = Word { engine, wants }.encode();
            assert_eq!(Word::decode(bytes.clone()), Ok(Word { engine, wants }));
            for length in 0..bytes.len() {
                assert!(Word::decode(bytes.slice(..length)).is_err(), "{length} bytes of it");
            }
            for damage in 0..bytes.len() {
                let mut forged = bytes.to_vec();
                forged[damage] = 7;
                assert!(Word::decode(forged.into()).is_err(), "byte {damage}");
            }
            assert!(Word::decode([&bytes[..], &[0]].concat().into()).is_err());
        }
    }

    #[test]
    fn the_tree_waits_for_every_member_and_for_one_that_wants_it() {
        let three = || [1, 2, 3].map(NodeId);
        assert_eq!(ready(&[(1, ZAB, true), (2, ZAB, true)]).engine(three()), None, "3 has said nothing");
        assert_eq!(ready(&[(1, ZAB, false), (2, ZAB, false), (3, ZAB, false)]).engine(three()), None);
        assert_eq!(ready(&[(1, ZAB, false), (2, None, true), (3, ZAB, false)]).engine(three()), ZAB);
        assert_eq!(ready(&[(1, None, false), (2, None, false), (3, RAFT, true)]).engine(three()), RAFT);
        assert_eq!(ready(&[(1, ZAB, true), (2, RAFT, true), (3, None, false)]).engine(three()), None);
        assert_eq!(ready(&[(1, ZAB, true), (9, RAFT, true)]).engine([NodeId(1)]), ZAB, "9 is no member");
    }

    #[test]
    fn who_falls_silent_is_not_ready_any_more() {
        let mut ready = ready(&[(1, ZAB, true), (2, ZAB, false)]);
        for _ in 0..SILENT_WORDS_MAX {
            ready.pass();
            ready.words.insert(NodeId(1), (Word { engine: ZAB, wants: true }, 0));
            assert_eq!(ready.engine([1, 2].map(NodeId)), ZAB);
        }
        ready.pass();
        assert_eq!(ready.engine([1, 2].map(NodeId)), None);
    }
}
