//! The state machine: what the log drives.

use bytes::Bytes;
use quorate_consensus::{
    DecodeError, Epoch, Placed, Position, Reader, RestoreError, StateMachine, Writer, planted,
};

use crate::check::Prepared;
use crate::limits::{ACL_BYTES_MAX, COMMAND_BYTES_MAX, SESSIONS_MAX};
use crate::snapshot::{self, Snapshot};
use crate::store::{Place, Store};
use crate::write::Writing;
use crate::{
    Caller, CloseSession, Command, CreateSession, Event, Expiry, LimitKind, MultiFailure, Operation,
    Reattach, Reply, Response, Session, SessionId, View, ZnodeError,
};

/// The epoch has 32 bits of a zxid, and the first of them is the sign.
const EPOCH_MAX: u64 = i32::MAX as u64;

/// ZooKeeper's tree, as a pure state machine: the same log gives the same state, byte for byte.
#[derive(Debug)]
pub struct Znodes {
    store: Store,
    /// Commands evaluated, and placed, since this value was made: they alternate.
    evaluated: u64,
    placed: u64,
    /// Events of the command before, which the planted bug S04 hands out too late.
    #[cfg(feature = "planted-bugs")]
    withheld: Vec<Event>,
}

/// An evaluated command: all that was to be decided is decided, nothing is written.
#[derive(Debug)]
pub struct Effect {
    plan: Plan,
    /// It came in its turn among the writes of this session's owner, whose next one may come then: done or refused, this one has been answered.
    advances: Option<SessionId>,
    /// Which evaluation this is.
    turn: u64,
}

#[derive(Debug)]
enum Plan {
    Refuse(ZnodeError),
    Operation(Prepared),
    Multi(Vec<Prepared>),
    /// What was tried before the failure is there for the planted bug S10 alone.
    MultiFailed(MultiFailure, Vec<Prepared>),
    CreateSession(CreateSession),
    Reattach(Reattach),
    /// None: it was gone before.
    CloseSession(Option<SessionId>),
    Reap(String),
}

impl Plan {
    /// Does it take a zxid? Taking a session up again changes who speaks for it, and takes none, as in ZooKeeper. What is refused
    /// takes none either, though ZooKeeper gives it one.
    fn changes(&self) -> bool {
        match self {
            Plan::Operation(prepared) => prepared.changes(),
            Plan::Multi(prepared) => prepared.iter().any(Prepared::changes),
            Plan::CreateSession(_) | Plan::CloseSession(Some(_)) | Plan::Reap(_) => true,
            Plan::MultiFailed(_, tried) => planted!("S10") && tried.iter().any(Prepared::changes),
            Plan::Refuse(_) | Plan::Reattach(_) | Plan::CloseSession(None) => false,
        }
    }
}

impl Default for Znodes {
    fn default() -> Znodes {
        Znodes::new()
    }
}

impl Znodes {
    /// A tree as it is born: the root, and `/zookeeper` with `config` and `quota`.
    #[must_use]
    pub fn new() -> Znodes {
        Znodes::from(Store::new())
    }

    /// A tree as it is born, but for its root, which has been written so often and had so many children: what only 2³¹ writes would bring about, for
    /// simulators that want to see the ends of 32 bits.
    #[must_use]
    pub fn worn(version: i32, created: i32) -> Znodes {
        let mut store = Store::new();
        if (version, created) != (0, 0) {
            store.adopt(Place::ROOT, |root| {
                (root.version, root.aversion, root.created) = (version, version, created)
            });
        }
        Znodes::from(store)
    }

    /// The zxid of the next change, if an entry of this epoch makes it: the epoch, and a counter that starts at 1 (rule Z01). None
    /// when the counter is full: its leader must make way for the next epoch, as ZooKeeper's does, before the last number. None too
    /// of an epoch above 2³¹ − 1, since a zxid is a signed number to ZooKeeper's clients.
    #[must_use]
    pub fn next_zxid(&self, epoch: Epoch) -> Option<u64> {
        let first = (epoch.0 <= EPOCH_MAX).then_some(epoch.0 << 32 | 1)?;
        let next = self.number().saturating_add(1).max(first);
        // Nor 0, which would be one step beyond a counter that is full to the last number, and another epoch's.
        (!matches!(next & 0xffff_ffff, 0 | 0xffff_ffff)).then_some(next)
    }

    fn plan(&self, at: Epoch, command: &Bytes) -> Result<(Plan, Option<SessionId>), ZnodeError> {
        let command = read(command)?;
        let advances = self.turn(&command)?;
        Ok((self.plan_command(at, command).unwrap_or_else(Plan::Refuse), advances))
    }

