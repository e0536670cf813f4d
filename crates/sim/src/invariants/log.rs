//! The logs of all hosts. I2, I9: nothing that only grows falls. I4: one position, one entry, one history before it. I6: nothing committed is
//! truncated. I17: what a host recovers is what was durable there, and nothing else.

use std::collections::{BTreeMap, VecDeque};

use quorate_consensus::{Engine, Entry, Epoch, Index, Membership, Payload, Position, Role, Status};
use quorate_node::GroupEngine;

use super::{Findings, Held, Oracle, Scene, Watch, refines::Change};
use crate::marks::Mark;

/// A host's log as the oracle knows it.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    pub(super) base: u64,
    pub(super) epochs: VecDeque<Epoch>,
    pub(super) memberships: BTreeMap<u64, Membership>,
}

impl Mirror {
    pub(super) fn last(&self) -> u64 {
        self.base + self.epochs.len() as u64
    }

    pub(super) fn epoch(&self, index: u64) -> Option<Epoch> {
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

/// What is known of a position: the epoch of the entry before it, and, once it has been seen, the entry.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) before: Option<Epoch>,
    pub(super) entry: Option<Entry>,
}

impl Oracle {
    /// I17: what a host recovered holds all that was durable and nothing that was never written.
    pub(super) fn recovered(&mut self, engine: &GroupEngine, status: &Status, scene: &mut Scene<'_>) {
        let (host, group) = (scene.host, self.group);
        let life = scene.hosts[host].life;
        let durable = scene.durable(host);
        // What has waited for it may have cut its log in the same event: {it recovers a joint membership at 42, and its leader's word that 41 is another entry lay in its
        // inbox}. What stands there now is not what the disk says.
        let stands = |index: &Index| durable.epoch_at(group, *index) == engine.epoch_at(*index);
        let memberships = durable.memberships(group).into_iter().filter(|(index, _)| stands(index));
        let memberships = memberships.map(|(index, membership)| (index.0, membership)).collect();
        let snapshot = durable.snapshot_index(group);
        let mut watch = Watch { life, entered: self.watches[host].entered, ..Watch::default() };
        watch.mirror.base = status.compacted.index.0;
        for index in status.compacted.index.0 + 1..=status.last.index.0 {
            watch.mirror.epochs.push_back(engine.epoch_at(Index(index)).unwrap_or_default());
        }
        watch.mirror.memberships = memberships;
        watch.status = Status { role: Role::Follower, leader: None, ..status.clone() };
        watch.status.commit = status.commit.min(snapshot);
        if let Some(crash) = self.watches[host].at_crash.take() {
            scene.marks.hit(Mark::RecoveryCompared);
            self.compare_recovery(&crash, &watch.mirror, status, scene);
        }
        self.watches[host] = watch;
    }

    fn compare_recovery(&self, crash: &Held, mirror: &Mirror, status: &Status, scene: &mut Scene<'_>) {
        if status.epoch < crash.term {
            let what = format!("recovered term {}, but {} was durable", status.epoch, crash.term);
            scene.fail("I17", what);
        }
        let (host, end) = (scene.host, crash.last);
        let durable = scene.durable(host);
        let (holds, snapshot) =
            (durable.holds(self.group, end.index, end.epoch), durable.snapshot_index(self.group));
        // What was durable may have been replaced by a write that was under way at the crash and survived it: by entries of a later epoch, or, under a
        // leader of a later term, by entries of an earlier epoch, {1 led term 10 alone with 10.200 to 10.202; the leader of term 12 has 9.200 and 9.201}. Then
        // the log in memory did not hold it any more, and the log recovered ends where that one had come by.
        let memory = &self.watches[host].mirror;
        let (last, at) = (mirror.epochs.back(), mirror.last());
        let replaced = memory.last() >= at
            && memory.epoch(end.index.0) != Some(end.epoch)
            && last.is_some()
            && memory.epoch(at) == last.copied();
        if !holds && !replaced && last.is_none_or(|last| *last <= end.epoch) {
            scene.fail("I17", format!("{end} was durable; the log recovered ends at {}", status.last));
        }
        if snapshot < crash.snapshot {
            let what = format!("a snapshot at {} was durable, recovered {snapshot}", crash.snapshot);
            scene.fail("I17", what);
        }
        for index in mirror.base + 1..=mirror.last() {
            let epoch = mirror.epoch(index).unwrap_or_default();
            // What a leader appends in the batch in which it then gives up its lead is written, and seen by nobody.
            let own = self.leaders.get(&epoch) == Some(&scene.hosts[host].id);
            if !own && !self.known.contains_key(&(index, epoch)) {
                scene.fail("I17", format!("recovered {epoch}.{index}, which nobody ever wrote"));
                break;
            }
        }
    }

