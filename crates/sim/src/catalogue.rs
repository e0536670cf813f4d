//! The table of planted bugs, as `cargo xtask plants` writes it: what was found, how to see it, and what of the catalogue is not planted.

use std::{collections::BTreeMap, fmt::Write};

use crate::plants::Hunt;

const GROUPS: &[(&str, &str)] = &[
    ("A", "Elections, terms, votes"),
    ("B", "Replication and commit"),
    ("C", "Membership"),
    ("D", "Snapshots and compaction"),
    ("E", "Reads and leases"),
    ("F", "Storage"),
    ("G", "Gray failures and partial connectivity"),
    ("X", "Exactly once"),
    ("M", "The keys"),
    ("W", "Watches"),
    ("H", "ZAB"),
    ("S", "ZooKeeper's tree and sessions"),
];

/// Bugs of the catalogue's sections A to E, H and J that the simulator does not hunt, and why.
const NOT_HUNTED: &[(&str, &str, &str)] = &[
    (
        "A06",
        "a candidate ignores AppendEntries of its own term",
        "planted; `crates/raft/tests/rules.rs`. In a run the next PreVote heals it",
    ),
    (
        "A07",
        "a leader grants a vote when a timer equals the timeout",
        "no timer decides what a leader grants",
    ),
    (
        "A10",
        "late PreVote answers begin another campaign",
        "planted; `crates/raft/tests/rules.rs`. In a run it costs one election",
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
    (
        "B25",
        "entries are taken although those before them are missing",
        "planted; `crates/raft/tests/rules.rs`. In a run the node may not come back from a log with a gap, and no checker gets to look",
    ),
    (
        "C11",
        "a promotion is not persisted",
        "planted as the promotion of a learner that lags: `crates/raft/tests/rules.rs`; it costs time, not safety",
    ),
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
    ("D08", "a fuzzy snapshot is not idempotent", "a snapshot is of one index"),
    (
        "D09",
        "two snapshots in a short time",
        "one is under way at a time, and the next is counted from its end",
    ),
    ("D10", "a snapshot is applied while the store is defragmented", "there is no such store"),
    ("D13", "an absent snapshot passes for an empty state", "not yet"),
    ("D15", "applied index and state are saved one after the other", "M08 plants the consequence"),
    (
        "D17",
        "a crash in a compaction of the keys takes the revision back",
        "the state is in memory; `crates/keyspace`",
    ),
    ("D18", "a crash in a defragmentation", "there is no such store"),
    ("E09", "a read at the commit index instead of the applied one", "is E07 here"),
    ("E15", "negative or huge leases", "`crates/keyspace/tests/leases.rs`"),
    ("E16", "the holder of a lock is not looked at again after a wait", "locks are the clients'"),
    ("E17", "what is not synced can be read", "B21 and B23 plant its causes"),
    ("E19", "wall clocks drive timers", "no engine can read one"),
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
        "G14",
        "a leader learns of a newer term from clients alone",
        "peers say it (R05); left out, it was hunted in 60 runs and not found, for hardly anybody gets ahead of a leader that others follow",
    ),
    (
        "H07",
        "a hole in the list of what is committed is handed on by a later leader",
        "there is no list beside the log, and a log takes no entry that does not follow its end; H13 plants the learner that does not mind",
    ),
    (
        "H09",
        "what follows a snapshot is built on the log that it has not replaced yet",
        "planted; `crates/zab/tests/rules/synchronization.rs`. In a run what follows does not fit the old log, and the learner starts again",
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
        "S11",
        "the table of ACLs is not what it was after a snapshot",
        "a snapshot carries the digest of the whole state, ACLs too, and one that does not fit is refused; `crates/znodes/src/restore.rs`",
    ),
    (
        "S13",
        "a session is made although a certificate was refused",
        "the handshake is over before the first packet is read, and sockets are not simulated; `crates/zookeeper/tests/zookeeper/tls.rs`",
    ),
    (
        "S15",
        "a recipe without fencing has two holders of a lock",
        "recipes are the clients'; none is simulated yet",
    ),
];

