//! What a campaign must have seen: every kind of fault and every rare state, counted. A simulator that never reaches a state proves nothing
//! about it.

use std::{collections::BTreeMap, fmt};

use quorate_consensus::EngineKind;

macro_rules! marks {
    ($($name:ident $text:literal $(($why:literal))?,)*) => {
        /// A kind of fault, or a state worth reaching.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark { $(#[doc = $text] $name,)* }

        impl Mark {
            /// All of them, in order.
            pub const ALL: &'static [Mark] = &[$(Mark::$name,)*];

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Mark::$name => $text,)* }
            }
        }
    };
}

marks! {
    // Faults.
    PowerLoss "fault: power loss",
    PowerLossOfAll "fault: power loss of all hosts",
    ProcessKilled "fault: process killed",
    CrashAtMoment "fault: crash at a chosen moment",
    Restarted "fault: restart",
    Paused "fault: process paused",
    PartitionSymmetric "fault: partition, symmetric",
    PartitionOneWay "fault: partition, one way",
    LeaderIsolated "fault: leader isolated",
    PartitionOfPair "fault: partition of one pair alone",
    PartitionBridge "fault: partition with a bridge",
    HostDeaf "fault: host receives nothing",
    HostMute "fault: host sends nothing",
    LinkFlapping "fault: link flapping",
    FrameLost "fault: frame lost",
    FrameDuplicated "fault: frame duplicated",
    FrameReordered "fault: frame reordered",
    FrameCut "fault: frame met a cut link",
    ConnectionLost "fault: connection lost",
    NetworkSlow "fault: network slow",
    ClockDrift "fault: clock drifts",
    ClockJump "fault: clock jumps",
    DiskSlow "fault: disk slow",
    DiskHung "fault: disk hung",
    DiskFull "fault: disk full",
    DiskFailed "fault: disk fails",
    DiskLost "fault: disk lost",
    DiskRot "fault: durable bit flipped",
    ApplySlow "fault: apply slow",
    LinkStalled "fault: link held up what was sent",
    Forged "fault: message that nobody sent",
    PairApartForEver "fault: leader and one voter apart for ever",
    StarForEver "fault: all but one voter apart for ever",
    FlapForEver "fault: link flapping for ever",
    DiskHungForEver "fault: leader's disk hung for ever",
    LeaseAtItsEdge "fault: clocks as wrong as a lease allows",
    ClientRequestLost "fault: client request or answer lost",
    // What a disk came to.
    UnsyncedAtCrash "disk: something was unsynced at a crash",
    TornAtCrash "disk: a file came back torn",
    NamesLostAtCrash "disk: a name vanished at a crash",
    TornTailCut "disk: torn tail cut at recovery",
    DamageFound "disk: damage found and refused",
    FullRefusedWrites "disk: full disk refused a client's write",
    SpaceBack "disk: room again",
    // Elections.
    LeaderElected "election: won",
    SplitVote "election: candidate timed out without a winner",
    TermWithoutLeader "election: a term passed without a leader",
    TwoLeadersAtOnce "election: two leaders of different terms at once",
    LeaderSteppedDown "election: leader stepped down",
    LeaderCrashed "election: leader crashed",
    LeaderCrashedWithTail "election: leader crashed with an uncommitted tail",
    // Log.
    LogTruncated "log: a suffix was truncated",
    LogCompacted "log: compacted behind a snapshot",
    EntryOfEarlierTermCommitted "log: an entry of an earlier term was committed",
    ProposedAgain "log: a lost proposal was proposed again",
    // Snapshots.
    SnapshotTaken "snapshot: taken",
    SnapshotInstalled "snapshot: installed from a leader",
    SnapshotInManyChunks "snapshot: several chunks",
    SnapshotResumed "snapshot: transfer resumed in the middle",
    SnapshotRestoredAtStart "snapshot: restored at start",
    // Membership.
    MembershipChanged "membership: change accepted",
    ChangeRefused "membership: change refused",
    HastyChange "membership: change asked of a leader that has just won",
    PartedWhileJoint "membership: joint membership on one side of a partition alone",
    JointCommitted "membership: joint consensus entered and committed",
    JointLeaderCrashed "membership: leader crashed while joint",
    JointTruncated "membership: uncommitted membership truncated",
    LearnerAdded "membership: learner added",
    LearnerPromoted "membership: learner promoted",
    MemberRemoved "membership: member removed",
    MemberReplaced "membership: member replaced",
    LeaderRemoved "membership: leader removed itself",
    HostJoined "membership: host joined with an empty disk",
    RemovedStopped "membership: removed host stopped by itself",
    TransferStarted "leadership: transfer started",
    TransferCompleted "leadership: transfer completed",
    TransferAborted "leadership: transfer aborted",
    // Clients.
    WriteAcknowledged "client: write acknowledged",
    WriteUnknown "client: fate of a write unknown",
    WriteRefused "client: write refused",
    WriteThroughFollower "client: write through a follower",
    CommandRetried "client: command retried under its session",
    DuplicateAnswered "client: duplicate answered from the session table",
    SessionExpired "client: session expired",
    SwapFailed "client: comparison failed",
    ClientsQuiet "client: only reads for a while",
    ReadServed "client: linearizable read served",
    FollowerRead "client: linearizable read served by a follower",
    StaleReadServed "client: serializable read served",
    ReadRetried "client: read asked again through another host",
    // The epochs of ZAB. The records are on Raft always, so what the two engines have alike may have been reached by that one alone.
    EpochFull "zab: an epoch was full",
    EpochWithoutLeader "zab: an epoch passed without a leader",
    ZabTwoLeadersAtOnce "zab: two leaders of different epochs at once",
    ZabLeaderCrashedWithTail "zab: leader crashed with an uncommitted tail",
    ZabJointLeaderCrashed "zab: leader crashed while joint",
    ZabTruncated "zab: a learner's history was cut",
    ZabSnapshotInstalled "zab: a snapshot replaced a learner's history",
    ZabHistoryCommitted "zab: a history was committed with the next epoch",
    // The tree and its clients.
    TreeAdded "tree: added to a cluster that was founded without it",
    TreeAddedAndStruck "tree: added, and struck in that moment",
    TreeLearnedAndCrashed "tree: a host crashed when it had learned of the added tree, and before it had opened it",
    TreeSessionExpired "tree: session expired",
    TreeSessionClosed "tree: session closed by its client",
    TreeSessionMoved "tree: session taken up on another connection",
    TreeSessionLost "tree: client told that its session is over",
    TreeMovedAway "tree: connection closed, for its session had moved",
    TreeNotDue "tree: expiry refused, for the client had come back",
    TreeClientAhead "tree: client refused by a server that is behind it",
    TreeIsolated "tree: client sent away by a server without a leader",
    TreeProposalLost "tree: connection closed over a lost proposal",
    TreeReplaced "tree: connections closed as a snapshot replaced the tree",
    TreeLineCut "tree: client cut its connection off",
    TreeClientSlept "tree: client slept",
    TreeWatchTold "tree: watch told",
    TreeWatchCaughtUp "tree: watch told on the next connection of what was missed",
    TreeMultiFailed "tree: multi failed, or checked alone",
    TreeReaped "tree: container or old znode reaped",
    TreeSynced "tree: sync answered",
    TreeWriteAcknowledged "tree: write acknowledged",
    TreeWriteUnknown "tree: fate of a write unknown",
    // Watches and leases, and their clients.
    WatchMade "etcd: watch made",
    WatchFromPast "etcd: watch made that begins in the past",
    WatchFromFuture "etcd: watch made that begins in the future",
    WatchResumed "etcd: watch taken up again on another stream",
    WatchRefused "etcd: watch refused",
    WatchTold "etcd: watch told of changes",
    WatchInParts "etcd: watch told of changes in parts",
    WatchCaughtUp "etcd: watches told from history",
    WatchProgress "etcd: stream told how far it has come",
    WatchNotified "etcd: watch told how far it has come",
    WatchCanceled "etcd: watch ended by its client",
    WatchCompacted "etcd: watch ended by a compaction",
    WatchStreamCut "etcd: client cut its stream off",
    WatchStreamEnded "etcd: stream ended without a leader",
    WatchedReplaced "etcd: a snapshot replaced keys that were watched",
    FeedLost "etcd: changes, or words about leases, lost for too many waited",
    KeysCompacted "etcd: keys compacted",
    LeaseGranted "etcd: lease granted",
    LeaseRevoked "etcd: lease revoked",
    LeaseEnded "etcd: lease ended by the steward",
    LeaseEndedWithKeys "etcd: lease ended by the steward, and its keys with it",
    LeaseNoted "etcd: what is left of a lease noted in the log",
    LeaseKept "etcd: lease kept alive",
    LeaseOutlivedLeader "etcd: lease kept alive under one leader and the next",
    LeaseGone "etcd: client told that its lease has ended",
    LeaseTimeTold "etcd: client told how long its lease will live",
    LeaseStewardStale "etcd: the word of an earlier epoch's steward refused",
    PutWithoutLease "etcd: put refused, for its lease has ended",
    // Keys that are divided among shards.
    ShardBorn "shards: group of a shard has come",
    ShardsChanged "shards: keys went from one shard to another",
    ShardsMerged "shards: two shards are to be one",
    ShardChangeTold "shards: whoever had keys divided or a shard split was told so",
    ShardChangeRefused "shards: a change refused, for another one is under way",
    TurnProposed "shards: write given to the shard that has its keys",
    TurnPlaced "shards: write of one shard placed",
    TurnMoved "shards: write refused by a shard whose keys had moved, and given to the order",
    TxnPlaced "shards: transaction over shards placed",
    TxnRefused "shards: transaction over shards refused",
    // Checkers.
    WglChecked "checker: history searched for a linearization",
    WglGaveUp "checker: search given up",
    TooFewLeft "checker: too few hosts were left to heal",
    Healed "checker: cluster healed, converged and served",
    RecoveryCompared "checker: recovery compared with the durable image",
}

