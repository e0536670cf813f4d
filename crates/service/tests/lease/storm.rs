//! Clients that keep leases alive or do not, leaders that come and go, entries and words that are late or lost: nobody's lease ends before it may (E5),
//! and none lives for ever.

use std::collections::BTreeMap;

use quorate_consensus::{Duration, Instant, Random, StateMachine as _};
use quorate_keyspace::{Command, LeaseId, News};

use crate::common::{World, keep_alive};

/// What the client of a lease may count on.
struct Promise {
    ttl: Duration,
    /// Its lease does not end before.
    until: Instant,
    /// When it last could have been lengthened: asked for, or a new leader began.
    touched: Instant,
}

struct Storm {
    world: World,
    random: Random,
    promises: BTreeMap<i64, Promise>,
    /// Who asked for what, and when.
    asked: BTreeMap<u64, (i64, Instant)>,
    number: u64,
    next_lease: i64,
    /// A barrier is under way: its view is taken when it ends.
    barrier: bool,
    ended: usize,
    renewed: usize,
    elections: usize,
}

impl Storm {
    fn new(seed: u64) -> Storm {
        Storm {
            world: World::new(),
            random: Random::new(seed),
            promises: BTreeMap::new(),
            asked: BTreeMap::new(),
            number: 0,
            next_lease: 1,
            barrier: false,
            ended: 0,
            renewed: 0,
            elections: 0,
        }
    }

    fn lease(&mut self) -> Option<i64> {
        let all: Vec<i64> = self.promises.keys().copied().collect();
        (!all.is_empty()).then(|| all[self.random.below(all.len() as u64) as usize])
    }

    fn apply(&mut self, command: &Command) {
        let by_steward = matches!(command, Command::LeaseExpire { .. });
        let (result, news) = self.world.apply(command);
        let now = self.world.now;
        for news in news {
            match news {
                News::Granted(lease) => {
                    let ttl = Duration::from_secs(lease.ttl_s as u64);
                    self.promises.insert(lease.id.0, Promise { ttl, until: now + ttl, touched: now });
                }
                News::Ended { id, .. } => {
                    let promise = self.promises.remove(&id.0).expect("a lease that was granted");
                    if by_steward {
                        self.ended += 1;
                        assert!(
                            now >= promise.until,
                            "{id:?} ended at {now}, promised until {}",
                            promise.until
                        );
                    }
                }
                _ => {}
            }
        }
        drop(result);
    }

    fn hear_answers(&mut self) {
        for (number, remaining) in self.world.answers() {
            let Some((lease, at)) = self.asked.remove(&number) else { continue };
            match (remaining, self.promises.get_mut(&lease)) {
                (Some(_), Some(promise)) => {
                    // From when it was asked: later than that no promise reaches.
                    promise.until = promise.until.max(at + promise.ttl);
                    promise.touched = self.world.now;
                    self.renewed += 1;
                }
                (Some(_), None) => panic!("lease {lease} was kept alive and is gone"),
                (None, Some(_)) => panic!("lease {lease} is there and was said not to be"),
                (None, None) => {}
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(30) {
            0..=9 => self.world.pass(self.random.below(100) as f64 / 100.0),
            10 | 11 => {
                // Ids come again.
                let id =
                    if self.random.below(4) == 0 { 1 + self.random.below(5) as i64 } else { self.next_lease };
                self.next_lease += 1;
                let ttl_s = [2, 5, 20, 60][self.random.below(4) as usize];
                self.apply(&Command::LeaseGrant { id: LeaseId(id), ttl_s });
            }
            12 if self.random.below(3) == 0 => {
                if let Some(lease) = self.lease() {
                    self.apply(&Command::LeaseRevoke { id: LeaseId(lease) });
                }
            }
            13..=16 => {
                if let Some(lease) = self.lease() {
                    self.number += 1;
                    self.asked.insert(self.number, (lease, self.world.now));
                    self.world.ask(self.number, keep_alive(lease));
                }
            }
            17 if self.random.below(12) == 0 => {
                self.elections += 1;
                self.asked.clear();
                self.barrier = false;
                self.world.epoch += 1;
                self.world.steward =
                    quorate_service::lease::Steward::new(quorate_consensus::Epoch(self.world.epoch));
                // What was proposed is lost, or comes into the log of the new leader.
                if self.random.below(2) == 0 {
                    self.world.proposed.clear();
                }
                for promise in self.promises.values_mut() {
                    promise.touched = self.world.now;
                }
            }
            18..=23 => {
                if self.barrier {
                    self.barrier = false;
                    if self.random.below(10) == 0 {
                        self.world.steward.barrier_failed(self.world.now);
                    } else {
                        let commands =
                            self.world.steward.barrier_done(&self.world.store.view(), self.world.now);
                        self.world.proposed.extend(commands);
                    }
                } else {
                    self.barrier = self.world.steward.wants_barrier(self.world.now);
                }
            }
            24..=28 if !self.world.proposed.is_empty() => {
                let command = self.world.proposed.remove(0);
                // Lost, as an entry of an overloaded node is.
                if self.random.below(20) > 0 {
                    self.apply(&command);
                }
            }
            _ => {}
        }
        self.hear_answers();
        let now = self.world.now;
        for (lease, promise) in &self.promises {
            let latest = promise.until.max(promise.touched + promise.ttl) + Duration::from_secs(60);
            assert!(now < latest, "lease {lease} lives on: {now}, promised until {}", promise.until);
        }
    }
}

struct Counted {
    ended: usize,
    renewed: usize,
    elections: usize,
}

fn run(seed: u64) -> Counted {
    let mut storm = Storm::new(seed);
    for _ in 0..6_000 {
        storm.step();
    }
    Counted { ended: storm.ended, renewed: storm.renewed, elections: storm.elections }
}

#[test]
fn e5_no_lease_ends_early_and_none_lives_for_ever() {
    let runs: Vec<Counted> = (0..60).map(run).collect();
    let all = |count: fn(&Counted) -> usize| runs.iter().map(count).sum::<usize>();
    let (ended, renewed, elections) =
        (all(|run| run.ended), all(|run| run.renewed), all(|run| run.elections));
    assert!(ended > 10_000 && renewed > 10_000 && elections > 600, "{ended} {renewed} {elections}");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn the_storm_finds_each_planted_bug() {
    for id in ["E10", "E11", "E14", "E21"] {
        quorate_consensus::activate_plant(id);
        let found = (0..200).find(|seed| std::panic::catch_unwind(|| run(*seed)).is_err());
        quorate_consensus::activate_plant("");
        assert!(found.is_some(), "{id} was not found");
    }
}
