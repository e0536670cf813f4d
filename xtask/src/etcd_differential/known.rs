//! What differs from the etcd that is compared with, and may: one table. Whatever is not in it ends a run.

use quorate_client::wire::etcdserverpb as pb;

use super::{call::Call, system::Answer};

/// Why it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// We decided to be another here.
    Deviation,
    /// Later etcds are as we are; the installed one is older.
    Version(&'static str),
}

/// A difference that is known.
pub(crate) struct Known {
    pub(crate) why: Why,
    /// In one sentence, for people.
    pub(crate) what: &'static str,
    /// Is it this one? Call, our answer, etcd's.
    pub(super) is: fn(&Call, &Answer, &Answer) -> bool,
}

/// `Unimplemented`.
const UNIMPLEMENTED: i32 = 12;

/// `Unknown`.
const UNKNOWN: i32 = 2;

fn is_recipe(call: &Call) -> bool {
    matches!(
        call,
        Call::Lock(_)
            | Call::Unlock(_)
            | Call::Campaign(_)
            | Call::Proclaim(_)
            | Call::Leader(_)
            | Call::Resign(_)
    )
}

/// Without the lines of key-values: what is left are headers, counts, and whether there are more.
fn but_for_kvs(answer: &Answer) -> Vec<String> {
    const OF_KV: [&str; 6] =
        ["key: ", "create_revision: ", "mod_revision: ", "version: ", "value: ", "lease: "];
    let lines = answer.lines().into_iter();
    lines.filter(|line| !OF_KV.iter().any(|field| line.trim_start().starts_with(field))).collect()
}

fn but_for_revision(answer: &Answer) -> Vec<String> {
    answer.lines().into_iter().filter(|line| !line.trim_start().starts_with("revision: ")).collect()
}

/// What is known and made equal before it is compared, or not asked at all.
pub(crate) const NOT_COMPARED: &[(Why, &str)] = &[
    (Why::Version("a version after 3.4"), "Alarm answers with a header"),
    (Why::Version("3.6"), "Status tells storageVersion, dbSizeQuota and downgradeInfo"),
    (Why::Version("a version after 3.4"), "a sort that does not exist is refused; 3.4 falls over it"),
    (Why::Version("3.6"), "HashKV tells hash_revision"),
    (Why::Version("3.7"), "the alarm NOSPACE refuses a transaction whose only puts are nested"),
    (Why::Version("3.5"), "MemberList may be serializable"),
    (Why::Version("3.6.2"), "a stream with a watcher that waits for a revision is told of no progress"),
    (Why::Version("3.4.34"), "a watch from the compacted revision is told of what was deleted in it"),
    (Why::Version("3.6.6"), "a watch from a revision below zero is refused as compacted"),
    (
        Why::Deviation,
        "Compact at revision 0 is refused as compacted; etcd grants it once, and it does nothing",
    ),
    (
        Why::Deviation,
        "a transaction that deletes from a key on without an end (range_end \\0) and puts a key behind it is refused as one with a duplicate key; etcd overlooks it, and if the put is to keep its value (ignore_value), all its members end, at each start again",
    ),
    (
        Why::Deviation,
        "an id of a watcher that a compaction ended is free again, and a cancel of it is not answered",
    ),
    (Why::Deviation, "Hash and HashKV are functions of our own: compare members of one cluster"),
    (Why::Deviation, "LeaseLeases lists leases by id, etcd by the time that is left to them"),
];

/// All that are known.
pub(crate) const KNOWN: &[Known] = &[
    Known {
        why: Why::Deviation,
        what: "an error of Lock and Election has its own code; etcd sends Unknown (2) with the same text",
        is: |call, ours, theirs| match (ours, theirs) {
            (Answer::Refused { text: ours, .. }, Answer::Refused { text: theirs, code: UNKNOWN }) => {
                is_recipe(call) && ours == theirs
            }
            _ => false,
        },
    },
    Known {
        why: Why::Deviation,
        what: "a Campaign that was won answers with the revision by then; etcd with that of its first look",
        is: |call, ours, theirs| {
            matches!(call, Call::Campaign(_)) && but_for_revision(ours) == but_for_revision(theirs)
        },
    },
    Known {
        why: Why::Deviation,
        what: "keys that are equal in what is sorted by come in the order of the keys; in etcd, where they are many, in none",
        is: |call, ours, theirs| {
            let said = matches!(ours, Answer::Said { .. }) && matches!(theirs, Answer::Said { .. });
            let sorted = match call {
                Call::Range(range) => range.sort_target != 0,
                Call::Txn(txn) => sorts(txn),
                _ => false,
            };
            said && sorted && but_for_kvs(ours) == but_for_kvs(theirs)
        },
    },
    Known {
        why: Why::Version("a version after 3.4"),
        what: "HashKV at the compacted revision is answered",
        is: |call, ours, theirs| {
            let compacted = "etcdserver: mvcc: required revision has been compacted";
            let ours = matches!(ours, Answer::Said { .. });
            matches!(call, Call::HashKv(_)) && ours && theirs.is_refused_with(compacted)
        },
    },
    Known {
        why: Why::Version("3.5"),
        what: "Maintenance/Downgrade is there",
        is: |call, _, theirs| matches!(call, Call::Downgrade(_)) && theirs.is_refusal(UNIMPLEMENTED),
    },
    Known {
        why: Why::Version("3.7"),
        what: "KV/RangeStream is there",
        is: |call, _, theirs| matches!(call, Call::RangeStream(_)) && theirs.is_refusal(UNIMPLEMENTED),
    },
];

/// What keys that are divided into shards refuse, and etcd does not.
pub(crate) const UNDIVIDED: &str = "with keys in several shards: a nested transaction whose keys lie in more than one of them, and a compare of a range whose keys do, are refused; and what changed in one revision is told shard by shard";

/// Is it that?
pub(super) fn is_undivided(ours: &Answer) -> bool {
    let texts =
        ["quorate: a nested transaction has keys", "quorate: a compare of the transaction is of a range"];
    matches!(ours, Answer::Refused { text, .. } if texts.iter().any(|begin| text.starts_with(begin)))
}

/// Which of them it is, if it is one.
pub(super) fn find(call: &Call, ours: &Answer, theirs: &Answer) -> Option<usize> {
    KNOWN.iter().position(|known| (known.is)(call, ours, theirs))
}

/// Is there a range in it that is sorted by something else than its keys?
fn sorts(txn: &pb::TxnRequest) -> bool {
    use pb::request_op::Request;
    txn.success.iter().chain(&txn.failure).any(|operation| match &operation.request {
        Some(Request::RequestRange(range)) => range.sort_target != 0,
        Some(Request::RequestTxn(nested)) => sorts(nested),
        _ => false,
    })
}
