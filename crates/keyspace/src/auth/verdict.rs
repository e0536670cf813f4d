//! Who may do what: one total function from users and roles, the caller and what it asks for to a verdict.
//!
//! [`needs`] is the table: what each request needs, over the whole of it, whichever branch of a transaction will be taken. A need either
//! holds or does not, and all must. What is added to the API does not compile until it has its row.

use bytes::Bytes;
use quorate_consensus::planted;

use super::spans::covered;
use super::{As, Auth, AuthError, Change, ROOT, User};
use crate::span::Span;
use crate::{AlarmAction, Command, Compare, DeleteRange, LeaseId, Operation, Put, Range, Txn};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody says who it is.
    Nobody,
    /// Somebody says so with a token that is not known.
    Unknown,
    /// A user.
    User {
        /// Its name.
        name: String,
        /// The auth revision at which that was found out. None: it was found out in the very state that is asked.
        auth_revision: Option<u64>,
    },
}

/// What is asked for: a command, or whatever else clients ask of a member.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// Anything that goes through the log.
    Command(&'a Command),
    /// Reading.
    Range(&'a Range),
    /// Reading, with comparisons.
    Txn(&'a Txn),
    /// Being told of changes of these keys from now on, or from some time on.
    Watch {
        /// The key, or the first of the range; empty is the smallest there is.
        key: &'a [u8],
        /// As in [`Range`].
        range_end: &'a [u8],
    },
    /// That a lease goes on.
    LeaseKeepAlive(LeaseId),
    /// How long a lease goes on, and perhaps for which keys.
    LeaseTimeToLive {
        /// Which one.
        id: LeaseId,
        /// The keys, too?
        keys: bool,
    },
    /// Which leases there are.
    LeaseLeases,
    /// Which members there are.
    MemberList,
    /// How a member does.
    Status,
    /// Which alarms are raised.
    AlarmList,
    /// What only the operator does: members, hashes, snapshots, the leader's place, defragmentation, downgrades.
    Operate,
    /// A user's roles.
    UserGet(&'a str),
    /// Which users there are.
    UserList,
    /// A role's permissions.
    RoleGet(&'a str),
    /// Which roles there are.
    RoleList,
    /// Whether auth is on.
    AuthStatus,
    /// A token for a password, which is looked at elsewhere.
    Authenticate,
}

/// What must hold.
enum Need<'a> {
    /// Nothing.
    Nothing,
    /// The caller is a user.
    User,
    /// It has role root.
    Root,
    /// It has role root, or is this user.
    Is(&'a str),
    /// It has role root, or this one.
    Has(&'a str),
    /// It may read these keys.
    Read(Span<'a>),
    /// It may write them.
    Write(Span<'a>),
    /// It may read each key that hangs on this lease, or on any.
    ReadAttached(Option<LeaseId>),
    /// It may write each key that hangs on this lease.
    WriteAttached(LeaseId),
    /// It can be in no request.
    Never,
}

/// Knows which keys hang on which lease.
pub(crate) trait Attached {
    /// Is that so for every key that hangs on this lease, or on any?
    fn all(&self, lease: Option<LeaseId>, is_so: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// Where no lease is asked about.
impl Attached for () {
    fn all(&self, _: Option<LeaseId>, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

impl Auth {
    /// May the caller do this? For what has nothing to do with leases; otherwise ask [`View::permits`](crate::View::permits).
    ///
    /// # Errors
    /// [`UserEmpty`](AuthError::UserEmpty), [`InvalidAuthToken`](AuthError::InvalidAuthToken),
    /// [`AuthOldRevision`](AuthError::AuthOldRevision), [`PermissionDenied`](AuthError::PermissionDenied).
    pub fn permits(&self, caller: &Caller, ask: Ask<'_>) -> Result<(), AuthError> {
        self.verdict(caller, ask, &())
    }

    /// A command that a member gives for its operator, such as a compaction by itself: in the name of root, if names count.
    #[must_use]
    pub fn as_root(&self, command: Command) -> Command {
        if !self.enabled {
            return command;
        }
        Command::As(As { caller: ROOT.to_owned(), auth_revision: self.revision, command: Box::new(command) })
    }

    /// The verdict.
    pub(crate) fn verdict(
        &self,
        caller: &Caller,
        ask: Ask<'_>,
        attached: &dyn Attached,
    ) -> Result<(), AuthError> {
        if !self.enabled {
            return Ok(());
        }
        let mut all = Ok(());
        needs(ask, &mut |need| all = all.and_then(|()| self.holds(caller, &need, attached)));
        all
    }

    fn holds(&self, caller: &Caller, need: &Need<'_>, attached: &dyn Attached) -> Result<(), AuthError> {
        if let Need::Nothing = need {
            return Ok(());
        }
        let name = match caller {
            Caller::Nobody => return Err(AuthError::UserEmpty),
            Caller::Unknown => return Err(AuthError::InvalidAuthToken),
            Caller::User { name, .. } if name.is_empty() => return Err(AuthError::UserEmpty),
            // Of another revision it may be the token of somebody who has been deleted, and whose name is another's now.
            Caller::User { auth_revision: Some(revision), .. }
                if *revision != self.revision && !planted!("P05") =>
            {
                return Err(AuthError::AuthOldRevision);
            }
            Caller::User { name, .. } => name,
        };
        let user = self.user(name).ok_or(AuthError::PermissionDenied)?;
        if user.roles.contains(ROOT) && !matches!(need, Need::Never) {
            return Ok(());
        }
        let holds = match need {
            Need::Nothing | Need::User => true,
            Need::Root | Need::Never => false,
            Need::Is(other) => name == other,
            Need::Has(role) => user.roles.contains(*role),
            Need::Read(span) => self.may_read(user, *span),
            Need::Write(span) => self.may_write(user, *span),
            Need::ReadAttached(lease) => {
                attached.all(*lease, &mut |key| self.may_read(user, Span::Point(key)))
            }
            Need::WriteAttached(lease) => {
                attached.all(Some(*lease), &mut |key| self.may_write(user, Span::Point(key)))
            }
        };
        if holds { Ok(()) } else { Err(AuthError::PermissionDenied) }
    }

    fn may_read(&self, user: &User, span: Span<'_>) -> bool {
        covered(user.roles.iter().filter_map(|role| Some(&self.roles.get(role)?.readable)), span)
    }

    fn may_write(&self, user: &User, span: Span<'_>) -> bool {
        covered(user.roles.iter().filter_map(|role| Some(&self.roles.get(role)?.writable)), span)
    }
}

/// The table.
fn needs<'a>(ask: Ask<'a>, need: &mut dyn FnMut(Need<'a>)) {
    match ask {
        Ask::Command(command) => command_needs(command, need),
        Ask::Range(range) => range_needs(range, need),
        Ask::Txn(txn) => txn_needs(txn, need),
        // GHSA-xg4h-6gfc-h4m8: an open range is not the one key that it begins with.
        Ask::Watch { key, .. } if planted!("W09c") => need(Need::Read(span(key, &[]))),
        Ask::Watch { key, range_end } => need(Need::Read(span(key, range_end))),
        Ask::LeaseKeepAlive(id) => need(Need::WriteAttached(id)),
        // CVE-2023-32082.
        Ask::LeaseTimeToLive { id, keys: true } if !planted!("P04") => need(Need::ReadAttached(Some(id))),
        Ask::LeaseTimeToLive { .. } => need(Need::User),
        Ask::LeaseLeases => need(Need::ReadAttached(None)),
        Ask::MemberList | Ask::Status | Ask::AlarmList => need(Need::User),
        Ask::Operate | Ask::UserList | Ask::RoleList => need(Need::Root),
        Ask::UserGet(name) => need(Need::Is(name)),
        Ask::RoleGet(role) => need(Need::Has(role)),
        Ask::AuthStatus | Ask::Authenticate => need(Need::Nothing),
    }
}

fn command_needs<'a>(command: &'a Command, need: &mut dyn FnMut(Need<'a>)) {
    match command {
        Command::Put(put) => put_needs(put, need),
        Command::DeleteRange(delete) => delete_needs(delete, need),
        Command::Range(range) => range_needs(range, need),
        Command::Txn(txn) => txn_needs(txn, need),
        // CVE-2026-33413.
        Command::Compact(_) if planted!("P03") => need(Need::User),
        Command::Compact(_) => need(Need::Root),
        Command::Alarm(alarm) => match alarm.action {
            AlarmAction::Activate | AlarmAction::Deactivate => need(Need::Root),
        },
        Command::LeaseGrant { .. } => need(Need::User),
        Command::LeaseRevoke { id } => need(Need::WriteAttached(*id)),
        Command::Auth(change) => match change {
            Change::Enable
            | Change::Disable
            | Change::UserAdd { .. }
            | Change::UserDelete { .. }
            | Change::UserChangePassword { .. }
            | Change::UserGrantRole { .. }
            | Change::UserRevokeRole { .. }
            | Change::RoleAdd { .. }
            | Change::RoleDelete { .. }
            | Change::RoleGrantPermission { .. }
            | Change::RoleRevokePermission { .. } => need(Need::Root),
        },
        // The cluster's own: in nobody's name.
        Command::SetQuota(_)
        | Command::LeaseExpire { .. }
        | Command::LeaseCheckpoint { .. }
        | Command::Sweep
        | Command::Authenticate(_)
        | Command::As(_) => need(Need::Never),
    }
}

fn put_needs<'a>(put: &'a Put, need: &mut dyn FnMut(Need<'a>)) {
    need(Need::Write(span(&put.key, &[])));
    // What was there is read.
    if put.prev_kv {
        need(Need::Read(span(&put.key, &[])));
    }
    // With the lease the key gets what ends the others: whoever may hang a key on it may keep it alive, and revoke it.
    if put.lease != LeaseId::NONE {
        need(Need::WriteAttached(put.lease));
    }
}

fn delete_needs<'a>(delete: &'a DeleteRange, need: &mut dyn FnMut(Need<'a>)) {
    need(Need::Write(span(&delete.key, &delete.range_end)));
    if delete.prev_kv {
        need(Need::Read(span(&delete.key, &delete.range_end)));
    }
}

fn range_needs<'a>(range: &'a Range, need: &mut dyn FnMut(Need<'a>)) {
    need(Need::Read(span(&range.key, &range.range_end)));
}

/// Comparisons, both branches, and all of it in nested ones: which branch will be taken tells of the keys that are compared, and what
/// is nested is done like anything else (CVE-2026-33343, CVE-2026-44283).
fn txn_needs<'a>(txn: &'a Txn, need: &mut dyn FnMut(Need<'a>)) {
    // Even if it does nothing.
    need(Need::User);
    for Compare { key, range_end, .. } in &txn.compare {
        need(Need::Read(span(key, range_end)));
    }
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            Operation::Empty => {}
            Operation::Range(range) => range_needs(range, need),
            Operation::Put(put) => put_needs(put, need),
            Operation::DeleteRange(delete) => delete_needs(delete, need),
            Operation::Txn(_) if planted!("P01") => {}
            Operation::Txn(nested) if planted!("P02") => nested_without_flags(nested, need),
            Operation::Txn(nested) => txn_needs(nested, need),
        }
    }
}

/// P02: of nested operations, only the keys are looked at.
fn nested_without_flags<'a>(txn: &'a Txn, need: &mut dyn FnMut(Need<'a>)) {
    txn_needs(txn, &mut |each| {
        if !matches!(each, Need::WriteAttached(_)) {
            need(each);
        }
    });
}

fn span<'a>(key: &'a [u8], range_end: &'a [u8]) -> Span<'a> {
    Span::new(if key.is_empty() { &[0] } else { key }, range_end)
}

impl Command {
    /// Does it come from the cluster itself, in nobody's name? Everything else needs a caller when auth is on.
    ///
    /// That an alarm is raised is a member's word; lowering it is the operator's. Who authenticates has shown a password.
    pub(crate) fn is_the_clusters_own(&self) -> bool {
        match self {
            Command::LeaseExpire { .. }
            | Command::LeaseCheckpoint { .. }
            | Command::Sweep
            | Command::SetQuota(_)
            | Command::Authenticate(_) => true,
            Command::Alarm(alarm) => alarm.action == AlarmAction::Activate,
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Range(_)
            | Command::Txn(_)
            | Command::Compact(_)
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::Auth(_)
            | Command::As(_) => false,
        }
    }

    /// What is to be done, if it may be: the command of an [`As`] that is entitled to it, or one that needs no caller.
    ///
    /// Asked when the command comes out of the log, against the state at that place, so that every member decides the same, on
    /// replay too: auth is turned on between the proposal of a write and its place in the log, and the write is refused everywhere
    /// (etcd #14571).
    pub(crate) fn entitled(self, auth: &Auth, attached: &dyn Attached) -> Result<Command, AuthError> {
        match self {
            Command::As(As { caller, auth_revision, command }) => {
                let caller = Caller::User { name: caller, auth_revision: Some(auth_revision) };
                auth.verdict(&caller, Ask::Command(&command), attached)?;
                Ok(*command)
            }
            command if !auth.enabled || command.is_the_clusters_own() => Ok(command),
            _ => Err(AuthError::UserEmpty),
        }
    }
}

impl Attached for crate::store::Store {
    fn all(&self, lease: Option<LeaseId>, is_so: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        match lease {
            Some(lease) => self.lease_keys(lease).all(|key: &Bytes| is_so(key)),
            None => self.attachments.iter().all(|attachment| is_so(&attachment.key)),
        }
    }
}
