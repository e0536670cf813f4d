//! Broadcast (rule Z07): order, quorums, windows; and proposals that are sent on.

use quorate_consensus::{
    Epoch, Index, Input, MembershipChange, NodeId, Position, Proposal, ProposalId, Refusal, Role,
};
use quorate_zab::{Config, LinkId, Message, Packet};

use crate::{
    played::*,
    support::{Cluster, Disk, birth},
};

#[test]
pub(crate) fn z07_h15_out_of_order_is_in_order_or_nothing() {
    let mut played = Played::new(1);
    played.synchronize(1, vec![], 0);
    let (link, first) = (played.link, played.sequence);
    let propose = |at: u64| Message::Stream {
        link,
        sequence: first + at - 1,
        packet: Packet::Propose { entries: vec![entry(1, at)], commit: Index(0) },
    };
    played.cluster.network.clear();
    hear(&mut played.cluster, 1, 3, propose(3));
    hear(&mut played.cluster, 1, 3, propose(2));
    assert_eq!(played.said(), [], "acknowledged over a gap");
    for at in [1, 2, 3, 1] {
        hear(&mut played.cluster, 1, 3, propose(at));
    }
    assert_eq!(played.cluster.log(1), ["1:1.1", "1:1.2", "1:1.3"]);
    assert_eq!(played.said().last(), Some(&Message::Ack { link, durable: Index(3) }));
    // One that never comes ends the link.
    hear(&mut played.cluster, 1, 3, propose(5));
    played.cluster.timeout(1);
    assert!(played.started_again());
}

#[test]
pub(crate) fn z07_q06_a_gap_in_the_log_is_refused() {
    let mut played = Played::new(1);
    played.synchronize(1, vec![entry(1, 1)], 0);
    for entries in [vec![entry(1, 3)], vec![entry(1, 1)], vec![entry(2, 2)], vec![entry(0, 2)]] {
        played.propose(entries.clone(), 3);
        assert!(played.started_again(), "{entries:?}");
        assert_eq!(played.cluster.status(1).last, Position::new(1, 1));
        played.take_link();
        played.synchronize(1, vec![], 0);
    }
}

#[test]
pub(crate) fn z07_h05_what_is_committed_waits_for_up_to_date_and_for_its_proposal() {
    let mut played = Played::new(1);
    played.stream(Packet::NewEpoch(Epoch(1)));
    played.stream(Packet::Diff(Position::ZERO));
    played.propose(vec![entry(1, 1)], 0);
    played.stream(Packet::NewLeader { epoch: Epoch(1), last: Position::new(1, 1) });
    played.propose(vec![entry(1, 2)], 0);
    let link = played.link;
    hear(&mut played.cluster, 1, 3, Message::Commit { link, commit: Index(1) });
    assert_eq!(played.cluster.status(1).commit, Index(0), "the leader may not be established");
    played.stream(Packet::UpToDate(Index(0)));
    assert_eq!(played.cluster.status(1).commit, Index(1), "remembered");
    hear(&mut played.cluster, 1, 3, Message::Commit { link, commit: Index(3) });
    assert_eq!(played.cluster.status(1).commit, Index(2));
    played.propose(vec![entry(1, 3)], 0);
    assert_eq!(played.cluster.status(1).commit, Index(3));
}

#[test]
pub(crate) fn z07_h04_what_was_only_logged_is_not_committed_by_an_election() {
    let mut played = Played::new(1);
    played.synchronize(1, vec![entry(1, 1)], 0);
    played.cluster.step(1, Input::PeerUnreachable { peer: NodeId(3) });
    assert_eq!(played.cluster.status(1).commit, Index(0));
    played.cluster.crash(1);
    played.cluster.restart(1);
    played.cluster.timeout(1);
    assert_eq!(played.cluster.status(1).commit, Index(0), "nor by a restart");
}

#[test]
fn z07_h18_an_observer_does_not_count() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.boot(4, Disk { hard: None, snapshot: birth(&[]), log: vec![] });
    assert_eq!(cluster.elect(), 3);
    cluster.change(3, MembershipChange::AddLearner(NodeId(4)));
    cluster.wait(100);
    assert_eq!(cluster.status(4).commit, Index(2));
    cluster.crash(1);
    cluster.crash(2);
    cluster.propose(3, "a");
    cluster.settle();
    assert_eq!((cluster.status(3).commit, cluster.status(4).last.index), (Index(2), Index(2)));
    // Nor would its word: the link is a learner's like any other.
    let at = cluster.now;
    let link = said_link(&mut cluster);
    cluster.now = at;
    hear(&mut cluster, 3, 4, Message::Ack { link, durable: Index(3) });
    assert_eq!(cluster.status(3).commit, Index(2));
}

/// The link of node 4, as its next ping shows it.
fn said_link(cluster: &mut Cluster) -> LinkId {
    cluster.timeout(3);
    let ping = said(cluster, 3, 4).into_iter().find_map(|message| match message {
        Message::Ping { link, .. } => Some(link),
        _ => None,
    });
    ping.expect("a ping")
}

