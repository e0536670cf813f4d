//! Planted bugs: known mistakes of consensus systems, each of which the simulator must find. A checker that finds nothing may be a checker
//! that looks at nothing.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use quorate_consensus::EngineKind;

use crate::{
    campaign::{Options, replay_command},
    plan::{
        self, AMNESIA, DIVERGENCE, ECHOES, FIVE_VOTERS, FORGERIES, FOUR_VOTERS, HANDOVER, HUNG_DISK,
        JOINT_SPLIT, LAST_WORDS, LATE_ANSWERS, LATE_GRANT, LEASE_EDGE, LEASED, LONE_CHANGE, MEMBERSHIP,
        NARROW_WINDOWS, ONE_VOTER, OUT_OF_SIGHT, PAIR_APART, POWER, RELAPSE, RIVALS, SHORT_EPOCHS, SLEEPERS,
        SLOW_NETWORK, SMALL_BATCHES, STAR, STRAY_PIECES, THREE_VOTERS, TWO_CHANGES, TWO_VOTERS,
        WITH_COMPACTIONS, WITH_CROWDS, WITH_KEYS, WITH_LONG_LEASES, WITH_SHARDS, WITH_TREE, WORN_TREE,
    },
    run::{Report, run_seed, run_sharded_seed},
};

/// A bug that can be planted.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    /// Its id in the catalogue.
    pub id: &'static str,
    /// The engine that drives the keys where it is hunted.
    pub engine: EngineKind,
    /// What is wrong.
    pub what: &'static str,
    /// Which checkers may find it; one of them must.
    pub killers: &'static [&'static str],
    /// Classes of faults that lead where the bug is. Seeds that are about them are run first; they are seeds like any other.
    steer: &'static [u64],
}

macro_rules! plants {
    ($($engine:ident: $($id:literal $what:literal [$($killer:literal)*] [$($class:ident)*],)*;)*) => {
        /// The bugs that this build can plant and a run can show.
        pub const PLANTS: &[Plant] = &[$($(Plant {
            id: $id,
            engine: EngineKind::$engine,
            what: $what,
            killers: &[$($killer),*],
            steer: &[$($class),*],
        },)*)*];
    };
}

