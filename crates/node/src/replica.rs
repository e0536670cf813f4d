//! One group's state on this node: applies committed entries in order, answers those who wait here.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_consensus::{
    DecodeError, Entry, GroupId, Index, Membership, NodeId, Payload, Position, Reader, RestoreError,
    SnapshotMeta, StateMachine, Writer, planted,
};

use crate::{FromState, SessionTag, Sessions, TaggedCommand, Ticket, Verdict};

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// It was executed, now or the first time it came.
    Done(R),
    /// Its session has expired: it was not executed now, and whether it was before cannot be known.
    SessionExpired,
    /// The bytes in the entry make no sense to this build; nothing was executed, on no replica.
    Malformed(DecodeError),
}

/// What applying causes. One value is reused; the caller takes out what it has done.
#[derive(Debug)]
pub struct Applied<S: StateMachine> {
    /// Answers to those who wait on this node.
    pub replies: Vec<(Ticket, Outcome<S::Response>)>,
    /// Tickets of this node among the entries, answered or not.
    pub own: Vec<Ticket>,
    /// What changed, with its number.
    pub events: Vec<(u64, Vec<S::Event>)>,
    /// Reads that may be served now.
    pub reads: Vec<Ticket>,
}

impl<S: StateMachine> Default for Applied<S> {
    fn default() -> Self {
        Applied { replies: Vec::new(), own: Vec::new(), events: Vec::new(), reads: Vec::new() }
    }
}

/// A state machine with what surrounds it in the replicated state: how far it has applied, the membership there and what it follows, and the exactly-once
/// table.
#[derive(Debug)]
pub struct Replica<S: StateMachine> {
    machine: S,
    sessions: Sessions,
    applied: Position,
    membership: Membership,
    membership_at: Index,
    followed: u64,
    /// Reads that wait for an index to be applied.
    reads: BTreeMap<Index, Vec<Ticket>>,
    node: NodeId,
    life: u64,
}

const SNAPSHOT_VERSION: u64 = 2;

impl<S: StateMachine> Replica<S> {
    /// The state before the first entry, on `node` in this `life` of its process.
    #[must_use]
    pub fn new(machine: S, membership: Membership, node: NodeId, life: u64) -> Self {
        Replica {
            machine,
            sessions: Sessions::default(),
            applied: Position::ZERO,
            membership,
            membership_at: Index::ZERO,
            followed: 0,
            reads: BTreeMap::new(),
            node,
            life,
        }
    }

    /// The same, whose state stands for a log up to `position`: how a group begins that is restored from a backup. Its members must all begin so.
    #[must_use]
    pub fn as_of(self, position: Position) -> Self {
        Replica { applied: position, ..self }
    }