#[test]
fn z07_the_leader_counts_its_own_disk_like_any_other() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    slow(&mut cluster, 3);
    cluster.crash(2);
    cluster.propose(3, "a");
    cluster.settle();
    assert_eq!(cluster.status(3).commit, Index(1));
    cluster.sync(3);
    assert_eq!(cluster.status(3).commit, Index(2));
}

#[test]
fn z07_no_more_leaves_than_the_window_allows() {
    let config = Config { message_bytes_max: 1, inflight_messages_max: 3, ..Config::default() };
    let mut cluster = Cluster::with(config, &[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    for _ in 0..10 {
        cluster.propose(3, "x");
    }
    let proposals = |message: &&Message| matches!(message, Message::Stream { .. });
    assert_eq!(said(&cluster, 3, 1).iter().filter(proposals).count(), 3);
    cluster.settle();
    assert_eq!(cluster.log(1).len(), 11);
}

#[test]
fn i9_a_commit_index_is_never_written_ahead_of_the_durable_log() {
    let mut played = Played::new(1);
    played.synchronize(1, vec![entry(1, 1)], 1);
    slow(&mut played.cluster, 1);
    played.propose(vec![entry(1, 2)], 2);
    played.propose(vec![entry(1, 3)], 3);
    assert_eq!(played.cluster.status(1).commit, Index(3), "applied ahead of the own disk");
    let commits = played.cluster.node(1).writes.iter().filter_map(|write| write.hard_state);
    assert!(commits.map(|hard| hard.commit).all(|commit| commit <= Index(1)));
}

#[test]
fn z07_who_has_not_acknowledged_new_leader_does_not_count_however_much_it_holds() {
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
    assert_eq!(cluster.status(3).role, Role::Leader);
    // 4 has got the first proposal behind NEWLEADER, and has it on its disk, but not the epoch.
    for node in [4, 1] {
        hear(&mut cluster, 3, node, Message::Ack { link: link_of(node), durable: Index(1) });
    }
    assert_eq!(cluster.status(3).commit, Index(0), "3 and 1 have it, and 4 does not count");
    acknowledges(&mut cluster, 4, 1, 1);
    assert_eq!(cluster.status(3).commit, Index(1));
}

#[test]
pub(crate) fn q07_a_refusal_of_what_was_sent_on_is_certain_even_if_the_network_repeats() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    let id = cluster.propose(1, "once");
    let twice = last_said(&cluster, 1, 3).unwrap();
    hear(&mut cluster, 3, 1, twice.clone());
    cluster.settle();
    assert_eq!(cluster.log(3), ["1:", "1:once"]);
    // The leader restarts, and the network delivers the second copy to what leads this epoch no more.
    cluster.crash(3);
    cluster.restart(3);
    hear(&mut cluster, 3, 1, twice);
    cluster.settle();
    assert_eq!(cluster.answers.refused.get(&id), None, "it is in the log");
}

#[test]
fn q07_a_follower_says_what_is_too_large_and_who_leads() {
    let mut cluster = Cluster::with(Config { command_bytes_max: 10, ..Config::default() }, &[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    let id = cluster.propose(2, "longer than ten bytes");
    assert_eq!(cluster.answers.refused[&id], Refusal::TooLarge { command_bytes_max: 10 });
    let stay = Proposal { id: ProposalId(77), command: "x".into(), forward: false };
    cluster.step(2, Input::Propose(vec![stay]));
    assert_eq!(cluster.answers.refused[&ProposalId(77)], Refusal::NotLeader { leader: Some(NodeId(3)) });
}

#[test]
fn a_limit_refuses_and_the_first_proposal_always_passes() {
    let config = Config { uncommitted_bytes_max: 60, command_bytes_max: 100, ..Config::default() };
    let mut cluster = Cluster::with(config, &[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    let first = cluster.propose(3, &"x".repeat(100));
    let second = cluster.propose(3, "y");
    assert!(cluster.answers.accepted.contains_key(&first));
    assert_eq!(cluster.answers.refused[&second], Refusal::Overloaded { uncommitted_bytes_max: 60 });
    cluster.settle();
    let third = cluster.propose(3, "z");
    assert!(cluster.answers.accepted.contains_key(&third));
}

/// The sender takes a proposal of epoch 1 for lost once epoch 2 has begun, and makes it again.
#[test]
fn q07_a_proposal_that_was_sent_on_is_for_the_leader_of_its_epoch_alone() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.propose(1, "late");
    let late = last_said(&cluster, 1, 3).unwrap();
    cluster.drop(1, 3);
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!(cluster.elect(), 3);
    assert_eq!(cluster.status(3).epoch, Epoch(2));
    hear(&mut cluster, 3, 1, late);
    cluster.settle();
    assert_eq!(cluster.log(3), ["1:", "2:"]);
}
