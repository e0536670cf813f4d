//! The invariants, checked after every event that touches a host, against an oracle that sees all hosts and what is durable on their disks.
//!
//! ```text
//!   a host ran ─► Checker ─► each group that may have changed ─► Oracle: log · roles · memberships · commits · progress
//!                              what is durable on whom ◄─ Disks (read from the images, as recovery would)
//!   a state half ran ─► Oracle: the same state everywhere, and what the second execution says
//! ```
//!
//! Incremental: a group is looked at when its node says that it may have changed; each host has a mirror of its log (epochs and memberships only),
//! and what has been seen committed is kept once for all.

mod applied;
mod commit;
mod disks;
mod epochs;
mod log;
mod membership;
mod progress;
mod refines;
mod roles;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use quorate_consensus::{
    EngineKind, Epoch, FixedMap, GroupId, Index, Membership, NodeId, Position, Role, Status,
};

use crate::{
    claims::ChunkNote,
    half::After,
    host::Host,
    marks::{Mark, Marks},
    plan::{KEYS_PLACE, Shape},
    reference::{Committed, Execution, Origins, Reference},
    schedule::Time,
    shards::Show,
};
use quorate_service::TREE;

pub(crate) use disks::{Disks, Held};
use epochs::Epochs;
use log::{Known, Mirror};
use refines::Abstract;

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name, as in the catalogue: `"I1"`.
    pub id: &'static str,
    /// When, in nanoseconds of true virtual time.
    pub at: u64,
    /// The host whose event showed it, by place.
    pub host: Option<usize>,
    /// What.
    pub what: String,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) now: Time,
    pub(crate) violations: Vec<Violation>,
}

impl Findings {
    pub(crate) fn add(&mut self, id: &'static str, host: Option<usize>, what: String) {
        if self.violations.len() < 20 {
            self.violations.push(Violation { id, at: self.now, host, what });
        }
    }
}

/// What an oracle sees beside itself while it looks at a host.
pub(crate) struct Scene<'a> {
    pub(crate) group: GroupId,
    pub(crate) host: usize,
    pub(crate) hosts: &'a [Host],
    pub(crate) origins: &'a Origins,
    pub(crate) disks: &'a mut Disks,
    pub(crate) findings: &'a mut Findings,
    pub(crate) marks: &'a mut Marks,
}

impl Scene<'_> {
    fn fail(&mut self, id: &'static str, what: String) {
        self.findings.add(id, Some(self.host), format!("{}: {what}", self.group));
    }

    /// What is durable on a host.
    fn durable(&mut self, host: usize) -> &crate::shadow::Durable {
        self.disks.of(host, self.hosts, self.findings)
    }
}

/// What the oracle remembers of one host in one group.
#[derive(Debug, Default)]
struct Watch {
    life: u64,
    /// The node's own count of changes, as of the last look.
    version: u64,
    status: Status,
    snapshot: Position,
    applied: Position,
    mirror: Mirror,
    /// What was durable when its power failed; compared with what it recovers.
    at_crash: Option<Held>,
    digest_at: u64,
    /// ZAB: the greatest current epoch that was durable here.
    entered: Epoch,
}

/// All that is known of one group.
#[derive(Debug)]
pub(crate) struct Oracle {
    group: GroupId,
    watches: Vec<Watch>,
    leaders: BTreeMap<Epoch, NodeId>,
    known: FixedMap<(u64, Epoch), Known>,
    committed: Vec<Committed>,
    pub(crate) execution: Execution,
    digests: Vec<Option<u64>>,
    /// Committed memberships by index; the last is in force for ever after.
    configs: BTreeMap<u64, Membership>,
    transfer: Option<(NodeId, Epoch)>,
    /// The furthest snapshot piece each host has sent.
    chunks: BTreeMap<usize, ChunkNote>,
    /// Who has asked to lead which epoch, and with which log.
    protocol: Abstract,
    /// How far each node has said in each epoch that it has the log.
    acknowledged: BTreeMap<(NodeId, Epoch), Index>,
    /// If ZAB drives the group: its epochs.
    epochs: Option<Epochs>,
    /// The version of the records that brought the group; 0 if it is as old as the cluster, none if it is still to come.
    born_at: Option<u64>,
}