    /// Whose turn passes with this command; an error if it is not its own.
    ///
    /// That the session is gone, or that another speaks for it, is for the command's own checks to say, which come in ZooKeeper's order.
    fn turn(&self, command: &Command) -> Result<Option<SessionId>, ZnodeError> {
        let (id, owner, sequence) = match command {
            Command::Operation(caller, _) | Command::Multi(caller, _) => {
                (caller.session, caller.owner, caller.sequence)
            }
            Command::CloseSession(CloseSession { session, goodbye: Some(goodbye), .. }) => {
                (*session, goodbye.owner, Some(goodbye.sequence))
            }
            Command::CloseSession(_)
            | Command::CreateSession(_)
            | Command::Reattach(_)
            | Command::Reap(_) => return Ok(None),
        };
        let (Some(session), Some(sequence)) = (self.store.session(id), sequence) else { return Ok(None) };
        if session.owner != owner {
            return Ok(None);
        }
        if session.next == sequence || planted!("S06") {
            return Ok(Some(id));
        }
        Err(ZnodeError::OutOfOrder)
    }

    fn plan_command(&self, at: Epoch, command: Command) -> Result<Plan, ZnodeError> {
        match command {
            Command::Operation(_, Operation::Check { .. }) => Err(ZnodeError::Unimplemented),
            Command::Operation(caller, operation) => {
                self.store.prepare(&caller, operation).map(Plan::Operation)
            }
            Command::Multi(caller, operations) => self.try_multi(&caller, operations),
            Command::CreateSession(create) => {
                if self.store.session(create.session).is_some() {
                    return Err(ZnodeError::SessionExists);
                }
                if self.store.session_count >= SESSIONS_MAX {
                    return Err(ZnodeError::Limit(LimitKind::Sessions));
                }
                Ok(Plan::CreateSession(create))
            }
            Command::Reattach(reattach) => {
                let session = self.store.session(reattach.session).ok_or(ZnodeError::SessionExpired)?;
                // A wrong password is answered as an unknown session is: whoever guesses learns nothing.
                if session.accepts(&reattach.password) {
                    Ok(Plan::Reattach(reattach))
                } else {
                    Err(ZnodeError::SessionExpired)
                }
            }
            Command::CloseSession(close) => self.plan_close(at, close),
            Command::Reap(reap) => {
                self.store.check_reap(&reap)?;
                Ok(Plan::Reap(reap.path))
            }
        }
    }

    fn plan_close(&self, at: Epoch, close: CloseSession) -> Result<Plan, ZnodeError> {
        let Some(session) = self.store.session(close.session) else {
            return Ok(Plan::CloseSession(None));
        };
        if close.goodbye.is_some_and(|goodbye| goodbye.owner != session.owner) {
            return Err(ZnodeError::SessionMoved);
        }
        let is_due = |expiry: Expiry| expiry.owner == session.owner && expiry.epoch == at;
        match close.expiry {
            Some(expiry) if !is_due(expiry) && !planted!("S02") => Err(ZnodeError::NotDue),
            Some(_) | None => Ok(Plan::CloseSession(Some(close.session))),
        }
    }

    /// Tries the operations on a copy, each on what those before it left: a multi may set the data of what it creates.
    fn try_multi(&self, caller: &Caller, operations: Vec<Operation>) -> Result<Plan, ZnodeError> {
        let mut scratch = self.store.clone();
        let mut writing = Writing::new(&mut scratch, self.store.zxid);
        let count = operations.len() as u32;
        let mut prepared = Vec::with_capacity(operations.len());
        for (at, operation) in operations.into_iter().enumerate() {
            match writing.store.prepare(caller, operation) {
                Ok(next) => {
                    // Nobody looks at what the last one does: checks before one write cost no copy at all.
                    if at as u32 + 1 < count {
                        writing.carry_out(&next);
                    }
                    prepared.push(next);
                }
                // Not of one part: the connection will be closed, or ZooKeeper says of the whole that it cannot be read.
                Err(error @ (ZnodeError::SessionMoved | ZnodeError::Malformed)) => return Err(error),
                Err(error) => {
                    let failure = MultiFailure { at: at as u32, operations: count, error };
                    return Ok(Plan::MultiFailed(failure, prepared));
                }
            }
        }
        Ok(Plan::Multi(prepared))
    }
}

impl From<Store> for Znodes {
    fn from(store: Store) -> Znodes {
        Znodes {
            store,
            evaluated: 0,
            placed: 0,
            #[cfg(feature = "planted-bugs")]
            withheld: Vec::new(),
        }
    }
}

fn read(command: &Bytes) -> Result<Command, ZnodeError> {
    if command.len() > COMMAND_BYTES_MAX + 2 * ACL_BYTES_MAX {
        return Err(ZnodeError::Limit(LimitKind::Command));
    }
    let command = Command::decode(command).map_err(|_| ZnodeError::Malformed)?;
    command.check()?;
    Ok(command)
}

