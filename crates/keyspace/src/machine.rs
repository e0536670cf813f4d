//! The state machine: what the log drives.

use std::sync::Arc;

use bytes::Bytes;
use quorate_consensus::{DecodeError, Placed, Position, Reader, RestoreError, StateMachine, Writer};

use crate::auth::{Auth, Authenticate, Change};
use crate::check::{Limits, check};
use crate::compaction::{SWEEP_PER_COMMAND, SWEEP_PER_ENTRY};
use crate::range::At;
use crate::snapshot::{self, Snapshot};
use crate::span::Span;
use crate::store::Store;
use crate::txn::{Path, Writing};
use crate::{
    ALARMS_MAX, Alarm, AlarmAction, Command, DeleteRange, KeyspaceError, Lease, LeaseId, News, Put,
    QUOTA_BYTES_DEFAULT, Range, Reply, Response, Txn, View,
};

/// etcd's keyspace, as a pure state machine: the same log gives the same state, byte for byte.
#[derive(Debug)]
pub struct Keyspace {
    pub(crate) store: Store,
    /// Commands evaluated, and placed, since this value was made: they alternate.
    evaluated: u64,
    placed: u64,
}

/// An evaluated command: all that was to be decided is decided, nothing is written.
#[derive(Clone, Debug)]
pub struct Effect {
    plan: Plan,
    changes: bool,
    /// The length of the command.
    bytes: usize,
    /// Which evaluation this is.
    turn: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Refuse(KeyspaceError),
    Put(Put),
    DeleteRange(DeleteRange),
    Range(Range),
    Txn(Txn, Path),
    Compact(u64),
    Alarm(Alarm),
    SetQuota(Option<u64>),
    LeaseGrant(Lease),
    LeaseRevoke(LeaseId),
    LeaseExpire(Vec<LeaseId>),
    LeaseCheckpoint(Vec<(LeaseId, u64, i64)>),
    Sweep,
    /// Whose tokens are forgotten with it.
    Auth(Option<Arc<Auth>>, Option<String>),
    Authenticate(Authenticate, u64),
}

impl Default for Keyspace {
    fn default() -> Keyspace {
        Keyspace::new()
    }
}

impl Keyspace {
    /// An empty keyspace, at revision 1.
    #[must_use]
    pub fn new() -> Keyspace {
        Keyspace::from(Store::new())
    }

    /// Evaluates a command and places it at once with the next revision: what a single group does with each entry.
    pub fn apply(&mut self, at: Position, command: &Bytes) -> Placed<Response, News> {
        let effect = self.evaluate(at, command);
        let number = self.number() + u64::from(Keyspace::changes(&effect));
        self.place(effect, number)
    }

    /// Makes of a restored state the beginning of another history: its revision goes up by so many, and with `mark_compacted` nothing below can be read
    /// any more. For whoever remembers revisions of the history that went on after the backup: what they remember is not here, and must not seem so.
    ///
    /// # Errors
    /// The revision would leave its range.
    pub fn begin_anew(&mut self, revisions: u64, mark_compacted: bool) -> Result<(), RestoreError> {
        let revision =
            self.store.revision.checked_add(revisions).filter(|revision| *revision <= i64::MAX as u64);
        self.store.revision = revision
            .ok_or(RestoreError::Malformed(DecodeError::Invalid { what: "revision of a restored store" }))?;
        if mark_compacted {
            self.store.compact(self.store.revision);
        }
        Ok(())
    }

    /// An effect that was found out elsewhere, about to be placed here.
    pub(crate) fn adopt(&mut self, plan: Plan, changes: bool, bytes: usize) -> Effect {
        assert_eq!(self.evaluated, self.placed, "a command is evaluated before the one before it was placed");
        self.evaluated += 1;
        Effect { plan, changes, bytes, turn: self.evaluated }
    }

    fn decode(command: &Bytes) -> Result<Command, KeyspaceError> {
        Command::decode(command).map_err(|_| KeyspaceError::Malformed)
    }

    fn plan(&self, at: Position, command: Command) -> Result<(Plan, bool), KeyspaceError> {
        self.plan_admitted(at, self.admit(command)?)
    }