impl Oracle {
    fn new(group: GroupId, shape: &Shape, birth: Membership) -> Oracle {
        let zab = shape.engine_of(group) == EngineKind::Zab;
        Oracle {
            epochs: zab.then(|| Epochs::new(shape.zab.counter_max)),
            group,
            watches: (0..shape.hosts()).map(|_| Watch::default()).collect(),
            leaders: BTreeMap::new(),
            known: FixedMap::new(),
            committed: Vec::new(),
            execution: Execution::of(group, shape, &birth),
            digests: Vec::new(),
            configs: BTreeMap::from([(0, birth)]),
            transfer: None,
            chunks: BTreeMap::new(),
            protocol: Abstract::default(),
            acknowledged: BTreeMap::new(),
            born_at: Some(0),
        }
    }

    /// The group is added while the cluster runs, and nobody knows yet with whom.
    fn unborn(group: GroupId, shape: &Shape) -> Oracle {
        Oracle { born_at: None, ..Oracle::new(group, shape, Membership::default()) }
    }

    /// Did the records bring the group after this version, so that it was born with what that one wanted, or something later?
    pub(crate) fn is_younger_than(&self, version: u64) -> bool {
        self.born_at.is_none_or(|born_at| born_at > version)
    }

    /// The membership last seen committed.
    pub(crate) fn membership(&self) -> &Membership {
        self.configs.last_key_value().map(|(_, membership)| membership).expect("the birth is committed")
    }

    /// Was this membership ever committed?
    pub(crate) fn had(&self, membership: &Membership) -> bool {
        self.configs.values().any(|config| config == membership)
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed.len() as u64
    }

    /// How a host stood after its last event.
    pub(crate) fn status(&self, host: usize) -> &Status {
        &self.watches[host].status
    }

    /// Whose oracle it is.
    pub(crate) fn group(&self) -> GroupId {
        self.group
    }

    /// Has the host opened the group in this life of its process? If not, its status is that of an earlier one.
    pub(crate) fn is_open(&self, host: usize, life: u64) -> bool {
        self.watches[host].life == life
    }

    /// Did `node` vote in any membership that was committed?
    pub(crate) fn was_voter(&self, node: NodeId) -> bool {
        self.configs.values().any(|membership| membership.is_voter(node))
    }

    /// The host that leads in the greatest epoch.
    pub(crate) fn leader(&self, hosts: &[Host]) -> Option<usize> {
        let leads = |host: &usize| hosts[*host].runs() && self.watches[*host].status.role == Role::Leader;
        (0..hosts.len()).filter(leads).max_by_key(|host| self.watches[*host].status.epoch)
    }

    /// The epoch of the entry at `index` in a host's log.
    pub(crate) fn epoch_in_log(&self, host: usize, index: Index) -> Option<Epoch> {
        self.watches[host].mirror.epoch(index.0)
    }

    /// Looks at a host after an event.
    fn after_run(&mut self, version: u64, scene: &mut Scene<'_>) {
        let host = scene.host;
        let hosts = scene.hosts;
        let Some(process) = &hosts[host].process else { return };
        let Some(status) = process.node.status(self.group) else { return };
        let Some(engine) = process.node.engine(self.group) else { return };
        if self.watches[host].life != hosts[host].life {
            self.recovered(engine, &status.engine, scene);
        }
        self.watches[host].version = version;
        let (before, after) = (std::mem::take(&mut self.watches[host].status), status.engine);
        // What is asked of all hosts meanwhile is who leads.
        self.watches[host].status.role = before.role;
        self.ordering(&before, &after, (status.applied, status.snapshot), scene);
        let change = self.log(engine, before.commit.0, &after, scene);
        self.epochs(&after, scene);
        self.roles(&before, &after, scene);
        self.refines(&before, &after, change, scene);
        if after.commit > before.commit {
            self.commits(&before, &after, scene);
        }
        self.memberships(&after, scene);
        self.execute(scene);
        self.progress(&before, &after, scene);
        self.transfers(&before, &after, scene);
        self.watches[host].status = after;
    }

