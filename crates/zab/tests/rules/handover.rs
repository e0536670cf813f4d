//! A leader hands over by itself where its own disk hangs and the others' do not (Z03, F14).

use std::collections::BTreeSet;

use quorate_consensus::{Input, NodeId, Role, SnapshotOutcome};
use quorate_zab::{Config, Message};

use crate::support::Cluster;

/// Of three, node 3 leads, and has committed what its own disk does not take.
fn hung() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    hang(&mut cluster, 3);
    cluster.propose(3, "a");
    cluster.settle();
    assert!(cluster.status(3).durable < cluster.status(3).commit);
    cluster
}

fn hang(cluster: &mut Cluster, id: u64) {
    cluster.nodes.get_mut(&NodeId(id)).unwrap().slow = true;
}

const GAVE: &str = "leader_hands_over_for_its_disk_hangs";

#[test]
pub(crate) fn z03_f14_a_leader_whose_disk_hangs_hands_over_to_one_whose_disk_does_not() {
    let mut cluster = hung();
    cluster.wait(1_100);
    assert_eq!(cluster.status(3).role, Role::Leader, "a disk may be slow for a while");
    // Six of the longest election timeouts.
    cluster.wait(700);
    assert!(cluster.gave(3, GAVE), "I20: it leads on, its disk behind what is committed");
    let next = cluster.leader().expect("a leader");
    assert_ne!(next, 3);
    cluster.propose(next, "b");
    cluster.settle();
    assert_eq!(cluster.log(1), ["1:", "1:a", "2:", "2:b"]);
    assert_eq!(cluster.status(next).commit, cluster.status(next).last.index);
    // Nobody else gives up the lead meanwhile, and the disk that answers at last follows.
    cluster.wait(5_000);
    assert_eq!((cluster.leader(), cluster.status(next).epoch.0), (Some(next), 2));
    cluster.nodes.get_mut(&NodeId(3)).unwrap().slow = false;
    cluster.sync(3);
    cluster.wait(1_000);
    assert_eq!((cluster.leader(), cluster.log(3)), (Some(next), cluster.log(next)));
}

/// {of four, S1 waits for what only the leader's disk holds}: three have to have an entry, two have it, and the third never will while the lead stays.
#[test]
fn z03_f14_it_hands_over_also_where_nothing_is_committed_without_it() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4]);
    assert_eq!(cluster.elect(), 4);
    hang(&mut cluster, 4);
    hang(&mut cluster, 1);
    cluster.propose(4, "a");
    cluster.settle();
    assert!(cluster.status(4).commit < cluster.status(4).last.index);
    cluster.wait(1_800);
    assert!(cluster.gave(4, GAVE));
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = false;
    cluster.sync(1);
    cluster.wait(3_000);
    let next = cluster.leader().expect("a leader");
    assert_ne!(next, 4);
    assert_eq!(cluster.status(next).commit, cluster.status(next).last.index);
}

#[test]
fn z03_f14_a_slow_disk_is_no_reason_where_nothing_is_committed_without_it() {
    let mut cluster = Cluster::new(&[1, 2]);
    assert_eq!(cluster.elect(), 2);
    hang(&mut cluster, 2);
    cluster.propose(2, "a");
    cluster.settle();
    cluster.wait(3_000);
    assert_eq!(cluster.status(2).role, Role::Leader);
    assert!(!cluster.gave(2, GAVE));
}

#[test]
fn z03_f14_a_disk_that_is_behind_and_comes_along_is_no_reason() {
    let mut cluster = hung();
    for _ in 0..10 {
        cluster.wait(350);
        cluster.propose(3, "b");
        cluster.settle();
        cluster.wait(350);
        // All but the newest.
        while cluster.node(3).writes.len() > 1 {
            cluster.sync_one(3);
        }
        assert!(cluster.status(3).durable < cluster.status(3).commit, "it is always behind");
    }
    assert_eq!(cluster.status(3).role, Role::Leader);
    // From here on it hangs, and what it has not written was committed 350 ms ago.
    cluster.wait(750);
    assert!(!cluster.gave(3, GAVE));
    cluster.wait(200);
    assert!(cluster.gave(3, GAVE), "it counts from when its disk took the entry before");
}