fn carry_out(writing: &mut Writing<'_>, plan: Plan) -> Result<Reply, ZnodeError> {
    Ok(match plan {
        Plan::Refuse(error) => return Err(error),
        Plan::Operation(prepared) => Reply::Operation(writing.carry_out(&prepared)),
        Plan::Multi(prepared) => {
            Reply::Multi(prepared.iter().map(|prepared| writing.carry_out(prepared)).collect())
        }
        Plan::MultiFailed(failure, tried) => {
            if planted!("S10") {
                tried.iter().for_each(|prepared| drop(writing.carry_out(prepared)));
            }
            Reply::MultiFailed(failure)
        }
        Plan::CreateSession(CreateSession { session, timeout_ms, password, owner }) => {
            writing.store.put_session(Session::new(session, timeout_ms, password, owner));
            Reply::SessionCreated
        }
        Plan::Reattach(Reattach { session, owner, timeout_ms, .. }) => {
            let mut session =
                Session::clone(writing.store.session(session).expect("evaluated: the session exists"));
            // Who comes anew counts anew, whatever number it has chosen.
            (session.owner, session.timeout_ms, session.next) = (owner, timeout_ms, 0);
            writing.store.put_session(session);
            Reply::Reattached { timeout_ms }
        }
        Plan::CloseSession(session) => {
            session.into_iter().for_each(|session| writing.close_session(session));
            Reply::SessionClosed
        }
        Plan::Reap(path) => {
            writing.delete_found(&path);
            Reply::Reaped
        }
    })
}

impl StateMachine for Znodes {
    type Effect = Effect;
    type Response = Response;
    type Event = Event;
    type View = View;
    type Snapshot = Snapshot;

    /// Reads nothing but the state and the bytes of the command, so every replica decides the same. Writes nothing: the next command
    /// may be evaluated only when this one has been placed.
    fn evaluate(&mut self, at: Position, command: &Bytes) -> Effect {
        assert_eq!(self.evaluated, self.placed, "a command is evaluated before the one before it was placed");
        self.evaluated += 1;
        let (plan, advances) =
            self.plan(at.epoch, command).unwrap_or_else(|error| (Plan::Refuse(error), None));
        Effect { plan, advances, turn: self.evaluated }
    }

    fn changes(effect: &Effect) -> bool {
        effect.plan.changes()
    }

    fn number(&self) -> u64 {
        self.store.zxid
    }

    fn place(&mut self, effect: Effect, number: u64) -> Placed<Response, Event> {
        assert_eq!(
            effect.turn,
            self.placed + 1,
            "effects are placed in the order in which they were evaluated, once each"
        );
        self.placed += 1;
        let changes = effect.plan.changes();
        if changes {
            assert!(
                number > self.store.zxid && number <= i64::MAX as u64,
                "a zxid that cannot be the next one"
            );
        }

        let mut writing = Writing::new(&mut self.store, number);
        let result = carry_out(&mut writing, effect.plan);
        let events = writing.events;
        effect.advances.into_iter().for_each(|session| self.store.advance(session));
        if changes {
            self.store.zxid = number;
        } else {
            assert!(events.is_empty(), "a change without a zxid");
        }
        #[cfg(feature = "planted-bugs")]
        let events = if planted!("S04") { std::mem::replace(&mut self.withheld, events) } else { events };
        Placed { response: Response { zxid: number, result }, events }
    }

    /// Evaluates a command and places it at once with the next zxid: what a single group does with each entry.
    ///
    /// When there is none left in the epoch ([`Znodes::next_zxid`]), what would change anything is refused as
    /// [`ZnodeError::EpochFull`], on every replica alike, and changes nothing. Whoever leads must then begin the next epoch; that
    /// it did so in time is no reason to stop the replicas of one that did not.
    fn apply(&mut self, at: Position, command: &Bytes) -> Placed<Response, Event> {
        let mut effect = self.evaluate(at, command);
        let number = match self.next_zxid(at.epoch) {
            Some(next) if effect.plan.changes() => next,
            None if effect.plan.changes() => {
                // Nor does its turn pass: what the client sent behind it must not be done without it.
                (effect.plan, effect.advances) = (Plan::Refuse(ZnodeError::EpochFull), None);
                self.number()
            }
            Some(_) | None => self.number(),
        };
        self.place(effect, number)
    }

    fn view(&self) -> View {
        View::new(self.store.clone())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.store)
    }

    fn restore(chunks: &mut dyn Iterator<Item = Bytes>) -> Result<Znodes, RestoreError> {
        snapshot::restore(chunks).map(Znodes::from)
    }

    fn digest(&self) -> u64 {
        self.store.digest()
    }

    fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }

    fn encode_response(response: &Response, to: &mut Writer) {
        response.encode(to);
    }

    fn decode_response(from: &mut Reader) -> Result<Response, DecodeError> {
        Response::decode(from)
    }
}

#[cfg(feature = "planted-bugs")]
impl Znodes {
    /// Sets what only 2³¹ writes would bring about: the version, the aversion and the count of creations of a znode that exists. With
    /// planted bugs alone, so that a test can come near the ends of 32 bits.
    pub fn set_counters(&mut self, path: &str, version: i32, created: i32) {
        let (place, _) = self.store.find(path).expect("the znode exists");
        self.store.adopt(place, |meta| {
            (meta.version, meta.aversion, meta.created) = (version, version, created);
        });
    }
}
