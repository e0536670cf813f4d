//! Planted bugs: known mistakes of consensus systems, each of which the simulator must find. A checker that finds nothing may be a checker
//! that looks at nothing.

use std::fmt;

use crate::{
    campaign::{Options, replay_command},
    run::{Report, run_seed},
};

/// A bug that can be planted.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    /// Its id in the catalogue.
    pub id: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// Which checkers may find it; one of them must.
    pub killers: &'static [&'static str],
}

macro_rules! plants {
    ($($id:literal $what:literal [$($killer:literal)*],)*) => {
        /// The bugs that this build can plant and a run of Raft can show.
        pub const PLANTS: &[Plant] = &[$(Plant { id: $id, what: $what, killers: &[$($killer),*] },)*];
    };
}

plants! {
    // Elections, terms, votes.
    "A01" "a vote of an older term is counted" ["I1"],
    "A02" "a grant is sent before the vote is durable" ["I15" "I3" "I1"],
    "A04" "logs are compared by length alone" ["I5" "I6" "I20"],
    "A12" "a leader that hears no quorum does not step down" ["I18" "I20" "I21"],
    "A13" "a learner campaigns" ["I12" "I20" "I21" "I15" "I1" "I5"],
    "A21" "a candidate counts its own vote before it is durable" ["I15" "I1" "I3"],
    // Replication and commit.
    "B01" "an entry of an earlier term is committed by counting" ["I8" "I6"],
    "B02" "a follower commits what it has not verified" ["I7" "I6" "I4"],
    "B04" "a late acknowledgement takes the match index back" ["I11"],
    "B06" "a late AppendEntries truncates what has matched" ["I6" "I13" "I17" "I11" "I15" "I7"],
    "B07" "truncating and appending are two writes" ["I13" "I17" "I7" "I15" "I11"],
    "B10" "the completion of an overwritten append is counted" ["I15" "I7" "I11"],
    "B12" "a read is confirmed without a quorum" ["I18"],
    "B18" "a follower that lost a batch is never sent it again" ["I20"],
    "B21" "a leader counts itself before its own write is durable" ["I7" "I11"],
    "B22" "no no-op at the start of a term" ["I20"],
    "B23" "an entry is acknowledged before it is durable" ["I15" "I11" "I7"],
    "B26" "a commit index runs ahead of what the follower has verified" ["I6" "I7"],
    "B28" "a forwarded proposal is taken twice" ["X1"],
    // Membership.
    "C01" "a membership change before the term's first commit" ["I12" "I1" "I6"],
    "C02" "a second membership change while one is not committed" ["I12"],
    "C04" "a membership is not reverted when its entry is truncated" ["I12"],
    "C05" "one half of a joint membership is enough" ["I7" "I1" "I12" "I5" "I6" "I18"],
    "C10" "learners are counted in a quorum" ["I7"],
    "C14" "a member whose disk was lost comes back under its id" ["I13" "I3" "I2" "I7" "I11" "I5" "I17" "I1"],
    // Snapshots.
    "D01" "an installed snapshot's description is written before its data" ["I16" "I17"],
    "D02" "a conflicting log is kept under an installed snapshot" ["I4" "I6" "I17" "I11" "I9"],
    "D03" "an older snapshot takes the state back" ["I9" "I6" "I16" "I10"],
    "D05" "the log is compacted before the snapshot is durable" ["I17" "I9" "I16" "panic"],
    "D12" "a snapshot forgets the sessions" ["I16" "X1"],
    // Reads.
    "E01" "a read is served before the term's first commit" ["I18"],
    "E02" "the round of an earlier read confirms a later one" ["I18"],
    "E05" "a lease counts from the answer instead of the question" ["I18"],
    "E06" "a lease outlives a transfer of leadership" ["I18"],
    "E07" "a read is answered before its index is applied" ["I18"],
    // Exactly once, and the keys.
    "X02" "a repeated command is executed again" ["X1"],
    "M02" "a range in a transaction does not see the transaction's own writes" ["E1" "I18"],
    "M03" "a transaction that changes nothing takes a revision" ["E1" "E2" "I10"],
    "M04" "a key deleted and made again in one transaction keeps its version" ["E1"],
    "M08" "an entry under a snapshot is applied again" ["I9" "I10" "I16" "X1" "E1"],
}

/// How the hunt for one planted bug ended.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The bug.
    pub id: &'static str,
    /// The seed that found it, and the checker.
    pub found: Option<(u64, &'static str)>,
    /// Other checkers that spoke before a named one did, and at which seed first.
    pub others: Vec<(u64, &'static str)>,
    /// How often the planted place was reached, over all seeds run.
    pub triggers: u64,
    /// Is the same seed clean without the bug?
    pub clean_without: bool,
    /// What the checker said.
    pub what: String,
}

impl Hunt {
    /// Was the bug reached, found by a checker named for it, and is the seed clean without it?
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.found.is_some() && self.triggers > 0 && self.clean_without
    }
}

impl fmt::Display for Hunt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = Options { plant: Some(self.id.to_owned()), ..Options::default() };
        match self.found {
            Some((seed, checker)) => write!(
                f,
                "{} found by {checker} at seed {seed}, {} triggers, {} without it: {}",
                self.id,
                self.triggers,
                if self.clean_without { "clean" } else { "NOT CLEAN" },
                replay_command(&options, seed)
            ),
            None => write!(
                f,
                "{} NOT found, {} triggers, other checkers: {:?}",
                self.id, self.triggers, self.others
            ),
        }
    }
}

/// Hunts one planted bug over the seeds 1 to `seeds_max`.
#[must_use]
pub fn hunt(plant: &Plant, seeds_max: u64) -> Hunt {
    let mut hunt = Hunt {
        id: plant.id,
        found: None,
        others: Vec::new(),
        triggers: 0,
        clean_without: false,
        what: String::new(),
    };
    for seed in 1..=seeds_max {
        quorate_consensus::activate_plant(plant.id);
        let report = run_seed(seed, false);
        let triggers = quorate_consensus::plant_triggers();
        quorate_consensus::activate_plant("");
        hunt.triggers += triggers;
        let Some(first) = report.violations.first() else { continue };
        let named = named(plant, &report).filter(|_| triggers > 0);
        // What the seed shows without the bug is not the bug's doing.
        let clean = run_seed(seed, false).violations.is_empty();
        match named {
            Some(id) if clean => {
                hunt.found = Some((seed, id));
                hunt.clean_without = true;
                hunt.what.clone_from(&first.what);
                break;
            }
            _ if clean && hunt.others.iter().all(|(_, other)| *other != first.id) => {
                hunt.others.push((seed, first.id));
            }
            _ => {}
        }
    }
    hunt
}

fn named(plant: &Plant, report: &Report) -> Option<&'static str> {
    report.violations.iter().map(|violation| violation.id).find(|id| plant.killers.contains(id))
}

/// Hunts the bugs with these ids, or all if there are none.
pub fn run_plants(ids: &[String], seeds_max: u64, progress: &mut dyn FnMut(&Hunt)) -> Vec<Hunt> {
    let chosen = PLANTS.iter().filter(|plant| ids.is_empty() || ids.iter().any(|id| id == plant.id));
    chosen
        .map(|plant| {
            let hunt = hunt(plant, seeds_max);
            progress(&hunt);
            hunt
        })
        .collect()
}