    /// I2 and I9: nothing that only grows falls, and compacted ≤ snapshot, applied ≤ commit ≤ last.
    pub(super) fn ordering(
        &mut self,
        before: &Status,
        after: &Status,
        (applied, snapshot): (Position, Position),
        scene: &mut Scene<'_>,
    ) {
        if after.epoch < before.epoch {
            scene.fail("I2", format!("the term fell from {} to {}", before.epoch, after.epoch));
        }
        let watch = &mut self.watches[scene.host];
        let (old_applied, old_snapshot) = (watch.applied, watch.snapshot);
        let orderly = after.compacted.index <= snapshot.index
            && applied.index <= after.commit
            && after.commit <= after.last.index;
        let falls = after.commit < before.commit
            || after.compacted.index < before.compacted.index
            || applied.index < old_applied.index
            || snapshot.index < old_snapshot.index;
        (watch.applied, watch.snapshot) = (applied, snapshot);
        if !orderly || falls {
            let what = format!(
                "compacted {} → {}, snapshot {old_snapshot} → {snapshot}, applied {old_applied} → {applied}, commit {} → {}, last {} → {}",
                before.compacted, after.compacted, before.commit, after.commit, before.last, after.last
            );
            scene.fail("I9", what);
        }
    }

    /// Brings the mirror up to date. I4: one position, one entry, one history before it. I6: nothing committed is truncated.
    pub(super) fn log(
        &mut self,
        engine: &GroupEngine,
        commit: u64,
        after: &Status,
        scene: &mut Scene<'_>,
    ) -> Change {
        let mirror = &mut self.watches[scene.host].mirror;
        let (compacted, last) = (after.compacted.index.0, after.last.index.0);
        let old_last = mirror.last();
        let moves = compacted > mirror.base;
        if moves {
            scene.marks.hit(Mark::LogCompacted);
            mirror.drop_to(compacted);
        }
        let mut same = mirror.last().min(last);
        while same > mirror.base && engine.epoch_at(Index(same)) != mirror.epoch(same) {
            same -= 1;
        }
        let truncated = mirror.last() > same;
        let dropped = mirror.epoch(same + 1);
        if truncated {
            scene.marks.hit(Mark::LogTruncated);
            if self.epochs.is_some() {
                scene.marks.hit(Mark::ZabTruncated);
            }
            if mirror.memberships.range(same + 1..).next().is_some() {
                scene.marks.hit(Mark::JointTruncated);
            }
            mirror.truncate(same);
        }
        if truncated && same < commit && compacted < commit {
            scene.fail("I6", format!("truncated to {same}, but committed up to {commit}"));
        }
        if last > same {
            self.appended(engine, same, last, scene);
        }
        Change { old_last, same, dropped, compacted: moves }
    }

    fn appended(&mut self, engine: &GroupEngine, same: u64, last: u64, scene: &mut Scene<'_>) {
        let mirror = &mut self.watches[scene.host].mirror;
        for index in same + 1..=last {
            let epoch = engine.epoch_at(Index(index)).unwrap_or_default();
            let before = if index == 1 { Some(Epoch::ZERO) } else { engine.epoch_at(Index(index - 1)) };
            mirror.epochs.push_back(epoch);
            if let Some(what) = self.epochs.as_mut().and_then(|epochs| epochs.counts(index, epoch, before)) {
                scene.fail("Z8", what);
            }
            if self.epochs.as_ref().is_some_and(|epochs| epochs.fills(index, epoch)) {
                scene.marks.hit(Mark::EpochFull);
            }
            let Some(known) = self.known.get_mut(&(index, epoch)) else {
                self.known.insert((index, epoch), Known { before, entry: None });
                continue;
            };
            if let Some(Entry { payload: Payload::Membership(membership), .. }) = &known.entry {
                mirror.memberships.insert(index, membership.clone());
            }
            if let (Some(first), Some(before)) = (known.before, before)
                && first != before
            {
                let what = format!("{epoch}.{index} stands after an entry of {before}, elsewhere of {first}");
                scene.fail("I4", what);
            }
            known.before = known.before.or(before);
        }
    }

    /// An entry was seen, in a frame or on its way to a state half. I4: a position has one entry.
    pub(crate) fn learn(&mut self, host: usize, entry: &Entry, findings: &mut Findings) {
        let position = entry.position;
        let place = (position.index.0, position.epoch);
        match self.known.get_mut(&place) {
            Some(Known { entry: Some(first), .. }) => {
                if first != entry {
                    let what = format!("{position} holds {:?}, elsewhere {:?}", entry.payload, first.payload);
                    findings.add("I4", Some(host), what);
                }
            }
            Some(known) => known.entry = Some(entry.clone()),
            None => {
                self.known.insert(place, Known { before: None, entry: Some(entry.clone()) });
            }
        }
    }
}
