//! The naive tree itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_znodes::*;

use super::rules::{Outcome, bump, cut, fix, normal, pairs, permits, quota_of, valid};

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Persistent,
    Ephemeral(SessionId),
    Container,
    Ttl(i64),
}

#[derive(Clone, Debug)]
pub struct Znode {
    pub kind: Kind,
    pub data: Option<Bytes>,
    pub acl: Vec<Acl>,
    /// Everything but the length of data and the number of children.
    pub stat: Stat,
    /// How many children were ever created.
    pub creations: i32,
}

#[derive(Clone, Debug)]
pub struct Attached {
    pub timeout_ms: i32,
    pub password: Password,
    pub owner: u64,
    pub next: u64,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub zxid: u64,
    pub nodes: BTreeMap<String, Znode>,
    pub sessions: BTreeMap<SessionId, Attached>,
    pub events: Vec<Event>,
}

impl Model {
    pub fn new() -> Model {
        let mut model =
            Model { zxid: 0, nodes: BTreeMap::new(), sessions: BTreeMap::new(), events: Vec::new() };
        for (path, cversion) in
            [("/", -1), ("/zookeeper", -2), ("/zookeeper/config", 0), ("/zookeeper/quota", 0)]
        {
            let config = path == "/zookeeper/config";
            let acl = vec![Acl::world(if config { Permissions::READ } else { Permissions::ALL })];
            let stat = Stat { cversion, aversion: if config { -1 } else { 0 }, ..Stat::default() };
            let data = Some(Bytes::new());
            model.nodes.insert(path.into(), Znode { kind: Kind::Persistent, data, acl, stat, creations: 0 });
        }
        model
    }

