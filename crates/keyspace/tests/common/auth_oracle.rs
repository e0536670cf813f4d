//! The oracle of who may what: permissions and requests as the lists of all the keys that they name, out of the few that there are.
//!
//! The alphabet is `\0`, `a` and `b`; bounds have at most two letters and keys at most three, so that between two different bounds, or
//! above the last, there is always a key to tell them apart.
#![allow(dead_code, unreachable_pub, reason = "shared by tests that each use a part")]

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_consensus::Position;
use quorate_keyspace::*;

pub const HASH: &str = "$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234";

/// All keys that there are.
pub fn universe() -> Vec<Bytes> {
    let mut all: BTreeSet<Vec<u8>> = BTreeSet::from([vec![]]);
    for _ in 0..3 {
        let longer: Vec<Vec<u8>> = all
            .iter()
            .flat_map(|key| b"\0ab".iter().map(move |letter| [&key[..], &[*letter]].concat()))
            .collect();
        all.extend(longer);
    }
    all.insert(b"c".to_vec());
    all.into_iter().filter(|key| !key.is_empty()).map(Bytes::from).collect()
}

/// The keys that a request names; one that names none needs the first, and the empty key is the smallest.
fn named(key: &Bytes, end: &Bytes) -> Vec<Bytes> {
    let key = if key.is_empty() { Bytes::from_static(b"\0") } else { key.clone() };
    let is_in = |other: &Bytes| match &end[..] {
        b"" => *other == key,
        b"\0" => *other >= key,
        _ => *other >= key && other < end,
    };
    let keys: Vec<Bytes> = universe().into_iter().filter(is_in).collect();
    if keys.is_empty() { vec![key] } else { keys }
}

/// Who may what, spelled out.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    pub is_root: bool,
    pub reads: BTreeSet<Bytes>,
    pub writes: BTreeSet<Bytes>,
    pub attached: BTreeMap<i64, BTreeSet<Bytes>>,
}

/// What a user asks for.
#[derive(Clone, Debug)]
pub enum Asked {
    Command(Command),
    Watch(Bytes, Bytes),
    KeepAlive(i64),
    TimeToLive(i64, bool),
    Leases,
    Operate,
    Status,
}

impl Oracle {
    pub fn grant(&mut self, permission: &Permission) {
        let keys = named(&permission.key, &permission.range_end);
        if permission.kind != PermissionKind::Write {
            self.reads.extend(keys.clone());
        }
        if permission.kind != PermissionKind::Read {
            self.writes.extend(keys);
        }
    }

    fn may_read(&self, key: &Bytes, end: &Bytes) -> bool {
        named(key, end).iter().all(|key| self.reads.contains(key))
    }

    fn may_write(&self, key: &Bytes, end: &Bytes) -> bool {
        named(key, end).iter().all(|key| self.writes.contains(key))
    }

    fn hanging(&self, lease: i64) -> BTreeSet<Bytes> {
        self.attached.get(&lease).cloned().unwrap_or_default()
    }

    pub fn allows(&self, asked: &Asked) -> bool {
        if self.is_root {
            return !matches!(asked, Asked::Command(Command::Sweep | Command::SetQuota(_)));
        }
        match asked {
            Asked::Command(command) => self.allows_command(command),
            Asked::Watch(key, end) => self.may_read(key, end),
            Asked::KeepAlive(lease) => self.hanging(*lease).is_subset(&self.writes),
            Asked::TimeToLive(_, false) | Asked::Status => true,
            Asked::TimeToLive(lease, true) => self.hanging(*lease).is_subset(&self.reads),
            Asked::Leases => self.attached.values().all(|keys| keys.is_subset(&self.reads)),
            Asked::Operate => false,
        }
    }

    fn allows_command(&self, command: &Command) -> bool {
        match command {
            Command::LeaseGrant { .. } => true,
            Command::LeaseRevoke { id } => self.hanging(id.0).is_subset(&self.writes),
            Command::Put(put) => self.allows_all(&[Operation::Put(put.clone())]),
            Command::DeleteRange(delete) => self.allows_all(&[Operation::DeleteRange(delete.clone())]),
            Command::Range(range) => self.allows_all(&[Operation::Range(range.clone())]),
            Command::Txn(txn) => self.allows_all(&[Operation::Txn(txn.clone())]),
            _ => false,
        }
    }

    /// Flattens the tree, and looks at each leaf.
    fn allows_all(&self, operations: &[Operation]) -> bool {
        let mut waiting = operations.to_vec();
        let mut allowed = true;
        while let Some(operation) = waiting.pop() {
            allowed &= match operation {
                Operation::Empty => true,
                Operation::Range(range) => self.may_read(&range.key, &range.range_end),
                Operation::Put(put) => {
                    let none = Bytes::new();
                    self.may_write(&put.key, &none)
                        && (!put.prev_kv || self.may_read(&put.key, &none))
                        && (put.lease.0 == 0 || self.hanging(put.lease.0).is_subset(&self.writes))
                }
                Operation::DeleteRange(delete) => {
                    self.may_write(&delete.key, &delete.range_end)
                        && (!delete.prev_kv || self.may_read(&delete.key, &delete.range_end))
                }
                Operation::Txn(txn) => {
                    waiting.extend(txn.success);
                    waiting.extend(txn.failure);
                    txn.compare.iter().all(|compare| self.may_read(&compare.key, &compare.range_end))
                }
            };
        }
        allowed
    }
}

