//! The catalogue of historical bugs: beside [`PLANTS`](crate::plants::PLANTS), which the simulator hunts, those that a crate's own test finds, those
//! that wait, and those that are hunted nowhere, each with its reason.

/// The letter of a section, its title, and how many rows the catalogue has of it. Rows beyond are our own; a letter behind the number is a row's part.
pub(crate) const SECTIONS: &[(&str, &str, usize)] = &[
    ("A", "Elections, terms, votes", 24),
    ("B", "Replication and commit", 28),
    ("C", "Membership", 19),
    ("D", "Snapshots and compaction", 18),
    ("E", "Reads, leases, time", 20),
    ("F", "The disk", 24),
    ("G", "Liveness, slow and one-sided failures", 14),
    ("H", "ZAB", 22),
    ("W", "Watches", 10),
    ("M", "The keys", 8),
    ("P", "Who may what", 12),
    ("S", "ZooKeeper's tree and sessions", 15),
    ("X", "Exactly once", 4),
    ("L", "Many groups", 8),
];

/// A test of a crate that hunts planted bugs: `cargo test -p PACKAGE --features planted-bugs TARGET FILTER`. It says of each that it found it.
pub struct CrateTest {
    /// The package.
    pub package: &'static str,
    /// What of it: `--test NAME`, or `--lib`.
    pub target: &'static str,
    /// A part of the names of the tests that hunt; nothing, if all of them do.
    pub filter: &'static str,
    /// Ids, and what is wrong.
    pub plants: &'static [(&'static str, &'static str)],
}

macro_rules! crate_tests {
    ($($package:literal $target:literal $filter:literal: $($id:literal $what:literal,)*;)*) => {
        /// Bugs that a simulated run cannot show, heals at once, or shows too rarely: a test of their crate finds them.
        pub const CRATE_TESTS: &[CrateTest] = &[$(CrateTest {
            package: $package,
            target: $target,
            filter: $filter,
            plants: &[$(($id, $what),)*],
        },)*];
    };
}

crate_tests! {
    "quorate-raft" "--test rules" "planted":
    "A06" "a candidate ignores AppendEntries of its own term",
    "A10" "late PreVote answers begin another campaign",
    "B25" "entries are taken although those before them are missing",
    "C11" "the promotion of a learner that lags is not refused",
    ;
    "quorate-zab" "--test rules" "planted":
    "H09" "what follows a snapshot is built on the log that it has not replaced yet",
    ;
    "quorate-journal" "--test planted" "":
    "F01" "a sync is left out",
    "F02" "a sync that failed is ignored",
    "F04" "damage in the middle of the log is taken for a torn tail",
    "F06" "a record in the wrong place is believed",
    "F07" "a lost write passes for the end of the log",
    "F08" "a new file's directory is not synced",
    "F09" "the zeros of a preallocated file are read as a record",
    "F10" "what an earlier life left behind the end appears behind the next one's end",
    "F15" "one group's snapshot finds no room on the disk, and all groups end",
    "F19" "a snapshot's file goes before the log names the next one",
    "F22" "what is read later is not checked",
    "F23" "a length in a file is believed before it is looked at",
    "F24" "a new segment does not take epochs and votes over",
    "L01" "the sync of one batch acknowledges the next",
    "L02" "a segment that one group does not need any more is removed, though another does",
    ;
    "quorate-journal" "--test flips" "planted":
    "F05" "a checksum leaves out the record's length, kind and place",
    ;
    "quorate-keyspace" "--test plants" "":
    "D15" "a snapshot's revision is not that of its records",
    "D17" "after a restart the revision is that of the newest change that a compaction left",
    "E15" "a lease may outlive every clock",
    "P01" "operations of a nested transaction are not looked at",
    "P02" "what else a nested put does is not looked at",
    "P03" "a call that anybody may make compacts",
    "P04" "the keys of a lease are told to who may not read them",
    "P05" "a command that was permitted by older rules is executed",
    "P06" "a permission on an interval that ends before it begins is granted",
    "P10" "the hash of a password is shown by whatever prints a command",
    "W09c" "a permission on one key lets its user watch all from that key on",
    ;
    "quorate-service" "--test watch" "planted":
    "W09b" "a watch from a revision below zero is made",
    ;
    "quorate-etcd" "--lib" "planted":
    "P07" "a token without a user ends the server",
    "P08" "the name in the gateway's certificate counts for whoever speaks through it",
    ;
    "quorate-etcd" "--test api" "planted":
    "P11" "tokens are written down as they are",
    ;
    "quorate-tls" "--test members" "planted":
    "P09" "one of two ends does not look at revoked certificates",
    "P12" "a certificate without a name is not looked at",
    ;
    "quorate-znodes" "--test plants" "":
    "S08b" "a counter of children stops at the largest number, and a name comes again",
    "S11" "the table of ACLs is not counted anew after a snapshot",
    ;
    "quorate-zookeeper" "--test zookeeper" "planted":
    "S13" "a session is made although the certificate that is needed was not shown",
    ;
    "quorate-server" "--lib" "planted":
    "F17" "two processes use one data directory",
    ;
}

