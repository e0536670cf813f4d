//! One shard of many: evaluates its log before the order over shards has said which revisions its changes have.
//!
//! ```text
//!   log ─► evaluate ─► open: found out, without a revision ─► place(revision) ─► Response, News
//!             │ sees                                              │
//!             ▼                                                   ▼
//!           ahead: placed, and everything open         placed: what one group's keyspace would be
//! ```
//!
//! What is placed is a [`Keyspace`], and nothing else is ever read, watched or put into a snapshot. `ahead` is a copy of it in which the open changes stand under
//! revisions of its own, above every real one; it only finds out what commands come to. As revisions become known it is late, and says of a command that it waits
//! which would wait no more; then it is made anew. It is not made anew each time: {a replica reads a log of ten thousand turns, and of the order a bit at a time}:
//! that would take ten thousand steps for each bit.
//!
//! Architecture Invariant: what a command comes to does not depend on how much was placed when it was evaluated. {two replicas, one a hundred cuts behind}: of an
//! open revision is used what stays true whatever it turns out to be, that it is above the placed ones; a command that needs more waits until it is placed
//! ([`Shard::evaluate`] says so), and is evaluated then.
//!
//! Architecture Invariant: a shard knows of revisions what its own turns were told. {the store stands at 60, this shard's last turn at 57}: a range at 58 within a
//! transaction is refused on every replica, also where a later cut has been heard of. Whoever needs more takes the way of a transaction over shards.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_consensus::{Placed, Position, RestoreError, StateMachine};

use crate::machine::Plan;
use crate::txn::Path;
use crate::{
    Command, Compact, Keyspace, KeyspaceError, LeaseId, News, Operation, Response, Snapshot, Txn, View,
};

/// Where the revisions begin that stand in for open ones: above all that are ever given, and in the range of the type.
const OPEN_FROM: u64 = 1 << 62;
/// Turns that cost so little to be evaluated again that it need not be put off.
const OPEN_FEW: usize = 64;

/// A keyspace that is one shard of many.
#[derive(Debug)]
pub struct Shard {
    placed: Keyspace,
    open: VecDeque<Open>,
    /// How many of them are more than plain puts, and what those that are may take at most.
    intricate: usize,
    plain_bytes: u64,
    /// None: nothing that needs it was evaluated since everything was placed.
    ahead: Option<Ahead>,
    /// A command waits that was looked at when so many turns were open: it is looked at again when fewer are, see [`Shard::may_go_on`].
    looks_at: usize,
    barrier: Option<Barrier>,
}

/// The state in which commands are evaluated: what was placed up to a revision, and what was open then and since. What has been placed meanwhile is open in it still, so that
/// it says what that of a replica says which has placed no more.
#[derive(Debug)]
struct Ahead {
    state: Keyspace,
    placed: u64,
}

/// What is found out, and has no revision.
#[derive(Clone, Debug)]
struct Open {
    plan: Plan,
    changes: bool,
    /// The length of the command.
    bytes: usize,
    /// It is a plain put, which takes so much.
    plain: Option<u64>,
}

/// This shard's part of a transaction over several, which is not decided: what either branch would do.
#[derive(Debug)]
struct Barrier {
    branches: [Result<(Plan, bool), KeyspaceError>; 2],
    bytes: usize,
}

/// Which branches of a transaction have to be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branches {
    Taken,
    Both,
}

/// What this shard's part of a transaction comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Do all compares hold that are asked of this shard?
    pub holds: bool,
    /// Would either branch change anything here, or be refused? The one that is taken if all hold, then the other.
    pub changes: [Result<bool, KeyspaceError>; 2],
}

impl Shard {
    /// A shard that begins with what is placed: nothing, or what a snapshot or a split gave it.
    #[must_use]
    pub fn new(placed: Keyspace) -> Shard {
        Shard {
            placed,
            open: VecDeque::new(),
            intricate: 0,
            plain_bytes: 0,
            ahead: None,
            looks_at: usize::MAX,
            barrier: None,
        }
    }

    /// The placed state.
    #[must_use]
    pub fn placed(&self) -> &Keyspace {
        &self.placed
    }