plants! {
    Raft:
    // Elections, terms, votes.
    "A01" "a vote of an older term is counted" ["I1" "T2"] [LATE_GRANT THREE_VOTERS],
    "A02" "a grant is sent before the vote is durable" ["I15" "I3" "I1"] [],
    "A03" "the vote is forgotten at a restart" ["I3" "I1" "T4"] [RIVALS POWER],
    "A04" "logs are compared by length alone" ["I5" "I6" "I20" "T4"] [RELAPSE],
    "A05" "the term falls to that of an installed snapshot" ["I2"] [SLEEPERS STRAY_PIECES],
    "A12" "a leader that hears no quorum does not step down" ["I18" "I20" "I21"] [],
    "A13" "a learner campaigns" ["I12" "I20" "I21" "I15" "I1" "I5" "T2"] [MEMBERSHIP],
    "A09" "the term in a refused PreVote is ignored" ["I20"] [HANDOVER TWO_VOTERS],
    "A14" "a single node starts again as leader in its old term" ["I4" "I1" "I12" "I10" "I6" "I11" "I17" "I7" "I15" "T2"] [ONE_VOTER MEMBERSHIP],
    "A22" "a term at the end of the numbers is believed" ["I20" "I22" "I2" "panic" "T1"] [FORGERIES],
    "A24" "a restarted follower waits far too long" ["I20"] [POWER],
    "A20" "votes are counted in the newer half of a joint membership alone" ["I1" "I5" "I6" "T2"] [JOINT_SPLIT THREE_VOTERS],
    "A21" "a candidate counts its own vote before it is durable" ["I15" "I1" "I3" "T2"] [],
    "A23" "the disks that peers are known by are forgotten at a restart" ["I13" "I3" "I2" "I7" "I11" "I5" "I17" "I1" "I6" "T2"] [AMNESIA],
    // Replication and commit.
    "B01" "an entry of an earlier term is committed by counting" ["I8" "I6"] [DIVERGENCE RELAPSE],
    "B02" "a follower commits what it has not verified" ["I7" "I6" "I4" "T3"] [DIVERGENCE],
    "B03" "the commit index goes back" ["I9"] [],
    "B04" "a late acknowledgement takes the match index back" ["I11"] [],
    "B05" "the next index is not above the match index" ["I11" "panic"] [],
    "B09" "a refusal moves the match index" ["I11" "I7" "I6"] [],
    "B11" "a quorum is counted over an unsorted list" ["I7" "I11" "I18"] [],
    "B13" "the scan for what is committed stops at another term's entry" ["I20"] [],
    "B14" "the hint of a conflict never moves back" ["I20"] [],
    "B15" "a stale refusal takes the progress back" ["I11" "I20"] [],
    "B16" "committed entries are skipped between two pages" ["I9" "I10" "panic"] [SMALL_BATCHES],
    "B20" "the count of unanswered bytes leaks" ["panic" "I20" "I22"] [NARROW_WINDOWS],
    "B06" "a late AppendEntries truncates what has matched" ["I6" "I13" "I17" "I11" "I15" "I7" "T3"] [],
    "B07" "truncating and appending are two writes" ["I13" "I17" "I7" "I15" "I11"] [DIVERGENCE POWER],
    "B10" "the completion of an overwritten append is counted" ["I15" "I7" "I11" "T3"] [DIVERGENCE],
    "B12" "a read is confirmed without a quorum" ["I18"] [LATE_ANSWERS],
    "B18" "a follower that lost a batch is never sent it again" ["I20"] [],
    "B21" "a leader counts itself before its own write is durable" ["I7" "I11"] [],
    "B22" "no no-op at the start of a term" ["I20"] [LAST_WORDS],
    "B23" "an entry is acknowledged before it is durable" ["I15" "I11" "I7"] [],
    "B26" "a commit index runs ahead of what the follower has verified" ["I6" "I7" "T3"] [],
    "B27" "a snapshot that failed to arrive is never sent again" ["I20"] [STRAY_PIECES SLEEPERS],
    "B28" "a forwarded proposal is taken twice" ["X1"] [SLOW_NETWORK],
    // Membership.
    "C01" "a membership change before the term's first commit" ["I12" "I1" "I6" "I5" "I7"] [TWO_CHANGES FOUR_VOTERS],
    "C02" "a second membership change while one is not committed" ["I12"] [MEMBERSHIP],
    "C03" "a membership that was appended is forgotten at a restart" ["I12" "I20"] [MEMBERSHIP],
    "C04" "a membership is not reverted when its entry is truncated" ["I12"] [LONE_CHANGE],
    "C05" "one half of a joint membership is enough" ["I7" "I1" "I12" "I5" "I6" "I18" "T2"] [JOINT_SPLIT MEMBERSHIP],
    "C06" "a new leader leaves a joint membership before it is committed" ["I7" "I12"] [JOINT_SPLIT MEMBERSHIP],
    "C12" "a removed leader counts itself" ["I7" "I20" "T2"] [MEMBERSHIP],
    "C13" "a member on its way out gets no entries any more" ["I20"] [TWO_VOTERS MEMBERSHIP],
    "C07" "a new leader does not leave a joint membership" ["I20"] [JOINT_SPLIT MEMBERSHIP],
    "C08" "a snapshot forgets the outgoing voters" ["I16" "I12"] [MEMBERSHIP JOINT_SPLIT],
    "C09" "an uncommitted membership outlives a snapshot" ["I12"] [LONE_CHANGE JOINT_SPLIT],
    "C10" "learners are counted in a quorum" ["I7" "T2"] [MEMBERSHIP],
    "C14" "a member whose disk was lost comes back under its id" ["I13" "I3" "I2" "I7" "I11" "I5" "I17" "I1" "T2"] [AMNESIA],
    // Snapshots.
    "D01" "an installed snapshot's description is written before its data" ["I16" "I17"] [SLEEPERS],
    "D02" "a conflicting log is kept under an installed snapshot" ["I4" "I6" "I17" "I11" "I9" "T3"] [DIVERGENCE],
    "D03" "an older snapshot takes the state back" ["I9" "I6" "I16" "I10" "T3"] [STRAY_PIECES],
    "D04" "entries are applied while a snapshot is being put in place" ["I9" "I10" "panic"] [SLEEPERS],
    "D14" "the snapshot before is removed before the next one is known to be whole" ["I17"] [],
    "D16" "recovery stops at an older leader's commit index" ["I5" "I17" "I11" "I13" "I6" "I7" "I15" "I9"] [],
    "D05" "the log is compacted before the snapshot is durable" ["I17" "I9" "I16" "panic"] [],
    "D06" "a leader forgets the term where its log begins" ["I20"] [SLEEPERS STRAY_PIECES],
    "D07" "a leader answers a follower that lacks what is compacted with where its log begins" ["I20"] [SLEEPERS STRAY_PIECES],
    "D12" "a snapshot forgets the sessions" ["I16" "X1"] [],
    // Reads.
    "E01" "a read is served before the term's first commit" ["I18"] [LATE_ANSWERS],
    "E02" "the round of an earlier read confirms a later one" ["I18"] [LATE_ANSWERS],
    "E03" "a read that a change of leader overtakes is answered" ["I18"] [LATE_ANSWERS],
    "E04" "a lease is not shortened by what clocks may err" ["I18"] [LEASE_EDGE],
    "E05" "a lease counts from the answer instead of the question" ["I18"] [LATE_ANSWERS LEASED],
    "E06" "a lease outlives a transfer of leadership" ["I18"] [HANDOVER LEASED],
    "E07" "a read is answered before its index is applied" ["I18"] [],
    "E08" "votes are not held back while a lease may last" ["I18"] [OUT_OF_SIGHT LEASED],
    "E20" "what is not committed is applied and shown" ["I9" "I6" "I18" "E4"] [],
    // Storage.
    "F03" "a torn tail is taken for damage" ["I17" "I20"] [],
    "F18" "a segment is removed before it is durable that nobody needs it" ["I17"] [POWER],
    "F12" "what brings no entry is not synced" ["I15" "I3" "I2" "I17"] [],
    "F14" "a leader whose disk hangs keeps its lead" ["I20"] [HUNG_DISK],
    // Gray failures and partial connectivity.
    "G01" "a leader that hears anybody stays, whether that is a quorum or not" ["I20"] [STAR],
    "G03" "one out of sight of the leader raises the term until it is followed" ["I21" "I20"] [PAIR_APART],
    "G06" "one that lost sight of the leader does not come back to it" ["I20" "I21"] [],
    "G10" "whoever waits when a leader steps down is never answered" ["panic" "I20" "X1"] [],
    // Exactly once, and the keys.
    "E10" "what a deposed leader's steward decided ends a lease under the next" ["E5"] [WITH_CROWDS DIVERGENCE],
    "E11" "a lease is kept alive while its end is on its way" ["E5"] [WITH_CROWDS],
    "E12" "a deposed leader answers a keep-alive" ["E5"] [WITH_KEYS],
    "E13" "a time to live begins anew with every leader" ["E5"] [WITH_LONG_LEASES],
    "E21" "a lease is kept alive, and the log still says that little is left of it" ["E5"] [WITH_LONG_LEASES],
    "E18" "who is heard of at a leader alone is forgotten with it" ["K8"] [WITH_TREE],
    "X01" "a client asks again for what may have been done" ["X1"] [],
    "X04" "an answer is taken for that to a later question" ["I14" "I18" "X1" "E1" "E2"] [],
    "X02" "a repeated command is executed again" ["X1"] [],
    "X03" "a proposal that may be in a log is refused for certain" ["X1"] [ECHOES],
    "M01" "a range in a transaction does not see a deletion before it" ["E1"] [WITH_KEYS],
    "M02" "a range in a transaction does not see the transaction's own writes" ["E1" "I18"] [],
    "M03" "a transaction that changes nothing takes a revision" ["E1" "E2" "I10"] [],
    "M04" "a key deleted and made again keeps its version" ["E1"] [],
    "M05" "a compaction removes what lived at its revision" ["E6" "E3"] [WITH_COMPACTIONS],
    "M06" "a key that is put without a lease still hangs on its old one" ["E5"] [WITH_KEYS],
    "M07" "how much is swept depends on what else a replica has been through" ["I10" "I16"] [WITH_COMPACTIONS],
    "M08" "an entry under a snapshot is applied again" ["I9" "I10" "I16" "X1" "E1"] [],
    // Watches.
    "W01" "progress is told while a watch of the stream is behind" ["E3"] [WITH_KEYS],
    "W02" "a watch goes back in time when a snapshot takes the keys' place" ["E3"] [WITH_KEYS],
    "W03" "a watch of the future is told of what comes before" ["E3"] [WITH_KEYS],
    "W04" "what a slow client has no room for is lost" ["E3"] [WITH_KEYS],
    "W05" "the change at the compacted revision is left out" ["E3"] [WITH_COMPACTIONS],
    "W06" "the last revision read from history comes again" ["E3"] [WITH_KEYS],
    "W07" "one revision is told in two responses" ["E3"] [WITH_KEYS],
    "W08" "watches do not notice that a snapshot took the keys' place" ["E3"] [WITH_KEYS],
    "W09" "the watch 0 cannot be ended" ["E3"] [WITH_KEYS],
    "W10" "what was there before is shown as it is now" ["E3"] [WITH_KEYS],
    // ZooKeeper's tree, its sessions and its clients.
    "S01" "an ephemeral outlives its session" ["K6"] [WITH_TREE],
    "S02" "a session is ended though its client has come back" ["K8"] [WITH_TREE],
    "S03" "a watch that is brought along does not hear of children that came meanwhile" ["K5"] [WITH_TREE],
    "S04" "an answer comes before the event of an earlier change" ["K5"] [WITH_TREE],
    "S05" "a client is let in by a server that is behind what it has seen" ["K3"] [WITH_TREE],
    "S06" "writes of one client are done out of their turn" ["K2"] [WITH_TREE],
    "S07" "a session that is taken up again has moved for ever" ["I20"] [WITH_TREE],
    "S08" "a version turns over through −1" ["K10"] [WORN_TREE],
    "S09" "the steward does not hear of sessions with negative ids" ["K8"] [WITH_TREE],
    "S10" "of a multi that fails a part is left" ["K9"] [WITH_TREE],
    "S12" "a persistent watch tells of what its client may not read" ["K11"] [WITH_TREE],
    "S14" "a snapshot forgets whose an ephemeral is" ["K6"] [WITH_TREE],
    "S16" "sync asks nobody how far the tree has come" ["K4"] [WITH_TREE],
    "S17" "a sequential name counts the children that there are" ["K7"] [WITH_TREE],
    "S18" "a write that was lost is acknowledged" ["K1"] [WITH_TREE],
    ;
    Zab:
    "H01" "NEWLEADER is acknowledged before the history is durable" ["Z9" "Z7" "Z1" "I13" "I7" "I11"] [POWER],
    "H02" "the current epoch is durable before its history" ["Z7" "I5" "I6" "I13"] [POWER DIVERGENCE],
    "H03" "the epoch is taken on at UPTODATE, and promised before that is durable" ["Z1" "Z7" "I3"] [POWER],
    "H04" "what is not committed is delivered when an election begins" ["I6" "I7" "I9" "I10"] [DIVERGENCE],
    "H05" "what follows NEWLEADER is delivered before UPTODATE" ["I6" "I7" "I9" "panic"] [],
    "H06" "what is proposed during synchronisation is taken for sent and held" ["I11" "I7" "I4" "I13"] [],
    "H08" "NEWLEADER is sent before the history" ["Z7" "Z9" "I11" "I7"] [],
    "H10" "a DIFF that is read from the log's files skips entries" ["I20" "Z9" "I11" "I4" "I7" "I13"] [],
    "H11" "logs are brought together by index alone" ["I4" "I6" "I13" "Z9" "Z7" "T3"] [DIVERGENCE],
    "H12" "votes are compared by the end of the log alone" ["I20" "I1"] [],
    "H13" "what is proposed before NEWLEADER is acknowledged goes to those alone who have acknowledged it" ["I20" "I4" "I11" "I7" "I13"] [],
    "H15" "a proposal is acknowledged although one before it is missing" ["Z9" "I11" "I7"] [],
    "H16" "the counter runs over" ["Z8"] [SHORT_EPOCHS],
    "H17" "two promises of five are a quorum" ["Z1" "I1" "I5" "I6"] [FIVE_VOTERS],
    "H18" "observers are counted in a quorum" ["I7"] [MEMBERSHIP],
    "H20" "what an older epoch's leader proposes is taken" ["Z1" "Z9" "I1" "I4" "I6" "I7" "I11" "I18" "I20"] [LATE_ANSWERS DIVERGENCE],
    "H21" "a read is confirmed without a quorum" ["I18"] [LATE_ANSWERS],
    ;
    Raft:
    // Many groups.
    "L04" "a shard carries out what names keys that have gone over" ["P1" "P3" "E1" "E3" "X1" "I18"] [WITH_SHARDS],
    "L08" "what a shard gave is in no snapshot of it" ["panic" "P3" "I20"] [WITH_SHARDS SLEEPERS],
    "L11" "what a steward of leases has begun is decided in the next epoch, and counts" ["E5" "P1" "P2" "P3" "E1" "I10"] [WITH_SHARDS],
    "L12" "a shard of a node is placed before the others have come as far" ["P3" "E1" "E3" "I18" "panic"] [WITH_SHARDS],
    "L13" "a shard goes on behind a barrier before the transaction is decided" ["P1" "P2" "P3" "E1" "panic" "I20"] [WITH_SHARDS],
    "L14" "a read does not wait for what the order has come to" ["I18" "E3" "E5"] [WITH_SHARDS],
    "L15" "who hears of no leader of the order leads its shards on" ["I20"] [WITH_SHARDS PAIR_APART],
    "L20" "what is compacted in one shard alone can be read in the view of all" ["E3" "P3" "E6"] [WITH_SHARDS WITH_COMPACTIONS],
    "L21" "a shard that was restored shows what it has before the others have come as far" ["P3" "I18" "E1" "panic"] [WITH_SHARDS SLEEPERS],
    "L24" "groups are born with members that the keys have no more" ["I20" "I12" "P1" "P2" "P3" "E1" "E5" "I10" "panic"] [WITH_SHARDS MEMBERSHIP],
    ;
}

