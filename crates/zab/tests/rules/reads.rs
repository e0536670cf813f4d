//! Both sides watch (rule Z08), and reads (rule Z09).

use quorate_consensus::{Index, ReadRefusal, Role};
use quorate_zab::Message;

use crate::{played::*, support::Cluster};

#[test]
fn z08_both_sides_watch() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.partition(&[vec![3], vec![1, 2]]);
    cluster.wait(100);
    assert_eq!((cluster.status(3).role, cluster.status(1).role), (Role::Leader, Role::Follower));
    cluster.wait(500);
    assert_eq!(cluster.status(3).role, Role::PreCandidate);
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
pub(crate) fn z09_h21_a_read_is_confirmed_by_a_round_begun_after_it() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.read(3);
    let (link, round) = ping_of(&cluster, 1);
    let read = cluster.read(3);
    assert!(cluster.answers.safe.is_empty(), "H21: answered without a quorum");
    let pong = |round| Message::Pong { link, round, acknowledged: true, durable: Index(1) };
    hear(&mut cluster, 3, 1, pong(round));
    assert_eq!(cluster.answers.safe.get(&read), None, "the round was begun before this read");
    hear(&mut cluster, 3, 1, pong(round + 1));
    assert_eq!(cluster.answers.safe.get(&read), Some(&Index(1)));
}

#[test]
fn z09_reads_of_a_leader_that_falls_are_refused_everywhere() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.partition(&[vec![3], vec![1], vec![2]]);
    let (own, asked) = (cluster.read(3), cluster.read(1));
    cluster.wait(700);
    for read in [own, asked] {
        assert_eq!(cluster.answers.reads_refused.get(&read), Some(&ReadRefusal::LeaderChanged));
    }
    let none = cluster.read(2);
    assert_eq!(cluster.answers.reads_refused.get(&none), Some(&ReadRefusal::NoLeader));
}