    /// A piece of a snapshot leaves a host: one that was sent before means that a transfer goes on in the middle.
    pub(crate) fn chunk_sent(&mut self, host: usize, position: Position, number: u64, marks: &mut Marks) {
        let note = self.chunks.entry(host).or_insert((position, number));
        if note.0 == position && number > 0 && number <= note.1 {
            marks.hit(Mark::SnapshotResumed);
        }
        *note = if note.0 == position { (position, note.1.max(number)) } else { (position, number) };
    }
}

/// The judge of a run.
#[derive(Debug)]
pub(crate) struct Checker {
    pub(crate) findings: Findings,
    pub(crate) disks: Disks,
    /// In the order of [`Shape::groups`], and those of shards as they come.
    oracles: Vec<Oracle>,
}

impl Checker {
    pub(crate) fn new(shape: &Shape, birth: &Membership) -> Checker {
        let late = shape.tree.as_ref().is_some_and(|tree| tree.late);
        let oracle = |group: &GroupId| {
            if late && *group == TREE {
                Oracle::unborn(*group, shape)
            } else {
                Oracle::new(*group, shape, birth.clone())
            }
        };
        Checker {
            findings: Findings::default(),
            disks: Disks::new(shape.hosts() as usize, shape.groups_on_disk()),
            oracles: shape.groups().iter().map(oracle).collect(),
        }
    }

    pub(crate) fn fail(&mut self, id: &'static str, host: Option<usize>, what: String) {
        self.findings.add(id, host, what);
    }

