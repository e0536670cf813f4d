//! The committed log of the tree, executed a second time by the naive [`Model`], and what every replica is held against.

use std::collections::BTreeMap;

use quorate_consensus::{Entry, Payload, Position};
use quorate_node::TaggedCommand;
use quorate_service::znodes::{Command, Operation, Reply, SessionId, View, ZnodeError};

use super::{
    TreeShape, Wrong,
    model::{Kind, Model},
};
use crate::half::After;

/// What an entry came to.
#[derive(Debug)]
pub(crate) struct Step {
    /// The tree's zxid after it.
    pub(crate) zxid: u64,
    pub(crate) position: Position,
    /// It took its zxid.
    pub(crate) changed: bool,
    /// What it was, if it was a command.
    pub(crate) command: Option<Command>,
    pub(crate) result: Result<Reply, ZnodeError>,
    touched: Vec<String>,
}

/// The second execution.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) model: Model,
    /// By index, from 1 on.
    steps: Vec<Step>,
    /// The entries of clients' writes, by who spoke for the session then; without those that were refused for who sent them, or out of their turn.
    by_owner: BTreeMap<u64, Vec<u64>>,
    /// How each session ended: at which index.
    pub(crate) ended: BTreeMap<SessionId, u64>,
}

impl Log {
    pub(crate) fn new(shape: &TreeShape) -> Log {
        let model = Model::new(shape.worn.0, shape.worn.1);
        Log { model, steps: Vec::new(), by_owner: BTreeMap::new(), ended: BTreeMap::new() }
    }

    pub(crate) fn last(&self) -> u64 {
        self.steps.len() as u64
    }

    pub(crate) fn step(&self, index: u64) -> Option<&Step> {
        self.steps.get(index.checked_sub(1)? as usize)
    }

    /// The index of the write number `number`, from 0 on, of those that a connection has got into the log.
    pub(crate) fn write_of(&self, owner: u64, number: usize) -> Option<u64> {
        self.writes_of(owner).get(number).copied()
    }

    /// The indexes of a connection's writes, in the order in which they stand in the log.
    pub(crate) fn writes_of(&self, owner: u64) -> &[u64] {
        self.by_owner.get(&owner).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn execute(&mut self, entry: &Entry) {
        let index = entry.position.index.0;
        let tagged = match &entry.payload {
            Payload::Command(bytes) => TaggedCommand::decode(bytes.clone()).ok(),
            Payload::Noop | Payload::Membership(_) => None,
        };
        let command = tagged.filter(|tagged| tagged.followed.is_none());
        let command = command.and_then(|tagged| Command::decode(&tagged.command).ok());
        let before = self.model.zxid;
        let (result, touched) = match &command {
            Some(command) => {
                let done = self.model.apply(entry.position, command);
                (done.result, done.touched)
            }
            None => (Ok(Reply::SessionClosed), Vec::new()),
        };
        match &command {
            Some(Command::Operation(caller, _) | Command::Multi(caller, _)) if !is_nobodys(&result) => {
                self.by_owner.entry(caller.owner).or_default().push(index);
            }
            Some(Command::CloseSession(close)) if self.model.zxid > before => {
                self.ended.insert(close.session, index);
            }
            _ => {}
        }
        let (zxid, position) = (self.model.zxid, entry.position);
        self.steps.push(Step { zxid, position, changed: zxid > before, command, result, touched });
    }

    // ── what replicas are held against ──────────────────────────────────────────────────────────────────────────────

    /// What is wrong with a replica's state after an entry.
    pub(crate) fn differs(&self, after: &After) -> Option<Wrong> {
        let step = self.step(after.position.index.0)?;
        let wrong = |id, what| Some(Wrong { what, id });
        if step.zxid != after.number {
            let what = format!("the zxid is {:x}, should be {:x}: {step:?}", after.number, step.zxid);
            return wrong(blamed(step), what);
        }
        let view = after.view.as_ref()?;
        let orphan = view.ephemerals().find(|(session, _)| view.session(*session).is_none());
        if let Some((session, path)) = orphan {
            return wrong("K6", format!("{path} is left of session {session}, which is over"));
        }
        let found = if after.restored {
            self.model.paths_at(step.zxid).find_map(|path| self.differs_at(path, step.zxid, view))
        } else {
            step.touched.iter().find_map(|path| self.differs_at(path, step.zxid, view))
        };
        found.map(|(id, what)| Wrong { what, id })
    }

    /// What is wrong with one znode.
    fn differs_at(&self, path: &str, zxid: u64, view: &View) -> Option<(&'static str, String)> {
        match (self.model.at(zxid, path), view.look(path)) {
            (None, None) => None,
            (None, Some((stat, _))) => {
                let id = if stat.ephemeral_owner == SessionId(0) { "K1" } else { "K6" };
                Some((id, format!("{path} is there, and should not be: {stat:?}")))
            }
            (Some(node), None) => {
                let id = if matches!(node.kind, Kind::Ephemeral(_)) { "K6" } else { "K1" };
                Some((id, format!("{path} is not there, and should be: {node:?}")))
            }
            (Some(node), Some((stat, acl))) => {
                if node.stat() != stat {
                    return Some(("K10", format!("{path} has {stat:?}, should have {:?}", node.stat())));
                }
                let same = node.acl[..] == acl[..];
                (!same).then(|| ("K11", format!("{path} has {acl:?}, should have {:?}", node.acl)))
            }
        }
    }
}

/// Was a write refused before anybody looked at what it is?
fn is_nobodys(result: &Result<Reply, ZnodeError>) -> bool {
    let refused = |error: &ZnodeError| {
        matches!(error, ZnodeError::OutOfOrder | ZnodeError::SessionMoved | ZnodeError::SessionExpired)
    };
    match result {
        Err(error) => refused(error),
        Ok(Reply::MultiFailed(failure)) => failure.at == 0 && refused(&failure.error),
        Ok(_) => false,
    }
}

/// Which promise is broken if a command took a zxid that it should not have taken, or the other way round.
fn blamed(step: &Step) -> &'static str {
    match &step.command {
        _ if step.result == Err(ZnodeError::OutOfOrder) => "K2",
        Some(Command::Multi(..)) => "K9",
        Some(Command::CloseSession(close)) if close.expiry.is_some() => "K8",
        Some(Command::CloseSession(_) | Command::CreateSession(_) | Command::Reattach(_)) => "K6",
        Some(Command::Operation(_, Operation::Create(_))) => "K7",
        Some(Command::Operation(..) | Command::Reap(_)) | None => "K1",
    }
}
