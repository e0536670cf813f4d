//! Either protocol behind one type: which engine a group has is data, an entry in `meta`, and not a choice of the build.

use std::fmt;

use quorate_consensus::{
    Addressed, DecodeError, Effects, Engine, EngineKind, Entry, Epoch, GroupStart, Index, Input, Instant,
    Persist, Reader, SnapshotSend, Status, Writer,
};
use quorate_raft::Raft;
use quorate_zab::Zab;

/// The first byte of what ZAB writes and says. What Raft writes and says begins with its format version, which stays below.
const ZAB_TAG: u8 = b'Z';

/// One group's engine.
#[derive(Clone, Debug)]
pub enum GroupEngine {
    /// Raft, and what it is owed while a step is carried over.
    Raft(Box<Driven<Raft>>),
    /// ZAB, likewise.
    Zab(Box<Driven<Zab>>),
}

/// An engine and its effects, which are emptied after each step and kept for the space they hold.
#[derive(Clone, Debug)]
pub struct Driven<E: Engine> {
    /// The protocol.
    pub engine: E,
    effects: Effects<E::Message, E::HardState>,
}

/// What engines of one group say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineMessage {
    /// In Raft's words.
    Raft(quorate_raft::Message),
    /// In ZAB's.
    Zab(quorate_zab::Message),
}

/// What an engine keeps beside its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineHardState {
    /// Raft's.
    Raft(quorate_raft::HardState),
    /// ZAB's.
    Zab(quorate_zab::HardState),
}

impl EngineHardState {
    /// The newest epoch that was promised: Raft's term, ZAB's accepted epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self {
            EngineHardState::Raft(state) => state.term,
            EngineHardState::Zab(state) => state.accepted,
        }
    }

    pub(crate) fn kind(&self) -> EngineKind {
        match self {
            EngineHardState::Raft(_) => EngineKind::Raft,
            EngineHardState::Zab(_) => EngineKind::Zab,
        }
    }
}

impl EngineMessage {
    pub(crate) fn kind(&self) -> EngineKind {
        match self {
            EngineMessage::Raft(_) => EngineKind::Raft,
            EngineMessage::Zab(_) => EngineKind::Zab,
        }
    }
}

/// Why an engine does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoStart {
    /// Its configuration cannot be.
    Config(String),
    /// Its group is another protocol's: what that promised means nothing to this one.
    Other(EngineKind),
}

impl fmt::Display for NoStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoStart::Config(why) => f.write_str(why),
            NoStart::Other(found) => {
                write!(
                    f,
                    "it was started with {found} and cannot go on with another engine; configure {found} for it"
                )
            }
        }
    }
}

impl GroupEngine {
    /// An engine of the wanted kind, from what was durable.
    pub(crate) fn start(
        kind: EngineKind,
        (raft, zab): (quorate_raft::Config, quorate_zab::Config),
        start: GroupStart<EngineHardState>,
        now: Instant,
    ) -> Result<GroupEngine, NoStart> {
        if let Some(found) =
            start.hard_state.as_ref().map(EngineHardState::kind).filter(|found| *found != kind)
        {
            return Err(NoStart::Other(found));
        }
        match kind {
            EngineKind::Raft => {
                let start = of(start, |state| match state {
                    EngineHardState::Raft(state) => Some(state),
                    EngineHardState::Zab(_) => None,
                });
                let engine =
                    Raft::new(raft, start, now).map_err(|error| NoStart::Config(error.to_string()))?;
                Ok(GroupEngine::Raft(Box::new(Driven { engine, effects: Effects::default() })))
            }
            EngineKind::Zab => {
                let start = of(start, |state| match state {
                    EngineHardState::Zab(state) => Some(state),
                    EngineHardState::Raft(_) => None,
                });
                let engine = Zab::new(zab, start, now).map_err(|error| NoStart::Config(error.to_string()))?;
                Ok(GroupEngine::Zab(Box::new(Driven { engine, effects: Effects::default() })))
            }
        }
    }

    /// Which protocol.
    #[must_use]
    pub fn kind(&self) -> EngineKind {
        match self {
            GroupEngine::Raft(_) => EngineKind::Raft,
            GroupEngine::Zab(_) => EngineKind::Zab,
        }
    }
}

fn of<H>(start: GroupStart<EngineHardState>, pick: impl Fn(EngineHardState) -> Option<H>) -> GroupStart<H> {
    let GroupStart { node, hard_state, snapshot, compacted, last, epochs, memberships } = start;
    GroupStart { node, hard_state: hard_state.and_then(pick), snapshot, compacted, last, epochs, memberships }
}

