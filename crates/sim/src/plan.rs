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
const CLASSES: u64 = 24;

pub(crate) fn plan(shape: &Shape, random: &mut Random) -> Vec<Planned> {
    let on: Vec<u64> = (0..CLASSES).filter(|_| random.chance(2, 5)).collect();
    let on = if on.is_empty() { (0..CLASSES).collect() } else { on };
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
        12 => {
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
    let host = Who::Host(random.below(shape.hosts()));
    let other = random.below(shape.hosts());
    let mut add = |at: Time, action: Action| actions.push(Planned { at, action });
    match class {
        // Diverging tails (Fig. 8): a leader is cut off while clients write and operators operate, and comes back to another's log.
        14 | 15 => {
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
        16 => {
            let (duplicate, reorder) = (random.below(300), random.below(300));
            let delay_us = [60_000, 150_000, 300_000][random.below(3) as usize];
            add(at, Action::Style { loss: random.below(100), duplicate, reorder, delay_us });
            let end = at + random.between(1_000, 4_000) * MILLIS;
            add(end, Action::Style { loss: 0, duplicate: 0, reorder: 0, delay_us: 400 });
        }
        // Power comes and goes for all, with slow disks.
        17 => {
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
        18 => {
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
        22 => {
            let ms = random.between(1_500, 4_000);
            add(at, Action::Burst { ms: ms + 1_000 });
            for host in 0..shape.hosts() {
                if random.chance(2, 3) {
                    add(at, Action::DiskFull { who: Who::Host(host), ms });
                }
            }
        }
        // A change of members is under way when the leader that carries it out is cut off, with the change in its own log alone.
        23 => {
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