/// How the hunt for one planted bug ended.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The bug.
    pub plant: &'static Plant,
    /// The seed that found it, and the checker.
    pub found: Option<(u64, &'static str)>,
    /// Other checkers that spoke before a named one did, and at which seed first.
    pub others: Vec<(u64, &'static str)>,
    /// How many seeds were run with the bug.
    pub seeds: u64,
    /// How often the planted place was reached: in the run that found it, or, if none did, in all.
    pub triggers: u64,
    /// What the checker said.
    pub what: String,
}

impl Hunt {
    /// Was the bug reached and found by a checker named for it, at a seed that is clean without the bug?
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.found.is_some() && self.triggers > 0
    }
}

impl fmt::Display for Hunt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, seeds, triggers) = (self.plant.id, self.seeds, self.triggers);
        let engine = self.plant.engine;
        let shards = self.plant.is_of_shards();
        let options = Options { engine, shards, plant: Some(id.to_owned()), ..Options::default() };
        match self.found {
            Some((seed, checker)) => write!(
                f,
                "{id} found by {checker} at seed {seed}, the {seeds}. run; {triggers} triggers, clean without it: {}",
                replay_command(&options, seed)
            ),
            None => {
                write!(
                    f,
                    "{id} NOT found, {seeds} runs, {triggers} triggers, other checkers: {:?}",
                    self.others
                )
            }
        }
    }
}