    pub fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let below = self.nodes.keys().filter_map(|other| other.strip_prefix(&prefix));
        below.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect()
    }

    pub fn below(&self, path: &str) -> usize {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        self.nodes.keys().filter(|other| other.starts_with(&prefix) && *other != "/").count()
    }

    pub fn stat(&self, path: &str) -> Option<Stat> {
        let node = self.nodes.get(path)?;
        Some(Stat {
            data_length: node.data.as_ref().map_or(0, |data| data.len() as i32),
            num_children: self.children(path).len() as i32,
            ephemeral_owner: if let Kind::Ephemeral(session) = node.kind { session } else { SessionId(0) },
            ..node.stat
        })
    }

    pub fn ephemerals(&self, session: SessionId) -> Vec<String> {
        let mine = self.nodes.iter().filter(|(_, node)| node.kind == Kind::Ephemeral(session));
        mine.map(|(path, _)| path.clone()).collect()
    }

    fn event(&mut self, zxid: u64, kind: EventKind, path: &str, acl: &[Acl]) {
        self.events.push(Event { zxid, kind, path: Arc::from(path), acl: Arc::from(acl) });
    }

    fn attached(&self, caller: &Caller) -> Outcome<()> {
        let session = self.sessions.get(&caller.session).ok_or(ZnodeError::SessionExpired)?;
        if session.owner == caller.owner { Ok(()) } else { Err(ZnodeError::SessionMoved) }
    }

    fn allowed(&self, caller: &Caller, path: &str, wanted: i32) -> Outcome<()> {
        let node = self.nodes.get(path).ok_or(ZnodeError::NoNode)?;
        if permits(&node.acl, wanted, &caller.identities) { Ok(()) } else { Err(ZnodeError::NoAuth) }
    }

    fn operation(&mut self, zxid: u64, caller: &Caller, operation: &Operation) -> Outcome<OperationReply> {
        match operation {
            Operation::Create(create) => self.create(zxid, caller, create),
            Operation::Delete { path, version } => {
                self.attached(caller)?;
                let (above, _) = cut(path)?;
                if ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(&path.as_str()) {
                    return Err(ZnodeError::BadArguments);
                }
                self.allowed(caller, normal(above), 8)?;
                let node = self.nodes.get(path).ok_or(ZnodeError::NoNode)?;
                bump(node.stat.version, *version)?;
                if !self.children(path).is_empty() {
                    return Err(ZnodeError::NotEmpty);
                }
                self.delete(zxid, path);
                Ok(OperationReply::Deleted)
            }
            Operation::SetData { path, data, version } => {
                self.attached(caller)?;
                if !valid(path) {
                    return Err(ZnodeError::BadArguments);
                }
                self.allowed(caller, path, 2)?;
                self.quota_data(path, data)?;
                let length = |data: &Option<Bytes>| data.as_ref().map_or(0, Bytes::len) as i64;
                let more = length(data) - length(&self.nodes[path].data);
                if caller.enforce_quota {
                    self.quota_check(path, 0, more)?;
                }
                let node = self.nodes.get_mut(path).unwrap();
                node.stat.version = bump(node.stat.version, *version)?;
                node.stat.mzxid = zxid;
                node.stat.mtime = caller.time_ms;
                node.data = data.clone();
                let acl = node.acl.clone();
                let stat = self.stat(path).unwrap();
                self.quota_use(path, 0, more);
                self.event(zxid, EventKind::DataChanged, path, &acl);
                Ok(OperationReply::DataSet(stat))
            }
            Operation::SetAcl { path, acl, version } => {
                self.attached(caller)?;
                if !valid(path) {
                    return Err(ZnodeError::BadArguments);
                }
                let acl = fix(acl, &caller.identities)?;
                self.allowed(caller, path, 16)?;
                let node = self.nodes.get_mut(path).unwrap();
                node.stat.aversion = bump(node.stat.aversion, *version)?;
                node.acl = acl;
                Ok(OperationReply::AclSet(self.stat(path).unwrap()))
            }
            Operation::Check { path, version } => {
                self.attached(caller)?;
                if !valid(path) {
                    return Err(ZnodeError::BadArguments);
                }
                self.allowed(caller, path, 1)?;
                bump(self.nodes[path].stat.version, *version)?;
                Ok(OperationReply::Checked)
            }
            Operation::Refused(error) => Err(*error),
        }
    }

    fn create(&mut self, zxid: u64, caller: &Caller, create: &Create) -> Outcome<OperationReply> {
        let timed = matches!(create.mode, CreateMode::Ttl | CreateMode::TtlSequential);
        if timed && (create.ttl_ms < 1 || create.ttl_ms >= 1 << 40) || !timed && create.ttl_ms >= 0 {
            return Err(ZnodeError::BadArguments);
        }
        self.attached(caller)?;
        let (above, _) = cut(&create.path)?;
        let acl = fix(&create.acl, &caller.identities)?;
        let above = normal(above);
        self.allowed(caller, above, 4)?;
        let mut path = create.path.clone();
        if [2, 3, 6, 7].contains(&(create.mode as i32)) {
            path += &format!("{:010}", self.nodes[above].creations);
        }
        if !valid(&path) {
            return Err(ZnodeError::BadArguments);
        }
        if self.nodes.contains_key(&path) {
            return Err(ZnodeError::NodeExists);
        }
        if let Kind::Ephemeral(_) = self.nodes[above].kind {
            return Err(ZnodeError::NoChildrenForEphemerals);
        }
        self.quota_data(&path, &create.data)?;
        let bytes = create.data.as_ref().map_or(0, Bytes::len) as i64;
        if caller.enforce_quota {
            self.quota_check(&path, 1, bytes)?;
        }
        let kind = match create.mode as i32 {
            0 | 2 => Kind::Persistent,
            1 | 3 => Kind::Ephemeral(caller.session),
            4 | 7 => Kind::Container,
            _ => Kind::Ttl(create.ttl_ms),
        };
        let time = caller.time_ms;
        let stat =
            Stat { czxid: zxid, mzxid: zxid, pzxid: zxid, ctime: time, mtime: time, ..Stat::default() };
        let node = Znode { kind, data: create.data.clone(), acl: acl.clone(), stat, creations: 0 };
        self.nodes.insert(path.clone(), node);
        let parent = self.nodes.get_mut(above).unwrap();
        parent.stat.cversion = parent.stat.cversion.wrapping_add(1);
        parent.stat.pzxid = zxid;
        parent.creations = parent.creations.wrapping_add(1);
        let parent_acl = parent.acl.clone();
        let stat = self.stat(&path).unwrap();
        if let Some((of, "zookeeper_stats")) = quota_of(&path) {
            let under: Vec<&Znode> = self
                .nodes
                .iter()
                .filter(|(path, _)| *path == of || path.starts_with(&format!("{of}/")))
                .map(|x| x.1)
                .collect();
            let bytes: usize = under.iter().map(|node| node.data.as_ref().map_or(0, Bytes::len)).sum();
            let text = format!("count={},bytes={bytes}", under.len());
            self.nodes.get_mut(&path).unwrap().data = Some(text.into());
        }
        self.quota_use(&path, 1, bytes);
        self.event(zxid, EventKind::Created, &path, &acl);
        self.event(zxid, EventKind::ChildrenChanged, above, &parent_acl);
        Ok(OperationReply::Created { path, stat })
    }

    fn delete(&mut self, zxid: u64, path: &str) {
        let node = self.nodes.remove(path).unwrap();
        let above = normal(cut(path).unwrap().0).to_owned();
        let parent = self.nodes.get_mut(&above).unwrap();
        parent.stat.cversion = parent.stat.cversion.wrapping_add(1);
        parent.stat.pzxid = zxid;
        let parent_acl = parent.acl.clone();
        self.quota_use(path, -1, -(node.data.as_ref().map_or(0, Bytes::len) as i64));
        self.event(zxid, EventKind::Deleted, path, &node.acl);
        self.event(zxid, EventKind::ChildrenChanged, &above, &parent_acl);
    }

    fn quota_data(&self, path: &str, data: &Option<Bytes>) -> Outcome<()> {
        let stray = ["/zookeeper/quota/zookeeper_limits", "/zookeeper/quota/zookeeper_stats"].contains(&path);
        if stray || quota_of(path).is_some() && pairs(data).is_none() {
            return Err(ZnodeError::BadArguments);
        }
        Ok(())
    }

    /// The longest path at or above this one with limits.
    fn quota_path(&self, path: &str) -> Option<String> {
        let mut path = path.to_owned();
        while path.len() > 1 {
            if self.nodes.contains_key(&format!("/zookeeper/quota{path}/zookeeper_limits")) {
                return Some(path);
            }
            path.truncate(path.rfind('/').unwrap());
        }
        None
    }

    fn quota_check(&self, path: &str, count: i64, bytes: i64) -> Outcome<()> {
        let Some(of) = self.quota_path(path) else { return Ok(()) };
        let read = |name: &str| {
            self.nodes.get(&format!("/zookeeper/quota{of}/{name}")).map(|n| pairs(&n.data).unwrap())
        };
        let (Some(limits), Some(used)) = (read("zookeeper_limits"), read("zookeeper_stats")) else {
            return Ok(());
        };
        let over = |limit: &str, name: &str, more: i64| {
            let limit = limits.get(limit).copied().unwrap_or(-1);
            more != 0 && limit >= 0 && used.get(name).copied().unwrap_or(-1) + more > limit
        };
        if over("countHardLimit", "count", count) || over("byteHardLimit", "bytes", bytes) {
            return Err(ZnodeError::QuotaExceeded);
        }
        Ok(())
    }

    fn quota_use(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(of) = self.quota_path(path) else { return };
        let Some(node) = self.nodes.get_mut(&format!("/zookeeper/quota{of}/zookeeper_stats")) else { return };
        let used = pairs(&node.data).unwrap();
        let get = |name: &str| used.get(name).copied().unwrap_or(-1);
        let mut text = format!("count={},bytes={}", get("count") + count, get("bytes") + bytes);
        let rest: Vec<String> = used
            .iter()
            .filter(|(name, _)| *name != "count" && *name != "bytes")
            .map(|(name, number)| format!(";{name}={number}"))
            .collect();
        if !rest.is_empty() {
            text = format!("{text}={}", rest.concat());
        }
        node.data = Some(text.into());
    }

    /// What the command does, under the next zxid if it does anything.
    pub fn apply(&mut self, command: &Command) -> (Response, Vec<Event>) {
        let next = (self.zxid + 1).max(1 << 32 | 1);
        let before = self.clone();
        self.events.clear();
        if let Some(refused) = self.out_of_order(command) {
            return (Response { zxid: self.zxid, result: Err(refused) }, Vec::new());
        }
        let (result, changes) = self.result(next, command);
        if changes {
            self.zxid = next;
        } else if !matches!(command, Command::Reattach(_)) {
            *self = before;
            self.events.clear();
        }
        self.turn_passes(command);
        (Response { zxid: self.zxid, result }, std::mem::take(&mut self.events))
    }

    /// The session whose owner numbers this command, and the number.
    fn numbered(command: &Command) -> Option<(SessionId, u64, u64)> {
        match command {
            Command::Operation(caller, _) | Command::Multi(caller, _) => {
                Some((caller.session, caller.owner, caller.sequence?))
            }
            Command::CloseSession(close) => {
                let goodbye = close.goodbye?;
                Some((close.session, goodbye.owner, goodbye.sequence))
            }
            _ => None,
        }
    }

    fn out_of_order(&self, command: &Command) -> Option<ZnodeError> {
        let (session, owner, sequence) = Model::numbered(command)?;
        let attached = self.sessions.get(&session)?;
        (attached.owner == owner && attached.next != sequence).then_some(ZnodeError::OutOfOrder)
    }

    fn turn_passes(&mut self, command: &Command) {
        if let Some((session, owner, _)) = Model::numbered(command)
            && let Some(attached) = self.sessions.get_mut(&session)
            && attached.owner == owner
        {
            attached.next += 1;
        }
    }

    fn result(&mut self, zxid: u64, command: &Command) -> (Outcome<Reply>, bool) {
        match command {
            Command::Operation(_, Operation::Check { .. }) => (Err(ZnodeError::Unimplemented), false),
            Command::Operation(caller, operation) => {
                let result = self.operation(zxid, caller, operation).map(Reply::Operation);
                let changes = result.is_ok();
                (result, changes)
            }
            Command::Multi(caller, operations) => self.multi(zxid, caller, operations),
            Command::CreateSession(CreateSession { session, timeout_ms, password, owner }) => {
                if self.sessions.contains_key(session) {
                    return (Err(ZnodeError::SessionExists), false);
                }
                let attached =
                    Attached { timeout_ms: *timeout_ms, password: *password, owner: *owner, next: 0 };
                self.sessions.insert(*session, attached);
                (Ok(Reply::SessionCreated), true)
            }
            Command::Reattach(Reattach { session, password, owner, timeout_ms }) => {
                match self.sessions.get_mut(session) {
                    Some(attached) if attached.password == *password => {
                        *attached =
                            Attached { timeout_ms: *timeout_ms, password: *password, owner: *owner, next: 0 };
                        (Ok(Reply::Reattached { timeout_ms: *timeout_ms }), false)
                    }
                    _ => (Err(ZnodeError::SessionExpired), false),
                }
            }
            Command::CloseSession(CloseSession { session, expiry, goodbye }) => {
                let Some(attached) = self.sessions.get(session) else {
                    return (Ok(Reply::SessionClosed), false);
                };
                if goodbye.is_some_and(|goodbye| goodbye.owner != attached.owner) {
                    return (Err(ZnodeError::SessionMoved), false);
                }
                // The model, and every log of these tests, is in epoch 1.
                if expiry.is_some_and(|expiry| expiry.owner != attached.owner || expiry.epoch.0 != 1) {
                    return (Err(ZnodeError::NotDue), false);
                }
                self.sessions.remove(session);
                for path in self.ephemerals(*session) {
                    self.delete(zxid, &path);
                }
                (Ok(Reply::SessionClosed), true)
            }
            Command::Reap(reap) => match self.reap(zxid, reap) {
                Ok(()) => (Ok(Reply::Reaped), true),
                Err(error) => (Err(error), false),
            },
        }
    }

    fn multi(&mut self, zxid: u64, caller: &Caller, operations: &[Operation]) -> (Outcome<Reply>, bool) {
        let mut replies = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            match self.operation(zxid, caller, operation) {
                Ok(reply) => replies.push(reply),
                Err(error @ (ZnodeError::SessionMoved | ZnodeError::Malformed)) => {
                    return (Err(error), false);
                }
                Err(error) => {
                    let (at, operations) = (at as u32, operations.len() as u32);
                    return (Ok(Reply::MultiFailed(MultiFailure { at, operations, error })), false);
                }
            }
        }
        let changes = replies.iter().any(|reply| *reply != OperationReply::Checked);
        (Ok(Reply::Multi(replies)), changes)
    }

    fn reap(&mut self, zxid: u64, reap: &Reap) -> Outcome<()> {
        cut(&reap.path)?;
        if reap.path == "/" || ["/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(&&*reap.path)
        {
            return Err(ZnodeError::BadArguments);
        }
        let node = self.nodes.get(&reap.path).ok_or(ZnodeError::NoNode)?;
        if !self.children(&reap.path).is_empty() {
            return Err(ZnodeError::NotEmpty);
        }
        let idle = reap.time_ms - node.stat.mtime;
        let due = match node.kind {
            Kind::Container => node.creations != 0 || reap.unused_ms >= 0 && idle > reap.unused_ms,
            Kind::Ttl(ms) => idle > ms,
            Kind::Persistent | Kind::Ephemeral(_) => false,
        };
        if !due {
            return Err(ZnodeError::NotDue);
        }
        self.delete(zxid, &reap.path);
        Ok(())
    }
}