    /// Whoever asks may, there is room, and it makes sense: the command without who asks.
    pub(crate) fn admit(&self, command: Command) -> Result<Command, KeyspaceError> {
        let command = command.entitled(&self.store.auth, &self.store)?;
        self.store.admits(&command)?;
        check(&command, &Limits::OF_THE_LOG)?;
        Ok(command)
    }

    /// What a command does that was admitted.
    pub(crate) fn plan_admitted(
        &self,
        at: Position,
        command: Command,
    ) -> Result<(Plan, bool), KeyspaceError> {
        Ok(match command {
            Command::Put(put) => {
                self.store.check_put(&put)?;
                (Plan::Put(put), true)
            }
            Command::DeleteRange(delete) => {
                let span = Span::new(&delete.key, &delete.range_end);
                let changes = self.store.live_in(span, At::Latest).next().is_some();
                (Plan::DeleteRange(delete), changes)
            }
            Command::Range(range) => (Plan::Range(range), false),
            Command::Txn(txn) => {
                let mut path = Path::new();
                self.store.decide(&txn, &mut path);
                let changes = self.store.check_path(&txn, &mut path.iter().copied())?;
                (Plan::Txn(txn, path), changes || quorate_consensus::planted!("M03"))
            }
            Command::Compact(compact) => (Plan::Compact(self.store.check_compact(compact.revision)?), false),
            Command::Alarm(alarm) => {
                let new = alarm.action == AlarmAction::Activate && !self.store.alarms.contains(&alarm.alarm);
                if new && self.store.alarms.len() >= ALARMS_MAX {
                    return Err(KeyspaceError::TooManyAlarms);
                }
                (Plan::Alarm(alarm), false)
            }
            Command::SetQuota(quota) => {
                let bytes = match u64::try_from(quota.bytes) {
                    Ok(0) => Some(QUOTA_BYTES_DEFAULT),
                    Ok(bytes) => Some(bytes),
                    Err(_) => None,
                };
                (Plan::SetQuota(bytes), false)
            }
            Command::LeaseGrant { id, ttl_s } => {
                (Plan::LeaseGrant(self.store.check_grant(at, id, ttl_s)?), false)
            }
            Command::LeaseRevoke { id } => {
                self.store.check_lease(id)?;
                (Plan::LeaseRevoke(id), self.store.has_keys(id))
            }
            Command::LeaseExpire { epoch, leases } => {
                Store::check_steward(at, epoch)?;
                let ending = self.store.to_end(&leases);
                let changes = ending.iter().any(|id| self.store.has_keys(*id));
                (Plan::LeaseExpire(ending), changes)
            }
            Command::LeaseCheckpoint { epoch, checkpoints } => {
                Store::check_steward(at, epoch)?;
                (Plan::LeaseCheckpoint(checkpoints), false)
            }
            Command::Sweep => (Plan::Sweep, false),
            Command::Auth(change) => {
                let next = self.store.auth.after(&change)?.map(Arc::new);
                let forgotten = match change {
                    Change::UserDelete { name } | Change::UserChangePassword { name, .. } => Some(name),
                    _ => None,
                };
                (Plan::Auth(next, forgotten), false)
            }
            Command::Authenticate(authenticate) => {
                self.store.auth.check_authenticate(&authenticate)?;
                (Plan::Authenticate(authenticate, at.index.0), false)
            }
            // It was taken apart above, and holds no other.
            Command::As(_) => return Err(KeyspaceError::Malformed),
        })
    }
}

impl From<Store> for Keyspace {
    fn from(store: Store) -> Keyspace {
        Keyspace { store, evaluated: 0, placed: 0 }
    }
}

impl StateMachine for Keyspace {
    type Effect = Effect;
    type Response = Response;
    type Event = News;
    type View = View;
    type Snapshot = Snapshot;

    /// Reads nothing but the state and the bytes of the command, so every replica decides the same. Writes nothing: the next command
    /// may be evaluated only when this one has been placed.
    fn evaluate(&mut self, at: Position, command: &Bytes) -> Effect {
        let planned = Keyspace::decode(command).and_then(|command| self.plan(at, command));
        let (plan, changes) = planned.unwrap_or_else(|error| (Plan::Refuse(error), false));
        self.adopt(plan, changes, command.len())
    }

