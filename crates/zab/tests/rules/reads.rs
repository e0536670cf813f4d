//! Both sides watch (rule Z08), and reads (rule Z09).

use quorate_consensus::{Epoch, Index, ReadId, ReadRefusal, Role};
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

/// Rounds count from zero in each epoch, so the number alone does not tell one epoch's answers from another's.
#[test]
fn z09_a_read_is_confirmed_by_answers_of_its_own_epoch_alone() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.read(3);
    let (old, _) = ping_of(&cluster, 1);
    cluster.network.clear();
    // The same node leads again, a newer epoch.
    cluster.partition(&[vec![1], vec![2], vec![3]]);
    cluster.wait(700);
    cluster.partition(&[vec![1, 2, 3]]);
    assert_eq!((cluster.elect(), cluster.status(3).epoch), (3, Epoch(2)));
    cluster.wait(100);
    let read = cluster.read(3);
    let (link, round) = ping_of(&cluster, 1);
    let pong = |link| Message::Pong { link, round, acknowledged: true, durable: Index(1) };
    hear(&mut cluster, 3, 1, pong(old));
    assert_eq!(cluster.answers.safe.get(&read), None, "1 said so in epoch 1");
    // Nor is a question of epoch 1 answered in epoch 2.
    hear(&mut cluster, 3, 1, Message::ReadIndex { epoch: Epoch(1), nonce: 7, id: ReadId(77) });
    let refused = Message::ReadIndexReply { nonce: 7, id: ReadId(77), index: None };
    assert_eq!(last_said(&cluster, 3, 1), Some(refused));
    hear(&mut cluster, 3, 1, pong(link));
    assert!(cluster.answers.safe.contains_key(&read));
}

/// A learner that has only promised may still leave for another leader without a word.
#[test]
fn z09_who_has_not_acknowledged_new_leader_confirms_no_read() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    elected(&mut cluster, &[1, 2, 4, 5]);
    for node in [1, 2, 4] {
        comes(&mut cluster, node, 0);
    }
    for node in [1, 2, 4] {
        promises(&mut cluster, node, 1, true);
    }
    for node in [1, 2] {
        acknowledges(&mut cluster, node, 1, 0);
    }
    let read = cluster.read(3);
    let round = ping_of(&cluster, 1).1;
    let pong = |node, acknowledged| {
        let link = link_of(node);
        Message::Pong { link, round, acknowledged, durable: Index(0) }
    };
    hear(&mut cluster, 3, 4, pong(4, false));
    hear(&mut cluster, 3, 1, pong(1, true));
    assert_eq!(cluster.answers.safe.get(&read), None, "3 and 1 of five");
    // Not even once it has acknowledged: it said so before.
    acknowledges(&mut cluster, 4, 1, 0);
    hear(&mut cluster, 3, 1, pong(1, true));
    assert_eq!(cluster.answers.safe.get(&read), None);
    hear(&mut cluster, 3, 4, pong(4, true));
    assert!(cluster.answers.safe.contains_key(&read));
}
