//! `COMPATIBILITY.md`: each of etcd's 49 calls with what holds us to it, etcdctl's subcommands, and where we differ. Written from tables in code;
//! a test that is named and is not there fails it, and a call that is forgotten.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use crate::{
    Fallible,
    etcd_differential::{KNOWN, NOT_COMPARED, UNDIVIDED, Why},
};

const PAGE: &str = "COMPATIBILITY.md";
const PROTO: [(&str, &str); 3] = [
    ("etcdserverpb", "crates/wire/proto/rpc.proto"),
    ("v3lockpb", "crates/wire/proto/lock.proto"),
    ("v3electionpb", "crates/wire/proto/election.proto"),
];
const SCRIPT: &str = "foreign/etcdctl/everyday.txt";

/// The same random calls to ours and to a real etcd.
const DIFFERENTIAL: &str = "xtask/src/etcd_differential/mod.rs#run";
/// Every subcommand of etcdctl, printed the same.
const ETCDCTL: &str = "xtask/src/etcdctl/everyday.rs#run";
const KV: &str = "crates/etcd/tests/kv.rs";
const LEASE: &str = "crates/etcd/tests/lease.rs";
const WATCH: &str = "crates/etcd/tests/watch.rs";
const RECIPES: &str = "crates/etcd/tests/recipes.rs";
const CLUSTER: &str = "crates/etcd/tests/cluster.rs";
const AUTH: &str = "crates/etcd/tests/auth.rs";
const JWT: &str = "crates/etcd/tests/auth_jwt.rs";
const BACKUP: &str = "crates/quorate/tests/etcd.rs#a_new_cluster_begins_with_a_backup_on_either_engine";
const AGREEMENT: &str = "crates/quorate/tests/agreement.rs#a_member_that_starts_with_other_keys_ends_and_the_cluster_refuses_writes_until_it_is_told_otherwise";
const CRATE: &str = "foreign/etcd-client/src/main.rs#main";

/// How far a call is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Yes,
    Partly(&'static str),
    No,
}

/// Calls of one service that are alike, and what holds us to them: a function, or a file of tests.
struct Row {
    service: &'static str,
    calls: &'static [&'static str],
    there: There,
    held_by: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        service: "KV",
        calls: &["Range", "Put", "DeleteRange", "Txn", "Compact"],
        there: There::Yes,
        held_by: &[DIFFERENTIAL, ETCDCTL, KV, CRATE],
    },
    Row { service: "KV", calls: &["RangeStream"], there: There::Yes, held_by: &[RECIPES] },
    Row { service: "Watch", calls: &["Watch"], there: There::Yes, held_by: &[DIFFERENTIAL, ETCDCTL, WATCH] },
    Row {
        service: "Lease",
        calls: &["LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"],
        there: There::Yes,
        held_by: &[DIFFERENTIAL, ETCDCTL, LEASE],
    },
    Row {
        service: "Cluster",
        calls: &["MemberAdd", "MemberRemove", "MemberUpdate", "MemberList", "MemberPromote"],
        there: There::Yes,
        held_by: &[ETCDCTL, CLUSTER, CRATE],
    },
    Row {
        service: "Maintenance",
        calls: &["Alarm", "Status", "Defragment", "MoveLeader"],
        there: There::Yes,
        held_by: &[DIFFERENTIAL, ETCDCTL, AGREEMENT],
    },
    Row {
        service: "Maintenance",
        calls: &["Hash", "HashKV"],
        there: There::Partly("a function of our own"),
        held_by: &[DIFFERENTIAL, ETCDCTL],
    },
    Row {
        service: "Maintenance",
        calls: &["Downgrade"],
        there: There::Partly("validates; there is nothing to downgrade to"),
        held_by: &[DIFFERENTIAL, RECIPES],
    },
    Row {
        service: "Maintenance",
        calls: &["Snapshot"],
        there: There::Partly("a format of our own, which etcdutl does not read"),
        held_by: &[ETCDCTL, CLUSTER, BACKUP],
    },
    Row {
        service: "Auth",
        calls: &[
            "AuthEnable",
            "AuthDisable",
            "AuthStatus",
            "Authenticate",
            "UserAdd",
            "UserGet",
            "UserList",
            "UserDelete",
            "UserChangePassword",
            "UserGrantRole",
            "UserRevokeRole",
            "RoleAdd",
            "RoleGet",
            "RoleList",
            "RoleDelete",
            "RoleGrantPermission",
            "RoleRevokePermission",
        ],
        there: There::Yes,
        held_by: &[ETCDCTL, AUTH, JWT],
    },
    Row {
        service: "Lock",
        calls: &["Lock", "Unlock"],
        there: There::Yes,
        held_by: &[DIFFERENTIAL, ETCDCTL, RECIPES],
    },
    Row {
        service: "Election",
        calls: &["Campaign", "Proclaim", "Leader", "Observe", "Resign"],
        there: There::Yes,
        held_by: &[DIFFERENTIAL, ETCDCTL, RECIPES],
    },
];