    fn changes(effect: &Effect) -> bool {
        effect.changes
    }

    fn number(&self) -> u64 {
        self.store.revision
    }

    fn place(&mut self, effect: Effect, number: u64) -> Placed<Response, News> {
        assert_eq!(
            effect.turn,
            self.placed + 1,
            "effects are placed in the order in which they were evaluated, once each"
        );
        self.placed += 1;
        if effect.changes {
            assert!(
                number > self.store.revision && number <= i64::MAX as u64,
                "a revision that cannot be the next one"
            );
        }

        let mut sweep = SWEEP_PER_ENTRY;
        let mut writing = Writing {
            store: &mut self.store,
            number,
            command_bytes: effect.bytes,
            news: Vec::new(),
            changes: 0,
        };
        let result = match effect.plan {
            Plan::Refuse(error) => Err(error),
            Plan::Put(put) => Ok(Reply::Put(writing.put(&put))),
            Plan::DeleteRange(delete) => Ok(Reply::DeleteRange(writing.delete_range(&delete))),
            Plan::Range(range) => writing.range(&range),
            Plan::Txn(txn, path) => writing.txn(&txn, &mut path.into_iter()).map(Reply::Txn),
            Plan::Compact(revision) => {
                // One group has refused what is above; a shard has not looked, and its log may hold anything.
                writing.store.compact(revision.min(writing.store.revision));
                Ok(Reply::Compact)
            }
            Plan::Alarm(alarm) => Ok(Reply::Alarm(writing.store.set_alarm(alarm))),
            Plan::SetQuota(bytes) => {
                writing.store.quota_bytes = bytes;
                Ok(Reply::SetQuota)
            }
            Plan::LeaseGrant(lease) => {
                writing.grant(lease);
                Ok(Reply::LeaseGrant(lease))
            }
            Plan::LeaseRevoke(id) => {
                writing.end_lease(id);
                Ok(Reply::LeaseRevoke)
            }
            Plan::LeaseExpire(ending) => {
                ending.iter().for_each(|id| writing.end_lease(*id));
                Ok(Reply::LeaseExpire(ending.len() as u64))
            }
            Plan::LeaseCheckpoint(checkpoints) => {
                for (id, granted, remaining_s) in checkpoints {
                    writing.checkpoint(id, granted, remaining_s);
                }
                Ok(Reply::LeaseCheckpoint)
            }
            Plan::Auth(next, forgotten) => {
                if let Some(auth) = next {
                    writing.store.auth = Arc::clone(&auth);
                    writing.news.push(News::AuthChanged { auth, forgotten });
                }
                Ok(Reply::Auth)
            }
            Plan::Authenticate(Authenticate { user, token, .. }, index) => {
                writing.news.push(News::Authenticated { user, token, index });
                Ok(Reply::Authenticate(index))
            }
            Plan::Sweep => {
                sweep = SWEEP_PER_COMMAND;
                Ok(Reply::Sweep)
            }
        };
        let Writing { news, changes, .. } = writing;
        if effect.changes {
            assert!(changes > 0 || quorate_consensus::PLANTS_COMPILED, "a revision without a change");
            self.store.revision = number;
        } else {
            assert!(changes == 0, "a change without a revision");
        }
        if quorate_consensus::planted!("M07") {
            // What this value has been through, and not the log: a restored replica sweeps at another pace.
            sweep += self.placed as usize % 2;
        }
        self.store.sweep(sweep.max(SWEEP_PER_ENTRY * changes));
        Placed { response: Response { revision: number, result }, events: news }
    }

    fn view(&self) -> View {
        View::new(self.store.clone())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.store)
    }

    fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Keyspace, RestoreError> {
        snapshot::restore(chunks).map(Keyspace::from)
    }

    fn digest(&self) -> u64 {
        self.store.digest()
    }

    fn size_bytes(&self) -> u64 {
        self.store.size_bytes
    }

    fn encode_response(response: &Response, to: &mut Writer) {
        response.encode(to);
    }

    fn decode_response(from: &mut Reader) -> Result<Response, DecodeError> {
        Response::decode(from)
    }
}
