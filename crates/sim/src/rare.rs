//! Storms that steer into states which the others hardly ever reach.

use quorate_consensus::Random;

use crate::{
    faults::{Action, Planned, Who},
    plan::{
        AMNESIA, ECHOES, JOINT_SPLIT, LAST_WORDS, LATE_ANSWERS, LATE_GRANT, OUT_OF_SIGHT, RELAPSE, RIVALS,
        STRAY_PIECES, Shape,
    },
    schedule::{MICROS, MILLIS, Time},
};

/// One storm of these.
pub(crate) fn rare(class: u64, at: Time, shape: &Shape, random: &mut Random, actions: &mut Vec<Planned>) {
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
        // The leader and one voter do not reach each other, and nobody writes, so that this one's log stays as new as the others'. What the others say
        // to the leader hangs once that voter has lost patience: the leader goes on, by its lease, if they let it win; then clients write again.
        OUT_OF_SIGHT => {
            let (leader, blind, _) = three(shape.voters, random);
            add(at, Action::Heal {});
            add(at, Action::Transfer { to: leader });
            let cut = at + 400 * MILLIS;
            let hangs = cut + random.between(140, 240) * MILLIS;
            let writes = hangs + random.between(15, 60) * MILLIS;
            add(cut - 30 * MILLIS, Action::Quiet { ms: (writes - cut) / MILLIS + 30 });
            add(cut - 30 * MILLIS, Action::Burst { ms: 700 });
            add(cut, Action::Sever { a: leader, b: blind });
            let ms = random.between(100, 200);
            add(hangs, Action::Stall { mask: everybody, to: Who::Host(leader), ms });
            add(hangs + random.between(200, 600) * MILLIS, Action::Heal {});
        }
        // {a} campaigns while the leader {b} is away, and {c}'s grant hangs. {b} is back, a follower; {a} and {b} campaign in the next term, {c} votes
        // for {b}, whom alone it hears; then {a} hears {c}'s grant of the term before.
        LATE_GRANT => {
            let (a, b, c) = three(shape.voters, random);
            let mut at = at;
            for _ in 0..random.between(2, 4) {
                at = late_grant(at, (a, b, c), random, actions);
            }
        }
        // {b} hears nothing for a while; what it sends on to the leader {a} arrives, and is committed; then {a} leads no more, gets it a second time,
        // and {b} hears again.
        ECHOES => {
            let (a, b, _) = three(shape.voters, random);
            let mut at = at;
            add(at, Action::Burst { ms: 3_000 });
            for _ in 0..random.between(2, 5) {
                add(at, Action::Heal {});
                add(at, Action::Transfer { to: a });
                at += 400 * MILLIS;
                let duplicate = random.between(500, 1_000);
                add(at - 15 * MILLIS, Action::Style { loss: 0, duplicate, reorder: 700, delay_us: 400 });
                add(at, Action::Deaf { who: Who::Host(b) });
                at += random.between(8, 25) * MILLIS;
                add(at, Action::Jump { who: Who::Host(a), ms: 350 });
                add(at + random.below(2) * MILLIS, Action::Heal {});
                at += 35 * MILLIS;
                add(at, calm);
                at += random.between(100, 500) * MILLIS;
            }
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
            let mask = 1 << a | spares;
            let asked = cut - random.between(1_000, 8_000) * MICROS - random.below(3 * slow + 1) * MILLIS;
            add(asked, Action::Replace { old: b, new: shape.hosts() - 1 });
            if random.chance(1, 2) {
                add(asked, Action::Part { mask, ms: 900 });
            } else {
                add(cut, Action::Split { mask });
            }
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

/// One attempt of [`LATE_GRANT`]; returns when the next may begin.
fn late_grant(at: Time, (a, b, c): (u64, u64, u64), random: &mut Random, actions: &mut Vec<Planned>) -> Time {
    let mut add = |at: Time, action: Action| actions.push(Planned { at, action });
    let jump = |host: u64, ms: u64| Action::Jump { who: Who::Host(host), ms };
    // Messages take up to so long; each step below leaves the ones before it the time they need, more often than not.
    let slow = random.between(8, 20);
    let delay = slow * MILLIS;
    add(at, Action::Heal {});
    add(at, Action::Transfer { to: b });
    let first = at + 450 * MILLIS;
    add(first - 150 * MILLIS, Action::Quiet { ms: 600 });
    add(first - 50 * MILLIS, Action::Style { loss: 0, duplicate: 0, reorder: 0, delay_us: slow * 1_000 });
    // First term: {c} forgets the leader and grants to {a}.
    add(first, Action::Isolate { who: Who::Host(b) });
    add(first, jump(c, 155));
    add(first, jump(a, 350));
    let second = first + 4 * delay + random.between(55, 90) * MILLIS;
    let arrives = second + delay + random.below(2 * delay);
    add(
        first + delay,
        Action::Stall { mask: 1 << c, to: Who::Host(a), ms: (arrives - first - delay) / MILLIS },
    );
    add(first + 4 * delay, Action::Heal {});
    // Second term: both ask.
    add(second, Action::Sever { a, b: c });
    add(second, jump(c, 155));
    [a, b].iter().for_each(|host| add(second, jump(*host, 350)));
    let end = second + 8 * delay;
    add(end, Action::Style { loss: 0, duplicate: 0, reorder: 0, delay_us: 400 });
    add(end, Action::Heal {});
    end + random.between(50, 300) * MILLIS
}

/// Leases to their very end: the leader is cut off, and one voter, whom alone it heard, forgets it as much too early as its lease allows for; a candidate that
/// has not heard the leader for long asks that voter again and again. Nothing was written since the candidate fell behind, so that it can win; then clients write
/// to it, and read from the leader before.
pub(crate) fn lease_edge(shape: &Shape, random: &mut Random) -> Vec<Planned> {
    let error = shape.raft.lease.map_or(0, |lease| lease.clock_error.as_millis() as u64);
    let mut actions = Vec::new();
    let mut at = random.between(500, 900) * MILLIS;
    while at + 4_000 * MILLIS < shape.faults_end {
        let mut add = |at: Time, action: Action| actions.push(Planned { at, action });
        let (leader, blind, _) = three(shape.voters, random);
        add(at, Action::Heal {});
        add(at, Action::Transfer { to: leader });
        let cut = at + 500 * MILLIS;
        let gone = cut + random.between(350, 600) * MILLIS;
        add(cut - 60 * MILLIS, Action::Quiet { ms: (gone - cut) / MILLIS + 60 });
        add(cut, Action::Sever { a: leader, b: blind });
        add(gone, Action::Burst { ms: 400 });
        add(gone, Action::Isolate { who: Who::Host(leader) });
        for host in (0..shape.hosts()).filter(|host| *host != leader && *host != blind) {
            add(gone + 50 * MILLIS, Action::Edge { who: Who::Host(host), ms: error.saturating_sub(1) });
        }
        for step in 0..35 {
            add(gone + (75 + 2 * step) * MILLIS, Action::Edge { who: Who::Host(blind), ms: 350 });
        }
        add(gone + random.between(300, 500) * MILLIS, Action::Heal {});
        at = gone + random.between(600, 1_200) * MILLIS;
    }
    actions.sort_by_key(|planned| planned.at);
    actions
}
