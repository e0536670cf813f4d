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
    "A08" "a voter's yes to a PreVote is dropped, for its own term is smaller",
    "A10" "late PreVote answers begin another campaign",
    "A17" "a voter refuses a candidate that is not in its membership",
    "B25" "entries are taken although those before them are missing",
    "C11" "the promotion of a learner that lags is not refused",
    "G14" "a leader does not learn of a newer term from its peers' answers",
    ;
    "quorate-node" "--test snapshots" "planted":
    "D11" "pieces of two snapshots are mixed",
    ;
    "quorate-zab" "--test rules" "planted":
    "G12" "a voter that changes its mind keeps an election from settling",
    "H09" "what follows a snapshot is built on the log that it has not replaced yet",
    ;
    "quorate-journal" "--test planted" "":
    "D13" "an absent snapshot passes for an empty state",
    "F01" "a sync is left out",
    "F02" "a sync that failed is ignored",
    "F04" "damage in the middle of the log is taken for a torn tail",
    "F06" "a record in the wrong place is believed",
    "F07" "a lost write passes for the end of the log",
    "F08" "a new file's directory is not synced",
    "F09" "the zeros of a preallocated file are read as a record",
    "F10" "what an earlier life left behind the end appears behind the next one's end",
    "F13" "a full disk passes for a write that was done",
    "F15" "one group's snapshot finds no room on the disk, and all groups end",
    "F16" "an unreadable log passes for an absent one",
    "F19" "a snapshot's file goes before the log names the next one",
    "F20" "a log that is known to be damaged counts for what is left of it",
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
    "E14" "the end of a lease is that of another of its id",
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
    "G13" "a wake-up between a commit and its answer is lost",
    ;
}

/// Bugs of many groups that wait for more work on them.
pub(crate) const OF_MANY_SHARDS: &[(&str, &str)] = &[
    ("L03", "a group that sleeps never wakes, or a heartbeat counts for the wrong group"),
    ("L05", "a replica that still votes is removed, or one that was removed comes back"),
    ("L06", "snapshots of many groups wait for each other"),
    ("L07", "one group that applies slowly holds up the others"),
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
    (
        "A11",
        "members with and without PreVote together stand still",
        "every member of a cluster has the same configuration",
    ),
    (
        "A15",
        "a transfer's target campaigns before it has the log",
        "TimeoutNow leaves once the target has acknowledged, which is once it is on its disk; and voters compare logs whoever asked for the election, so that in a run it costs one election",
    ),
    ("A16", "a leader reads by its lease while it hands over", "is E06 here"),
    (
        "A18",
        "a removed server disturbs by raising the term",
        "is G03 here: PreVote and the votes that are held back; besides, no member listens to a node that the records have removed",
    ),
    (
        "A19",
        "every node draws the same election timeouts",
        "hunted in 200 runs and not found: the moments at which nodes miss a leader, and the times that their disks take, differ by more than an answer takes; `crates/raft/tests/rules.rs` tests that timeouts differ",
    ),
    (
        "B08",
        "entries from the log's beginning are taken without a look",
        "an entry carries its position, and one at or before the commit index is passed over; B06 and B25 plant the two looks that are taken behind it",
    ),
    ("B17", "a single voter hands out an entry as committed before it is durable", "is B21 here"),
    (
        "B19",
        "an empty AppendEntries after a compaction passes for a match",
        "D06 and D07 plant the boundary of a compacted log",
    ),
    ("B24", "completions out of order are dropped", "a disk's writes end in order here"),
    ("C15", "a change waits for a dead node's stream", "no stream is waited for"),
    (
        "C16",
        "a change is refused although a quorum is up",
        "a change asks for no member but the quorum that commits it, and is asked for again until it is made, so that in a run it costs time",
    ),
    ("C17", "a repeated change is made twice", "a change that was made is refused the second time"),
    ("C18", "concurrent changes leave a joint membership for ever", "is C07 here"),
    (
        "C19",
        "a membership change across a partition",
        "every run with both classes of faults; C01 and C05 are its bugs",
    ),
    (
        "D08",
        "a fuzzy snapshot is not idempotent",
        "a snapshot is of one index, taken from a copy of the state; M08 and D15 plant the index and the state that are not of one moment",
    ),
    (
        "D09",
        "two snapshots in a short time",
        "one is under way at a time, and the next is counted from its end",
    ),
    (
        "D10",
        "a snapshot is applied while the store is defragmented",
        "the state is in memory, and nothing is defragmented: `Defragment` is answered and does nothing",
    ),
    (
        "D18",
        "a crash in a defragmentation",
        "the state is in memory, and nothing is defragmented; what a crash leaves is the log and a snapshot",
    ),
    ("E09", "a read at the commit index instead of the applied one", "is E07 here"),
    ("E16", "the holder of a lock is not looked at again after a wait", "locks are the clients'"),
    ("E17", "what is not synced can be read", "B21 and B23 plant its causes"),
    (
        "E19",
        "wall clocks drive timers",
        "no engine can read one: `clippy.toml` forbids it on every floor below the sockets, and the one clock of a node, in `crates/server/src/core.rs`, is the monotone one",
    ),
    (
        "F11",
        "what follows a truncation is durable before the truncation",
        "is B07 here: a truncation is no operation of the disk but a part of the record that brings what follows it. F10 plants what is left behind the end of a torn log",
    ),
    (
        "F21",
        "a damaged log is mended from a peer that lags",
        "no log is mended from peers: a node that finds damage ends, and is replaced by a new member, which gets a snapshot or the log from its leader; C10 and C11 plant one that counts before it has caught up",
    ),
    (
        "G02",
        "only a member that lags is connected to a quorum",
        "a limit of Raft and ZAB, and no mistake in them: who votes compares logs, so the member that all reach cannot win before it has what they have",
    ),
    (
        "G04",
        "one member cannot reach the leader, and another can (Cloudflare, 2020)",
        "is G03 here: runs in which the leader and one voter are apart for ever",
    ),
    (
        "G05",
        "a member that only sends or only receives holds up elections",
        "is G03 here; in a third of the runs a host is deaf, mute or cut off for ever",
    ),
    (
        "G07",
        "a large message holds up heartbeats",
        "two links to each peer, one for what is urgent; simulated links are too fast for it to matter",
    ),
    (
        "G08",
        "one slow follower holds up what all others get",
        "each peer has a window of its own; one window for all was hunted in 60 runs and not found, for a peer that is away is noticed, and its window emptied",
    ),
    (
        "G09",
        "a leader is overloaded, and a queue has no limit",
        "every queue has one (`crates/node/src/config.rs`); no run is long enough to show that one is missing",
    ),
    (
        "G11",
        "one stuck thread of input and output stops the clock",
        "no core waits for a disk; F14 plants the leader whose disk hangs",
    ),
    (
        "H07",
        "a hole in the list of what is committed is handed on by a later leader",
        "there is no list beside the log, and a log takes no entry that does not follow its end; H13 plants the learner that does not mind",
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
];
