//! Short words for tests that tell a story.

use quorate_consensus::{Position, StateMachine};
use quorate_znodes::*;

/// A tree, and who speaks to it.
pub struct Shell {
    pub tree: Znodes,
    pub caller: Caller,
    pub events: Vec<Event>,
    pub index: u64,
}

pub fn open() -> Vec<Acl> {
    vec![Acl::world(Permissions::ALL)]
}

pub fn create(path: &str, mode: CreateMode) -> Create {
    let ttl_ms = if matches!(mode, CreateMode::Ttl | CreateMode::TtlSequential) { 10 } else { -1 };
    Create { path: path.into(), data: Some("".into()), acl: open(), mode, ttl_ms }
}

pub fn making(path: &str) -> Operation {
    Operation::Create(create(path, CreateMode::Persistent))
}

pub fn deleting(path: &str, version: i32) -> Operation {
    Operation::Delete { path: path.into(), version }
}

pub fn setting(path: &str, data: &'static str, version: i32) -> Operation {
    Operation::SetData { path: path.into(), data: Some(data.into()), version }
}

pub fn checking(path: &str, version: i32) -> Operation {
    Operation::Check { path: path.into(), version }
}

impl Shell {
    /// With session 1, at time 100.
    pub fn new() -> Shell {
        let caller = Caller { session: SessionId(1), owner: 1, time_ms: 100, ..Caller::default() };
        let mut shell = Shell { tree: Znodes::new(), caller, events: Vec::new(), index: 0 };
        shell.session(1).unwrap();
        shell
    }

    pub fn apply(&mut self, command: &Command) -> Response {
        self.index += 1;
        let placed = self.tree.apply(Position::new(1, self.index), &command.encode());
        self.events = placed.events;
        placed.response
    }

    pub fn session(&mut self, id: i64) -> Result<Reply, ZnodeError> {
        let (session, password) = (SessionId(id), Password([id as u8; 16]));
        self.apply(&Command::CreateSession(CreateSession { session, timeout_ms: 4000, password, owner: 1 }))
            .result
    }

    pub fn close(&mut self, id: i64) -> Result<Reply, ZnodeError> {
        let close = CloseSession { session: SessionId(id), ..CloseSession::default() };
        self.apply(&Command::CloseSession(close)).result
    }

    pub fn reap(&mut self, path: &str, time_ms: i64, unused_ms: i64) -> Result<Reply, ZnodeError> {
        self.apply(&Command::Reap(Reap { path: path.into(), time_ms, unused_ms })).result
    }

    pub fn ask(&mut self, operation: Operation) -> Result<OperationReply, ZnodeError> {
        match self.apply(&Command::Operation(self.caller.clone(), operation)).result {
            Ok(Reply::Operation(reply)) => Ok(reply),
            Err(error) => Err(error),
            Ok(other) => panic!("{other:?} is no reply to an operation"),
        }
    }

    pub fn multi(&mut self, operations: Vec<Operation>) -> Result<Reply, ZnodeError> {
        self.apply(&Command::Multi(self.caller.clone(), operations)).result
    }

    pub fn make(&mut self, path: &str, mode: CreateMode) -> Result<String, ZnodeError> {
        match self.ask(Operation::Create(create(path, mode)))? {
            OperationReply::Created { path, .. } => Ok(path),
            other => panic!("{other:?} is no reply to a creation"),
        }
    }

    pub fn stat(&self, path: &str) -> Stat {
        self.tree.view().look(path).unwrap_or_else(|| panic!("{path} exists")).0
    }

    pub fn has(&self, path: &str) -> bool {
        self.tree.view().look(path).is_some()
    }

    /// The events of the last command, as text.
    pub fn told(&self) -> Vec<String> {
        self.events.iter().map(|event| format!("{:?} {}", event.kind, event.path)).collect()
    }

    pub fn restored(&self) -> Znodes {
        Znodes::restore(&mut self.tree.snapshot()).unwrap()
    }
}
