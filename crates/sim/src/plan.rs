//! Draws a run's shape and its faults from its seed. Swarm testing: each run turns whole classes of faults on and off, because a run that
//! has everything rarely has enough of anything.

use quorate_consensus::{Duration, EngineKind, GroupId, Random};
use quorate_node::{RaftConfig, ZabConfig};
use quorate_raft::Lease;
use quorate_service::{KEYS, META, TREE};

use crate::{
    etcd::KeysShape,
    faults::{Action, Planned, Who},
    lasting::Lasting,
    schedule::{MILLIS, SECONDS, Time},
    shards::{self, ShardsShape},
    storms::storm,
    zoo::TreeShape,
};

/// The shape of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Hosts that vote at birth.
    pub voters: u64,
    /// Hosts that wait to be added.
    pub spares: u64,
    /// Clients.
    pub clients: u32,
    /// How long a client rests between operations, at most, in microseconds.
    pub rest_max_us: u64,
    /// Bytes of filling in each value, at most.
    pub filling_max: u64,
    /// When faults end and the cluster must heal.
    pub faults_end: Time,
    /// When clients stop.
    pub clients_end: Time,
    /// When all must be equal.
    pub end: Time,
    /// Bytes of log after which a snapshot is due.
    pub snapshot_log_bytes: u64,
    /// Bytes of log kept behind a snapshot.
    pub catch_up_log_bytes: u64,
    /// Typical length of a sync, in microseconds.
    pub sync_us: u64,
    /// Which engine drives the keys; the records have Raft.
    pub engine: EngineKind,
    /// The configuration of engines that speak Raft.
    pub raft: quorate_node::RaftConfig,
    /// The configuration of engines that speak ZAB.
    pub zab: quorate_node::ZabConfig,
    /// ZooKeeper's tree and its clients, in the runs that have them.
    pub tree: Option<TreeShape>,
    /// Watches and leases and their clients, in the runs that have them.
    pub keys: Option<KeysShape>,
    /// How the keys are divided among shards, in the runs whose keys are.
    pub shards: Option<ShardsShape>,
    /// What stays broken for ever, in the runs that have such a thing.
    pub lasting: Option<Lasting>,
    /// Bytes of one batch of entries for the state half, at most.
    pub apply_batch_bytes_max: u64,
}

impl Shape {
    /// Hosts in all.
    #[must_use]
    pub fn hosts(&self) -> u64 {
        self.voters + self.spares
    }

    /// What drives a group.
    #[must_use]
    pub fn engine_of(&self, group: GroupId) -> EngineKind {
        match (group, &self.tree) {
            (META, _) => EngineKind::Raft,
            (TREE, Some(tree)) => tree.engine,
            (group, _) if shards::is_shard(group) => {
                self.shards.as_ref().map_or(self.engine, |shards| shards.engine)
            }
            _ => self.engine,
        }
    }

    /// Does this group's leader fill its epochs within a run, so that leads end by themselves (rule Z01)?
    #[must_use]
    pub(crate) fn has_short_epochs(&self, group: GroupId) -> bool {
        self.engine_of(group) == EngineKind::Zab && self.zab.counter_max < u64::from(u32::MAX)
    }

    /// The groups that the cluster is founded with, and the tree, in the order in which everything here keeps them.
    #[must_use]
    pub fn groups(&self) -> &'static [GroupId] {
        if self.tree.is_some() { &GROUPS } else { &GROUPS[..GROUPS.len() - 1] }
    }

    /// The groups of which there may be something on its disks.
    #[must_use]
    pub(crate) fn groups_on_disk(&self) -> &'static [GroupId] {
        if self.shards.is_some() { &GROUPS_OF_SHARDS } else { self.groups() }
    }
}