/// Steps the protocol, and carries what it wants over into the words of both.
fn step<E: Engine>(
    driven: &mut Driven<E>,
    now: Instant,
    input: Input<E::Message>,
    to: &mut Effects<EngineMessage, EngineHardState>,
    message: fn(E::Message) -> EngineMessage,
    hard_state: fn(E::HardState) -> EngineHardState,
) {
    let Driven { engine, effects: from } = driven;
    from.explain = to.explain;
    engine.step(now, input, from);
    to.persist.extend(from.persist.drain(..).map(
        |Persist { token, hard_state: hard, truncate_from, append }| Persist {
            token,
            hard_state: hard.map(hard_state),
            truncate_from,
            append,
        },
    ));
    to.send.extend(from.send.drain(..).map(|Addressed { to, message: said, after }| Addressed {
        to,
        message: message(said),
        after,
    }));
    to.snapshot_to.extend(from.snapshot_to.drain(..).map(|SnapshotSend { peer, message: said, meta }| {
        SnapshotSend { peer, message: message(said), meta }
    }));
    to.fetch.append(&mut from.fetch);
    to.accepted.append(&mut from.accepted);
    to.refused.append(&mut from.refused);
    to.reads_safe.append(&mut from.reads_safe);
    to.reads_refused.append(&mut from.reads_refused);
    to.reasons.append(&mut from.reasons);
    if let Some(meta) = from.install.take() {
        to.install = Some(meta);
        to.keep_log_after = std::mem::take(&mut from.keep_log_after);
    }
    // The last word of several steps holds.
    to.commit = from.commit.take().or(to.commit);
    to.role = from.role.take().or(to.role);
    if let Some(membership) = from.membership.take() {
        to.membership = Some(membership);
    }
}

/// The same input for a protocol of its own messages; `None` if the message is another's.
fn narrow<M>(input: Input<EngineMessage>, pick: impl FnOnce(EngineMessage) -> Option<M>) -> Option<Input<M>> {
    Some(match input {
        Input::Message { from, message } => Input::Message { from, message: pick(message)? },
        Input::Propose(proposals) => Input::Propose(proposals),
        Input::ReadBarrier { id } => Input::ReadBarrier { id },
        Input::ChangeMembership { id, change } => Input::ChangeMembership { id, change },
        Input::TransferLeadership { to } => Input::TransferLeadership { to },
        Input::Persisted { token } => Input::Persisted { token },
        Input::Fetched { token, outcome } => Input::Fetched { token, outcome },
        Input::Compacted { to } => Input::Compacted { to },
        Input::SnapshotTaken { meta } => Input::SnapshotTaken { meta },
        Input::SnapshotInstalled { meta } => Input::SnapshotInstalled { meta },
        Input::SnapshotSent { peer, outcome } => Input::SnapshotSent { peer, outcome },
        Input::PeerUnreachable { peer } => Input::PeerUnreachable { peer },
        Input::PeerVouched { peer, incarnation, until } => Input::PeerVouched { peer, incarnation, until },
        Input::Wake => Input::Wake,
    })
}

macro_rules! either {
    ($engine:expr, $driven:ident => $what:expr) => {
        match $engine {
            GroupEngine::Raft($driven) => $what,
            GroupEngine::Zab($driven) => $what,
        }
    };
}

impl Engine for GroupEngine {
    type Message = EngineMessage;
    type HardState = EngineHardState;

