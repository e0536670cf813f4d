//! ZooKeeper's tree as a specification: as plain as it can be said, and with all of its past, so that what a client read long ago can still be looked up.
//!
//! It is not `quorate_znodes` in other words only: it shares no code with it but the types of commands and answers, and knows no more than what the
//! simulated clients ask (no quotas, no addresses in ACLs).

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{Epoch, Position};
use quorate_service::znodes::{
    Acl, Caller, CloseSession, Command, Create, CreateMode, EventKind, Identity, MultiFailure, Operation,
    OperationReply, Password, Permissions, Reap, Reply, SessionId, Stat, WatchKind, ZnodeError,
};

type Outcome<T> = Result<T, ZnodeError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Persistent,
    Ephemeral(SessionId),
    Container,
    Ttl(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Znode {
    pub(crate) kind: Kind,
    pub(crate) data: Option<Bytes>,
    pub(crate) acl: Vec<Acl>,
    /// Everything but what follows from the rest.
    stat: Stat,
    /// How many children were ever created.
    creations: i32,
    children: i32,
}

impl Znode {
    pub(crate) fn stat(&self) -> Stat {
        let owner = if let Kind::Ephemeral(session) = self.kind { session } else { SessionId(0) };
        let data_length = self.data.as_ref().map_or(0, Bytes::len) as i32;
        Stat { data_length, num_children: self.children, ephemeral_owner: owner, ..self.stat }
    }

    pub(crate) fn readable_by(&self, who: &[Identity]) -> bool {
        permits(&self.acl, Permissions::READ, who)
    }
}

/// A session that lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alive {
    pub(crate) owner: u64,
    pub(crate) timeout_ms: i32,
    password: Password,
    /// The number of its owner's next write.
    next: u64,
}

/// Something that watchers are told.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) zxid: u64,
    pub(crate) kind: EventKind,
    pub(crate) path: String,
    /// Who could read the znode then.
    pub(crate) acl: Vec<Acl>,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) result: Outcome<Reply>,
    /// The znodes that it wrote.
    pub(crate) touched: Vec<String>,
}

/// What a znode was from a zxid on.
type Versions = Vec<(u64, Option<Arc<Znode>>)>;

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) zxid: u64,
    nodes: BTreeMap<String, Versions>,
    pub(crate) sessions: BTreeMap<SessionId, Alive>,
    /// All that ever happened, in order.
    pub(crate) happened: Vec<Happened>,
    /// What the command that is being carried out has written and said so far.
    draft: BTreeMap<String, Option<Znode>>,
    said: Vec<Happened>,
}

const RESERVED: [&str; 4] = ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"];

impl Model {
    /// The tree as it is born, its root written so often.
    pub(crate) fn new(version: i32, creations: i32) -> Model {
        let mut model = Model {
            zxid: 0,
            nodes: BTreeMap::new(),
            sessions: BTreeMap::new(),
            happened: Vec::new(),
            draft: BTreeMap::new(),
            said: Vec::new(),
        };
        for (path, children) in RESERVED.into_iter().zip([1, 2, 0, 0]) {
            let config = path == "/zookeeper/config";
            let acl = vec![Acl::world(if config { Permissions::READ } else { Permissions::ALL })];
            // The first children were never created.
            let mut stat = Stat { cversion: -children, ..Stat::default() };
            stat.aversion = if config { -1 } else { 0 };
            let mut node =
                Znode { kind: Kind::Persistent, data: Some(Bytes::new()), acl, stat, creations: 0, children };
            if path == "/" && (version, creations) != (0, 0) {
                (node.stat.version, node.creations) = (version, creations);
                node.stat.aversion = version;
                node.stat.cversion = creations.wrapping_mul(2).wrapping_sub(children);
            }
            model.nodes.insert(path.into(), vec![(0, Some(Arc::new(node)))]);
        }
        model
    }