/// All groups that a cluster may have; the tree comes last, for not every run has it.
pub(crate) const GROUPS: [GroupId; 3] = [META, KEYS, TREE];
/// And with those that a cluster of divided keys may get.
pub(crate) const GROUPS_OF_SHARDS: [GroupId; 2 + shards::MOST] = {
    let mut groups = [META; 2 + shards::MOST];
    groups[KEYS_PLACE] = KEYS;
    let mut place = 2;
    while place < groups.len() {
        groups[place] = GroupId(shards::FIRST.0 + place as u64 - 2);
        place += 1;
    }
    groups
};
/// Where the keys stand among them.
pub(crate) const KEYS_PLACE: usize = 1;

/// How long clients of the tree, and of watches and leases, rest at most, in microseconds. Most rest for long, as those of the keys do: a run in which they hardly
/// rest takes as long as five others.
pub(crate) const REST_MAX_US: [u64; 12] = {
    let mut paces = [400_000; 12];
    (paces[0], paces[1], paces[2]) = (15_000, 60_000, 200_000);
    paces
};

/// How long clients ask, about, in microseconds.
const CLIENTS_US: u64 = 27_000_000;

pub(crate) fn shape(random: &mut Random) -> Shape {
    let voters = [3, 3, 3, 5, 5, 4, 2, 1][random.below(8) as usize];
    let spares = random.below(3);
    let clients = random.between(2, 8);
    // What finds faults is many different runs, each with its own faults, rather than many operations in one: most runs have few.
    let operations = [300, 300, 300, 300, 600, 1_500][random.below(6) as usize];
    Shape {
        voters,
        spares,
        clients: clients as u32,
        rest_max_us: clients * 2 * CLIENTS_US / operations,
        filling_max: [16, 100, 400][random.below(3) as usize],
        faults_end: 22 * SECONDS,
        clients_end: 29 * SECONDS,
        end: 32 * SECONDS,
        snapshot_log_bytes: [2 << 10, 6 << 10, 20 << 10][random.below(3) as usize],
        catch_up_log_bytes: [0, 512, 4 << 10][random.below(3) as usize],
        sync_us: [100, 500, 2_000][random.below(3) as usize],
        engine: EngineKind::Raft,
        raft: raft(random),
        zab: zab(random),
        tree: None,
        keys: None,
        shards: None,
        lasting: None,
        apply_batch_bytes_max: 4 << 20,
    }
}

/// Limits of some runs that are smaller still: windows of a few entries, and batches of a few for the state half.
pub(crate) fn narrow(shape: &mut Shape, random: &mut Random) {
    if random.chance(1, 6) {
        shape.raft.inflight_bytes_max = 1 << 10;
    }
    if random.chance(1, 6) {
        shape.apply_batch_bytes_max = 512;
    }
}

/// Small limits, so that what is rare with large ones happens all the time.
fn raft(random: &mut Random) -> RaftConfig {
    let lease = random.chance(1, 3).then_some(Lease { clock_error: Duration::from_millis(15) });
    RaftConfig {
        message_bytes_max: [200, 1 << 10, 1 << 20][random.below(3) as usize],
        inflight_messages_max: [1, 4, 256][random.below(3) as usize],
        tail_bytes_max: [512, 4 << 10, 32 << 20][random.below(3) as usize],
        promotion_lag_max: [2, 20, 1_000][random.below(3) as usize],
        lease,
        ..RaftConfig::default()
    }
}

/// Likewise; and epochs so short that they fill up.
fn zab(random: &mut Random) -> ZabConfig {
    ZabConfig {
        message_bytes_max: [200, 1 << 10, 1 << 20][random.below(3) as usize],
        inflight_messages_max: [1, 4, 256][random.below(3) as usize],
        tail_bytes_max: [512, 4 << 10, 32 << 20][random.below(3) as usize],
        promotion_lag_max: [2, 20, 1_000][random.below(3) as usize],
        counter_max: [60, 500, u64::from(u32::MAX)][random.below(3) as usize],
        ..ZabConfig::default()
    }
}

