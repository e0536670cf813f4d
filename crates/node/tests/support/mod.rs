//! A node alone, with its disk in memory.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, DiskCompletion, DiskError, DiskErrorKind, DiskOperation, DiskOutcome, DiskRequest, Duration,
    EngineKind, GroupId, Incarnation, Instant, Membership, NodeId, Role,
};
use quorate_node::{
    Answer, Config, GroupConfig, JournalConfig, Limits, Node, NodeInput, Outputs, RaftConfig, Ticket,
    ZabConfig,
};

pub(crate) const GROUP: GroupId = GroupId(1);

/// Files in memory; while `full`, none is made or grows.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<Arc<str>, Vec<u8>>,
    pub(crate) full: bool,
}

impl Disk {
    pub(crate) fn execute(&mut self, operation: DiskOperation) -> DiskCompletion {
        DiskCompletion { id: operation.id, outcome: self.perform(operation.request) }
    }

    pub(crate) fn grow(&mut self, path: &Arc<str>, length: usize) -> Result<&mut Vec<u8>, DiskError> {
        let full = self.full;
        let file = self.files.get_mut(path).ok_or_else(|| error(DiskErrorKind::NotFound))?;
        if file.len() < length {
            if full {
                return Err(error(DiskErrorKind::Full));
            }
            file.resize(length, 0);
        }
        Ok(file)
    }

    pub(crate) fn perform(&mut self, request: DiskRequest) -> Result<DiskOutcome, DiskError> {
        match request {
            DiskRequest::Create { .. } if self.full => return Err(error(DiskErrorKind::Full)),
            DiskRequest::Create { path } => {
                self.files.insert(path, Vec::new());
            }
            DiskRequest::Allocate { path, length } => {
                self.grow(&path, length as usize)?;
            }
            DiskRequest::WriteAt { path, offset, pieces } => {
                let (offset, bytes) = (offset as usize, pieces.concat());
                let file = self.grow(&path, offset + bytes.len())?;
                file[offset..offset + bytes.len()].copy_from_slice(&bytes);
            }
            DiskRequest::Read { path, offset, length } => {
                let file = self.grow(&path, 0)?;
                let from = file.len().min(offset as usize);
                let to = file.len().min(from.saturating_add(length as usize));
                return Ok(DiskOutcome::Read(Bytes::copy_from_slice(&file[from..to])));
            }
            DiskRequest::Truncate { path, length } => self.grow(&path, 0)?.truncate(length as usize),
            DiskRequest::Rename { from, to } => {
                let file = self.files.remove(&from).ok_or_else(|| error(DiskErrorKind::NotFound))?;
                self.files.insert(to, file);
            }
            DiskRequest::List { path } => {
                let inside = |name: &str| name.strip_prefix(&format!("{path}/")).map(str::to_owned);
                let listed =
                    self.files.iter().filter_map(|(name, file)| Some((inside(name)?, file.len() as u64)));
                return Ok(DiskOutcome::Listed(listed.collect()));
            }
            DiskRequest::Remove { path } => {
                self.files.remove(&path);
            }
            DiskRequest::FreeSpace => return Ok(DiskOutcome::Free(if self.full { 0 } else { 1 << 40 })),
            DiskRequest::SyncFile { .. } | DiskRequest::SyncDirectory { .. } => {}
        }
        Ok(DiskOutcome::Done)
    }
}

pub(crate) fn error(kind: DiskErrorKind) -> DiskError {
    DiskError { kind, message: format!("{kind:?}") }
}

pub(crate) fn config() -> Config {
    Config {
        cluster: ClusterId(7),
        node: NodeId(1),
        incarnation: Incarnation(9),
        life: 1,
        groups: vec![GroupConfig {
            id: GROUP,
            engine: EngineKind::Raft,
            birth: Membership::new([NodeId(1)], []),
        }],
        raft: RaftConfig::default(),
        zab: ZabConfig::default(),
        journal: JournalConfig { segment_bytes: 16 << 10, ..JournalConfig::default() },
        limits: Limits::default(),
        explain: false,
    }
}

pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) disk: Disk,
    pub(crate) now: Instant,
    pub(crate) out: Outputs,
}

impl World {
    pub(crate) fn new(disk: Disk) -> World {
        let now = Instant::START;
        World { node: Node::new(config(), now), disk, now, out: Outputs::default() }
    }

    /// Lets time pass until nothing is under way.
    pub(crate) fn settle(&mut self, after: Duration) {
        self.now = self.now + after;
        self.node.handle(self.now, NodeInput::Wake, &mut self.out);
        loop {
            self.node.settle(self.now, &mut self.out);
            let operations = std::mem::take(&mut self.out.disk);
            if operations.is_empty() {
                return;
            }
            for operation in operations {
                let completion = self.disk.execute(operation);
                self.node.handle(self.now, NodeInput::Disk(completion), &mut self.out);
            }
        }
    }

    pub(crate) fn propose(&mut self, ticket: u64) -> Option<Answer> {
        let (ticket, command) = (Ticket(ticket), Bytes::from(vec![1; 1000]));
        self.node.handle(self.now, NodeInput::Propose { group: GROUP, ticket, command }, &mut self.out);
        self.settle(Duration::from_millis(1));
        self.out.answers.iter().find(|(t, _)| *t == ticket).map(|(_, answer)| answer.clone())
    }

    pub(crate) fn leads(&self) -> bool {
        self.node.status(GROUP).is_some_and(|status| status.engine.role == Role::Leader)
    }
}
