//! The invariants, checked after every event that touches a host, against an oracle that sees all hosts and what is durable on their disks.
//!
//! Incremental: each host has a mirror of its log (epochs and memberships only), and what has been seen committed is kept once for all.

use std::collections::{BTreeMap, VecDeque};

use quorate_consensus::{Engine, Entry, Epoch, Index, Membership, NodeId, Payload, Position, Role, Status};
use quorate_journal::Identity;
use quorate_raft::Raft;

use crate::{
    claims::ChunkNote,
    half::{After, KEYS},
    host::Host,
    marks::{Mark, Marks},
    reference::{Committed, Origins, Reference},
    schedule::Time,
    shadow::{self, Durable},
};

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

/// A host's log as the oracle knows it.
#[derive(Debug, Default)]
struct Mirror {
    base: u64,
    epochs: VecDeque<Epoch>,
    memberships: BTreeMap<u64, Membership>,
}

impl Mirror {
    fn last(&self) -> u64 {
        self.base + self.epochs.len() as u64
    }

    fn epoch(&self, index: u64) -> Option<Epoch> {
        self.epochs.get(index.checked_sub(self.base + 1)? as usize).copied()
    }

    fn drop_to(&mut self, base: u64) {
        while self.base < base && self.epochs.pop_front().is_some() {
            self.base += 1;
        }
        self.base = self.base.max(base);
    }

    fn truncate(&mut self, last: u64) {
        self.epochs.truncate(last.saturating_sub(self.base) as usize);
        self.memberships.split_off(&(last + 1));
    }
}

/// What the oracle remembers of one host.
#[derive(Debug, Default)]
struct Watch {
    life: u64,
    status: Status,
    snapshot: Position,
    applied: Position,
    mirror: Mirror,
    durable: Durable,
    /// What was durable when its power failed; compared with what it recovers.
    at_crash: Option<Durable>,
    digest_at: u64,
}

/// What is known of a position: the epoch of the entry before it, and, once it has been seen, the entry.
#[derive(Debug, Default)]
struct Known {
    before: Option<Epoch>,
    entry: Option<Entry>,
}

#[derive(Debug, Default)]
pub(crate) struct Checker {
    pub(crate) now: Time,
    pub(crate) violations: Vec<Violation>,
    watches: Vec<Watch>,
    leaders: BTreeMap<Epoch, NodeId>,
    votes: BTreeMap<(NodeId, Epoch), NodeId>,
    known: BTreeMap<(u64, Epoch), Known>,
    committed: Vec<Committed>,
    pub(crate) reference: Reference,
    digests: BTreeMap<u64, u64>,
    /// Committed memberships by index; the last is in force for ever after.
    configs: BTreeMap<u64, Membership>,
    transfer: Option<(NodeId, Epoch)>,
    /// The furthest snapshot piece each host has sent.
    chunks: BTreeMap<usize, ChunkNote>,
}

impl Checker {
    pub(crate) fn new(hosts: usize, birth: Membership) -> Checker {
        Checker {
            watches: (0..hosts).map(|_| Watch::default()).collect(),
            configs: BTreeMap::from([(0, birth)]),
            ..Checker::default()
        }
    }

    pub(crate) fn fail(&mut self, id: &'static str, host: Option<usize>, what: String) {
        if self.violations.len() < 20 {
            self.violations.push(Violation { id, at: self.now, host, what });
        }
    }

    /// The membership last seen committed.
    pub(crate) fn membership(&self) -> &Membership {
        self.configs.last_key_value().map(|(_, membership)| membership).expect("the birth is committed")
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed.len() as u64
    }