/// Classes of single faults; the others are storms.
const SINGLE_CLASSES: u64 = 14;
/// The classes that a run turns on or off.
const CLASSES: u64 = 35;
/// Those of a run of ZAB: after the ones that it shares with Raft, its own.
const ZAB_CLASSES: u64 = CLASSES;
/// Changes of membership, one at a time.
pub(crate) const MEMBERSHIP: u64 = 12;
/// Disks fill up while clients write.
pub(crate) const FULL_DISKS: u64 = 22;
/// The leader is cut off with a change of members in its log alone.
pub(crate) const LONE_CHANGE: u64 = 23;
/// Leaders that are cut off with a tail, and come back to another's log.
pub(crate) const DIVERGENCE: u64 = 14;
/// Delays as long as election timeouts.
pub(crate) const SLOW_NETWORK: u64 = 16;
/// Power comes and goes for all.
pub(crate) const POWER: u64 = 17;
/// Leadership is handed over.
pub(crate) const HANDOVER: u64 = 18;
/// Hosts that sleep until they need a snapshot.
#[cfg(feature = "planted-bugs")]
pub(crate) const SLEEPERS: u64 = 19;
/// Elections whose answers are long on their way, with rivals.
pub(crate) const RIVALS: u64 = 24;
/// Answers to a leader that is cut off arrive once another leads.
pub(crate) const LATE_ANSWERS: u64 = 25;
/// Nobody writes any more, and the last leader left a tail.
pub(crate) const LAST_WORDS: u64 = 26;
/// A disk is replaced by an empty one just when its promises matter.
pub(crate) const AMNESIA: u64 = 27;
/// Pieces of snapshots come twice, late and out of order.
pub(crate) const STRAY_PIECES: u64 = 28;
/// Two leaders each begin a change of membership.
#[cfg(feature = "planted-bugs")]
pub(crate) const TWO_CHANGES: u64 = 29;
/// A leader with a long tail comes back just after the one that followed it has died.
pub(crate) const RELAPSE: u64 = 30;
/// A partition through a joint membership, the leader and a new member on one side.
pub(crate) const JOINT_SPLIT: u64 = 31;
/// One that has lost sight of the leader asks for votes of those who have not.
pub(crate) const OUT_OF_SIGHT: u64 = 32;
/// A grant is held up until its candidate asks again, in the next term, beside a rival.
pub(crate) const LATE_GRANT: u64 = 33;
/// What is sent on to a leader comes twice, the second time when it leads no more.
pub(crate) const ECHOES: u64 = 34;

/// The classes that a seed's run has on, and whether it has so few that their storms do not disturb each other.
fn classes(engine: EngineKind, random: &mut Random) -> (Vec<u64>, bool) {
    let count = match engine {
        EngineKind::Raft => CLASSES,
        EngineKind::Zab => ZAB_CLASSES,
    };
    let focused = random.chance(1, 2);
    let on: Vec<u64> = if focused {
        (0..random.between(1, 2)).map(|_| random.below(count)).collect()
    } else {
        (0..count).filter(|_| random.chance(2, 5)).collect()
    };
    if on.is_empty() { ((0..count).collect(), false) } else { (on, focused) }
}

/// Beside the classes: runs whose leaders read by a lease, and runs of so many voters, without which some bugs cannot show.
#[cfg(feature = "planted-bugs")]
pub(crate) const LEASED: u64 = 1_000;
#[cfg(feature = "planted-bugs")]
pub(crate) const THREE_VOTERS: u64 = 1_003;
#[cfg(feature = "planted-bugs")]
pub(crate) const FOUR_VOTERS: u64 = 1_004;
#[cfg(feature = "planted-bugs")]
pub(crate) const FIVE_VOTERS: u64 = 1_005;
/// And runs of ZAB whose epochs are soon full.
#[cfg(feature = "planted-bugs")]
pub(crate) const SHORT_EPOCHS: u64 = 1_060;

