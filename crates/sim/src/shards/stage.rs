//! Where shards meet the world: time that passes for them, commands that find their group, and an operator who divides, splits and merges.

use bytes::Bytes;
use quorate_consensus::{Epoch, GroupId, Membership, fingerprint_of};
use quorate_node::{Answer, NodeInput, Origin, Outcome, SessionTag, TaggedCommand};
use quorate_service::{
    Founding, KEYS, Reply, founding_entry,
    keyspace::{Command, KeyspaceError, Response},
    shards::{self, TICK, Undone, merge_at, split_at},
    shards_tick,
};

use super::is_shard;
use crate::{
    clients::Told,
    host::Process,
    invariants::Oracle,
    marks::Mark,
    operator::Waiter,
    world::{Event, World},
};

/// What a command goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The shard that has all of its keys, if the front end knows of one.
    Shard,
    /// The order.
    Order,
}

impl World {
    /// A host's share of time for its shards.
    pub(crate) fn shards_tick(&mut self, host: usize) {
        let tick = u64::try_from(TICK.as_nanos()).expect("a tick is short");
        self.schedule.at(self.now() + tick, Event::ShardsTick { host });
        if self.hosts[host].process.is_some() {
            let node = self.hosts[host].id;
            self.input(host, shards_tick(node));
        }
    }

    /// What a host's front end proposes for a client, as `quorate_etcd` does it: to which group, and which bytes.
    pub(crate) fn proposal(
        &mut self,
        host: usize,
        (origin, tag): (Origin, Option<SessionTag>),
        command: &Command,
        by: By,
    ) -> (GroupId, Bytes) {
        match self.shard_for(host, command).filter(|_| by == By::Shard && tag.is_none()) {
            Some(group) => {
                self.marks.hit(Mark::TurnProposed);
                (group, TaggedCommand::encode(Some(origin), None, |to| shards::turn(command, to)))
            }
            None => (KEYS, TaggedCommand::encode(Some(origin), tag, |to| to.raw(&command.encode()))),
        }
    }

    /// The group of the shard that does it alone, as far as the host has heard; none if that has had no leader yet.
    fn shard_for(&mut self, host: usize, command: &Command) -> Option<GroupId> {
        let unaware = self.shape.shards.as_ref()?.unaware;
        let process = self.hosts[host].process.as_ref()?;
        let map = process.front.as_ref()?.map()?;
        let owner = shards::sole_owner(command, map)?;
        let group = map.get(owner)?.group;
        let status = process.node.status(group)?;
        let is_young = status.engine.leader.is_none() && status.engine.epoch <= Epoch(1);
        let is_aware = !self.sharding.chance(1, unaware);
        (is_aware && !is_young).then_some(group)
    }

    /// A shard has refused a command whose keys it has not: the front end gives it to the order. False: it is another answer.
    pub(crate) fn goes_by_the_order(&mut self, waiter: Waiter, told: &Told) -> bool {
        let Told::Reply(Reply::Keys(Outcome::Done(response))) = told else { return false };
        if !matches!(response, Response { result: Err(KeyspaceError::Moved), .. }) {
            return false;
        }
        self.marks.hit(Mark::TurnMoved);
        match waiter {
            Waiter::Client { client, attempt } => self.request_by(client, attempt, By::Order),
            Waiter::Keys(lane) => self.ask_keys_again(lane),
            Waiter::Operator { .. } | Waiter::Tree { .. } | Waiter::Shards | Waiter::Join { .. } => {}
        }
        true
    }

    /// An operator has been told what became of a change of the shards.
    pub(crate) fn shards_told(&mut self, told: &Told) {
        match told {
            Told::Reply(Reply::Keys(_)) => self.marks.hit(Mark::ShardChangeTold),
            Told::Reply(Reply::Undone(Undone::Busy | Undone::Unfit)) => {
                self.marks.hit(Mark::ShardChangeRefused)
            }
            _ => {}
        }
    }

    /// The keys are to be divided, if the host that is asked knows of no shards.
    pub(crate) fn divide_keys(&mut self, shards: u64) {
        let Some(shape) = &self.shape.shards else { return };
        let engine = shape.engine;
        let Some(host) = self.any_running() else { return };
        let Some(process) = &self.hosts[host].process else { return };
        let Some(members) = members_of_keys(process) else { return };
        if process.half.state.shards().is_some() {
            return;
        }
        let shards = u16::try_from(shards).unwrap_or(u16::MAX);
        self.propose_change(host, &founding_entry(Founding { shards, engine }, &members));
    }