impl Plant {
    /// Is it hunted in runs whose keys are divided?
    fn is_of_shards(&self) -> bool {
        self.steer.contains(&WITH_SHARDS)
    }

    fn run(&self, seed: u64) -> Report {
        let run = if self.is_of_shards() { run_sharded_seed } else { run_seed };
        run(self.engine, seed, false)
    }
}

/// The seeds 1 to `seeds_max`, in the order in which they are tried: one that is known first, then those that are most about the bug's kind of
/// trouble.
fn order(plant: &Plant, seeds_max: u64, known: Option<u64>) -> Vec<u64> {
    let mut seeds: Vec<u64> = (1..=seeds_max).collect();
    seeds.sort_by_key(|seed| std::cmp::Reverse(plan::share(plant.engine, *seed, plant.steer)));
    known.into_iter().chain(seeds.into_iter().filter(|seed| Some(*seed) != known)).collect()
}

/// Hunts one planted bug over at most `seeds_max` seeds.
#[must_use]
pub fn hunt(plant: &'static Plant, seeds_max: u64, known: Option<u64>) -> Hunt {
    let mut hunt =
        Hunt { plant, found: None, others: Vec::new(), seeds: 0, triggers: 0, what: String::new() };
    for seed in order(plant, seeds_max, known) {
        quorate_consensus::activate_plant(plant.id);
        let report = plant.run(seed);
        let triggers = quorate_consensus::plant_triggers();
        quorate_consensus::activate_plant("");
        hunt.seeds += 1;
        hunt.triggers += triggers;
        let Some(first) = report.violations.first() else { continue };
        let named = named(plant, &report).filter(|_| triggers > 0);
        if named.is_none() && hunt.others.iter().any(|(_, other)| *other == first.id) {
            continue;
        }
        // What the seed shows without the bug is not the bug's doing.
        if !plant.run(seed).violations.is_empty() {
            continue;
        }
        hunt.what.clone_from(&first.what);
        match named {
            Some(id) => {
                hunt.found = Some((seed, id));
                hunt.triggers = triggers;
                break;
            }
            None => hunt.others.push((seed, first.id)),
        }
    }
    hunt
}