    // ── the past ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// What was there at a zxid.
    pub(crate) fn at(&self, zxid: u64, path: &str) -> Option<&Arc<Znode>> {
        let versions = self.nodes.get(path)?;
        let next = versions.partition_point(|(from, _)| *from <= zxid);
        versions[..next].last()?.1.as_ref()
    }

    /// The names of a znode's children at a zxid.
    pub(crate) fn children_at(&self, zxid: u64, path: &str) -> Vec<String> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let below = self.nodes.range(prefix.clone()..).take_while(|(other, _)| other.starts_with(&prefix));
        let names = below.filter_map(|(other, _)| {
            let name = &other[prefix.len()..];
            let child = !name.is_empty() && !name.contains('/') && self.at(zxid, other).is_some();
            child.then(|| name.to_owned())
        });
        names.collect()
    }

    /// The paths of all znodes at a zxid.
    pub(crate) fn paths_at(&self, zxid: u64) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str).filter(move |path| self.at(zxid, path).is_some())
    }

    /// A session's ephemerals at a zxid.
    pub(crate) fn ephemerals_at(&self, zxid: u64, session: SessionId) -> Vec<String> {
        let owned =
            |path: &&String| self.at(zxid, path).is_some_and(|node| node.kind == Kind::Ephemeral(session));
        self.nodes.keys().filter(owned).cloned().collect()
    }

    /// What a watch that was brought along to a server at `zxid` had missed since `relative`.
    pub(crate) fn missed(&self, zxid: u64, kind: WatchKind, path: &str, relative: i64) -> Option<EventKind> {
        let stat = self.at(zxid, path).map(|node| node.stat());
        let newer = |zxid: u64| zxid as i64 > relative;
        match (kind, stat) {
            (WatchKind::Exists, stat) => stat.map(|_| EventKind::Created),
            (_, None) => Some(EventKind::Deleted),
            (WatchKind::Data, Some(stat)) => newer(stat.mzxid).then_some(EventKind::DataChanged),
            (WatchKind::Children, Some(stat)) => newer(stat.pzxid).then_some(EventKind::ChildrenChanged),
        }
    }

    // ── the present ─────────────────────────────────────────────────────────────────────────────────────────────────

    fn now(&self, path: &str) -> Outcome<&Znode> {
        let drafted = self.draft.get(path).map(Option::as_ref);
        drafted.unwrap_or_else(|| self.at(self.zxid, path).map(|node| &**node)).ok_or(ZnodeError::NoNode)
    }

    fn write(&mut self, path: &str, change: impl FnOnce(&mut Znode)) -> Outcome<Stat> {
        let mut node = self.now(path)?.clone();
        change(&mut node);
        let stat = node.stat();
        self.draft.insert(path.to_owned(), Some(node));
        Ok(stat)
    }

    fn say(&mut self, zxid: u64, kind: EventKind, path: &str, acl: Vec<Acl>) {
        self.said.push(Happened { zxid, kind, path: path.to_owned(), acl });
    }

    /// Carries the next command of the log out: all or nothing, under the next zxid if it does anything.
    pub(crate) fn apply(&mut self, at: Position, command: &Command) -> Done {
        let zxid = (self.zxid + 1).max(at.epoch.0 << 32 | 1);
        let carried = self.take_turn(command).and_then(|()| self.carry_out(at.epoch, zxid, command));
        let (result, changes) = match carried {
            Ok((reply, changes)) => (Ok(reply), changes),
            Err(error) => (Err(error), false),
        };
        let (draft, said) = (std::mem::take(&mut self.draft), std::mem::take(&mut self.said));
        if !changes {
            return Done { result, touched: Vec::new() };
        }
        self.zxid = zxid;
        let touched = draft.keys().cloned().collect();
        for (path, node) in draft {
            self.nodes.entry(path).or_default().push((zxid, node.map(Arc::new)));
        }
        self.happened.extend(said);
        Done { result, touched }
    }

    /// Of what a client sent a prefix is done, in order: a numbered write that does not come in its turn is refused, and takes nobody's turn.
    fn take_turn(&mut self, command: &Command) -> Outcome<()> {
        let Some((session, owner, number)) = numbered(command) else { return Ok(()) };
        match self.sessions.get_mut(&session).filter(|alive| alive.owner == owner) {
            Some(alive) if alive.next == number => alive.next += 1,
            Some(_) => return Err(ZnodeError::OutOfOrder),
            // Why it is refused the command itself will say.
            None => {}
        }
        Ok(())
    }

    /// What it comes to, and whether it takes a zxid.
    fn carry_out(&mut self, at: Epoch, zxid: u64, command: &Command) -> Outcome<(Reply, bool)> {
        match command {
            Command::Operation(_, Operation::Check { .. }) => Err(ZnodeError::Unimplemented),
            Command::Operation(caller, operation) => {
                self.attached(caller)?;
                Ok((Reply::Operation(self.operation(zxid, caller, operation)?), true))
            }
            Command::Multi(caller, operations) => self.multi(zxid, caller, operations),
            Command::CreateSession(create) => {
                if self.sessions.contains_key(&create.session) {
                    return Err(ZnodeError::SessionExists);
                }
                let (owner, timeout_ms, password) = (create.owner, create.timeout_ms, create.password);
                self.sessions.insert(create.session, Alive { owner, timeout_ms, password, next: 0 });
                Ok((Reply::SessionCreated, true))
            }
            Command::Reattach(reattach) => {
                let alive = self.sessions.get_mut(&reattach.session);
                let alive = alive.filter(|alive| alive.password == reattach.password);
                let alive = alive.ok_or(ZnodeError::SessionExpired)?;
                (alive.owner, alive.timeout_ms, alive.next) = (reattach.owner, reattach.timeout_ms, 0);
                Ok((Reply::Reattached { timeout_ms: reattach.timeout_ms }, false))
            }
            Command::CloseSession(close) => self.close(at, zxid, *close),
            Command::Reap(reap) => {
                self.reap(zxid, reap)?;
                Ok((Reply::Reaped, true))
            }
        }
    }

    /// Is it who speaks for the session?
    fn attached(&self, caller: &Caller) -> Outcome<()> {
        let alive = self.sessions.get(&caller.session).ok_or(ZnodeError::SessionExpired)?;
        if alive.owner == caller.owner { Ok(()) } else { Err(ZnodeError::SessionMoved) }
    }

    fn multi(&mut self, zxid: u64, caller: &Caller, operations: &[Operation]) -> Outcome<(Reply, bool)> {
        let mut replies = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            match self.attached(caller).and_then(|()| self.operation(zxid, caller, operation)) {
                Ok(reply) => replies.push(reply),
                Err(error @ (ZnodeError::SessionMoved | ZnodeError::Malformed)) => return Err(error),
                Err(error) => {
                    let (at, operations) = (at as u32, operations.len() as u32);
                    return Ok((Reply::MultiFailed(MultiFailure { at, operations, error }), false));
                }
            }
        }
        let changes = replies.iter().any(|reply| *reply != OperationReply::Checked);
        Ok((Reply::Multi(replies), changes))
    }

    fn close(&mut self, at: Epoch, zxid: u64, close: CloseSession) -> Outcome<(Reply, bool)> {
        let Some(alive) = self.sessions.get(&close.session) else { return Ok((Reply::SessionClosed, false)) };
        if close.goodbye.is_some_and(|goodbye| goodbye.owner != alive.owner) {
            return Err(ZnodeError::SessionMoved);
        }
        if close.expiry.is_some_and(|expiry| expiry.owner != alive.owner || expiry.epoch != at) {
            return Err(ZnodeError::NotDue);
        }
        self.sessions.remove(&close.session);
        for path in self.ephemerals_at(self.zxid, close.session) {
            self.delete(zxid, &path)?;
        }
        Ok((Reply::SessionClosed, true))
    }

    fn operation(&mut self, zxid: u64, caller: &Caller, operation: &Operation) -> Outcome<OperationReply> {
        match operation {
            Operation::Create(create) => self.create(zxid, caller, create),
            Operation::Delete { path, version } => {
                let above = parent(path)?;
                if RESERVED.contains(&path.as_str()) {
                    return Err(ZnodeError::BadArguments);
                }
                self.allowed(caller, above, Permissions::DELETE)?;
                let node = self.now(path)?;
                bump(node.stat.version, *version)?;
                if node.children > 0 {
                    return Err(ZnodeError::NotEmpty);
                }
                self.delete(zxid, path)?;
                Ok(OperationReply::Deleted)
            }
            Operation::SetData { path, data, version } => {
                self.allowed(caller, path, Permissions::WRITE)?;
                let version = bump(self.now(path)?.stat.version, *version)?;
                let stat = self.write(path, |node| {
                    (node.stat.version, node.stat.mzxid) = (version, zxid);
                    node.stat.mtime = caller.time_ms;
                    node.data.clone_from(data);
                })?;
                let acl = self.now(path)?.acl.clone();
                self.say(zxid, EventKind::DataChanged, path, acl);
                Ok(OperationReply::DataSet(stat))
            }
            Operation::SetAcl { path, acl, version } => {
                let acl = settled(acl, &caller.identities)?;
                self.allowed(caller, path, Permissions::ADMIN)?;
                let aversion = bump(self.now(path)?.stat.aversion, *version)?;
                let stat = self.write(path, |node| (node.acl, node.stat.aversion) = (acl, aversion))?;
                Ok(OperationReply::AclSet(stat))
            }
            Operation::Check { path, version } => {
                self.allowed(caller, path, Permissions::READ)?;
                bump(self.now(path)?.stat.version, *version)?;
                Ok(OperationReply::Checked)
            }
            Operation::Refused(error) => Err(*error),
        }
    }

    fn allowed(&self, caller: &Caller, path: &str, wanted: Permissions) -> Outcome<()> {
        let node = self.now(path)?;
        if permits(&node.acl, wanted, &caller.identities) { Ok(()) } else { Err(ZnodeError::NoAuth) }
    }

    fn create(&mut self, zxid: u64, caller: &Caller, create: &Create) -> Outcome<OperationReply> {
        let above = parent(&create.path)?.to_owned();
        let acl = settled(&create.acl, &caller.identities)?;
        self.allowed(caller, &above, Permissions::CREATE)?;
        let mut path = create.path.clone();
        let numbered = CreateMode::PersistentSequential == create.mode
            || CreateMode::EphemeralSequential == create.mode
            || CreateMode::TtlSequential == create.mode
            || CreateMode::ContainerSequential == create.mode;
        if numbered {
            path += &format!("{:010}", self.now(&above)?.creations);
        }
        if self.now(&path).is_ok() {
            return Err(ZnodeError::NodeExists);
        }
        if let Kind::Ephemeral(_) = self.now(&above)?.kind {
            return Err(ZnodeError::NoChildrenForEphemerals);
        }
        let kind = match create.mode {
            CreateMode::Persistent | CreateMode::PersistentSequential => Kind::Persistent,
            CreateMode::Ephemeral | CreateMode::EphemeralSequential => Kind::Ephemeral(caller.session),
            CreateMode::Container | CreateMode::ContainerSequential => Kind::Container,
            CreateMode::Ttl | CreateMode::TtlSequential => Kind::Ttl(create.ttl_ms),
        };
        let (ctime, mtime) = (caller.time_ms, caller.time_ms);
        let stat = Stat { czxid: zxid, mzxid: zxid, pzxid: zxid, ctime, mtime, ..Stat::default() };
        let data = create.data.clone();
        let node = Znode { kind, data, acl: acl.clone(), stat, creations: 0, children: 0 };
        let stat = node.stat();
        self.draft.insert(path.clone(), Some(node));
        self.write(&above, |above| {
            above.creations = above.creations.wrapping_add(1);
            above.children += 1;
            above.stat.cversion = above.stat.cversion.wrapping_add(1);
            above.stat.pzxid = zxid;
        })?;
        let above_acl = self.now(&above)?.acl.clone();
        self.say(zxid, EventKind::Created, &path, acl);
        self.say(zxid, EventKind::ChildrenChanged, &above, above_acl);
        Ok(OperationReply::Created { path, stat })
    }

    fn delete(&mut self, zxid: u64, path: &str) -> Outcome<()> {
        let (above, acl) = (parent(path)?.to_owned(), self.now(path)?.acl.clone());
        self.draft.insert(path.to_owned(), None);
        self.write(&above, |above| {
            above.children -= 1;
            above.stat.cversion = above.stat.cversion.wrapping_add(1);
            above.stat.pzxid = zxid;
        })?;
        let above_acl = self.now(&above)?.acl.clone();
        self.say(zxid, EventKind::Deleted, path, acl);
        self.say(zxid, EventKind::ChildrenChanged, &above, above_acl);
        Ok(())
    }

    fn reap(&mut self, zxid: u64, reap: &Reap) -> Outcome<()> {
        let node = self.now(&reap.path)?;
        if node.children > 0 {
            return Err(ZnodeError::NotEmpty);
        }
        let idle = reap.time_ms.saturating_sub(node.stat.mtime);
        let due = match node.kind {
            Kind::Container => node.creations != 0 || reap.unused_ms >= 0 && idle > reap.unused_ms,
            Kind::Ttl(ms) => idle > ms,
            Kind::Persistent | Kind::Ephemeral(_) => false,
        };
        if due { self.delete(zxid, &reap.path) } else { Err(ZnodeError::NotDue) }
    }
}