/// A keyspace with auth on, or on its way there.
#[derive(Debug)]
pub struct Guarded {
    pub keyspace: Keyspace,
    pub index: u64,
}

impl Guarded {
    pub fn apply(&mut self, command: &Command) -> Result<Reply, KeyspaceError> {
        self.index += 1;
        self.keyspace.apply(Position::new(1, self.index), &command.encode()).response.result
    }

    pub fn by(&self, caller: &str, command: Command) -> Command {
        let auth_revision = self.view().auth().revision();
        Command::As(As { caller: caller.into(), auth_revision, command: Box::new(command) })
    }

    pub fn view(&self) -> View {
        quorate_consensus::StateMachine::view(&self.keyspace)
    }
}

/// Leases with keys, roles with permissions, user `u` with all of them; and auth on.
pub fn with(attached: &BTreeMap<i64, BTreeSet<Bytes>>, roles: &[Vec<Permission>], is_root: bool) -> Guarded {
    let mut guarded = Guarded { keyspace: Keyspace::new(), index: 0 };
    let name = |name: &str| name.to_owned();
    let mut commands = Vec::new();
    for (lease, keys) in attached {
        commands.push(Command::LeaseGrant { id: LeaseId(*lease), ttl_s: 60 });
        let put = |key: &Bytes| Put { key: key.clone(), lease: LeaseId(*lease), ..Put::default() };
        commands.extend(keys.iter().map(put).map(Command::Put));
    }
    for user in ["root", "u"] {
        let password = PasswordHash::new(HASH);
        commands.push(Command::Auth(Change::UserAdd { name: name(user), password }));
    }
    commands.push(Command::Auth(Change::UserGrantRole { user: name("root"), role: name("root") }));
    if is_root {
        commands.push(Command::Auth(Change::UserGrantRole { user: name("u"), role: name("root") }));
    }
    for (number, permissions) in roles.iter().enumerate() {
        let role = format!("r{number}");
        commands.push(Command::Auth(Change::RoleAdd { name: role.clone() }));
        commands.push(Command::Auth(Change::UserGrantRole { user: name("u"), role: role.clone() }));
        for permission in permissions.iter().cloned() {
            commands.push(Command::Auth(Change::RoleGrantPermission { role: role.clone(), permission }));
        }
    }
    // Somebody else's.
    commands.push(Command::Auth(Change::RoleAdd { name: name("r") }));
    let all = Permission { kind: PermissionKind::ReadWrite, key: "\0".into(), range_end: "\0".into() };
    commands.push(Command::Auth(Change::RoleGrantPermission { role: name("r"), permission: all }));
    commands.push(Command::Auth(Change::Enable));
    for command in commands {
        guarded.apply(&command).unwrap();
    }
    guarded
}

/// One role; lease 7 with key `b`.
pub fn guarded(permissions: &[(PermissionKind, &str, &str)]) -> Guarded {
    with(&attached(), &[list(permissions)], false)
}

fn attached() -> BTreeMap<i64, BTreeSet<Bytes>> {
    BTreeMap::from([(7, BTreeSet::from(["b".into()]))])
}

fn list(permissions: &[(PermissionKind, &str, &str)]) -> Vec<Permission> {
    let permission = |(kind, key, end): &(PermissionKind, &str, &str)| {
        let (key, range_end) = (key.as_bytes().to_vec().into(), end.as_bytes().to_vec().into());
        Permission { kind: *kind, key, range_end }
    };
    permissions.iter().map(permission).collect()
}

pub fn agrees(permissions: &[(PermissionKind, &str, &str)], asked: &Asked) -> bool {
    let mut oracle = Oracle { attached: attached(), ..Oracle::default() };
    list(permissions).iter().for_each(|permission| oracle.grant(permission));
    verdict(&guarded(permissions), asked) == Ok(oracle.allows(asked))
}

/// What the store says. An error that is no denial is one.
pub fn verdict(guarded: &Guarded, asked: &Asked) -> Result<bool, AuthError> {
    let caller = Caller::User { name: "u".into(), auth_revision: None };
    let ask = match asked {
        Asked::Command(command) => Ask::Command(command),
        Asked::Watch(key, range_end) => Ask::Watch { key, range_end },
        Asked::KeepAlive(lease) => Ask::LeaseKeepAlive(LeaseId(*lease)),
        Asked::TimeToLive(lease, keys) => Ask::LeaseTimeToLive { id: LeaseId(*lease), keys: *keys },
        Asked::Leases => Ask::LeaseLeases,
        Asked::Operate => Ask::Operate,
        Asked::Status => Ask::Status,
    };
    match guarded.view().permits(&caller, ask) {
        Ok(()) => Ok(true),
        Err(AuthError::PermissionDenied) => Ok(false),
        Err(error) => Err(error),
    }
}
