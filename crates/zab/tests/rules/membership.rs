//! Changes of membership (rule R22).

use quorate_consensus::{ChangeRefusal, Membership, MembershipChange, NodeId, Refusal};

use crate::support::{Cluster, Disk, birth};

#[test]
fn r22_one_change_at_a_time_and_nobody_is_promoted_before_it_has_caught_up() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    let first = cluster.change(3, MembershipChange::AddLearner(NodeId(4)));
    let second = cluster.change(3, MembershipChange::AddLearner(NodeId(5)));
    assert!(cluster.answers.accepted.contains_key(&first));
    assert_eq!(cluster.answers.refused[&second], Refusal::Change(ChangeRefusal::Pending));
    cluster.settle();
    let promote = cluster.change(3, MembershipChange::Promote(NodeId(4)));
    assert_eq!(cluster.answers.refused[&promote], Refusal::Change(ChangeRefusal::NotCaughtUp(NodeId(4))));
    let elsewhere = cluster.change(1, MembershipChange::AddLearner(NodeId(5)));
    assert_eq!(cluster.answers.refused[&elsewhere], Refusal::NotLeader { leader: Some(NodeId(3)) });
}

#[test]
fn r22_c07_a_joint_membership_is_left_by_whoever_leads_next() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    assert_eq!(cluster.elect(), 5);
    cluster.change(5, MembershipChange::Remove(NodeId(1)));
    // The joint entry reaches 4, and the leader dies.
    cluster.deliver(5, 4);
    cluster.crash(5);
    cluster.wait(700);
    assert_eq!(cluster.leader(), Some(4));
    assert_eq!(cluster.log(4), ["1:", "1:joint", "2:", "2:members"]);
    cluster.restart(5);
    cluster.wait(500);
    let members = Membership::new([2, 3, 4, 5].map(NodeId), []);
    assert!([2, 3, 4, 5].iter().all(|id| cluster.status(*id).membership == members));
}

#[test]
fn r22_a_new_voter_that_has_heard_of_nothing_gives_its_word_when_asked() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.boot(4, Disk { hard: None, snapshot: birth(&[]), log: vec![] });
    assert_eq!(cluster.elect(), 3);
    cluster.network.clear();
    cluster.change(3, MembershipChange::AddVoter(NodeId(4)));
    cluster.deliver(3, 1);
    cluster.deliver(3, 2);
    cluster.crash(3);
    // By the joint membership two of the four are not enough, and 4 knows of no membership at all.
    assert_eq!(cluster.elect(), 2);
    cluster.wait(100);
    let members = Membership::new([1, 2, 3, 4].map(NodeId), []);
    assert!([1, 2, 4].iter().all(|id| cluster.status(*id).membership == members));
}