    /// A message of the other protocol changes nothing: whoever sent it is not of this group.
    fn step(
        &mut self,
        now: Instant,
        input: Input<EngineMessage>,
        effects: &mut Effects<EngineMessage, EngineHardState>,
    ) {
        match self {
            GroupEngine::Raft(driven) => {
                let own = |message| match message {
                    EngineMessage::Raft(message) => Some(message),
                    EngineMessage::Zab(_) => None,
                };
                if let Some(input) = narrow(input, own) {
                    step(driven, now, input, effects, EngineMessage::Raft, EngineHardState::Raft);
                }
            }
            GroupEngine::Zab(driven) => {
                let own = |message| match message {
                    EngineMessage::Zab(message) => Some(message),
                    EngineMessage::Raft(_) => None,
                };
                if let Some(input) = narrow(input, own) {
                    step(driven, now, input, effects, EngineMessage::Zab, EngineHardState::Zab);
                }
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        either!(self, driven => driven.engine.poll_timeout())
    }

    fn status(&self) -> Status {
        either!(self, driven => driven.engine.status())
    }

    fn entries(&self, from: Index, bytes_max: u64) -> Option<Vec<Entry>> {
        either!(self, driven => driven.engine.entries(from, bytes_max))
    }

    fn epoch_at(&self, index: Index) -> Option<Epoch> {
        either!(self, driven => driven.engine.epoch_at(index))
    }

    fn fingerprint(&self) -> u64 {
        either!(self, driven => driven.engine.fingerprint())
    }

    fn is_urgent(message: &EngineMessage) -> bool {
        match message {
            EngineMessage::Raft(message) => Raft::is_urgent(message),
            EngineMessage::Zab(message) => Zab::is_urgent(message),
        }
    }

    fn encode_message(message: &EngineMessage, to: &mut Writer) {
        match message {
            EngineMessage::Raft(message) => Raft::encode_message(message, to),
            EngineMessage::Zab(message) => {
                to.u8(ZAB_TAG);
                Zab::encode_message(message, to);
            }
        }
    }

    fn decode_message(from: &mut Reader) -> Result<EngineMessage, DecodeError> {
        if from.peek() != Some(ZAB_TAG) {
            return Raft::decode_message(from).map(EngineMessage::Raft);
        }
        from.u8()?;
        Zab::decode_message(from).map(EngineMessage::Zab)
    }

    fn encode_hard_state(state: &EngineHardState, to: &mut Writer) {
        match state {
            EngineHardState::Raft(state) => Raft::encode_hard_state(state, to),
            EngineHardState::Zab(state) => {
                to.u8(ZAB_TAG);
                Zab::encode_hard_state(state, to);
            }
        }
    }

    fn decode_hard_state(from: &mut Reader) -> Result<EngineHardState, DecodeError> {
        if from.peek() != Some(ZAB_TAG) {
            return Raft::decode_hard_state(from).map(EngineHardState::Raft);
        }
        from.u8()?;
        Zab::decode_hard_state(from).map(EngineHardState::Zab)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_consensus::{Membership, NodeId, Position, SnapshotMeta};

    use super::*;

    fn start(hard_state: Option<EngineHardState>) -> GroupStart<EngineHardState> {
        let snapshot = SnapshotMeta {
            position: Position::ZERO,
            membership: Membership::new([NodeId(1)], []),
            membership_at: Index::ZERO,
            size_bytes: 0,
            digest: 0,
        };
        GroupStart {
            node: NodeId(1),
            hard_state,
            snapshot,
            compacted: Position::ZERO,
            last: Position::ZERO,
            epochs: Vec::new(),
            memberships: Vec::new(),
        }
    }

    fn engine(kind: EngineKind, hard_state: Option<EngineHardState>) -> Result<GroupEngine, NoStart> {
        GroupEngine::start(kind, Default::default(), start(hard_state), Instant::START)
    }

    /// Lets a lone engine win, and returns what it wrote.
    fn alone(kind: EngineKind) -> (GroupEngine, EngineHardState) {
        let mut engine = engine(kind, None).unwrap();
        let mut effects = Effects::default();
        let mut hard_state = None;
        for step in 0..50 {
            let now = Instant::START + quorate_consensus::Duration::from_millis(400 * step);
            engine.step(now, Input::Wake, &mut effects);
            for persist in std::mem::take(&mut effects.persist) {
                hard_state = persist.hard_state.or(hard_state);
                engine.step(now, Input::Persisted { token: persist.token }, &mut effects);
            }
        }
        assert_eq!(engine.status().role, quorate_consensus::Role::Leader, "{kind} leads alone");
        (engine, hard_state.unwrap())
    }

    fn encoded(state: &EngineHardState) -> Bytes {
        let mut to = Writer::new();
        GroupEngine::encode_hard_state(state, &mut to);
        to.finish()
    }

    #[test]
    fn what_an_engine_keeps_says_whose_it_is() {
        for kind in [EngineKind::Raft, EngineKind::Zab] {
            let (_, kept) = alone(kind);
            let read = GroupEngine::decode_hard_state(&mut Reader::new(encoded(&kept))).unwrap();
            assert_eq!((read, read.kind()), (kept, kind));
            assert!(read.epoch() >= Epoch(1));
            // docs/formats.md: files that are there must be read by the engine that wrote them, whatever version it was.
            let first = encoded(&kept)[0];
            assert!(if kind == EngineKind::Zab { first == b'Z' } else { first < b'Z' }, "{kind}: {first}");
        }
    }

    #[test]
    fn a_group_does_not_go_on_with_another_engine_than_it_has_promised_with() {
        for (was, wanted) in [(EngineKind::Raft, EngineKind::Zab), (EngineKind::Zab, EngineKind::Raft)] {
            let (_, kept) = alone(was);
            assert!(engine(was, Some(kept)).is_ok());
            let refused = engine(wanted, Some(kept)).unwrap_err();
            assert_eq!(refused, NoStart::Other(was));
            assert!(refused.to_string().contains(&format!("configure {was}")), "{refused}");
        }
    }

    #[test]
    fn a_message_in_the_other_protocols_words_changes_nothing() {
        let (mut raft, _) = alone(EngineKind::Raft);
        let before = raft.fingerprint();
        let message = EngineMessage::Zab(quorate_zab::Message::Notification {
            round: 7,
            state: quorate_zab::State::Looking,
            vote: None,
        });
        let mut to = Writer::new();
        GroupEngine::encode_message(&message, &mut to);
        let read = GroupEngine::decode_message(&mut Reader::new(to.finish())).unwrap();
        assert_eq!(read, message);
        let mut effects = Effects::default();
        raft.step(Instant::START, Input::Message { from: NodeId(2), message: read }, &mut effects);
        assert_eq!(raft.fingerprint(), before);
        assert!(effects.send.is_empty() && effects.persist.is_empty());
    }
}