    /// The same, with this node as its only member, and a state machine that was changed by `change`: how a group goes on whose other members are lost. Nobody
    /// may go on with the group as it was, for the two would have quorums apart.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn alone<E>(self, change: impl FnOnce(&mut S) -> Result<(), E>) -> Result<Self, E> {
        let mut machine = self.machine;
        change(&mut machine)?;
        let (membership, membership_at) = (Membership::new([self.node], []), self.applied.index);
        Ok(Replica { machine, membership, membership_at, ..self })
    }

    /// The state machine, to look at.
    #[must_use]
    pub fn machine(&self) -> &S {
        &self.machine
    }

    /// The state machine, for one that is driven by more than its log: what comes of that must not be in what the log alone makes of it.
    pub fn machine_mut(&mut self) -> &mut S {
        &mut self.machine
    }

    /// The last applied entry.
    #[must_use]
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// The membership in force as of the last applied entry.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The group has followed the cluster's records up to this version: from the entry that says so on, its membership is what that version wants, or a later
    /// one.
    #[must_use]
    pub fn followed(&self) -> u64 {
        self.followed
    }

    /// What the core is told after a batch, in which these tickets were among the entries. `jumped`: a snapshot took the state's place.
    #[must_use]
    pub fn report(&self, group: GroupId, own: Vec<Ticket>, jumped: bool) -> FromState {
        FromState::Applied {
            group,
            position: self.applied,
            own,
            state_bytes: self.machine.size_bytes(),
            jumped,
            followed: self.followed,
        }
    }

    /// The digest of the state machine.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.machine.digest()
    }

    /// Applies a committed entry.
    ///
    /// Entries come in order and without a gap; one that was applied already (it lay under a snapshot) is passed over, so that no
    /// command is executed twice (M08, D04).
    pub fn apply(&mut self, entry: Entry, out: &mut Applied<S>) {
        if entry.position.index <= self.applied.index && !planted!("M08") {
            return;
        }
        assert!(
            entry.position.index == self.applied.index.next() || planted!("M08"),
            "entry {} cannot follow {}: entries are applied in order and without a gap",
            entry.position,
            self.applied
        );
        self.applied = entry.position;
        match entry.payload {
            Payload::Noop => {}
            Payload::Membership(membership) => {
                self.membership = membership;
                self.membership_at = entry.position.index;
            }
            Payload::Command(bytes) => self.command(entry.position, bytes, out),
        }
    }

    fn command(&mut self, at: Position, bytes: Bytes, out: &mut Applied<S>) {
        let tagged = match TaggedCommand::decode(bytes) {
            Ok(tagged) => tagged,
            Err(_) => return,
        };
        if let Some(version) = tagged.followed {
            self.followed = self.followed.max(version);
            return;
        }
        let outcome = match &tagged.session {
            None => Outcome::Done(self.execute(at, &tagged.command, out)),
            Some(tag) => self.once(at, tag, &tagged.command, out),
        };
        if let Some(origin) = tagged.origin
            && origin.node == self.node
            && origin.life == self.life
        {
            out.own.push(origin.ticket);
            out.replies.push((origin.ticket, outcome));
        }
    }

    fn once(
        &mut self,
        at: Position,
        tag: &SessionTag,
        command: &Bytes,
        out: &mut Applied<S>,
    ) -> Outcome<S::Response> {
        match self.sessions.verdict(tag) {
            Verdict::Execute => {
                let response = self.execute(at, command, out);
                let mut to = Writer::new();
                S::encode_response(&response, &mut to);
                self.sessions.record(tag, at.index, to.finish());
                Outcome::Done(response)
            }
            Verdict::Answered(answer) => match S::decode_response(&mut Reader::new(answer)) {
                Ok(response) => Outcome::Done(response),
                Err(error) => Outcome::Malformed(error),
            },
            Verdict::Expired => Outcome::SessionExpired,
        }
    }

    /// With one group the group places at once, with the next number.
    fn execute(&mut self, at: Position, command: &Bytes, out: &mut Applied<S>) -> S::Response {
        let placed = self.machine.apply(at, command);
        if !placed.events.is_empty() {
            out.events.push((self.machine.number(), placed.events));
        }
        placed.response
    }

    /// A read that is linearizable once `index` is applied: at once, or when that has happened.
    pub fn read_at(&mut self, index: Index, ticket: Ticket, out: &mut Applied<S>) {
        if index <= self.applied.index || planted!("E07") {
            out.reads.push(ticket);
        } else {
            self.reads.entry(index).or_default().push(ticket);
        }
    }

    /// Releases the reads that what was applied so far allows. Call it once after a batch of entries.
    pub fn release_reads(&mut self, out: &mut Applied<S>) {
        while let Some(first) = self.reads.first_entry() {
            if *first.key() > self.applied.index {
                break;
            }
            out.reads.extend(first.remove());
        }
    }

    /// Starts a snapshot of the replica as it stands; nothing waits for it.
    pub fn snapshot(&self) -> (SnapshotMeta, ReplicaSnapshot<S>) {
        let mut header = Writer::new();
        header.varint(SNAPSHOT_VERSION);
        if planted!("D12") {
            Sessions::default().encode(&mut header);
        } else {
            self.sessions.encode(&mut header);
        }
        header.varint(self.followed);
        let mut header = header.finish();
        let mut pieces = Vec::new();
        let mut length = Writer::new();
        length.u64(header.len() as u64);
        pieces.push(length.finish());
        while !header.is_empty() {
            pieces.push(header.split_to(header.len().min(S::CHUNK_BYTES_MAX)));
        }
        let meta = SnapshotMeta {
            position: self.applied,
            // C08: the outgoing voters of a joint membership are left out.
            membership: if planted!("C08") { self.membership.end_joint() } else { self.membership.clone() },
            membership_at: self.membership_at,
            size_bytes: self.machine.size_bytes(),
            digest: self.digest(),
        };
        (meta, ReplicaSnapshot { header: pieces.into_iter(), state: self.machine.snapshot() })
    }

    /// Replaces the state by a snapshot's. Reads that waited go on waiting; a snapshot older than what is applied changes nothing (rule R21).
    ///
    /// # Errors
    /// The chunks are not what `meta` describes; the state is left as it was.
    pub fn restore(
        &mut self,
        meta: &SnapshotMeta,
        chunks: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), RestoreError> {
        if meta.position.index <= self.applied.index && self.applied != Position::ZERO && !planted!("D03") {
            return Ok(());
        }
        let mut chunks = chunks.into_iter();
        let length = chunks.next().ok_or(RestoreError::Incomplete)?;
        let length = Reader::new(length).u64()?;
        let mut header = Vec::new();
        while (header.len() as u64) < length {
            header.extend_from_slice(&chunks.next().ok_or(RestoreError::Incomplete)?);
        }
        let mut from = Reader::new(Bytes::from(header));
        let version = from.varint()?;
        if version != SNAPSHOT_VERSION {
            return Err(RestoreError::Version(version));
        }
        let sessions = Sessions::decode(&mut from)?;
        let followed = from.varint()?;
        from.finish()?;
        let machine = S::restore(&mut chunks)?;
        if machine.digest() != meta.digest {
            return Err(RestoreError::Digest { expected: meta.digest, found: machine.digest() });
        }
        self.machine = machine;
        self.sessions = sessions;
        self.followed = followed;
        self.applied = meta.position;
        self.membership = meta.membership.clone();
        self.membership_at = meta.membership_at;
        Ok(())
    }
}

/// A replica's snapshot being written: its header, then the state machine's own chunks.
#[derive(Debug)]
pub struct ReplicaSnapshot<S: StateMachine> {
    header: std::vec::IntoIter<Bytes>,
    state: S::Snapshot,
}

impl<S: StateMachine> Iterator for ReplicaSnapshot<S> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.header.next().or_else(|| self.state.next())
    }
}