impl Mark {
    /// Kinds of fault.
    fn faults() -> impl Iterator<Item = Mark> {
        Mark::ALL.iter().copied().filter(|mark| mark.name().starts_with("fault: "))
    }

    /// Can only runs reach it whose keys are divided?
    fn is_of_shards(self) -> bool {
        self.name().starts_with("shards: ")
    }

    /// Can only runs reach it that have ZooKeeper's tree?
    fn is_of_tree(self) -> bool {
        self.name().starts_with("tree: ")
    }

    /// Can only runs reach it whose keys are on ZAB?
    fn is_of_zab(self) -> bool {
        self.name().starts_with("zab: ")
    }
}

/// How often each mark was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks([u64; Mark::ALL.len()]);

impl Default for Marks {
    fn default() -> Self {
        Marks([0; Mark::ALL.len()])
    }
}

impl Marks {
    /// Reached once more.
    pub fn hit(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    /// Reached so many times more.
    pub fn add(&mut self, mark: Mark, times: u64) {
        self.0[mark as usize] += times;
    }

    /// How often.
    #[must_use]
    pub fn get(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// Adds another run's counts.
    pub fn join(&mut self, other: &Marks) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// Those never reached, but for the ones that need not be: runs whose keys are on Raft have no epochs. On ZAB nothing else is left out.
    #[must_use]
    pub fn missing(&self, engine: EngineKind, sharded: bool) -> Vec<Mark> {
        let optional = [Mark::WglGaveUp, Mark::TooFewLeft];
        // A star is no place for ZAB's elections (see `lasting`).
        let needed = |mark: &Mark| match engine {
            EngineKind::Raft => !optional.contains(mark) && !mark.is_of_zab(),
            EngineKind::Zab => !optional.contains(mark) && *mark != Mark::StarForEver,
        };
        // Runs have either shards or the tree.
        let has = |mark: &Mark| if sharded { !mark.is_of_tree() } else { !mark.is_of_shards() };
        Mark::ALL.iter().copied().filter(|mark| self.get(*mark) == 0 && needed(mark) && has(mark)).collect()
    }

    /// Faults that struck, over all kinds.
    #[must_use]
    pub fn faults(&self) -> u64 {
        Mark::faults()
            .filter(|mark| !mark.name().starts_with("fault: frame"))
            .map(|mark| self.get(mark))
            .sum()
    }
}

/// In how many runs two kinds of fault were both reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(BTreeMap<(Mark, Mark), u64>);

impl Pairs {
    /// A run has one fault that stays for ever, at most.
    fn all() -> impl Iterator<Item = (Mark, Mark)> {
        let stays = |mark: &Mark| mark.name().ends_with("for ever");
        Mark::faults().flat_map(move |one| {
            let others = Mark::faults().filter(move |other| one < *other && !(stays(&one) && stays(other)));
            others.map(move |other| (one, other))
        })
    }

    /// Counts a run.
    pub fn add(&mut self, run: &Marks) {
        let reached = |mark: &Mark| run.get(*mark) > 0;
        for pair in Pairs::all().filter(|(one, other)| reached(one) && reached(other)) {
            *self.0.entry(pair).or_default() += 1;
        }
    }

    /// Those that never met.
    #[must_use]
    pub fn missing(&self) -> Vec<(Mark, Mark)> {
        Pairs::all().filter(|pair| !self.0.contains_key(pair)).collect()
    }

    /// How many pairs there are, and how many runs had the rarest of them.
    #[must_use]
    pub fn counted(&self) -> (usize, u64) {
        let least = Pairs::all().map(|pair| self.0.get(&pair).copied().unwrap_or(0)).min();
        (Pairs::all().count(), least.unwrap_or(0))
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zab = Mark::ALL.iter().any(|mark| mark.is_of_zab() && self.get(*mark) > 0);
        let sharded = Mark::ALL.iter().any(|mark| mark.is_of_shards() && self.get(*mark) > 0);
        let has = |mark: &Mark| if sharded { !mark.is_of_tree() } else { !mark.is_of_shards() };
        for mark in Mark::ALL.iter().filter(|mark| (zab || !mark.is_of_zab()) && has(mark)) {
            writeln!(f, "{:>12}  {}", self.get(*mark), mark.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_meet_in_one_run_and_those_that_stay_never_need_to() {
        let run = |marks: &[Mark]| {
            let mut run = Marks::default();
            marks.iter().for_each(|mark| run.hit(*mark));
            run
        };
        let mut pairs = Pairs::default();
        pairs.add(&run(&[Mark::PowerLoss, Mark::DiskFull, Mark::LeaderElected]));
        pairs.add(&run(&[Mark::Paused]));
        let missing = pairs.missing();
        assert!(!missing.contains(&(Mark::PowerLoss, Mark::DiskFull)));
        assert!(
            missing.contains(&(Mark::PowerLoss, Mark::Paused)),
            "each was reached, and never both in one run"
        );
        assert!(!missing.contains(&(Mark::StarForEver, Mark::FlapForEver)));
        assert!(missing.contains(&(Mark::PowerLoss, Mark::FlapForEver)));
        assert_eq!(pairs.counted(), (missing.len() + 1, 0));
    }
}
