//! Many engines on a hostile network with slow disks that forget what was not synced: ZAB's invariants after every event.
//!
//! This is the engine alone; the whole service goes through worse in the simulator.
//!
//! `QUORATE_ZAB_FIRST=200580 QUORATE_ZAB_SEEDS=1 QUORATE_ZAB_TRACE=1` in the environment run one seed and tell its story.
#![allow(clippy::disallowed_methods, reason = "tests may ask which seeds to run")]

mod checks;
mod faults;
mod host;
mod world;

use quorate_consensus::{Duration, Engine, Input, NodeId};

use host::Host;
use world::World;

impl World {
    fn tick(&mut self, faults: bool) {
        self.now = self.now + Duration::from_millis(1);
        if self.vouches && self.random.chance(1, 30) {
            self.vouch();
        }
        self.deliver();
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        for id in ids {
            if self.random.below(100) < self.disk_percent {
                // A disk takes a few writes at a time; the last of them may be lost with the power.
                for _ in 0..self.random.between(1, 8) {
                    self.sync(id);
                }
            }
            let host = &self.hosts[&id];
            let due = host.up && host.engine.poll_timeout().is_some_and(|at| at <= self.now);
            if due {
                self.step(id, Input::Wake);
                let next = self.hosts[&id].engine.poll_timeout();
                assert!(
                    next.is_none_or(|at| at > self.now),
                    "{id} asks for a time that has passed, again and again"
                );
            }
        }
        if self.clients && self.random.chance(1, 4) {
            self.client();
        }
        if faults {
            self.fault();
        }
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.loss_percent = 0;
        self.disk_percent = 33;
        let down: Vec<NodeId> = self.hosts.iter().filter(|(_, host)| !host.up).map(|(id, _)| *id).collect();
        for id in down {
            self.restart(id);
        }
        let before = self.commit_seen;
        for _ in 0..2_000 {
            self.tick(false);
            self.counts.healed_after += u64::from(self.commit_seen == before);
        }
        self.clients = false;
        for _ in 0..1_000 {
            self.tick(false);
        }
        let statuses = || {
            let show = |(id, host): (&NodeId, &Host)| format!("\n{id}: {:?}", host.engine.status());
            self.hosts.iter().map(show).collect::<String>()
        };
        assert!(
            self.commit_seen.0 > before.0 + 10,
            "I20: no progress after healing: {before} {}{}",
            self.commit_seen,
            statuses()
        );
        let Some(leader) = self.leader() else { panic!("I20: no leader after healing: {}", statuses()) };
        let membership = self.hosts[&leader].engine.status().membership;
        for node in membership.members().collect::<Vec<_>>() {
            let status = self.hosts[&node].engine.status();
            assert_eq!(
                status.commit,
                self.commit_seen,
                "I20: {node} is behind after healing: {}",
                statuses()
            );
            let voter = membership.is_voter(node);
            assert_eq!(status.last.index, self.commit_seen, "Z4: {node} (voter: {voter}) has another log");
        }
    }
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed, 3 + seed % 3);
    for _ in 0..3_000 {
        world.tick(true);
    }
    world.heal();
    world
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name, or| std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(or);
    let first = number("QUORATE_ZAB_FIRST", 0);
    first..first + number("QUORATE_ZAB_SEEDS", 200)
}

#[test]
fn z01_to_z09_the_invariants_hold_on_a_hostile_network_and_it_heals() {
    let mut totals = [0; 7];
    let mut failed = Vec::new();
    let mut slowest = (0, 0);
    for seed in seeds() {
        let Ok(world) = std::panic::catch_unwind(|| run(seed)) else {
            println!("seed {seed} fails");
            failed.push(seed);
            continue;
        };
        let c = &world.counts;
        slowest = slowest.max((c.healed_after, seed));
        let counts = [c.leaders, c.reads, c.installs, c.truncations, c.changes, c.accepted, c.overflows];
        for (total, count) in totals.iter_mut().zip(counts) {
            *total += count;
        }
    }
    println!("slowest to heal: {} ms, seed {}", slowest.0, slowest.1);
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
    let names = [
        "leaders established",
        "reads served",
        "snapshots installed",
        "histories truncated",
        "membership changes",
        "proposals accepted",
        "epochs filled",
    ];
    for (name, total) in names.into_iter().zip(totals) {
        println!("{name}: {total}");
        assert!(total > 0, "no {name} in any seed: the test is empty");
    }
}

/// Seeds that once found no leader in time, and one that took 1.8 seconds: `rules/election.rs` tells what each of them was about.
#[test]
fn z03_seeds_that_once_stood_still_heal_within_two_election_timeouts() {
    for seed in [200_580, 206_892, 206_572] {
        let healed_after = run(seed).counts.healed_after;
        assert!(healed_after <= 600, "seed {seed}: {healed_after} ms");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(run(7).fingerprint(), run(7).fingerprint());
}

/// What this test can see must be seen: each planted bug breaks an invariant within these seeds. `rules` tells a story for each of the others (H17 among them: an
/// election that guesses well hides it; and H09: what is built on half a state is refused here, and the link starts again).
#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_are_found() {
    let plants = [
        "H01", "H02", "H03", "H04", "H05", "H06", "H08", "H11", "H12", "H13", "H15", "H16", "H18", "H20",
        "H21",
    ];
    let mut missed = Vec::new();
    for plant in plants {
        let mut reached = 0;
        let found = (0..2_000).find(|seed| {
            let seed = *seed;
            let caught = std::panic::catch_unwind(move || {
                quorate_consensus::activate_plant(plant);
                run(seed);
            });
            reached += quorate_consensus::plant_triggers();
            caught.is_err()
        });
        quorate_consensus::activate_plant("");
        println!("{plant}: seed {found:?}, reached {reached} times");
        if found.is_none() {
            missed.push(plant);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
