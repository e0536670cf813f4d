//! Storms: several faults in the order in which they have hurt before.

use quorate_consensus::Random;

use crate::{
    faults::{Action, Planned, Who},
    plan::{DIVERGENCE, FULL_DISKS, HANDOVER, LONE_CHANGE, POWER, RIVALS, SLOW_NETWORK, Shape},
    schedule::{MICROS, MILLIS, Time},
};

/// Several faults in the order in which they have hurt before.
pub(crate) fn storm(class: u64, at: Time, shape: &Shape, random: &mut Random, actions: &mut Vec<Planned>) {
    if class >= RIVALS {
        return crate::rare::rare(class, at, shape, random, actions);
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
        HANDOVER if random.chance(1, 2) => {
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
        // Nobody writes, so that the other is as far as the leader and is asked to take over at once; the leader hears nothing of it, and others write.
        HANDOVER => {
            add(at, Action::Quiet { ms: 60 });
            add(at, Action::Burst { ms: 600 });
            let asked = at + 50 * MILLIS;
            add(asked, Action::Transfer { to: other });
            add(asked + random.between(10, 200) * MICROS, Action::Deaf { who: Who::Leader });
            add(asked + random.between(150, 600) * MILLIS, Action::Heal {});
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
