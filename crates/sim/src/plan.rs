//! Draws a run's shape and its faults from its seed. Swarm testing: each run turns whole classes of faults on and off, because a run that
//! has everything rarely has enough of anything.

use quorate_consensus::{Duration, Random};
use quorate_node::RaftConfig;
use quorate_raft::Lease;

use crate::{
    faults::{Action, Planned, Who},
    schedule::{MICROS, MILLIS, SECONDS, Time},
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
    /// The engines' configuration.
    pub raft: quorate_node::RaftConfig,
}

impl Shape {
    /// Hosts in all.
    #[must_use]
    pub fn hosts(&self) -> u64 {
        self.voters + self.spares
    }
}

pub(crate) fn shape(random: &mut Random) -> Shape {
    let voters = [3, 3, 3, 5, 5, 4, 2, 1][random.below(8) as usize];
    Shape {
        voters,
        spares: random.below(3),
        clients: random.between(2, 8) as u32,
        rest_max_us: [40_000, 120_000, 300_000][random.below(3) as usize],
        filling_max: [16, 100, 400][random.below(3) as usize],
        faults_end: 22 * SECONDS,
        clients_end: 29 * SECONDS,
        end: 32 * SECONDS,
        snapshot_log_bytes: [2 << 10, 6 << 10, 20 << 10][random.below(3) as usize],
        catch_up_log_bytes: [0, 512, 4 << 10][random.below(3) as usize],
        sync_us: [100, 500, 2_000][random.below(3) as usize],
        raft: raft(random),
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

/// Classes of single faults; the others are storms.
const SINGLE_CLASSES: u64 = 14;
/// The classes that a run turns on or off.
const CLASSES: u64 = 33;
/// Changes of membership, one at a time.
pub(crate) const MEMBERSHIP: u64 = 12;
/// Disks fill up while clients write.
const FULL_DISKS: u64 = 22;
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

/// The classes that a seed's run has on, and whether it has so few that their storms do not disturb each other.
fn classes(random: &mut Random) -> (Vec<u64>, bool) {
    let focused = random.chance(1, 3);
    let on: Vec<u64> = if focused {
        (0..random.between(1, 2)).map(|_| random.below(CLASSES)).collect()
    } else {
        (0..CLASSES).filter(|_| random.chance(2, 5)).collect()
    };
    if on.is_empty() { ((0..CLASSES).collect(), false) } else { (on, focused) }
}

/// Beside the classes: runs whose leaders read by a lease, and runs of so many voters, without which some bugs cannot show.
#[cfg(feature = "planted-bugs")]
pub(crate) const LEASED: u64 = 1_000;
#[cfg(feature = "planted-bugs")]
pub(crate) const THREE_VOTERS: u64 = 1_003;
#[cfg(feature = "planted-bugs")]
pub(crate) const FOUR_VOTERS: u64 = 1_004;

/// How much a seed is about these classes: the share of its draws that are theirs, in hundredths; none if it is not of the wanted shape.
#[cfg(feature = "planted-bugs")]
pub(crate) fn share(seed: u64, wanted: &[u64]) -> u64 {
    let random = Random::new(seed);
    let shape = shape(&mut random.fork(10));
    let fits = |wanted: &u64| match *wanted {
        LEASED => shape.raft.lease.is_some(),
        THREE_VOTERS => shape.voters == 3,
        FOUR_VOTERS => shape.voters == 4,
        _ => true,
    };
    if !wanted.iter().all(fits) {
        return 0;
    }
    let (on, _) = classes(&mut random.fork(11));
    let theirs = on.iter().filter(|class| wanted.contains(class)).count();
    (theirs * 100 / on.len()) as u64
}

pub(crate) fn plan(shape: &Shape, random: &mut Random) -> Vec<Planned> {
    let (on, focused) = classes(random);
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

/// Several faults in the order in which they have hurt before.
fn storm(class: u64, at: Time, shape: &Shape, random: &mut Random, actions: &mut Vec<Planned>) {
    if class >= RIVALS {
        return rare(class, at, shape, random, actions);
    }
    let host = Who::Host(random.below(shape.hosts()));
    let other = random.below(shape.hosts());
    let mut add = |at: Time, action: Action| actions.push(Planned { at, action });
    match class {
        // Diverging tails (Fig. 8): a leader is cut off while clients write and operators operate, and comes back to another's log.
        DIVERGENCE | 15 => {
            let mut at = at;
            add(at, Action::Burst { ms: 3_000 });
            for _ in 0..random.between(1, 4) {
                add(at, Action::Isolate { who: Who::Leader });
                match random.below(6) {
                    0 => add(at + MILLIS, Action::AddLearner { host: other }),
                    1 => add(at + MILLIS, Action::Remove { who: host }),
                    2 => add(at + MILLIS, Action::Replace { old: random.below(shape.voters), new: other }),
                    _ => {}
                }
                if random.chance(1, 3) {
                    // Others lose patience at once, while the leader still believes in itself.
                    (0..shape.hosts()).for_each(|h| {
                        if random.chance(1, 2) {
                            add(at + 5 * MILLIS, Action::Jump { who: Who::Host(h), ms: 350 });
                        }
                    });
                }
                let lasts = [150, 400, 900, 2_500][random.below(4) as usize] + random.below(200);
                if random.chance(1, 2) {
                    let moment = random.below(7);
                    let skip = random.below(4);
                    let action =
                        Action::CrashAt { who: Who::Leader, moment, skip, down_ms: 50 + random.below(400) };
                    add(at + lasts * MILLIS / 2, action);
                }
                at += lasts * MILLIS;
                add(at, Action::Heal {});
                at += random.between(1, 400) * MILLIS;
            }
        }
        // Delays as long as election timeouts: answers of elections and rounds that are over.
        SLOW_NETWORK => {
            let (duplicate, reorder) = (random.below(300), random.below(300));
            let delay_us = [60_000, 150_000, 300_000][random.below(3) as usize];
            add(at, Action::Style { loss: random.below(100), duplicate, reorder, delay_us });
            let end = at + random.between(1_000, 4_000) * MILLIS;
            add(end, Action::Style { loss: 0, duplicate: 0, reorder: 0, delay_us: 400 });
        }
        // Power comes and goes for all, with slow disks.
        POWER => {
            for number in 0..random.between(2, 6) {
                let more_ms = random.between(5, 100);
                add(at, Action::DiskSlow { who: Who::Host(random.below(shape.hosts())), more_ms, ms: 3_000 });
                let at = at + number * random.between(150, 600) * MILLIS;
                add(at, Action::CrashAll { down_ms: random.below(60) });
                add(
                    at + 100 * MILLIS,
                    Action::CrashAt { who: host, moment: 4, skip: random.below(4), down_ms: 5 },
                );
            }
        }
        // A handover, and the one who hands over is cut off from what follows.
        HANDOVER => {
            add(at, Action::Burst { ms: 1_000 });
            add(at, Action::Transfer { to: other });
            let cut = if random.chance(2, 3) {
                Action::Deaf { who: Who::Leader }
            } else {
                Action::Isolate { who: Who::Leader }
            };
            add(at + random.between(50, 1_500) * 1_000, cut);
            add(at + random.between(100, 800) * MILLIS, Action::Heal {});
        }
        // Answers that are long on their way reach a leader that nobody hears any more.
        20 | 21 => {
            let mut at = at;
            for _ in 0..random.between(1, 3) {
                add(at, Action::Burst { ms: 2_500 });
                let delay_us = [100_000, 200_000, 400_000][random.below(3) as usize];
                add(at, Action::Style { loss: 0, duplicate: 0, reorder: random.below(2) * 500, delay_us });
                at += random.between(500, 1_200) * MILLIS;
                add(at, Action::Isolate { who: Who::Leader });
                add(at, Action::Style { loss: 0, duplicate: 0, reorder: 0, delay_us: 400 });
                for h in 0..shape.hosts() {
                    if random.chance(2, 3) {
                        add(at + random.below(5) * MILLIS, Action::Jump { who: Who::Host(h), ms: 350 });
                    }
                }
                at += random.between(200, 900) * MILLIS;
                add(at, Action::Heal {});
                at += random.between(100, 600) * MILLIS;
            }
        }
        // Disks fill up while clients write, and there is room again.
        FULL_DISKS => {
            let ms = random.between(1_500, 4_000);
            add(at, Action::Burst { ms: ms + 1_000 });
            for host in 0..shape.hosts() {
                if random.chance(2, 3) {
                    add(at, Action::DiskFull { who: Who::Host(host), ms });
                }
            }
        }
        // A change of members is under way when the leader that carries it out is cut off, with the change in its own log alone.
        LONE_CHANGE => {
            let mut at = at;
            for _ in 0..3 {
                add(at, Action::Burst { ms: 2_000 });
                let node = random.below(shape.hosts());
                let action = match random.below(4) {
                    0 => Action::AddLearner { host: node },
                    1 => Action::AddVoter { host: node },
                    2 => Action::Remove { who: Who::Host(node) },
                    _ => Action::Replace { old: random.below(shape.voters), new: node },
                };
                add(at + MILLIS, action);
                let cut = at + random.between(2_000, 14_000) * MICROS;
                add(cut, Action::Isolate { who: Who::Leader });
                at = cut + random.between(200, 1_500) * MILLIS;
                add(at, Action::Heal {});
                at += random.between(300, 900) * MILLIS;
            }
        }
        // A host sleeps while the log goes on without it, and is hit again as the snapshot arrives.
        _ => {
            let down_ms = random.between(800, 3_000);
            let action = if random.chance(1, 2) {
                Action::Crash { who: host, down_ms }
            } else {
                Action::Isolate { who: host }
            };
            add(at, action);
            add(at, Action::Burst { ms: down_ms });
            let back = at + down_ms * MILLIS;
            add(back, Action::Heal {});
            for _ in 0..random.below(3) {
                let moment = [1, 2, 5][random.below(3) as usize];
                let action =
                    Action::CrashAt { who: host, moment, skip: random.below(12), down_ms: random.below(80) };
                add(back + random.below(300) * MILLIS, action);
            }
        }
    }
}

/// Storms that steer into states which the others hardly ever reach.
fn rare(class: u64, at: Time, shape: &Shape, random: &mut Random, actions: &mut Vec<Planned>) {
    let calm = Action::Style { loss: 0, duplicate: 0, reorder: 0, delay_us: 400 };
    let everybody = (1 << shape.hosts()) - 1;
    let mut add = |at: Time, action: Action| actions.push(Planned { at, action });
    match class {
        // Two lose patience at once, and one voter's grant to the first is held up until the next election.
        RIVALS => {
            let delay_us = [1_000, 4_000, 10_000][random.below(3) as usize];
            add(at, Action::Style { loss: 0, duplicate: 0, reorder: 0, delay_us });
            let mut at = at + 10 * MILLIS;
            for _ in 0..random.between(4, 12) {
                let (a, b, voter) = three(shape.voters, random);
                // The voter forgets the leader, but does not campaign itself; a leader among the rivals steps down first.
                for host in 0..shape.hosts() {
                    let rival = host == a || host == b;
                    add(at, Action::Jump { who: Who::Host(host), ms: if rival { 350 } else { 155 } });
                }
                [a, b].iter().for_each(|h| add(at + MILLIS, Action::Jump { who: Who::Host(*h), ms: 350 }));
                let held = random.between(delay_us / 1_000, 3 * delay_us / 1_000 + 2) * MILLIS;
                let again = random.between(20, 150);
                let more = random.between(delay_us / 1_000, 5 * delay_us / 1_000 + 4);
                add(at + held, Action::Stall { mask: 1 << voter, to: Who::Host(a), ms: again + more });
                at += held + again * MILLIS;
                [a, b].iter().for_each(|h| add(at, Action::Jump { who: Who::Host(*h), ms: 350 }));
                at += random.between(100, 500) * MILLIS;
            }
            add(at, calm);
        }
        // What voters say to a leader hangs; the leader is cut off; another leads; only then does the leader hear what they said.
        LATE_ANSWERS => {
            let held = random.between(160, 310);
            add(at, Action::Burst { ms: 1_500 });
            add(at + 20 * MILLIS, Action::Stall { mask: everybody, to: Who::Leader, ms: held });
            let cut = at + random.between(21, 90) * MILLIS;
            add(cut, Action::Isolate { who: Who::Leader });
            if random.chance(1, 2) {
                let spared = random.below(shape.hosts());
                let others = (0..shape.hosts()).filter(|host| *host != spared);
                others.for_each(|host| add(cut + 3 * MILLIS, Action::Jump { who: Who::Host(host), ms: 350 }));
            }
            add(at + (held + random.between(200, 700)) * MILLIS, Action::Heal {});
        }
        // The last leader that clients wrote to leaves a tail, and from then on they only read.
        LAST_WORDS => {
            let end = shape.faults_end - random.between(100, 2_000) * MILLIS;
            let at = if random.chance(1, 2) { end } else { at };
            add(at, Action::Burst { ms: 400 });
            let tail = at + random.between(20, 300) * MILLIS;
            add(tail, Action::Isolate { who: Who::Leader });
            let lasts = if at == end { 60_000 } else { random.between(200, 2_000) };
            add(tail + random.between(0, 40) * MILLIS, Action::Quiet { ms: lasts });
            add(tail + random.between(100, 900) * MILLIS, Action::Heal {});
            if random.chance(1, 2) {
                add(tail + random.between(20, 400) * MILLIS, Action::Crash { who: Who::Leader, down_ms: 50 });
            }
        }
        // A minority sleeps; what it misses is on the disks of the others, a bare quorum; one of those disks is replaced by an empty one, and
        // its host wakes among the sleepers, who may have slept so well that they start again, too.
        AMNESIA => {
            let (leader, forgetful, _) = three(shape.voters, random);
            let others = (0..shape.voters).filter(|host| *host != leader && *host != forgetful);
            let sleepers =
                others.take((shape.voters as usize - 1) / 2).fold(0, |mask, host| mask | 1 << host);
            add(at, Action::Heal {});
            add(at, Action::Transfer { to: leader });
            let at = at + 400 * MILLIS;
            add(at, Action::Split { mask: sleepers });
            add(at, Action::Burst { ms: 600 });
            let lost = at + random.between(100, 600) * MILLIS;
            add(lost, Action::LoseDisk { who: Who::Host(forgetful), down_ms: random.below(30) });
            add(lost, Action::Heal {});
            add(lost, Action::Split { mask: sleepers | 1 << forgetful });
            let again = random.chance(1, 2);
            for host in (0..shape.voters).filter(|host| again && sleepers & 1 << host != 0) {
                add(lost, Action::Kill { who: Who::Host(host), down_ms: random.below(30) });
            }
            add(lost + random.between(600, 2_000) * MILLIS, Action::Heal {});
        }
        // A host that needs a snapshot gets its pieces several times, while the log goes on.
        STRAY_PIECES => {
            let host = Who::Host(random.below(shape.hosts()));
            let down_ms = random.between(600, 2_000);
            add(at, Action::Isolate { who: host });
            add(at, Action::Burst { ms: down_ms + 1_500 });
            let back = at + down_ms * MILLIS;
            let (duplicate, reorder) = (random.between(300, 900), random.between(200, 700));
            let delay_us = [400, 2_000, 10_000][random.below(3) as usize];
            add(back, Action::Style { loss: random.below(80), duplicate, reorder, delay_us });
            add(back, Action::Heal {});
            for _ in 0..random.below(3) {
                let at = back + random.between(1, 400) * MILLIS;
                add(at, Action::Isolate { who: if random.chance(1, 2) { Who::Leader } else { host } });
                add(at + random.between(100, 700) * MILLIS, Action::Heal {});
            }
            add(back + 1_500 * MILLIS, calm);
        }
        // A leader that nobody hears takes what the others send on to it; the next one dies soon after it has won; the first is back, with the
        // longer log of the lower term.
        RELAPSE => {
            let (a, ..) = three(shape.voters, random);
            add(at, Action::Heal {});
            add(at, Action::Transfer { to: a });
            let cut = at + 400 * MILLIS;
            add(cut - 30 * MILLIS, Action::Burst { ms: 200 });
            add(cut, Action::Mute { who: Who::Host(a) });
            for host in (0..shape.hosts()).filter(|host| *host != a) {
                let (skip, down_ms) = (random.below(16), random.between(600, 1_500));
                add(cut, Action::CrashAt { who: Who::Host(host), moment: 3, skip, down_ms });
            }
            add(cut + random.between(250, 700) * MILLIS, Action::Heal {});
            add(cut + random.between(1_000, 1_500) * MILLIS, Action::Heal {});
        }
        // The leader and one voter do not reach each other, and what the others say to the leader hangs: the leader goes on, by its lease, if they let
        // that one win.
        OUT_OF_SIGHT => {
            let (leader, blind, _) = three(shape.voters, random);
            add(at, Action::Heal {});
            add(at, Action::Transfer { to: leader });
            let cut = at + 400 * MILLIS;
            add(cut, Action::Burst { ms: 700 });
            add(cut, Action::Sever { a: leader, b: blind });
            let hangs = cut + random.between(130, 250) * MILLIS;
            let ms = random.between(60, 200);
            add(hangs, Action::Stall { mask: everybody, to: Who::Host(leader), ms });
            add(cut + random.between(300, 800) * MILLIS, Action::Heal {});
        }
        // The leader has a change in its log that only the new member hears of: machines that were spare are on its side.
        JOINT_SPLIT => {
            let (a, b, _) = three(shape.voters, random);
            let spares = (shape.voters..shape.hosts()).fold(0, |mask, host| mask | 1 << host);
            add(at, Action::Heal {});
            add(at, Action::Transfer { to: a });
            let cut = at + 400 * MILLIS;
            if random.chance(1, 2) {
                add(cut, Action::Burst { ms: 1_500 });
            }
            // The slower the network, the longer the change is on its way to the others.
            let slow = [0, 20, 20][random.below(3) as usize];
            if slow > 0 {
                add(
                    cut - 150 * MILLIS,
                    Action::Style { loss: 0, duplicate: 0, reorder: 0, delay_us: slow * 1_000 },
                );
                add(cut + 200 * MILLIS, calm);
            }
            let asked = cut - random.between(1_000, 8_000) * MICROS - random.below(3 * slow + 1) * MILLIS;
            add(asked, Action::Replace { old: b, new: shape.hosts() - 1 });
            add(cut, Action::Split { mask: 1 << a | spares });
            if random.chance(1, 2) {
                add(cut + random.between(5, 900) * MILLIS, Action::Crash { who: Who::Host(a), down_ms: 20 });
            }
            add(cut + random.between(1_000, 3_000) * MILLIS, Action::Heal {});
        }
        // Ongaro's counter-example to changes one server at a time (raft-dev, 2015). {a} leads, begins a change and is cut off; {b} wins with
        // {c}'s vote and is asked for another change at once; {c} loses power as it has voted, so that it knows nothing of either; then {a} is
        // back with {c}, and {b} gone.
        _ => {
            let (a, b, c) = three(shape.voters, random);
            add(at, Action::Heal {});
            add(at, Action::Transfer { to: a });
            let mut at = at + 400 * MILLIS;
            add(at - random.below(6) * MILLIS, Action::Remove { who: Who::Host(b) });
            add(at, Action::Isolate { who: Who::Host(a) });
            add(at, Action::Hasty { host: a, ms: 600 });
            let down_ms = random.between(30, 150);
            add(at, Action::CrashAt { who: Who::Host(c), moment: 4, skip: 0, down_ms });
            at += random.between(3, 20) * MILLIS;
            add(at, Action::Jump { who: Who::Host(b), ms: 350 });
            (0..shape.hosts()).filter(|host| *host != a && *host != b).for_each(|host| {
                add(at, Action::Jump { who: Who::Host(host), ms: 155 });
            });
            at += random.between(10, down_ms) * MILLIS;
            add(at, Action::Heal {});
            add(at, Action::Split { mask: 1 << a | 1 << c });
            add(at + random.between(500, 1_500) * MILLIS, Action::Heal {});
        }
    }
}

/// Three hosts among the first `count`, all different if there are as many.
fn three(count: u64, random: &mut Random) -> (u64, u64, u64) {
    let first = random.below(count);
    let second = (first + 1 + random.below((count - 1).max(1))) % count;
    let third =
        (0..count).map(|step| (first + second + step) % count).find(|host| ![first, second].contains(host));
    (first, second, third.unwrap_or(first))
}