    /// Nothing was found yet.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.violations.is_empty()
    }

    /// The oracles of all groups that there are; the tree, which may be still to come, is the last.
    pub(crate) fn groups(&self) -> &[Oracle] {
        let born = self.oracles.iter().take_while(|oracle| oracle.born_at.is_some()).count();
        &self.oracles[..born]
    }

    /// The group was added to the records just now: from here on it is what they say. True once.
    pub(crate) fn is_born_now(&mut self, group: GroupId) -> bool {
        let records = self.records();
        let Some(oracle) = self.oracles.iter_mut().find(|oracle| oracle.group == group) else { return false };
        let Some(birth) = records.birth(group).filter(|_| oracle.born_at.is_none()) else { return false };
        oracle.configs.insert(0, birth.clone());
        oracle.born_at = Some(records.version());
        true
    }

    pub(crate) fn group(&self, group: GroupId) -> Option<&Oracle> {
        self.oracles.iter().find(|oracle| oracle.group == group)
    }

    pub(crate) fn meta(&self) -> &Oracle {
        &self.oracles[0]
    }

    pub(crate) fn keys(&self) -> &Oracle {
        &self.oracles[KEYS_PLACE]
    }

    /// The naive execution of the committed log of the keys.
    pub(crate) fn reference(&self) -> &Reference {
        self.keys().execution.reference().expect("the keys have one")
    }

    /// The cluster's records, as the committed log of `meta` says.
    pub(crate) fn records(&self) -> quorate_service::placement::View {
        self.meta().execution.records().expect("meta has them")
    }

    /// The parts that judge what leaves a host.
    pub(crate) fn parts(&mut self, group: GroupId) -> Option<(&mut Oracle, &mut Disks, &mut Findings)> {
        let oracle = self.oracles.iter_mut().find(|oracle| oracle.group == group)?;
        Some((oracle, &mut self.disks, &mut self.findings))
    }

    /// Looks at the groups of a host that may have changed.
    pub(crate) fn after_run(
        &mut self,
        host: usize,
        hosts: &[Host],
        origins: &Origins,
        marks: &mut Marks,
        shape: &Shape,
    ) {
        let Some(process) = &hosts[host].process else { return };
        for oracle in &mut self.oracles {
            let version = process.node.status_version(oracle.group);
            let watch = &oracle.watches[host];
            if version == 0 || (watch.version == version && watch.life == hosts[host].life) {
                continue;
            }
            let (group, disks, findings) = (oracle.group, &mut self.disks, &mut self.findings);
            oracle.after_run(version, &mut Scene { group, host, hosts, origins, disks, findings, marks });
        }
        if shape.shards.is_some() {
            self.place(origins, marks, shape);
        }
    }

    /// Executes what has its place by now of keys that are divided, and has oracles for the groups that have come.
    fn place(&mut self, origins: &Origins, marks: &mut Marks, shape: &Shape) {
        let version = self.records().version();
        let (keys, shards) = self.oracles[KEYS_PLACE..].split_first_mut().expect("the keys have an oracle");
        let Some(reference) = keys.execution.reference_mut() else { return };
        let Some(placed) = &mut reference.placed else { return };
        for oracle in shards {
            let group = oracle.group;
            if let Some(log) = oracle.execution.shard() {
                placed.take_items(group, log.take());
            }
        }
        let born = placed.take_born();
        for wrong in reference.advance(origins, marks) {
            self.findings.add(wrong.id, None, wrong.what);
        }
        for (group, birth) in born {
            marks.hit(Mark::ShardBorn);
            self.oracles.push(Oracle { born_at: Some(version), ..Oracle::new(group, shape, birth) });
        }
    }

    /// What a host shows of divided keys.
    pub(crate) fn shown(&mut self, host: usize, shows: Vec<Show>) {
        let Some(reference) = self.oracles[KEYS_PLACE].execution.reference_mut() else { return };
        for show in shows {
            if let Err(wrong) = reference.shown.judge(host, show) {
                self.findings.add(wrong.id, Some(host), wrong.what);
            }
        }
    }

    /// P4, of a host.
    pub(crate) fn check_shown(&mut self, host: usize) {
        let reference = self.reference();
        let is_behind = reference.placed.as_ref().is_some_and(|placed| !placed.is_done());
        let verdict = reference.placed.as_ref().map_or(Ok(()), |_| reference.shown.shows_all(host));
        if is_behind {
            self.findings.add("P4", None, "what the order has decided stands in no shard's log".to_owned());
        }
        if let Err(wrong) = verdict {
            self.findings.add(wrong.id, Some(host), wrong.what);
        }
    }

    /// Entries are on their way to a host's state half.
    pub(crate) fn fed(&mut self, host: usize, group: GroupId, entries: &[quorate_consensus::Entry]) {
        if let Some((oracle, _, findings)) = self.parts(group) {
            entries.iter().for_each(|entry| oracle.learn(host, entry, findings));
            // What was read back from the journal changes nothing in the engine, and may be what the second execution waits for.
            oracle.watches[host].version = 0;
        }
    }

    /// A host has asked to lead, and may have given up in the same event. {3 is paused with the answers to its election in its inbox}: when it goes on it begins epoch
    /// 4 by them, sees that nobody has been heard of for long, and looks for a leader again.
    pub(crate) fn stood(&mut self, host: usize, node: NodeId, group: GroupId, epoch: Epoch) {
        if let Some((oracle, _, _)) = self.parts(group) {
            oracle.asks(host, node, epoch);
        }
    }

    /// A state half ran.
    pub(crate) fn after_apply(&mut self, host: usize, after: &[After], marks: &mut Marks) {
        for state in after {
            if let Some((oracle, _, findings)) = self.parts(state.group) {
                oracle.after_apply(host, state, findings, marks);
            }
        }
    }

    /// The power of a host is about to fail: what is durable there is what it must recover.
    pub(crate) fn before_crash(&mut self, host: usize, hosts: &[Host], marks: &mut Marks) {
        self.disks.read_again(host, hosts, &mut self.findings);
        for oracle in &mut self.oracles {
            let held = self.disks.of(host, hosts, &mut self.findings).held(oracle.group);
            oracle.before_crash(host, hosts, held, marks);
        }
    }

    /// A process ended, one way or another.
    pub(crate) fn stopped(&mut self, host: usize) {
        for oracle in &mut self.oracles {
            oracle.watches[host].status.role = Role::Follower;
            oracle.watches[host].digest_at = 0;
        }
    }

    /// A host's disk was replaced or damaged: nothing is expected of it any more.
    pub(crate) fn lost(&mut self, host: usize) {
        self.disks.forget(host);
        for oracle in &mut self.oracles {
            oracle.watches[host] = Watch::default();
        }
    }
}

/// Counted by hand: the production code's own counting may be what is wrong.
pub(crate) fn quorum(membership: &Membership, yes: &[NodeId]) -> bool {
    let half = |voters: &[NodeId]| {
        voters.is_empty() || voters.iter().filter(|node| yes.contains(node)).count() * 2 > voters.len()
    };
    !membership.voters().is_empty() && half(membership.voters()) && half(membership.outgoing())
}