/// And runs with ZooKeeper's tree; with one whose counters turn over.
#[cfg(feature = "planted-bugs")]
pub(crate) const WITH_TREE: u64 = 2_000;
#[cfg(feature = "planted-bugs")]
pub(crate) const WORN_TREE: u64 = 2_001;

/// And runs with watches and leases; with leases that live for long; and with compactions.
#[cfg(feature = "planted-bugs")]
pub(crate) const WITH_KEYS: u64 = 2_002;
#[cfg(feature = "planted-bugs")]
pub(crate) const WITH_LONG_LEASES: u64 = 2_003;
#[cfg(feature = "planted-bugs")]
pub(crate) const WITH_COMPACTIONS: u64 = 2_004;
/// And with so many leases that one ends at any moment.
#[cfg(feature = "planted-bugs")]
pub(crate) const WITH_CROWDS: u64 = 2_005;

/// And runs whose keys are divided, which any seed may be.
#[cfg(feature = "planted-bugs")]
pub(crate) const WITH_SHARDS: u64 = 2_006;

/// And runs with something that stays broken, or with smaller limits.
#[cfg(feature = "planted-bugs")]
pub(crate) const PAIR_APART: u64 = 3_000;
#[cfg(feature = "planted-bugs")]
pub(crate) const STAR: u64 = 3_001;
#[cfg(feature = "planted-bugs")]
pub(crate) const FLAP: u64 = 3_002;
#[cfg(feature = "planted-bugs")]
pub(crate) const HUNG_DISK: u64 = 3_003;
#[cfg(feature = "planted-bugs")]
pub(crate) const NARROW_WINDOWS: u64 = 3_004;
#[cfg(feature = "planted-bugs")]
pub(crate) const SMALL_BATCHES: u64 = 3_005;
/// And runs of one voter or two, and runs with messages that nobody sent, or with clocks that use up what a lease allows them.
#[cfg(feature = "planted-bugs")]
pub(crate) const ONE_VOTER: u64 = 1_001;
#[cfg(feature = "planted-bugs")]
pub(crate) const TWO_VOTERS: u64 = 1_002;
#[cfg(feature = "planted-bugs")]
pub(crate) const FORGERIES: u64 = 3_006;
#[cfg(feature = "planted-bugs")]
pub(crate) const LEASE_EDGE: u64 = 3_007;

/// How much a seed is about these classes: the share of its draws that are theirs, in hundredths; none if it is not of the wanted shape.
#[cfg(feature = "planted-bugs")]
pub(crate) fn share(engine: EngineKind, seed: u64, wanted: &[u64]) -> u64 {
    let random = Random::new(seed);
    let shape = crate::run::shape_of(seed);
    let (tree, keys) = (&shape.tree, &shape.keys);
    let fits = |wanted: &u64| match *wanted {
        LEASED => shape.raft.lease.is_some(),
        THREE_VOTERS => shape.voters == 3,
        ONE_VOTER => shape.voters == 1,
        TWO_VOTERS => shape.voters == 2,
        PAIR_APART => shape.lasting == Some(Lasting::Pair),
        STAR => shape.lasting == Some(Lasting::Star) && shape.voters >= 4,
        FLAP => shape.lasting == Some(Lasting::Flap),
        HUNG_DISK => shape.lasting == Some(Lasting::HungDisk),
        NARROW_WINDOWS => shape.raft.inflight_bytes_max == 1 << 10,
        SMALL_BATCHES => shape.apply_batch_bytes_max == 512,
        FORGERIES => forges(&mut random.fork(17)),
        LEASE_EDGE => has_edge(&shape, &mut random.fork(16)),
        FOUR_VOTERS => shape.voters == 4,
        FIVE_VOTERS => shape.voters == 5,
        WITH_TREE => tree.is_some(),
        WORN_TREE => tree.as_ref().is_some_and(|tree| tree.worn != (0, 0)),
        WITH_KEYS => keys.is_some(),
        WITH_LONG_LEASES => keys.as_ref().is_some_and(|keys| keys.ttl_max_s == 8),
        WITH_COMPACTIONS => keys.as_ref().is_some_and(|keys| keys.compacts > 0),
        WITH_CROWDS => keys.as_ref().is_some_and(|keys| keys.leases > 2),
        SHORT_EPOCHS => shape.zab.counter_max == 60,
        _ => true,
    };
    if wanted.is_empty() || !wanted.iter().all(fits) {
        return 0;
    }
    let (on, _) = classes(engine, &mut random.fork(11));
    let theirs = on.iter().filter(|class| wanted.contains(class)).count();
    1 + (theirs * 100 / on.len()) as u64
}