/// Writes the page; or, with `check`, only looks whether it is what would be written.
pub(crate) fn run(check: bool) -> Fallible<()> {
    complete()?;
    let page = page()?;
    if !check {
        fs::write(PAGE, page)?;
        return Ok(());
    }
    if fs::read_to_string(PAGE)? == page {
        Ok(())
    } else {
        Err(format!("{PAGE} is not what its tables say: cargo xtask compatibility writes it").into())
    }
}

/// Every call of the protocol's files stands in one row, and whatever holds us to it is there.
fn complete() -> Fallible<()> {
    let mut defined = BTreeSet::new();
    for (_, path) in PROTO {
        let mut service = String::new();
        for line in fs::read_to_string(path)?.lines() {
            let words: Vec<&str> = line.split([' ', '(', '{']).filter(|word| !word.is_empty()).collect();
            match words[..] {
                ["service", name, ..] => service = name.to_owned(),
                ["rpc", name, ..] => {
                    defined.insert(format!("{service}/{name}"));
                }
                _ => {}
            }
        }
    }
    let rows = ROWS.iter().flat_map(|row| row.calls.iter().map(|call| format!("{}/{call}", row.service)));
    let rows: BTreeSet<String> = rows.collect();
    if defined != rows {
        let apart: Vec<&String> = defined.symmetric_difference(&rows).collect();
        return Err(format!("the table and the protocol's files differ in {apart:?}").into());
    }
    for held_by in ROWS.iter().flat_map(|row| row.held_by) {
        let (path, function) = held_by.split_once('#').unwrap_or((held_by, ""));
        let source = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let there = match function {
            "" => source.contains("#[tokio::test"),
            function => source.contains(&format!("fn {function}(")),
        };
        if !there {
            return Err(format!("{held_by} is not there").into());
        }
    }
    Ok(())
}

fn page() -> Fallible<String> {
    let calls: usize = ROWS.iter().map(|row| row.calls.len()).sum();
    let there = |there: fn(&There) -> bool| {
        ROWS.iter().filter(|row| there(&row.there)).map(|row| row.calls.len()).sum::<usize>()
    };
    let (yes, no) = (there(|there| *there == There::Yes), there(|there| *there == There::No));
    let mut page = format!(
        "# Compatibility with etcd\n\nWritten by `cargo xtask compatibility`, which fails if a test that is named here is not there or a call is forgotten. Of etcd's {calls} calls \
{yes} are there, {} partly, {no} are not; what is not answers `Unimplemented`.\n\n| service | call | there | held by |\n|---|---|---|---|\n",
        calls - yes - no
    );
    for row in ROWS {
        let there = match row.there {
            There::Yes => "yes".to_owned(),
            There::Partly(how) => format!("partly: {how}"),
            There::No => "no".to_owned(),
        };
        let held_by = row.held_by.iter().map(|held_by| format!("`{held_by}`")).collect::<Vec<_>>().join(" ");
        for call in row.calls {
            writeln!(page, "| {} | {call} | {there} | {held_by} |", row.service)?;
        }
    }
    page.push_str("\n## etcdctl\n\n`cargo xtask etcdctl` plays these commands of etcdctl 3.4 to three of our nodes and to three of a real etcd, and compares what is printed, ids, addresses, terms and sizes aside. `user`, `role` and `auth`, and `snapshot`, are left out while we answer them with `Unimplemented`. Not played: `check perf` and `check datascale` beyond their arguments, `snapshot restore`, `migrate`, `completion`.\n\n");
    let script = fs::read_to_string(SCRIPT)?;
    let commands = script.lines().filter_map(|line| line.strip_prefix(['>', '~', '?', '&'])).map(subcommand);
    let commands: BTreeSet<String> = commands.collect();
    let commands: Vec<String> = commands.into_iter().map(|command| format!("`{command}`")).collect();
    page.push_str(&commands.join(", "));
    page.push_str("\n\n## Deliberate deviations\n\nWhere we are another than every etcd, and mean it. `cargo xtask etcd-differential` knows these, and ends at any other difference.\n\n");
    let known = || KNOWN.iter().map(|known| (known.why, known.what)).chain(NOT_COMPARED.iter().copied());
    for (_, what) in known().filter(|(why, _)| *why == Why::Deviation) {
        writeln!(page, "- {what}.")?;
    }
    writeln!(page, "- {UNDIVIDED}.")?;
    page.push_str("\n## Where we are as a later etcd\n\nThe etcd that is compared with is Debian's 3.4; where a later one does otherwise, we do as that.\n\n");
    for (why, what) in known() {
        if let Why::Version(since) = why {
            writeln!(page, "- since {since}: {what}.")?;
        }
    }
    Ok(page)
}

/// `endpoint status` of `@leader endpoint status -w json`.
fn subcommand(command: &str) -> String {
    const WITH_MORE: [&str; 10] =
        ["alarm", "auth", "check", "endpoint", "lease", "member", "role", "snapshot", "user", "help"];
    let mut words = command.split_whitespace().filter(|word| !word.starts_with(['@', '-']));
    let first = words.next().unwrap_or_default();
    match words.next() {
        Some(second) if WITH_MORE.contains(&first) => format!("{first} {second}"),
        _ => first.to_owned(),
    }
}
