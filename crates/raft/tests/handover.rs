//! A leader hands over by itself where its own disk hangs and the others' do not (F14).

mod support;

use quorate_consensus::{Index, Input, NodeId, Role, SnapshotOutcome};
use quorate_raft::Config;
use support::Cluster;

#[test]
fn f14_a_leader_whose_disk_hangs_hands_over_to_one_whose_disk_does_not() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = true;
    cluster.propose(1, "a");
    cluster.settle();
    cluster.wait(1_200);
    assert_eq!(cluster.status(1).role, Role::Leader, "a disk may be slow for a while");
    // Six of the longest election timeouts.
    cluster.wait(900);
    assert!(cluster.gave(1, "leader_hands_over_for_its_disk_hangs"));
    assert!([2, 3].iter().any(|id| cluster.status(*id).role == Role::Leader));
}

/// {of four, S4 waits for what only the leader's disk holds}: three have to have an entry, two have it, and the third never will while the lead stays.
#[test]
fn f14_a_leader_whose_disk_hangs_hands_over_also_where_nothing_is_committed_without_it() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4]);
    cluster.elect(1);
    for id in [1, 4] {
        cluster.nodes.get_mut(&NodeId(id)).unwrap().slow = true;
    }
    cluster.propose(1, "a");
    cluster.settle();
    assert_eq!(cluster.status(1).commit, Index(1));
    cluster.wait(2_100);
    assert!(cluster.gave(1, "leader_hands_over_for_its_disk_hangs"));
    cluster.nodes.get_mut(&NodeId(4)).unwrap().slow = false;
    cluster.sync(4);
    cluster.wait(2_000);
    let next = [2, 3, 4].into_iter().find(|id| cluster.status(*id).role == Role::Leader).expect("a leader");
    assert_eq!(cluster.status(next).commit, Index(3));
}

#[test]
fn f14_a_slow_disk_is_no_reason_where_nothing_is_committed_without_it() {
    let mut cluster = Cluster::new(&[1, 2]);
    cluster.elect(1);
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = true;
    cluster.propose(1, "a");
    cluster.settle();
    cluster.wait(3_000);
    assert_eq!(cluster.status(1).role, Role::Leader);
}

/// {its disk hangs while nobody writes; S3 was away, and needs what only the disk has}: no disk is ahead of another, and S3 would never get it.
#[test]
fn f14_a_leader_whose_disk_hangs_hands_over_also_where_only_a_read_is_owed() {
    let config = Config { tail_bytes_max: 1, ..Config::default() };
    let mut cluster = Cluster::with(config, &[1, 2, 3]);
    cluster.elect(1);
    cluster.crash(3);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
        cluster.settle();
    }
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = true;
    cluster.restart(3);
    cluster.wait(1_200);
    assert_eq!(cluster.status(1).durable, cluster.status(2).durable, "no disk is ahead");
    assert_eq!(cluster.status(1).role, Role::Leader, "a disk may be slow for a while");
    cluster.wait(900);
    assert!(cluster.gave(1, "leader_hands_over_for_its_disk_hangs"), "I20: it leads on, and S3 gets nothing");
    cluster.wait(1_000);
    assert_eq!(cluster.status(2).role, Role::Leader);
    assert_eq!(cluster.log(3), cluster.log(2));
}

/// The same where what S3 needs is a snapshot: of that the node says that the disk did not give it.
#[test]
fn f14_a_leader_whose_disk_hangs_hands_over_also_where_it_does_not_give_a_snapshot() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.crash(3);
    cluster.propose(1, "a");
    cluster.settle();
    cluster.snapshot(1);
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = true;
    cluster.restart(3);
    cluster.wait(3_000);
    assert_eq!(cluster.status(1).role, Role::Leader, "as far as it knows, the snapshot is on its way");
    let gave = "leader_hands_over_for_its_disk_hangs";
    let sent = |outcome| Input::SnapshotSent { peer: NodeId(3), outcome };
    cluster.step(1, sent(SnapshotOutcome::Failed));
    cluster.wait(200);
    assert!(!cluster.gave(1, gave), "it was lost on its way");
    cluster.step(1, sent(SnapshotOutcome::Unread));
    cluster.wait(200);
    assert!(cluster.gave(1, gave));
}
