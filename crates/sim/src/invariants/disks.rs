//! What is durable on each host's disk, read when somebody asks and the disk has changed. I2 and I3 on disk: a durable term never falls, and a vote
//! once durable is never another.

use std::collections::BTreeMap;

use quorate_consensus::{Epoch, GroupId, Index, NodeId, Position};

use super::Findings;
use crate::{host::Host, shadow::Durable};

/// What must come back after a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) term: Epoch,
    pub(crate) last: Position,
    pub(crate) snapshot: Index,
}

#[derive(Debug)]
pub(crate) struct Disks {
    groups: &'static [GroupId],
    durables: Vec<Durable>,
    votes: BTreeMap<(GroupId, NodeId, Epoch), NodeId>,
}

impl Disks {
    pub(super) fn new(hosts: usize, groups: &'static [GroupId]) -> Disks {
        let durables = (0..hosts).map(|_| Durable::of_groups(groups)).collect();
        Disks { groups, durables, votes: BTreeMap::new() }
    }

    /// What is durable on a host, read anew if its disk has changed.
    pub(crate) fn of(&mut self, host: usize, hosts: &[Host], findings: &mut Findings) -> &Durable {
        if self.durables[host].is_of(&hosts[host]) {
            return &self.durables[host];
        }
        let durable = &self.durables[host];
        let before: Vec<_> =
            self.groups.iter().map(|group| (durable.term(*group), durable.current(*group))).collect();
        self.durables[host].refresh(&hosts[host]);
        self.compare(host, &hosts[host], &before, findings);
        &self.durables[host]
    }

    /// Reads a host's disk from its beginning, and holds what was read piece by piece against it.
    pub(super) fn read_again(&mut self, host: usize, hosts: &[Host], findings: &mut Findings) {
        self.of(host, hosts, findings);
        let fresh = Durable::read(&hosts[host], self.groups);
        let (pieces, whole) = (&self.durables[host], &fresh);
        for group in self.groups.iter().copied() {
            let say =
                |durable: &Durable| (durable.held(group), durable.vote(group), durable.unreadable.clone());
            if say(pieces) != say(whole) {
                let what = format!(
                    "{group} on the disk, read piece by piece: {:?}; read at once: {:?}",
                    say(pieces),
                    say(whole)
                );
                findings.add("I17", Some(host), what);
            }
        }
        self.durables[host] = fresh;
    }

    pub(super) fn forget(&mut self, host: usize) {
        self.durables[host] = Durable::of_groups(self.groups);
    }

    fn compare(
        &mut self,
        host: usize,
        this: &Host,
        before: &[(Epoch, Option<Epoch>)],
        findings: &mut Findings,
    ) {
        if this.is_lost() {
            return;
        }
        let fresh = &self.durables[host];
        if let Some(why) = &fresh.unreadable {
            return findings.add("I17", Some(host), format!("were the power to fail now: {why}"));
        }
        for (group, (old, current)) in self.groups.iter().copied().zip(before.iter().copied()) {
            // Z1: the epoch whose history is here never falls, nor is it one that was not promised.
            let now = fresh.current(group);
            if now < current || now.is_some_and(|now| now > fresh.term(group)) {
                let what = format!("the durable current epoch of {group} went from {current:?} to {now:?}");
                findings.add("Z1", Some(host), what);
            }
            let new = fresh.term(group);
            if new < old {
                findings.add(
                    "I2",
                    Some(host),
                    format!("the durable term of {group} fell from {old} to {new}"),
                );
            }
            let Some(vote) = fresh.vote(group) else { continue };
            let first = *self.votes.entry((group, this.id, new)).or_insert(vote);
            if first != vote {
                let what = format!("{group}: in term {new} a durable vote for {first}, then for {vote}");
                findings.add("I3", Some(host), what);
            }
        }
    }
}