#[test]
fn z03_f14_it_stays_while_the_others_alone_are_no_quorum() {
    let mut cluster = hung();
    cluster.wait(300);
    cluster.crash(1);
    cluster.wait(2_700);
    assert_eq!(cluster.status(3).role, Role::Leader, "nobody could lead without its promise");
    cluster.restart(1);
    cluster.wait(500);
    assert!(cluster.gave(3, GAVE));
    assert!(matches!(cluster.leader(), Some(1 | 2)));
}

/// {S1 needs a snapshot, and the leader can read none any more}: S1 does not follow yet, and may promise all the same.
#[test]
fn z03_f14_who_waits_for_a_snapshot_counts_among_the_others() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.crash(1);
    cluster.propose(3, "a");
    cluster.settle();
    cluster.snapshot(3);
    hang(&mut cluster, 3);
    cluster.propose(3, "b");
    cluster.settle();
    cluster.restart(1);
    cluster.wait(2_700);
    assert!(cluster.gave(3, GAVE), "I20: S1 and S2 could serve, and S3 leads on");
    cluster.wait(2_000);
    assert_eq!(cluster.leader(), Some(2));
    assert_eq!(cluster.status(2).commit, cluster.status(2).last.index);
    assert_eq!(cluster.log(1), cluster.log(2));
}

#[test]
fn z03_f14_it_may_be_elected_again_and_does_not_lead_while_its_disk_hangs() {
    let mut cluster = hung();
    // Its TAKEOVER is lost, and of equal histories its vote is the best, by its id.
    while !cluster.network.iter().any(|(_, _, message)| matches!(message, Message::TakeOver { .. })) {
        cluster.settle();
        cluster.now = cluster.now + quorate_consensus::Duration::from_millis(1);
        for id in [1, 2, 3] {
            cluster.wake(id);
        }
    }
    cluster.network.clear();
    cluster.reasons.clear();
    let mut led = BTreeSet::new();
    for _ in 0..5_000 {
        cluster.wait(1);
        led.extend([1, 2, 3].into_iter().filter(|id| cluster.status(*id).role == Role::Leader));
        assert!(!led.contains(&3), "it leads, and can write nothing");
    }
    assert!(cluster.gave(3, "election_decided") && cluster.gave(3, "no_quorum_promises"));
    assert_eq!(led.len(), 1, "and the others have one leader, which stays");
}

/// {its disk hangs while nobody writes; S1 was away, and needs what only the disk has}: no disk is ahead of another, and S1 would never get it.
#[test]
fn z03_f14_it_hands_over_also_where_only_a_read_is_owed() {
    let config = Config { tail_bytes_max: 1, ..Config::default() };
    let mut cluster = Cluster::with(config, &[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.crash(1);
    for command in ["a", "b", "c"] {
        cluster.propose(3, command);
        cluster.settle();
    }
    hang(&mut cluster, 3);
    cluster.restart(1);
    cluster.wait(1_100);
    assert_eq!(cluster.status(3).durable, cluster.status(2).durable, "no disk is ahead");
    assert_eq!(cluster.status(3).role, Role::Leader, "a disk may be slow for a while");
    cluster.wait(900);
    assert!(cluster.gave(3, GAVE), "I20: it leads on, and S1 gets nothing");
    cluster.wait(1_000);
    let next = cluster.leader().expect("a leader");
    assert_eq!((next, cluster.log(1)), (2, cluster.log(2)));
}

/// The same where what S1 needs is a snapshot: of that the node says that the disk did not give it.
#[test]
fn z03_f14_it_hands_over_also_where_its_disk_does_not_give_a_snapshot() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.crash(1);
    cluster.propose(3, "a");
    cluster.settle();
    cluster.snapshot(3);
    hang(&mut cluster, 3);
    cluster.restart(1);
    cluster.wait(3_000);
    assert_eq!(cluster.status(3).role, Role::Leader, "as far as it knows, the snapshot is on its way");
    let sent = |outcome| Input::SnapshotSent { peer: NodeId(1), outcome };
    cluster.step(3, sent(SnapshotOutcome::Failed));
    cluster.wait(200);
    assert!(!cluster.gave(3, GAVE), "it was lost on its way");
    cluster.step(3, sent(SnapshotOutcome::Unread));
    cluster.wait(200);
    assert!(cluster.gave(3, GAVE));
}
