//! A node alone, on a disk that is full, and on one that holds nonsense; and what it keeps of snapshots.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate_consensus::{
    ClusterId, DiskCompletion, DiskError, DiskErrorKind, DiskOperation, DiskOutcome, DiskRequest, Duration,
    GroupId, Incarnation, Index, Instant, Membership, NodeId, Position, Role, SnapshotMeta,
};
use quorate_journal::{GroupWrite, Identity, Journal};
use quorate_node::{
    Address, Answer, Config, Fatal, FrameRefusal, FrameWriter, FromState, GroupConfig, JournalConfig, Limits,
    Node, NodeInput, Notice, Outputs, PeerMessage, RaftConfig, Ticket,
};

const GROUP: GroupId = GroupId(1);

/// Files in memory; while `full`, none is made or grows.
#[derive(Default)]
struct Disk {
    files: BTreeMap<Arc<str>, Vec<u8>>,
    full: bool,
}

impl Disk {
    fn execute(&mut self, operation: DiskOperation) -> DiskCompletion {
        DiskCompletion { id: operation.id, outcome: self.perform(operation.request) }
    }

    fn grow(&mut self, path: &Arc<str>, length: usize) -> Result<&mut Vec<u8>, DiskError> {
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

    fn perform(&mut self, request: DiskRequest) -> Result<DiskOutcome, DiskError> {
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

fn error(kind: DiskErrorKind) -> DiskError {
    DiskError { kind, message: format!("{kind:?}") }
}

fn config() -> Config {
    Config {
        cluster: ClusterId(7),
        node: NodeId(1),
        incarnation: Incarnation(9),
        life: 1,
        groups: vec![GroupConfig { id: GROUP, birth: Membership::new([NodeId(1)], []) }],
        raft: RaftConfig::default(),
        journal: JournalConfig { segment_bytes: 16 << 10, ..JournalConfig::default() },
        limits: Limits::default(),
        explain: false,
    }
}

struct World {
    node: Node,
    disk: Disk,
    now: Instant,
    out: Outputs,
}

impl World {
    fn new(disk: Disk) -> World {
        let now = Instant::START;
        World { node: Node::new(config(), now), disk, now, out: Outputs::default() }
    }

    /// Lets time pass until nothing is under way.
    fn settle(&mut self, after: Duration) {
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

    fn propose(&mut self, ticket: u64) -> Option<Answer> {
        let (ticket, command) = (Ticket(ticket), Bytes::from(vec![1; 1000]));
        self.node.handle(self.now, NodeInput::Propose { group: GROUP, ticket, command }, &mut self.out);
        self.settle(Duration::from_millis(1));
        self.out.answers.iter().find(|(t, _)| *t == ticket).map(|(_, answer)| answer.clone())
    }

    fn leads(&self) -> bool {
        self.node.status(GROUP).is_some_and(|status| status.engine.role == Role::Leader)
    }
}

/// F13: proposals are refused, certainly not done, as long as the disk is full, and the node goes on leading, also from a start on that disk.
#[test]
fn f13_a_full_disk_refuses_proposals_and_nothing_else() {
    let mut world = World::new(Disk::default());
    world.settle(Duration::from_secs(1));
    world.settle(Duration::from_secs(1));
    assert!(world.leads());
    world.disk.full = true;
    let refused = (1..100).find_map(|ticket| world.propose(ticket));
    assert_eq!(refused, Some(Answer::DiskFull));
    assert!(world.out.notices.contains(&Notice::DiskFull) && world.leads());

    for start in 0..3 {
        let mut again = World::new(std::mem::take(&mut world.disk));
        again.settle(Duration::from_secs(1));
        again.settle(Duration::from_secs(1));
        assert!(again.leads(), "start {start}: {:?}", again.node);
        assert_eq!(again.propose(1), Some(Answer::DiskFull));
        world = again;
    }
    world.disk.full = false;
    world.settle(Duration::from_secs(2));
    assert!(world.out.notices.contains(&Notice::DiskSpaceBack));
    assert_eq!(world.propose(200), None);
}

/// A hard state that does not decode is damage. Were it taken for none, a vote would be given twice.
#[test]
fn f20_a_hard_state_that_does_not_decode_is_damage() {
    let mut disk = Disk::default();
    let identity = Identity { cluster: ClusterId(7), node: NodeId(1), incarnation: Incarnation(9) };
    let mut journal = Journal::open(config().journal, identity);
    let hard_state = Some(Bytes::from_static(&[0xff; 40]));
    let mut written = false;
    loop {
        let operations = journal.operations();
        if operations.is_empty() && written {
            break;
        }
        for operation in operations {
            journal.complete(disk.execute(operation), &mut Vec::new());
        }
        if !written && journal.has_reserve() {
            journal.append(GROUP, GroupWrite { hard_state: hard_state.clone(), ..GroupWrite::default() });
            journal.flush();
            written = true;
        }
    }
    let mut world = World::new(disk);
    world.settle(Duration::from_secs(1));
    assert!(
        matches!(world.node.stopped(), Some(Fatal::Damaged(why)) if why.contains("hard state")),
        "{:?}",
        world.node.stopped()
    );
}

/// A member that joined and has not reached the entry that says who votes keeps no snapshot that says nobody does: no peer would take it.
#[test]
fn r21_a_snapshot_that_knows_no_voter_is_not_kept() {
    let mut world = World::new(Disk::default());
    world.settle(Duration::from_secs(1));
    world.settle(Duration::from_secs(1));
    assert!(world.leads());
    let mut keeps = |voters: &[NodeId]| {
        let meta = SnapshotMeta {
            position: Position::new(1, 1),
            membership: Membership::new(voters.iter().copied(), []),
            membership_at: Index(0),
            size_bytes: 1,
            digest: 0,
        };
        let chunks = Box::new(std::iter::once(Bytes::from_static(b"state")));
        let report = FromState::Snapshot { group: GROUP, meta, chunks };
        world.node.handle(world.now, NodeInput::State(report), &mut world.out);
        world.settle(Duration::from_millis(1));
        world.out.notices.iter().any(|notice| matches!(notice, Notice::SnapshotTaken { .. }))
    };
    assert!(!keeps(&[]));
    assert!(keeps(&[NodeId(1)]));
}

/// A peer's frame that says nothing, from this disk of it.
fn hello(sender: u64, incarnation: u64) -> NodeInput {
    let (cluster, incarnation) = (ClusterId(7), Incarnation(incarnation));
    let address = Address { cluster, sender: NodeId(sender), incarnation, receiver: NodeId(1) };
    let mut frame = FrameWriter::new(&address);
    frame.message(GROUP, &PeerMessage::Refused(FrameRefusal::Version));
    NodeInput::Frame(frame.finish())
}

/// C14: {a peer is met, this node starts again, and the first that it hears comes from another disk under the peer's id}: that disk is refused, although no
/// record has been applied; and the peer was not heard before its disk was durable here.
#[test]
fn c14_a_peer_is_believed_by_the_disk_that_is_durable_here_and_no_other() {
    let heard = |world: &World| {
        world.out.notices.iter().any(|notice| matches!(notice, Notice::RefusedBy { peer: NodeId(3), .. }))
    };
    let mut world = World::new(Disk::default());
    world.settle(Duration::from_secs(1));
    world.node.handle(world.now, hello(3, 0xa), &mut world.out);
    assert!(!heard(&world), "nothing is durable yet");
    world.settle(Duration::from_millis(1));
    assert!(heard(&world));

    let mut again = World::new(world.disk);
    again.settle(Duration::from_secs(1));
    again.node.handle(again.now, hello(3, 0xb), &mut again.out);
    again.settle(Duration::from_millis(1));
    assert!(!heard(&again));
    let refused = Notice::FrameRefused { sender: Some(NodeId(3)), why: FrameRefusal::Incarnation };
    assert!(again.out.notices.contains(&refused), "{:?}", again.out.notices);
    again.node.handle(again.now, hello(3, 0xa), &mut again.out);
    assert!(heard(&again), "the disk that is known is heard at once");
}