    /// How a host stood after its last event.
    pub(crate) fn status(&self, host: usize) -> &Status {
        &self.watches[host].status
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

    /// What is durable on a host, read anew if its disk has changed.
    pub(crate) fn durable(&mut self, host: usize, hosts: &[Host]) -> &Durable {
        let version = hosts[host].disk.version();
        if self.watches[host].durable.version != version || version == 0 {
            let fresh = read(&hosts[host]);
            self.compare_durable(host, hosts, &fresh);
            self.watches[host].durable = fresh;
        }
        &self.watches[host].durable
    }

    /// I2 and I3 on disk: the durable term never falls, and a vote once durable is never another.
    fn compare_durable(&mut self, host: usize, hosts: &[Host], fresh: &Durable) {
        if hosts[host].is_lost() {
            return;
        }
        if let Some(why) = &fresh.unreadable {
            return self.fail("I17", Some(host), format!("were the power to fail now: {why}"));
        }
        let node = hosts[host].id;
        let before = &self.watches[host].durable;
        let (old, new) = (epoch_of(before), epoch_of(fresh));
        if new < old {
            self.fail("I2", Some(host), format!("the durable term fell from {old} to {new}"));
        }
        if let Some(state) = &fresh.hard_state
            && let Some(vote) = vote_of(state)
        {
            let first = *self.votes.entry((node, new)).or_insert(vote);
            if first != vote {
                self.fail(
                    "I3",
                    Some(host),
                    format!("in term {new} a durable vote for {first}, then for {vote}"),
                );
            }
        }
    }

    // ── a host ran ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Looks at a host after an event.
    pub(crate) fn after_run(&mut self, host: usize, hosts: &[Host], origins: &Origins, marks: &mut Marks) {
        let Some(process) = &hosts[host].process else { return };
        let Some(status) = process.node.status(KEYS) else { return };
        let Some(engine) = process.node.engine(KEYS) else { return };
        if self.watches[host].life != hosts[host].life {
            self.recovered(host, hosts, engine, &status.engine, marks);
        }
        let (before, after) = (self.watches[host].status.clone(), status.engine);
        self.ordering(host, &before, &after, (status.applied, status.snapshot));
        self.log(host, engine, &after, marks);
        self.roles(host, hosts[host].id, &before, &after, marks);
        if after.commit > before.commit {
            self.commits(host, hosts, &before, &after, marks);
        }
        self.memberships(host, &after);
        self.execute(host, origins, marks);
        self.progress(host, hosts, &before, &after);
        self.transfers(hosts[host].id, &before, &after, marks);
        self.watches[host].status = after;
    }

    /// I17: what a host recovered holds all that was durable and nothing that was never written.
    fn recovered(&mut self, host: usize, hosts: &[Host], engine: &Raft, status: &Status, marks: &mut Marks) {
        let fresh = self.durable(host, hosts).clone();
        let mut watch = Watch { life: hosts[host].life, durable: fresh.clone(), ..Watch::default() };
        watch.mirror.base = status.compacted.index.0;
        for index in status.compacted.index.0 + 1..=status.last.index.0 {
            watch.mirror.epochs.push_back(engine.epoch_at(Index(index)).unwrap_or_default());
        }
        watch.mirror.memberships = fresh.memberships.iter().map(|(i, m)| (i.0, m.clone())).collect();
        watch.status = Status { role: Role::Follower, ..status.clone() };
        watch.status.commit = Index(0).max(status.commit.min(fresh.snapshot_index()));
        watch.status.leader = None;
        if let Some(crash) = self.watches[host].at_crash.take() {
            marks.hit(Mark::RecoveryCompared);
            self.compare_recovery(host, &crash, &fresh, &watch.mirror, status);
        }
        self.watches[host] = watch;
    }

    fn compare_recovery(
        &mut self,
        host: usize,
        crash: &Durable,
        fresh: &Durable,
        mirror: &Mirror,
        status: &Status,
    ) {
        if status.epoch < epoch_of(crash) {
            let what = format!("recovered term {}, but {} was durable", status.epoch, epoch_of(crash));
            self.fail("I17", Some(host), what);
        }
        let end = crash.last;
        let kept =
            fresh.holds(end.index, end.epoch) || mirror.epochs.back().is_some_and(|last| *last > end.epoch);
        if !kept {
            self.fail(
                "I17",
                Some(host),
                format!("{end} was durable; the log recovered ends at {}", status.last),
            );
        }
        if fresh.snapshot_index() < crash.snapshot_index() {
            let what = format!(
                "a snapshot at {} was durable, recovered {}",
                crash.snapshot_index(),
                fresh.snapshot_index()
            );
            self.fail("I17", Some(host), what);
        }
        for index in mirror.base + 1..=mirror.last() {
            let epoch = mirror.epoch(index).unwrap_or_default();
            if !self.known.contains_key(&(index, epoch)) {
                self.fail("I17", Some(host), format!("recovered {epoch}.{index}, which nobody ever wrote"));
                break;
            }
        }
    }

    /// I2 and I9: nothing that only grows falls, and compacted ≤ snapshot, applied ≤ commit ≤ last.
    fn ordering(
        &mut self,
        host: usize,
        before: &Status,
        after: &Status,
        (applied, snapshot): (Position, Position),
    ) {
        if after.epoch < before.epoch {
            self.fail("I2", Some(host), format!("the term fell from {} to {}", before.epoch, after.epoch));
        }
        let watch = &self.watches[host];
        let (old_applied, old_snapshot) = (watch.applied, watch.snapshot);
        let orderly = after.compacted.index <= snapshot.index
            && applied.index <= after.commit
            && after.commit <= after.last.index;
        let falls = after.commit < before.commit
            || after.compacted.index < before.compacted.index
            || applied.index < old_applied.index
            || snapshot.index < old_snapshot.index;
        if !orderly || falls {
            let what = format!(
                "compacted {} → {}, snapshot {old_snapshot} → {snapshot}, applied {old_applied} → {applied}, commit {} → {}, last {} → {}",
                before.compacted, after.compacted, before.commit, after.commit, before.last, after.last
            );
            self.fail("I9", Some(host), what);
        }
        self.watches[host].applied = applied;
        self.watches[host].snapshot = snapshot;
    }

    /// Brings the mirror up to date. I4: one position, one entry, one history before it. I6: nothing committed is truncated.
    fn log(&mut self, host: usize, engine: &Raft, after: &Status, marks: &mut Marks) {
        let watch = &mut self.watches[host];
        let mirror = &mut watch.mirror;
        let (compacted, last) = (after.compacted.index.0, after.last.index.0);
        if compacted > mirror.base {
            marks.hit(Mark::LogCompacted);
            mirror.drop_to(compacted);
        }
        let mut same = mirror.last().min(last);
        while same > mirror.base && engine.epoch_at(Index(same)) != mirror.epoch(same) {
            same -= 1;
        }
        let truncated = mirror.last() > same;
        if truncated {
            marks.hit(Mark::LogTruncated);
            if mirror.memberships.range(same + 1..).next().is_some() {
                marks.hit(Mark::JointTruncated);
            }
            mirror.truncate(same);
        }
        let commit = watch.status.commit.0;
        if truncated && same < commit && compacted < commit {
            self.fail("I6", Some(host), format!("truncated to {same}, but committed up to {commit}"));
        }
        if last > same {
            self.appended(host, engine, same, last);
        }
    }

    fn appended(&mut self, host: usize, engine: &Raft, same: u64, last: u64) {
        let mut clash = None;
        let mirror = &mut self.watches[host].mirror;
        for index in same + 1..=last {
            let epoch = engine.epoch_at(Index(index)).unwrap_or_default();
            let before = if index == 1 { Some(Epoch::ZERO) } else { engine.epoch_at(Index(index - 1)) };
            mirror.epochs.push_back(epoch);
            let known = self.known.entry((index, epoch)).or_default();
            if let Some(Entry { payload: Payload::Membership(membership), .. }) = &known.entry {
                mirror.memberships.insert(index, membership.clone());
            }
            if let (Some(first), Some(before)) = (known.before, before)
                && first != before
            {
                clash =
                    Some(format!("{epoch}.{index} stands after an entry of {before}, elsewhere of {first}"));
            }
            known.before = known.before.or(before);
        }
        if let Some(what) = clash {
            self.fail("I4", Some(host), what);
        }
    }

    /// An entry was seen, in a frame or on its way to a state half. I4: a position has one entry.
    pub(crate) fn learn(&mut self, host: usize, entry: &Entry) {
        let position = entry.position;
        let known = self.known.entry((position.index.0, position.epoch)).or_default();
        match &known.entry {
            Some(first) if first != entry => {
                let what = format!("{position} holds {:?}, elsewhere {:?}", entry.payload, first.payload);
                self.fail("I4", Some(host), what);
            }
            Some(_) => {}
            None => known.entry = Some(entry.clone()),
        }
    }

    /// Committed entries are on their way to a host's state half.
    pub(crate) fn fed(&mut self, host: usize, entries: &[Entry]) {
        for entry in entries {
            self.learn(host, entry);
        }
    }

    /// I1: one leader a term. I5: a leader has everything that was committed in earlier terms.
    fn roles(&mut self, host: usize, node: NodeId, before: &Status, after: &Status, marks: &mut Marks) {
        if before.role == Role::Leader && after.role != Role::Leader {
            marks.hit(Mark::LeaderSteppedDown);
        }
        if before.role == Role::Candidate && after.role == Role::Candidate && after.epoch > before.epoch
            || before.role == Role::Candidate && after.role == Role::PreCandidate
        {
            marks.hit(Mark::SplitVote);
        }
        if after.role != Role::Leader || (before.role == Role::Leader && before.epoch == after.epoch) {
            return;
        }
        marks.hit(Mark::LeaderElected);
        let others = self.watches.iter().enumerate();
        if others.filter(|(other, w)| *other != host && w.status.role == Role::Leader).count() > 0 {
            marks.hit(Mark::TwoLeadersAtOnce);
        }
        if self.leaders.last_key_value().is_some_and(|(last, _)| last.0 + 1 < after.epoch.0) {
            marks.hit(Mark::TermWithoutLeader);
        }
        let first = *self.leaders.entry(after.epoch).or_insert(node);
        if first != node {
            self.fail("I1", Some(host), format!("{first} and {node} both lead term {}", after.epoch));
        }
        let earlier = self.committed.iter().rposition(|entry| entry.seen_in < after.epoch);
        if let Some(place) = earlier {
            let (index, entry) = (place as u64 + 1, self.committed[place]);
            let mirror = &self.watches[host].mirror;
            if index > mirror.base && mirror.epoch(index) != Some(entry.epoch) {
                let has = mirror.epoch(index);
                let what = format!(
                    "leads term {} without {}.{index}, committed in term {}; it has {has:?} there",
                    after.epoch, entry.epoch, entry.seen_in
                );
                self.fail("I5", Some(host), what);
            }
        }
    }

    /// I12: the acting membership is the newest in the log, and at most one is not committed.
    fn memberships(&mut self, host: usize, after: &Status) {
        let committed = self.committed();
        let mirror = &mut self.watches[host].mirror;
        let (at, last) = (after.membership_at.0, mirror.last());
        if at > last {
            let what = format!("acts on the membership of {at}, its log ends at {last}");
            return self.fail("I12", Some(host), what);
        }
        if at > mirror.base && !mirror.memberships.contains_key(&at) {
            let epoch = mirror.epoch(at).unwrap_or_default();
            let known = self.known.get(&(at, epoch)).and_then(|known| known.entry.as_ref());
            if let Some(entry) = known
                && !matches!(entry.payload, Payload::Membership(_))
            {
                let what = format!("acts on the membership of {at}, where its log holds another entry");
                return self.fail("I12", Some(host), what);
            }
            mirror.memberships.insert(at, after.membership.clone());
        }
        if let Some((index, newest)) = mirror.memberships.last_key_value()
            && *index > mirror.base
            && (*index, newest) != (at, &after.membership)
        {
            let what =
                format!("acts on {:?} of {at}, its log's newest is {newest:?} of {index}", after.membership);
            return self.fail("I12", Some(host), what);
        }
        if after.role == Role::Leader {
            let open: Vec<u64> = mirror.memberships.range(committed + 1..).map(|(index, _)| *index).collect();
            if open.len() > 1 {
                self.fail(
                    "I12",
                    Some(host),
                    format!("{} memberships uncommitted at once: {open:?}", open.len()),
                );
            }
        }
    }

    // ── commit ──────────────────────────────────────────────────────────────────────────────────────────────────────

    fn commits(&mut self, host: usize, hosts: &[Host], before: &Status, after: &Status, marks: &mut Marks) {
        let commit = after.commit.0;
        let leads = before.role == Role::Leader && after.role == Role::Leader && before.epoch == after.epoch;
        let epoch_there = self.watches[host].mirror.epoch(commit);
        if leads && epoch_there.is_some_and(|epoch| epoch != after.epoch) {
            let what =
                format!("the leader of term {} commits {epoch_there:?}.{commit} by counting", after.epoch);
            self.fail("I8", Some(host), what);
        }
        let new_from = self.committed() + 1;
        if commit >= new_from {
            self.durable_quorum(host, hosts, after, commit);
        }
        for index in before.commit.0 + 1..=commit {
            let Some(epoch) = self.watches[host].mirror.epoch(index) else {
                if index > self.committed() {
                    self.fail(
                        "I6",
                        Some(host),
                        format!("{index} is committed here and its entry is nowhere"),
                    );
                    return;
                }
                continue;
            };
            self.commit_one(host, index, epoch, after.epoch, marks);
        }
    }

    /// I7: a quorum of the membership in force holds the entry durably at the moment it is first committed.
    fn durable_quorum(&mut self, host: usize, hosts: &[Host], after: &Status, commit: u64) {
        let Some(epoch) = self.watches[host].mirror.epoch(commit) else { return };
        let mut holders = Vec::new();
        for other in 0..hosts.len() {
            let id = hosts[other].id;
            let member = after.membership.is_voter(id) || self.watches[host].status.membership.is_voter(id);
            // What a lost disk held counted while it was there.
            let lost =
                hosts[other].is_lost() && after.matched.get(&hosts[other].id).is_some_and(|m| m.0 >= commit);
            if member && (lost || self.durable(other, hosts).holds(Index(commit), epoch)) {
                holders.push(hosts[other].id);
            }
        }
        // The commit may have come before the membership changed, within one event.
        let memberships = [&self.watches[host].status.membership, &after.membership];
        if !memberships.into_iter().any(|membership| quorum(membership, &holders)) {
            let what = format!(
                "{epoch}.{commit} committed as {:?} of term {}, durable only on {holders:?} of {:?}",
                after.role, after.epoch, after.membership
            );
            self.fail("I7", Some(host), what);
        }
    }

    /// I6: what is committed at an index never changes, on any host.
    fn commit_one(&mut self, host: usize, index: u64, epoch: Epoch, seen_in: Epoch, marks: &mut Marks) {
        if let Some(first) = self.committed.get(index as usize - 1) {
            if first.epoch != epoch {
                let what = format!("at {index} {} was committed, here {epoch}", first.epoch);
                self.fail("I6", Some(host), what);
            }
        } else if index == self.committed() + 1 {
            self.committed.push(Committed { epoch, seen_in });
            if epoch < seen_in {
                marks.hit(Mark::EntryOfEarlierTermCommitted);
            }
        }
    }

    /// Executes what is committed and known, in order.
    fn execute(&mut self, host: usize, origins: &Origins, marks: &mut Marks) {
        while let Some(committed) = self.committed.get(self.reference.last() as usize) {
            let index = self.reference.last() + 1;
            let known = self.known.get(&(index, committed.epoch)).and_then(|known| known.entry.as_ref());
            let Some(entry) = known.cloned() else { return };
            if let Payload::Membership(membership) = &entry.payload {
                self.config_committed(host, index, membership.clone(), marks);
            }
            let step = self.reference.execute(&entry, origins);
            if step.duplicate {
                marks.hit(Mark::DuplicateAnswered);
            }
            if let Some(operation) = step.twice {
                let what =
                    format!("operation {operation} without a session is in the log twice, again at {index}");
                self.fail("X1", Some(host), what);
            }
        }
    }

    /// I12: any two quorums of adjacent memberships share a node.
    fn config_committed(&mut self, host: usize, index: u64, new: Membership, marks: &mut Marks) {
        let old = self.membership().clone();
        let nodes: Vec<NodeId> = {
            let mut nodes: Vec<NodeId> = old.members().chain(new.members()).collect();
            nodes.sort_unstable();
            nodes.dedup();
            nodes
        };
        for set in 0..1u32 << nodes.len() {
            let within: Vec<NodeId> = nodes
                .iter()
                .enumerate()
                .filter(|(bit, _)| set >> bit & 1 == 1)
                .map(|(_, node)| *node)
                .collect();
            let without: Vec<NodeId> = nodes.iter().copied().filter(|node| !within.contains(node)).collect();
            if quorum(&old, &within) && quorum(&new, &without) {
                let what = format!("{old:?} then {new:?}: {within:?} and {without:?} are quorums apart");
                self.fail("I12", Some(host), what);
                break;
            }
        }
        if new.is_joint() {
            marks.hit(Mark::JointCommitted);
        }
        for node in new.members() {
            if new.learners().contains(&node) && !old.contains(node) {
                marks.hit(Mark::LearnerAdded);
            }
            if new.voters().contains(&node) && old.learners().contains(&node) {
                marks.hit(Mark::LearnerPromoted);
            }
        }
        let gone = old.outgoing().iter().any(|node| !new.contains(*node));
        let come = old.is_joint() && old.voters().iter().any(|node| !old.outgoing().contains(node));
        if gone || old.learners().iter().any(|node| !new.contains(*node)) {
            marks.hit(Mark::MemberRemoved);
        }
        if gone && come {
            marks.hit(Mark::MemberReplaced);
        }
        let leads = self.watches[host].status.role == Role::Leader;
        if leads && gone && old.outgoing().iter().any(|n| !new.contains(*n) && self.leads_now(*n)) {
            marks.hit(Mark::LeaderRemoved);
        }
        self.configs.insert(index, new);
    }

    fn leads_now(&self, node: NodeId) -> bool {
        let place = node.0 as usize - 1;
        self.watches.get(place).is_some_and(|watch| watch.status.role == Role::Leader)
    }

    /// I11: what a leader believes of a member is durable there.
    fn progress(&mut self, host: usize, hosts: &[Host], before: &Status, after: &Status) {
        if after.role != Role::Leader {
            return;
        }
        let same_lead = before.role == Role::Leader && before.epoch == after.epoch;
        for (node, matched) in &after.matched {
            let old = if same_lead { before.matched.get(node).copied() } else { None };
            if old == Some(*matched) {
                continue;
            }
            if old.is_some_and(|old| old > *matched) && same_lead {
                self.fail("I11", Some(host), format!("match of {node} fell from {old:?} to {matched}"));
            }
            let Some(other) = hosts.iter().position(|other| other.id == *node) else { continue };
            let epoch = self.watches[host].mirror.epoch(matched.0);
            let Some(epoch) = epoch.filter(|_| !hosts[other].is_lost()) else { continue };
            // A member that follows a later leader may have replaced what it acknowledged to this one.
            let durable = self.durable(other, hosts);
            if epoch_of(durable) <= after.epoch && !durable.holds(*matched, epoch) {
                let end = self.watches[other].durable.last;
                let what = format!("believes {node} holds {epoch}.{matched}; durable there is up to {end}");
                self.fail("I11", Some(host), what);
            }
        }
    }

    fn transfers(&mut self, node: NodeId, before: &Status, after: &Status, marks: &mut Marks) {
        if before.transfer_to.is_none()
            && let Some(to) = after.transfer_to
        {
            marks.hit(Mark::TransferStarted);
            self.transfer = Some((to, after.epoch));
        }
        if before.transfer_to.is_some() && after.transfer_to.is_none() && after.role == Role::Leader {
            marks.hit(Mark::TransferAborted);
        }
        if after.role == Role::Leader
            && before.role != Role::Leader
            && let Some((to, epoch)) = self.transfer.take()
            && to == node
            && after.epoch.0 == epoch.0 + 1
        {
            marks.hit(Mark::TransferCompleted);
        }
    }

    // ── a state half ran ────────────────────────────────────────────────────────────────────────────────────────────

    /// I10 and I16: the state after an entry is the same on every replica, come by entries or by snapshot. X1 and E1: it is what the naive
    /// execution gives.
    pub(crate) fn after_apply(&mut self, host: usize, after: &[After], marks: &mut Marks) {
        for state in after {
            let index = state.position.index.0;
            if state.restored {
                marks.hit(Mark::SnapshotRestoredAtStart);
            }
            let previous = std::mem::replace(&mut self.watches[host].digest_at, index);
            let fresh = self.watches[host].life == 0;
            if index < previous && !fresh {
                self.fail("I9", Some(host), format!("the state went back from {previous} to {index}"));
            }
            let first = *self.digests.entry(index).or_insert(state.digest);
            let id = if state.restored { "I16" } else { "I10" };
            if first != state.digest {
                let what = format!(
                    "the state after {} has digest {:x}, elsewhere {first:x}",
                    state.position, state.digest
                );
                self.fail(id, Some(host), what);
            }
            if index > self.committed() {
                self.fail("I6", Some(host), format!("{} is applied and was never committed", state.position));
            }
            if let Some(step) = self.reference.step(index)
                && step.revision != state.revision
            {
                let id = if step.duplicate || step.expired { "X1" } else { "E1" };
                let what = format!(
                    "after {} the revision is {}, should be {}",
                    state.position, state.revision, step.revision
                );
                self.fail(id, Some(host), what);
            }
        }
    }

    // ── crashes ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The power of a host is about to fail: what is durable there is what it must recover.
    pub(crate) fn before_crash(&mut self, host: usize, hosts: &[Host], marks: &mut Marks) {
        let durable = self.durable(host, hosts).clone();
        let status = self.watches[host].status.clone();
        if hosts[host].runs() && status.role == Role::Leader {
            marks.hit(Mark::LeaderCrashed);
            if status.last.index > status.commit {
                marks.hit(Mark::LeaderCrashedWithTail);
            }
            if status.membership.is_joint() {
                marks.hit(Mark::JointLeaderCrashed);
            }
        }
        self.stopped(host);
        if durable.unreadable.is_none() {
            self.watches[host].at_crash = Some(durable);
        }
    }

    /// A piece of a snapshot leaves a host: one that was sent before means that a transfer goes on in the middle.
    pub(crate) fn chunk_sent(&mut self, host: usize, position: Position, number: u64, marks: &mut Marks) {
        let note = self.chunks.entry(host).or_insert((position, number));
        if note.0 == position && number > 0 && number <= note.1 {
            marks.hit(Mark::SnapshotResumed);
        }
        *note = if note.0 == position { (position, note.1.max(number)) } else { (position, number) };
    }

    /// The epoch of the entry at `index` in a host's log.
    pub(crate) fn epoch_in_log(&self, host: usize, index: Index) -> Option<Epoch> {
        self.watches[host].mirror.epoch(index.0)
    }

    /// A process ended, one way or another.
    pub(crate) fn stopped(&mut self, host: usize) {
        self.watches[host].status.role = Role::Follower;
        self.watches[host].digest_at = 0;
    }

    /// A host's disk was replaced or damaged: nothing is expected of it any more.
    pub(crate) fn lost(&mut self, host: usize) {
        self.watches[host] = Watch::default();
    }
}

fn read(host: &Host) -> Durable {
    let identity = Identity {
        cluster: quorate_consensus::ClusterId(7),
        node: host.id,
        incarnation: host.reborn.unwrap_or(host.incarnation),
    };
    shadow::read(host.disk.image(), identity, host.disk.version())
}

pub(crate) fn epoch_of(durable: &Durable) -> Epoch {
    durable.hard_state.as_ref().map(|state| state.term).unwrap_or_default()
}

pub(crate) fn vote_of(state: &quorate_raft::HardState) -> Option<NodeId> {
    state.vote
}

/// Counted by hand: the production code's own counting may be what is wrong.
pub(crate) fn quorum(membership: &Membership, yes: &[NodeId]) -> bool {
    let half = |voters: &[NodeId]| {
        voters.is_empty() || voters.iter().filter(|node| yes.contains(node)).count() * 2 > voters.len()
    };
    !membership.voters().is_empty() && half(membership.voters()) && half(membership.outgoing())
}