const HEAD: &str = "# Planted bugs

Known mistakes of consensus systems, compiled in by the feature `planted-bugs` alone. A checker that finds nothing may be one that looks at nothing,
so each bug must be found: by a checker that is named for it, in a run in which its place was reached, at a seed that is clean without the bug.
`cargo xtask plants` hunts them all and writes this page; `cargo xtask plants ID…` hunts some.

A hunt tries the seeds from 1 on, those first whose faults are about the bug's kind of trouble. They are seeds like any other: a row is seen again with

```sh
cargo run --release -p quorate --features planted-bugs -- sim --engine raft --seeds 1 --first-seed SEED --plant ID --trace
```

and a row of the group ZAB with `--engine zab`, where ZAB drives the keys.

Checkers `I…`, `X…`, `E…` and `Z…` are those of `crates/sim/src/invariants.rs`, `claims.rs` and `witness.rs`, checkers `K…` those of `zoo.rs`, E3, E5 and E6 those of `etcd.rs`. Of ZAB's own invariants, Z2 to Z6 (total order,
one history, nothing delivered that was not broadcast) are what I4, I5, I6 and I10 check on either engine. *Triggers*: how often that run came to the
planted place.
";

/// The page.
#[must_use]
pub fn page(hunts: &[Hunt], seeds_max: u64) -> String {
    let found = hunts.iter().filter(|hunt| hunt.succeeded()).count();
    let mut page = format!("{HEAD}\n{found} of {} found, at most {seeds_max} seeds each.\n", hunts.len());
    for (group, title) in GROUPS {
        let _ = write!(
            page,
            "\n## {title}\n\n| id | bug | found by | may be found by | seed | runs | triggers |\n|---|---|---|---|---|---|---|\n"
        );
        for hunt in hunts.iter().filter(|hunt| hunt.plant.id.starts_with(group)) {
            let (seed, checker) =
                hunt.found.map_or(("–".to_owned(), "**not found**"), |(s, c)| (s.to_string(), c));
            let _ = writeln!(
                page,
                "| {} | {} | {checker} | {} | {seed} | {} | {} |",
                hunt.plant.id,
                hunt.plant.what,
                hunt.plant.killers.join(" "),
                hunt.seeds,
                hunt.triggers
            );
        }
    }
    page.push_str(
        "\n## Of the catalogue's sections A to E and H to J, not hunted\n\n| id | bug | why not, or where else |\n|---|---|---|\n",
    );
    for (id, what, why) in NOT_HUNTED {
        let _ = writeln!(page, "| {id} | {what} | {why} |");
    }
    page.push_str(
        "\nBugs of the journal (F…, L01), and of who may what with the keys (P01 to P06, and W09's third part), are planted for the tests of their crates.\n",
    );
    page
}

/// The seeds that a page names, by bug.
#[must_use]
pub fn known(page: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let id = cells.next()?.to_owned();
        Some((id, cells.nth(3)?.parse().ok()?))
    };
    page.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plants::PLANTS;

    #[test]
    fn a_page_says_which_seeds_it_knows_and_no_bug_is_both_hunted_and_not() {
        let found = |plant, seed| Hunt {
            plant,
            found: seed,
            others: vec![],
            seeds: 7,
            triggers: 9,
            what: String::new(),
        };
        let hunts = [found(&PLANTS[0], Some((12, "I1"))), found(&PLANTS[1], None)];
        let page = page(&hunts, 1_000);
        assert_eq!(known(&page), BTreeMap::from([(PLANTS[0].id.to_owned(), 12)]));
        assert!(page.contains("1 of 2 found"));
        let planted = |id: &str| PLANTS.iter().any(|plant| plant.id == id);
        assert!(NOT_HUNTED.iter().all(|(id, ..)| !planted(id)));
        assert!(PLANTS.iter().all(|plant| GROUPS.iter().any(|(group, _)| plant.id.starts_with(group))));
    }
}
