//! The contract of what a log drives.

use std::fmt;

use bytes::Bytes;

use crate::{DecodeError, Position, Reader, Writer};

/// A deterministic state machine: the same log gives the same state, the same bytes and the same digest, on every node, for ever.
///
/// Clocks, ids and expiry are decided before the log and written into the entry. Applying is two steps, because with many groups
/// the number of a change (etcd's revision, ZooKeeper's zxid) is known later than its effect: [`evaluate`](Self::evaluate) finds out
/// what a command does, [`place`](Self::place) gives it its number. With one group the caller places at once, before it evaluates the
/// next command.
pub trait StateMachine: Sized + Send + 'static {
    /// What an evaluated command will do once it has its number.
    type Effect: Send;
    /// What the client is told.
    type Response: Clone + Send + 'static;
    /// What watchers are told, one change each, in order.
    type Event: Send + 'static;
    /// A stable, immutable picture of the state; readers of it never block the writer.
    type View: Clone + Send + Sync + 'static;
    /// A snapshot being written out: chunks of at most [`StateMachine::CHUNK_BYTES_MAX`], made while applying goes on.
    type Snapshot: Iterator<Item = Bytes> + Send + 'static;

    /// The most bytes in one chunk of a snapshot.
    const CHUNK_BYTES_MAX: usize = 64 * 1024;

    /// Finds out what the command at `at` does. A command that makes no sense is an effect too, whose response says so: every
    /// replica reads the same bytes and must come to the same answer.
    fn evaluate(&mut self, at: Position, command: &Bytes) -> Self::Effect;

    /// Does the effect change anything, so that it takes the next number?
    fn changes(effect: &Self::Effect) -> bool;

    /// The number of the last change that was placed.
    fn number(&self) -> u64;

    /// Carries the effect out. If it changes something, `number` is its own and must be above [`number`](Self::number); otherwise
    /// `number` is that of the last change, for the response's header.
    fn place(&mut self, effect: Self::Effect, number: u64) -> Placed<Self::Response, Self::Event>;

    /// Evaluates a command and places it at once with the next number: what a group that is alone does with each entry. The number is then
    /// [`number`](Self::number).
    fn apply(&mut self, at: Position, command: &Bytes) -> Placed<Self::Response, Self::Event> {
        let effect = self.evaluate(at, command);
        let number = self.number() + u64::from(Self::changes(&effect));
        self.place(effect, number)
    }

    /// A picture of the state as it stands, in constant time.
    fn view(&self) -> Self::View;

    /// Starts a snapshot of the state as it stands; returns at once (copy-on-write).
    fn snapshot(&self) -> Self::Snapshot;

    /// The state that these chunks describe.
    ///
    /// # Errors
    /// The chunks are not a whole snapshot of this kind of state machine.
    fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Self, RestoreError>;

    /// A digest of the whole state; replicas compare it at equal positions.
    fn digest(&self) -> u64;

    /// The size of the state in bytes, the same on every replica: what quotas and the snapshot policy count.
    fn size_bytes(&self) -> u64;

    /// Writes a response for the exactly-once table.
    fn encode_response(response: &Self::Response, to: &mut Writer);

    /// Reads a response of the exactly-once table.
    ///
    /// # Errors
    /// Truncated or malformed input.
    fn decode_response(from: &mut Reader) -> Result<Self::Response, DecodeError>;
}

/// What placing an effect gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<R, E> {
    /// What the client is told.
    pub response: R,
    /// What watchers are told.
    pub events: Vec<E>,
}

/// Why chunks are not a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// A chunk does not decode.
    Malformed(DecodeError),
    /// The chunks end before the state is whole.
    Incomplete,
    /// The snapshot was written in a version that this build does not read.
    Version(u64),
    /// The state does not have the digest that its description promises.
    Digest {
        /// Promised.
        expected: u64,
        /// Found.
        found: u64,
    },
}

impl From<DecodeError> for RestoreError {
    fn from(error: DecodeError) -> Self {
        RestoreError::Malformed(error)
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Malformed(error) => write!(f, "the snapshot does not decode: {error}"),
            RestoreError::Incomplete => write!(f, "the snapshot ends before the state is whole"),
            RestoreError::Version(version) => {
                write!(f, "the snapshot has version {version}, which this build does not read")
            }
            RestoreError::Digest { expected, found } => {
                write!(f, "the restored state has digest {found:x}, its description says {expected:x}")
            }
        }
    }
}

impl std::error::Error for RestoreError {}
