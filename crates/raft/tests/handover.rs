//! A leader hands over by itself where its own disk hangs and the others' do not (F14).

mod support;

use quorate_consensus::{Index, NodeId, Role};
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