/// The faults of a seed's run, and what is done to its shards.
pub(crate) fn faults(shape: &Shape, seed: &Random) -> Vec<Planned> {
    let mut actions = faults_alone(shape, seed);
    actions.extend(shards::changes(shape, &mut seed.fork(19)));
    actions.sort_by_key(|planned| planned.at);
    actions
}

fn faults_alone(shape: &Shape, seed: &Random) -> Vec<Planned> {
    let mut random = seed.fork(16);
    if has_edge(shape, &mut random) {
        return crate::rare::lease_edge(shape, &mut random);
    }
    let mut actions = plan(shape, &mut seed.fork(11));
    let mut random = seed.fork(17);
    if forges(&mut random) {
        for _ in 0..random.between(1, 4) {
            let at = random.between(MILLIS, shape.faults_end - MILLIS);
            let (from, to) = (random.below(shape.hosts()), random.below(shape.hosts()));
            actions.push(Planned { at, action: Action::Forge { from, to, meta: random.below(2) } });
        }
        actions.sort_by_key(|planned| planned.at);
    }
    actions
}

/// Is this a run whose leaders' leases are led to their very end, by clocks that are as wrong as they may be?
fn has_edge(shape: &Shape, random: &mut Random) -> bool {
    random.chance(1, 5) && shape.raft.lease.is_some() && shape.voters >= 3
}

fn forges(random: &mut Random) -> bool {
    random.chance(1, 10)
}

fn plan(shape: &Shape, random: &mut Random) -> Vec<Planned> {
    let (on, focused) = classes(shape.engine, random);
    let pace = [120, 300, 800][random.below(3) as usize] * MILLIS;
    let mut actions = Vec::new();
    let mut at = random.between(300 * MILLIS, 900 * MILLIS);
    while at < shape.faults_end {
        let class = on[random.below(on.len() as u64) as usize];
        if class >= SINGLE_CLASSES {
            storm(class, at, shape, random, &mut actions);
        } else {
            draw(class, at, shape, random, &mut actions);
        }
        if focused {
            at = actions.iter().map(|planned| planned.at).fold(at, Time::max).min(shape.faults_end);
        }
        at += random.between(pace / 4, pace * 2);
    }
    // A lease trusts clocks as far as it says; what breaks that trust is not its fault.
    let leased = shape.raft.lease.is_some();
    let clock = |action: &Action| matches!(action, Action::Drift { .. } | Action::Jump { .. });
    actions.retain(|planned| planned.at < shape.faults_end && !(leased && clock(&planned.action)));
    actions.sort_by_key(|planned| planned.at);
    actions
}

fn who(shape: &Shape, random: &mut Random) -> Who {
    if random.chance(2, 5) { Who::Leader } else { Who::Host(random.below(shape.hosts())) }
}