/// Bugs of many shards: they wait for the work on shards.
pub(crate) const OF_MANY_SHARDS: &[(&str, &str)] = &[
    ("L03", "a group that sleeps never wakes, or a heartbeat counts for the wrong group"),
    ("L04", "a shard that was split or merged still serves reads"),
    ("L05", "a replica that still votes is removed, or one that was removed comes back"),
    ("L06", "snapshots of many groups wait for each other"),
    ("L07", "one group that applies slowly holds up the others"),
    ("L08", "a split or a merge is half in a snapshot"),
];

/// A row that is to be hunted, and is not.
pub(crate) const NOT_YET: &str = "not yet";

/// Bugs of the catalogue that are hunted nowhere, and why: without meaning here, unless the reason is [`NOT_YET`].
pub(crate) const NOT_HUNTED: &[(&str, &str, &str)] = &[
    (
        "A07",
        "a leader grants a vote when a timer equals the timeout",
        "no timer decides what a leader grants",
    ),
    ("A08", "a PreVote's answer carries the wrong term", "not yet"),
    ("A09", "the term in a refused PreVote is ignored", "not yet"),
    (
        "A11",
        "members with and without PreVote together stand still",
        "every member of a cluster has the same configuration",
    ),
    ("A14", "a single node starts again as leader in its old term", "not yet"),
    ("A15", "a transfer's target campaigns before it has the log", "not yet"),
    ("A16", "a leader reads by its lease while it hands over", "is E06 here"),
    ("A17", "a voter refuses a candidate that is not in its membership", "not yet"),
    ("A18", "a removed server disturbs by raising the term", "not yet"),
    ("A19", "every node draws the same election timeouts", "not yet"),
    ("A22", "a term at the end of the numbers is believed", "no simulated peer forges messages"),
    ("A24", "a restarted follower waits far too long", "not yet"),
    ("B05", "the next index is not above the match index", "not yet"),
    ("B08", "entries from the log's beginning are taken without a look", "not yet"),
    ("B09", "a refusal moves the match index", "not yet"),
    (
        "B11",
        "a quorum is counted over an unsorted list",
        "the list is sorted where it is counted; B21, C05 and C10 plant wrong counts",
    ),
    (
        "B13",
        "the scan for what is committed stops at another term's entry",
        "there is no scan: one index is computed",
    ),
    ("B14", "the hint of a conflict never moves back", "not yet"),
    ("B15", "a stale refusal takes the progress back", "not yet"),
    ("B16", "committed entries are skipped between two pages", "not yet"),
    ("B17", "a single voter hands out an entry as committed before it is durable", "is B21 here"),
    (
        "B19",
        "an empty AppendEntries after a compaction passes for a match",
        "D06 and D07 plant the boundary of a compacted log",
    ),
    ("B20", "the count of unanswered bytes leaks", "`crates/raft/src/progress.rs`"),
    ("B24", "completions out of order are dropped", "a disk's writes end in order here"),
    ("C06", "a recovered joint membership is left at once", "not yet"),
    ("C12", "a removed leader counts itself, or goes too early", "not yet"),
    ("C13", "a removed member hears nothing of it", "not yet"),
    ("C15", "a change waits for a dead node's stream", "no stream is waited for"),
    ("C16", "a change is refused although a quorum is up", "not yet"),
    ("C17", "a repeated change is made twice", "a change that was made is refused the second time"),
    ("C18", "concurrent changes leave a joint membership for ever", "is C07 here"),
    (
        "C19",
        "a membership change across a partition",
        "every run with both classes of faults; C01 and C05 are its bugs",
    ),
    ("D04", "apply and installation at once take the applied index back", "not yet"),
    (
        "D08",
        "a fuzzy snapshot is not idempotent",
        "a snapshot is of one index, taken from a copy of the state; M08 and D15 plant the index and the state that are not of one moment",
    ),
    ("D09", "two snapshots in a short time", "not yet"),
    (
        "D10",
        "a snapshot is applied while the store is defragmented",
        "the state is in memory, and nothing is defragmented: `Defragment` is answered and does nothing",
    ),
    ("D13", "an absent snapshot passes for an empty state", "not yet"),
    ("D14", "the last valid snapshot is purged", "not yet"),
    (
        "D16",
        "recovery stops at an older leader's commit index",
        "the commit index that is written is never ahead of the durable log: `crates/raft/tests/rules.rs`",
    ),
    (
        "D18",
        "a crash in a defragmentation",
        "the state is in memory, and nothing is defragmented; what a crash leaves is the log and a snapshot",
    ),
    ("E03", "a read index races a change of leader", "not yet"),
    (
        "E04",
        "a lease trusts a clock beyond its error",
        "not a bug but an assumption; runs with leases keep clocks within it",
    ),
    ("E09", "a read at the commit index instead of the applied one", "is E07 here"),
    ("E16", "the holder of a lock is not looked at again after a wait", "locks are the clients'"),
    ("E17", "what is not synced can be read", "B21 and B23 plant its causes"),
    (
        "E18",
        "a ZooKeeper session is touched at the old leader alone",
        "ZooKeeper's protocol is not spoken yet",
    ),
    (
        "E19",
        "wall clocks drive timers",
        "no engine can read one: `clippy.toml` forbids it on every floor below the sockets, and the one clock of a node, in `crates/server/src/core.rs`, is the monotone one",
    ),
    ("E20", "a serializable read shows what is not committed", "not yet"),
    (
        "H07",
        "a hole in the list of what is committed is handed on by a later leader",
        "there is no list beside the log, and a log takes no entry that does not follow its end; H13 plants the learner that does not mind",
    ),
    (
        "H10",
        "a DIFF that is read from the log's files skips entries",
        "what is fetched must begin where the learner's log ends, and it ends the link otherwise; H06 plants the leader that skips",
    ),
    (
        "H14",
        "the commit that ends synchronisation carries an old zxid",
        "UPTODATE carries what is committed when it leaves; an older one would cost time until the next COMMIT",
    ),
    (
        "H19",
        "a snapshot is taken in the middle of a transaction of several operations",
        "a transaction is one entry, and a snapshot is of one index",
    ),
    (
        "H22",
        "two servers have the same id",
        "nodes know each other by the identity of their disks, whatever the engine: A23 and C14 plant its loss",
    ),
    (
        "S15",
        "a recipe without fencing has two holders of a lock",
        "recipes are the clients'; none is simulated yet",
    ),
    ("F03", "a torn tail is taken for damage, and the node does not start", "not yet"),
    ("F11", "what follows a truncation is durable before the truncation", "not yet"),
    ("F12", "a vote without entries is not synced", "not yet"),
    ("F13", "a full disk passes for a write that was done", "not yet"),
    ("F14", "a leader whose disk hangs goes on as leader", "not yet"),
    ("F16", "an unreadable log passes for an absent one", "not yet"),
    ("F18", "a segment that is missing is not missed", "not yet"),
    ("F20", "a node with a damaged log votes with what is left of it", "not yet"),
    ("F21", "a damaged log is mended from a peer that lags", "not yet"),
    ("G01", "a leader that reaches one voter keeps its office from one who reaches a quorum", "not yet"),
    ("G02", "the one node that reaches a quorum cannot win, because its log lags", "not yet"),
    ("G03", "along a chain of links leaders depose each other without end", "not yet"),
    ("G04", "a node that does not hear the leader deposes it again and again", "not yet"),
    ("G05", "a node that can only send, or only receive, keeps elections going", "not yet"),
    ("G06", "links that come and go as fast as elections keep each from ending", "not yet"),
    ("G07", "a large message keeps heartbeats waiting", "not yet"),
    ("G08", "one slow follower holds up its leader", "not yet"),
    ("G09", "a queue without a bound outlives the burst that filled it", "not yet"),
    ("G10", "who waits at a leader that steps down is never answered", "not yet"),
    ("G11", "one operation of the disk that hangs stops the clock", "not yet"),
    ("G12", "a voter that changes its mind keeps an election from settling", "not yet"),
    ("G13", "a wake-up between a commit and its answer is lost", "not yet"),
    ("G14", "a leader hears of a newer term from clients alone", "not yet"),
    ("X01", "a client sends again what may have been done", "not yet"),
    ("X04", "an answer is taken for that of another request", "not yet"),
];
