//! A shard's state machine, as its group drives it: entries go into its lane; what they come to is found out and placed by whoever has the order as well.
//!
//! ```text
//! command = version (1) · lane entry
//!           of a command:  the keyspace's
//!           of a barrier:  epoch · index of where the transaction began · where the store stood then · the keyspace's
//! ```

use bytes::Bytes;
use quorate_consensus::{
    DecodeError, Placed, Position, Reader, RestoreError, StateMachine, Writer, fingerprint_of,
};
use quorate_keyspace::Keyspace;
use quorate_order::{LaneEntry, TxnId};

use super::{Asked, HeadedSnapshot, ShardReplica, headed::read_head};

const VERSION: u8 = 1;

/// What stands in a shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardCommand {
    /// A command of this shard alone: the keyspace's bytes.
    Turn(Bytes),
    /// A transaction stands here.
    Barrier {
        /// Which.
        txn: TxnId,
        /// Where it began in the order's log.
        at: Position,
        /// Where the store stood then.
        known: u64,
        /// This shard's part: a command of the keyspace.
        part: Bytes,
    },
    /// What became of it: the branch, or none if it is void.
    Branch(TxnId, Option<bool>),
}

impl ShardCommand {
    /// Writes it.
    pub fn encode(&self, to: &mut Writer) {
        to.u8(VERSION);
        let entry = match self {
            ShardCommand::Turn(command) => LaneEntry::Command((None, command)),
            ShardCommand::Barrier { txn, at, known, part } => {
                LaneEntry::Barrier(*txn, (Some((at, known)), part))
            }
            ShardCommand::Branch(txn, branch) => LaneEntry::Branch(*txn, *branch),
        };
        entry.encode(to, |(began, command), to| {
            if let Some((at, known)) = began {
                to.varint(at.epoch.0);
                to.varint(at.index.0);
                to.varint(**known);
            }
            to.bytes(command);
        });
    }

    /// Reads what [`ShardCommand::encode`] wrote.
    ///
    /// # Errors
    /// Truncated or malformed input, or another version's.
    pub fn decode(bytes: Bytes) -> Result<ShardCommand, DecodeError> {
        let mut from = Reader::new(bytes);
        match from.u8()? {
            VERSION => {}
            value => {
                return Err(DecodeError::Unknown {
                    what: "version of a shard's command",
                    value: value.into(),
                });
            }
        }
        let is_barrier = from.clone().u8()? == 1;
        let entry = LaneEntry::decode(&mut from, |from| {
            let began = if is_barrier {
                Some((Position::new(from.varint()?, from.varint()?), from.varint()?))
            } else {
                None
            };
            Ok((began, from.bytes()?))
        })?;
        from.finish()?;
        match entry {
            LaneEntry::Command((_, command)) => Ok(ShardCommand::Turn(command)),
            LaneEntry::Barrier(txn, (Some((at, known)), part)) => {
                Ok(ShardCommand::Barrier { txn, at, known, part })
            }
            LaneEntry::Barrier(..) => Err(DecodeError::Invalid { what: "barrier" }),
            LaneEntry::Branch(txn, branch) => Ok(ShardCommand::Branch(txn, branch)),
        }
    }

    /// What the lane takes, at this place of the shard's log.
    fn into_entry(self, place: Position) -> LaneEntry<Asked> {
        let entry = place.index.0;
        match self {
            ShardCommand::Turn(command) => LaneEntry::Command(Asked { at: place, command, known: 0, entry }),
            ShardCommand::Barrier { txn, at, known, part } => {
                LaneEntry::Barrier(txn, Asked { at, command: part, known, entry })
            }
            ShardCommand::Branch(txn, branch) => LaneEntry::Branch(txn, branch),
        }
    }
}

/// The state machine of one shard's group.
#[derive(Debug)]
pub struct ShardMachine {
    replica: ShardReplica,
    /// Entries that were taken since this value was made: the machine's number, which nobody is told.
    taken: u64,
}

impl ShardMachine {
    /// Of a replica.
    #[must_use]
    pub fn new(replica: ShardReplica) -> ShardMachine {
        ShardMachine { replica, taken: 0 }
    }

    /// The replica.
    #[must_use]
    pub fn replica(&self) -> &ShardReplica {
        &self.replica
    }

    /// The replica, to be evaluated and placed.
    pub fn replica_mut(&mut self) -> &mut ShardReplica {
        &mut self.replica
    }
}

/// What a shard's log holds has no answer of its own: it is answered when it has its revision.
impl StateMachine for ShardMachine {
    type Effect = Option<LaneEntry<Asked>>;
    type Response = ();
    type Event = ();
    type View = ();
    type Snapshot = HeadedSnapshot;

    /// Bytes that make no sense to this build do nothing, on no replica.
    fn evaluate(&mut self, at: Position, command: &Bytes) -> Option<LaneEntry<Asked>> {
        ShardCommand::decode(command.clone()).ok().map(|command| command.into_entry(at))
    }

    fn changes(_: &Option<LaneEntry<Asked>>) -> bool {
        false
    }

    fn number(&self) -> u64 {
        self.taken
    }

    fn place(&mut self, entry: Option<LaneEntry<Asked>>, _: u64) -> Placed<(), ()> {
        self.taken += 1;
        if let Some(entry) = entry {
            self.replica.take(entry);
        }
        Placed { response: (), events: Vec::new() }
    }

    fn view(&self) {}

    fn snapshot(&self) -> HeadedSnapshot {
        let given = self.replica.given().map(|(_, _, keys)| keys.snapshot());
        let states = [self.replica.machine().snapshot()].into_iter().chain(given);
        HeadedSnapshot::new(b"", self.replica.head(), Self::CHUNK_BYTES_MAX, states)
    }

    fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<ShardMachine, RestoreError> {
        let length = chunks.next().ok_or(RestoreError::Incomplete)?;
        let head = read_head(length, chunks)?;
        let replica = ShardReplica::restored(head, &mut || Keyspace::restore_next(chunks))?;
        match chunks.next() {
            None => Ok(ShardMachine::new(replica)),
            Some(chunk) => Err(DecodeError::Trailing { bytes: chunk.len() }.into()),
        }
    }

    /// Of what is placed, and of what was read of the log and is not. Replicas that have placed more or less have other ones at the same place of the log; they are
    /// not compared, but a snapshot is with what comes of it.
    fn digest(&self) -> u64 {
        let state = self.replica.machine().placed().digest();
        fingerprint_of(&(&self.replica.head()[..], state))
    }

    fn size_bytes(&self) -> u64 {
        let given = self.replica.given().map(|(_, _, keys)| keys.size_bytes());
        self.replica.machine().placed().size_bytes() + given.sum::<u64>()
    }

    fn encode_response(_: &(), _: &mut Writer) {}

    fn decode_response(_: &mut Reader) -> Result<(), DecodeError> {
        Ok(())
    }
}