/// Of which session's owner's writes this is one, who that is, and its number.
fn numbered(command: &Command) -> Option<(SessionId, u64, u64)> {
    match command {
        Command::Operation(caller, _) | Command::Multi(caller, _) => {
            Some((caller.session, caller.owner, caller.sequence?))
        }
        Command::CloseSession(close) => {
            let goodbye = close.goodbye?;
            Some((close.session, goodbye.owner, goodbye.sequence))
        }
        Command::CreateSession(_) | Command::Reattach(_) | Command::Reap(_) => None,
    }
}

/// The path of a znode's parent. Simulated clients send no paths that are none.
pub(crate) fn parent(path: &str) -> Outcome<&str> {
    let (above, _) = path.rsplit_once('/').ok_or(ZnodeError::BadArguments)?;
    Ok(if above.is_empty() { "/" } else { above })
}

/// The version after this one. Never −1, which stands for any.
fn bump(current: i32, expected: i32) -> Outcome<i32> {
    if expected != -1 && expected != current {
        return Err(ZnodeError::BadVersion);
    }
    let next = current.wrapping_add(1);
    Ok(if next == -1 { 0 } else { next })
}

pub(crate) fn permits(acl: &[Acl], wanted: Permissions, who: &[Identity]) -> bool {
    let theirs = |entry: &Acl| entry.identity.scheme == "world" || who.contains(&entry.identity);
    acl.iter().any(|entry| entry.permissions.0 & wanted.0 != 0 && theirs(entry))
}

/// An ACL with whoever sets it in the place of `auth`.
fn settled(acl: &[Acl], who: &[Identity]) -> Outcome<Vec<Acl>> {
    let mut settled = Vec::new();
    for entry in acl {
        if entry.identity.scheme == "auth" {
            let known = who.iter().filter(|who| who.scheme == "digest");
            settled.extend(known.map(|who| Acl { identity: who.clone(), ..entry.clone() }));
        } else {
            settled.push(entry.clone());
        }
    }
    if settled.is_empty() { Err(ZnodeError::InvalidAcl) } else { Ok(settled) }
}