fn named(plant: &Plant, report: &Report) -> Option<&'static str> {
    report.violations.iter().map(|violation| violation.id).find(|id| plant.killers.contains(id))
}

/// Hunts the bugs with these ids, or all if there are none, `jobs` at a time; `known` are seeds to be tried first. In the order of the table.
pub fn run_plants(
    ids: &[String],
    seeds_max: u64,
    jobs: usize,
    known: &BTreeMap<String, u64>,
    progress: &mut dyn FnMut(&Hunt),
) -> Vec<Hunt> {
    let wanted = |plant: &&Plant| ids.is_empty() || ids.iter().any(|id| id == plant.id);
    let chosen: Vec<&'static Plant> = PLANTS.iter().filter(wanted).collect();
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut hunts: Vec<(usize, Hunt)> = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, next, chosen) = (sender.clone(), &next, &chosen);
            scope.spawn(move || {
                // A bug is planted on one thread alone.
                while let Some((number, plant)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    chosen.get(number).map(|plant| (number, *plant))
                } {
                    if sender.send((number, hunt(plant, seeds_max, known.get(plant.id).copied()))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (number, hunt) in receiver {
            progress(&hunt);
            hunts.push((number, hunt));
        }
    });
    hunts.sort_by_key(|(number, _)| *number);
    hunts.into_iter().map(|(_, hunt)| hunt).collect()
}