fn draw(class: u64, at: Time, shape: &Shape, random: &mut Random, actions: &mut Vec<Planned>) {
    let who = who(shape, random);
    let host = random.below(shape.hosts());
    let down_ms = [1, 50, 300, 1_500, 4_000][random.below(5) as usize] + random.below(50);
    let ms = random.between(20, 2_500);
    let mask = random.below(1 << shape.hosts());
    let mut add = |at: Time, action: Action| actions.push(Planned { at, action });
    match class {
        0 => add(at, Action::Crash { who, down_ms }),
        1 => add(at, Action::Kill { who, down_ms }),
        2 | 3 => {
            let moment = random.below(7);
            add(at, Action::CrashAt { who, moment, skip: random.below(6), down_ms });
        }
        4 => add(at, Action::CrashAll { down_ms }),
        5 => add(at, Action::Pause { who, ms }),
        6 => {
            let action = match random.below(7) {
                0 => Action::Split { mask },
                1 => Action::OneWay { mask },
                2 => Action::Deaf { who },
                3 => Action::Mute { who },
                4 => Action::Bridge { who, mask },
                5 => Action::Isolate { who: Who::Leader },
                _ => Action::Isolate { who },
            };
            add(at, action);
            let lasts = random.between(100, 3_000) * MILLIS;
            add(at + lasts, Action::Heal {});
        }
        7 => {
            let b = random.below(shape.hosts());
            add(at, Action::Flap { a: host, b, half_ms: random.between(20, 400), ms: ms * 2 });
        }
        8 => {
            let rate = |random: &mut Random| if random.chance(1, 2) { random.below(200) } else { 0 };
            let (loss, duplicate, reorder) = (rate(random), rate(random), rate(random));
            let delay_us = [300, 1_000, 8_000, 60_000][random.below(4) as usize];
            add(at, Action::Style { loss, duplicate, reorder, delay_us });
            let calm = Action::Style { loss: 0, duplicate: 0, reorder: 0, delay_us: 400 };
            add(at + random.between(200, 4_000) * MILLIS, calm);
        }
        9 => add(
            at,
            if random.chance(1, 2) {
                Action::Drift {
                    who,
                    ppm: random.below(50_000) + if random.chance(1, 2) { 1_000_000 } else { 0 },
                }
            } else {
                Action::Jump { who, ms: random.between(1, 2_000) }
            },
        ),
        10 => add(
            at,
            match random.below(3) {
                0 => Action::DiskHang { who, ms },
                _ => Action::DiskSlow { who, more_ms: random.between(1, 120), ms: ms * 2 },
            },
        ),
        11 => {
            let action = match random.below(10) {
                0..=2 => {
                    // Only who writes notices a full disk.
                    add(at, Action::Burst { ms: 3_000 });
                    Action::DiskFull { who, ms }
                }
                3..=5 => Action::DiskFail { who, down_ms },
                6 | 7 => Action::LoseDisk { who, down_ms },
                _ => Action::Rot { who, down_ms },
            };
            add(at, action);
        }
        MEMBERSHIP => {
            let new = random.below(shape.hosts());
            let action = match random.below(10) {
                0 | 1 => Action::AddLearner { host },
                2 => Action::AddVoter { host },
                3 | 4 => Action::Promote { host },
                5 | 6 => Action::Remove { who },
                7 | 8 => Action::Replace { old: host, new },
                _ => Action::Transfer { to: random.below(shape.hosts() + 2) },
            };
            add(at, action);
            if let Action::AddLearner { host } = action {
                // Once it has had time to join and to catch up.
                add(at + random.between(600, 2_500) * MILLIS, Action::Promote { host });
            }
            if random.chance(1, 4) {
                // Asked for in one breath: the second must wait for the first.
                add(at, Action::AddLearner { host });
                add(
                    at,
                    if random.chance(1, 2) {
                        Action::Remove { who: Who::Host(host) }
                    } else {
                        Action::AddLearner { host: new }
                    },
                );
            }
            if random.chance(1, 3) {
                let skip = random.below(4);
                let moment = random.below(7);
                add(
                    at + random.below(3 * MILLIS),
                    Action::CrashAt { who: Who::Leader, moment, skip, down_ms },
                );
            }
        }
        _ => {
            let action = match random.below(4) {
                0 => Action::SlowApply { who, more_us: random.between(100, 60_000), ms: ms * 2 },
                1 => Action::Burst { ms },
                _ => Action::Transfer { to: random.below(shape.hosts() + 2) },
            };
            add(at, action);
        }
    }
}