    /// A shard is to be split, by what the host knows that is asked.
    pub(crate) fn split_shard(&mut self, place: u64) {
        let Some(host) = self.any_running() else { return };
        let Some(process) = &self.hosts[host].process else { return };
        let Some(members) = members_of_keys(process) else { return };
        let Some(map) = process.front.as_ref().and_then(|front| front.map()) else { return };
        let shard = map.shards()[(place % map.shards().len() as u64) as usize].shard;
        if let Ok((entry, _)) = split_at(map, shard, None, &members) {
            self.propose_change(host, &entry);
        }
    }

    /// A shard is to get all that its right neighbour has, by what the host knows that is asked.
    pub(crate) fn merge_shards(&mut self, place: u64) {
        let Some(host) = self.any_running() else { return };
        let Some(process) = &self.hosts[host].process else { return };
        let Some(map) = process.front.as_ref().and_then(|front| front.map()) else { return };
        let left = map.shards()[(place % map.shards().len() as u64) as usize].shard;
        if let Ok((entry, _)) = merge_at(map, left, None) {
            self.propose_change(host, &entry);
        }
    }

    fn any_running(&mut self) -> Option<usize> {
        let up: Vec<usize> = (0..self.hosts.len()).filter(|host| self.hosts[*host].runs()).collect();
        up.get(self.sharding.below(up.len().max(1) as u64) as usize).copied()
    }

    fn propose_change(&mut self, host: usize, entry: &Bytes) {
        let now = self.now();
        self.trace.say(now, || format!("host {host} is asked to change the shards"));
        let this = &mut self.hosts[host];
        let (node, life) = (this.id, this.life);
        let Some(process) = &mut this.process else { return };
        let ticket = process.ticket(Waiter::Shards);
        let origin = Origin { node, life, ticket };
        let command = TaggedCommand::encode(Some(origin), None, |to| to.raw(entry));
        self.input(host, NodeInput::Propose { group: KEYS, ticket, command });
    }

    /// Any group at this moment, in a run whose faults strike the leaders of all.
    pub(crate) fn aimed_shard(&self) -> Option<&Oracle> {
        self.shape.shards.as_ref().filter(|shards| shards.aimed)?;
        let groups = self.checker.groups();
        let any = &groups[(fingerprint_of(&self.now()) % groups.len() as u64) as usize];
        is_shard(any.group()).then_some(any)
    }

    /// How the shards stand on each host, for a finding that says that something is stuck.
    pub(crate) fn shards_in_words(&self) -> String {
        let of = |host: usize| {
            let state = &self.hosts[host].process.as_ref()?.half.state;
            let words = state.shards()?.in_words(state.keys().machine().order()?);
            Some(format!("\n    host {host}: {words}"))
        };
        (0..self.hosts.len()).filter_map(of).collect()
    }

    /// P4, once the cluster has settled.
    pub(crate) fn check_shards(&mut self) {
        if self.shape.shards.is_none() {
            return;
        }
        for host in 0..self.hosts.len() {
            let this = &self.hosts[host];
            let apart = (0..self.checker.groups().len()).any(|place| self.is_cut_off(host, place));
            let member = self.checker.groups().iter().all(|group| group.membership().contains(this.id));
            if this.runs() && !this.is_lost() && !apart && member {
                self.checker.check_shown(host);
            }
        }
    }
}

/// Who has the keys, if that is committed and not being changed.
fn members_of_keys(process: &Process) -> Option<Membership> {
    let status = process.node.status(KEYS)?.engine;
    let is_certain = status.membership_at <= status.commit && !status.membership.is_joint();
    is_certain.then_some(status.membership)
}

/// Whoever proposed it knows for certain that nothing came of it, or nobody can say.
pub(crate) fn as_answer(undone: Undone) -> Answer {
    match undone {
        Undone::Unknown => Answer::Unknown,
        Undone::Busy | Undone::Silent | Undone::Unfit | Undone::Undivided(_) => Answer::Busy,
    }
}