    /// What shards together leave below their quota, placed: a command that costs less than so many bytes is not past it. `u64::MAX` without a quota.
    #[must_use]
    pub fn room_bytes<'a>(shards: impl IntoIterator<Item = &'a Shard>) -> u64 {
        let mut stores = shards.into_iter().map(|shard| &shard.placed.store);
        let Some(first) = stores.next() else { return u64::MAX };
        let Some(quota) = first.quota_bytes else { return u64::MAX };
        let size = first.size_bytes + stores.map(|store| store.keys_bytes()).sum::<u64>();
        quota.saturating_sub(size)
    }

    /// Turns that are evaluated and not placed.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// A picture of the placed state as of `revision`, up to which all shards are placed.
    #[must_use]
    pub fn view(&self, revision: u64) -> View {
        let mut store = self.placed.store.clone();
        store.revision = store.revision.max(revision);
        View::new(store)
    }

    /// A snapshot of the placed state. The log from the last placed turn on must still be there.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.placed.snapshot()
    }

    /// The shard that a snapshot describes.
    ///
    /// # Errors
    /// Those of [`Keyspace::restore`].
    pub fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Shard, RestoreError> {
        Keyspace::restore(chunks).map(Shard::new)
    }

    /// Evaluates the next turn: does it change anything? None: that depends on a revision that is open. Nothing has happened then; ask again with the same command
    /// when more is placed.
    pub fn evaluate(&mut self, at: Position, command: &Bytes) -> Option<bool> {
        self.evaluate_own(at, command, |_| true)
    }

    /// The same of a shard that may not have all of the command's keys; `has` says whether it does. If not, the command is refused as [`KeyspaceError::Moved`].
    pub fn evaluate_own(
        &mut self,
        at: Position,
        command: &Bytes,
        has: impl FnOnce(&Command) -> bool,
    ) -> Option<bool> {
        assert!(self.barrier.is_none(), "nothing is evaluated behind a barrier that is not decided");
        let decoded = Command::decode(command).map_err(|_| KeyspaceError::Malformed);
        let decoded = decoded.and_then(|own| if has(&own) { Ok(own) } else { Err(KeyspaceError::Moved) });
        if let Ok(put) = &decoded
            && let Some(cost) = self.plain_cost(put)
        {
            let planned = self.placed.admit(put.clone()).and_then(|put| self.placed.plan_admitted(at, put));
            let (plan, changes) = planned.unwrap_or_else(|error| (Plan::Refuse(error), false));
            self.push(Open { plan, changes, bytes: command.len(), plain: Some(cost) });
            return Some(changes);
        }
        if decoded.as_ref().is_ok_and(|command| !self.may_go_on(command, Branches::Taken)) {
            return None;
        }
        let admitted = decoded.and_then(|command| self.ahead().admit(command));
        let planned = admitted.and_then(|command| self.plan(at, command));
        let (plan, changes) = planned.unwrap_or_else(|error| (Plan::Refuse(error), false));
        self.push(Open { plan, changes, bytes: command.len(), plain: None });
        Some(changes)
    }

    /// Places the oldest open turn.
    ///
    /// `revision` is its own if anything changes with it, in this shard or, for a transaction, in another; otherwise that of the last change before it.
    pub fn place(&mut self, revision: u64) -> Placed<Response, News> {
        let open = self.open.pop_front().expect("who places a turn has evaluated it");
        match open.plain {
            Some(cost) => self.plain_bytes -= cost,
            None => self.intricate -= 1,
        }
        if self.open.is_empty() {
            self.ahead = None;
        }
        let effect = self.placed.adopt(open.plan, open.changes, open.bytes);
        // What all shards have come to before it: a read before the first write of a transaction is told so.
        let before = revision - u64::from(open.changes);
        assert!(before >= self.placed.store.revision, "revisions are placed in their order");
        self.placed.store.revision = before;
        self.placed.place(effect, revision)
    }

    /// Gives away the keys that `moves` names: see [`Keyspace::split_off`].
    ///
    /// # Panics
    /// Something is evaluated and not placed: it may have been found out with those keys.
    #[must_use]
    pub fn split_off(&mut self, moves: impl Fn(&[u8]) -> bool) -> Keyspace {
        self.nothing_is_open();
        self.placed.split_off(moves)
    }

    /// Gives away all of its keys. What concerns no key stays as well.
    ///
    /// # Panics
    /// As [`Shard::split_off`].
    #[must_use]
    pub fn give_up(&mut self) -> Keyspace {
        self.nothing_is_open();
        let rest = self.placed.without_keys();
        std::mem::replace(&mut self.placed, rest)
    }

    /// Gets keys, of which it has none: see [`Keyspace::unite`]; `first` says whether their changes of a revision come before its own.
    ///
    /// # Panics
    /// As [`Shard::split_off`].
    pub fn absorb(&mut self, keys: &Keyspace, first: bool) {
        self.nothing_is_open();
        let (one, other) = if first { (keys, &self.placed) } else { (&self.placed, keys) };
        self.placed = Keyspace::unite(one, other);
    }

    fn nothing_is_open(&self) {
        assert!(self.open.is_empty() && self.barrier.is_none(), "nothing is open where keys go or come");
    }

    /// Comes to a barrier: what does this shard's part of a transaction come to? None: that depends on a revision that is open; ask again when more is placed.
    ///
    /// `known` is the revision at which the store stood when the transaction began, which its entry says: ranges may ask for any up to there, whatever this shard
    /// has heard of.
    pub fn weigh(&mut self, at: Position, part: &Bytes, known: u64) -> Option<Weight> {
        let decoded = Command::decode(part).map_err(|_| KeyspaceError::Malformed);
        if decoded.as_ref().is_ok_and(|command| !self.may_go_on(command, Branches::Both)) {
            return None;
        }
        let admitted = decoded.and_then(|command| self.ahead().admit(command));
        let (holds, branches) = match admitted {
            Ok(Command::Txn(Txn { compare, success, failure })) => {
                // Which branch is taken is not for this shard alone to say: each as if it were.
                let placed = if self.open.is_empty() { i64::MAX as u64 } else { self.known() };
                let holds = self.ahead().store.all_hold(&compare, placed)?;
                let mut store = self.ahead().store.clone();
                store.revision = known;
                let asked = Keyspace::from(store);
                let only = |success| {
                    let txn = Txn { compare: Vec::new(), success, failure: Vec::new() };
                    asked.plan_admitted(at, Command::Txn(txn))
                };
                (holds, [only(success), only(failure)])
            }
            Ok(command) => (true, [self.plan(at, command), Err(KeyspaceError::Malformed)]),
            Err(error) => (true, [Err(error), Err(error)]),
        };
        let changes = branches
            .each_ref()
            .map(|branch| branch.as_ref().map(|(_, changes)| *changes).map_err(|error| *error));
        self.barrier = Some(Barrier { branches, bytes: part.len() });
        Some(Weight { holds, changes })
    }

    /// The transaction at whose barrier this shard stands is decided: this branch is taken, and placed next; or it came to nothing, and nothing is placed.
    pub fn decide(&mut self, branch: Option<bool>) {
        let Barrier { branches: [then, otherwise], bytes } =
            self.barrier.take().expect("a shard that stands at a barrier");
        let Some(branch) = branch else { return };
        // One that was refused here is not taken, unless the order does not know what was said of this shard; it stands all the same.
        let (plan, changes) =
            if branch { then } else { otherwise }.unwrap_or_else(|error| (Plan::Refuse(error), false));
        self.push(Open { plan, changes, bytes, plain: None });
    }

    /// What an admitted command comes to, once it is decided.
    fn plan(&mut self, at: Position, command: Command) -> Result<(Plan, bool), KeyspaceError> {
        let ahead = self.ahead();
        let Command::Compact(Compact { revision, .. }) = command else {
            return ahead.plan_admitted(at, command);
        };
        // It was placed when somebody asked for it, whatever this shard has heard of.
        let compacted = ahead.store.compacted;
        match u64::try_from(revision) {
            Ok(revision) if revision > compacted => Ok((Plan::Compact(revision), false)),
            _ => Err(KeyspaceError::Compacted { compacted }),
        }
    }

    /// Is it decided, also if that has to be asked of a state ahead that is made anew?
    fn may_go_on(&mut self, command: &Command, branches: Branches) -> bool {
        if self.open.len() > self.looks_at {
            return false;
        }
        let mut decided = self.is_decided(command, branches);
        if !decided && self.known() < self.placed.store.revision {
            self.ahead = None;
            decided = self.is_decided(command, branches);
        }
        // While few turns are open it is looked at whenever one is placed; with many, which takes as many steps, when half of them are.
        self.looks_at = if decided { usize::MAX } else { (self.open.len() / 2).max(OPEN_FEW) };
        decided
    }

    /// Does what the command comes to follow from what is placed here, and from open revisions being above that?
    fn is_decided(&mut self, command: &Command, branches: Branches) -> bool {
        let command = match command {
            Command::As(entitled) => &*entitled.command,
            command => command,
        };
        if self.open.is_empty() {
            return true;
        }
        let placed = self.known();
        match command {
            Command::Txn(txn) if branches == Branches::Taken && newest_read(txn) > placed as i64 => false,
            Command::Txn(txn) => {
                let store = &self.ahead().store;
                let decided = |txn: &Txn| store.decide_open(txn, placed, &mut Path::new());
                match branches {
                    Branches::Taken => decided(txn),
                    Branches::Both => {
                        store.all_hold(&txn.compare, placed).is_some()
                            && [&txn.success, &txn.failure].into_iter().flatten().all(
                                |operation| !matches!(operation, Operation::Txn(nested) if !decided(nested)),
                            )
                    }
                }
            }
            // It may name one of the revisions that are open here and placed elsewhere: {placed here: 50, three open, compact at 52}.
            Command::Compact(_) => false,
            _ => true,
        }
    }

    /// What a put takes that asks nothing of the state but whether there is room, while nothing else is open but such puts. What it comes to then follows from what is
    /// placed: they change neither who may, nor alarms, nor the quota; and there is room for it behind all of them, whichever of them are placed. Most writes are such,
    /// and no copy of the state is made for them.
    ///
    /// {close to the quota: it may be that a sweep makes room meanwhile}: then the state ahead is looked at, which is the same on every replica.
    fn plain_cost(&self, command: &Command) -> Option<u64> {
        let Command::Put(put) = command else { return None };
        let asks = put.lease != LeaseId::NONE || put.ignore_value || put.ignore_lease;
        let cost = command.cost_bytes();
        let most = self.placed.store.size_bytes.saturating_add(self.plain_bytes).saturating_add(cost);
        let has_room = self.placed.store.quota_bytes.is_none_or(|quota| most < quota);
        (!asks && self.intricate == 0 && has_room).then_some(cost)
    }

    /// The state in which the next command is evaluated.
    fn ahead(&mut self) -> &Keyspace {
        if self.open.is_empty() {
            return &self.placed;
        }
        let ahead = self.ahead.get_or_insert_with(|| {
            let mut state = Keyspace::from(self.placed.store.clone());
            state.store.revision = OPEN_FROM;
            self.open.iter().for_each(|open| stand_in(&mut state, open));
            Ahead { state, placed: self.placed.store.revision }
        });
        &ahead.state
    }

    /// The revision up to which revisions are known where commands are evaluated.
    fn known(&self) -> u64 {
        self.ahead.as_ref().map_or(self.placed.store.revision, |ahead| ahead.placed)
    }

    fn push(&mut self, open: Open) {
        match open.plain {
            Some(cost) => self.plain_bytes += cost,
            None => self.intricate += 1,
        }
        if let Some(ahead) = &mut self.ahead {
            stand_in(&mut ahead.state, &open);
        }
        self.open.push_back(open);
    }
}

/// Carries an open turn out under a revision that stands in for its own.
fn stand_in(ahead: &mut Keyspace, open: &Open) {
    let effect = ahead.adopt(open.plan.clone(), open.changes, open.bytes);
    let revision = ahead.store.revision + u64::from(open.changes);
    ahead.place(effect, revision);
}

/// The newest revision that a range of the transaction asks for.
fn newest_read(txn: &Txn) -> i64 {
    let reads = txn.success.iter().chain(&txn.failure).map(|operation| match operation {
        Operation::Range(range) => range.revision,
        Operation::Txn(nested) => newest_read(nested),
        Operation::Empty | Operation::Put(_) | Operation::DeleteRange(_) => 0,
    });
    reads.max().unwrap_or(0)
}
