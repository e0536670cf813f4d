//! Discovery (rule Z05): promises, and who may lead.

use quorate_consensus::{Epoch, Index, Input, NodeId, Position, Role};
use quorate_zab::{Config, EPOCH_JUMP_MAX, Ended, History, LinkId, Message, Packet};

use crate::{played::*, support::Cluster};

#[test]
pub(crate) fn z05_h03_an_epoch_is_promised_durably_or_not_at_all() {
    let mut played = Played::new(4);
    slow(&mut played.cluster, 1);
    played.cluster.network.clear();
    played.stream(Packet::NewEpoch(Epoch(4)));
    assert_eq!(played.said(), [], "ACKEPOCH leaves before the promise is durable");
    played.cluster.sync(1);
    assert!(matches!(played.said()[..], [Message::AckEpoch { epoch: Epoch(4), promised: true, .. }]));
}

#[test]
fn z05_an_epoch_is_promised_to_one_leader() {
    let mut played = Played::new(4);
    played.stream(Packet::NewEpoch(Epoch(4)));
    // The same leader asks again, on a new link: the promise is repeated. Another one gets none, now or after a restart.
    hear(&mut played.cluster, 1, 3, Message::Close { link: played.link, why: Ended::Broken });
    played.take_link();
    played.stream(Packet::NewEpoch(Epoch(4)));
    assert!(matches!(played.said().last(), Some(Message::AckEpoch { promised: true, .. })));
    played.cluster.crash(1);
    played.cluster.restart(1);
    let mut other = Played::follow(played.cluster, 2, 5);
    other.stream(Packet::NewEpoch(Epoch(4)));
    assert!(matches!(other.said().last(), Some(Message::AckEpoch { promised: false, .. })));
}

#[test]
pub(crate) fn z05_h20_an_older_epoch_is_refused_for_ever() {
    let mut played = Played::new(4);
    played.synchronize(4, vec![entry(4, 1)], 1);
    assert_eq!(played.cluster.status(1).commit, Index(1));
    let (old, sequence) = (played.link, played.sequence);
    let mut newer = Played::follow(played.cluster, 2, 5);
    newer.synchronize(5, vec![], 1);
    newer.cluster.network.clear();
    let late = Packet::Propose { entries: vec![entry(4, 2)], commit: Index(2) };
    hear(&mut newer.cluster, 1, 3, Message::Stream { link: old, sequence, packet: late });
    let ping = Message::Ping { link: old, sent: 0, round: 7, commit: Index(2) };
    hear(&mut newer.cluster, 1, 3, ping);
    assert_eq!(newer.cluster.status(1).last, Position::new(4, 1), "the old leader's proposal");
    let closes = |message: &Message| matches!(message, Message::Close { why: Ended::Broken, .. });
    assert!(said(&newer.cluster, 1, 3).iter().all(closes), "a read confirmation for the old leader");
    let mut older = Played::follow(newer.cluster, 3, 9);
    older.stream(Packet::NewEpoch(Epoch(4)));
    assert_eq!(older.cluster.status(1).role, Role::PreCandidate, "4 is below 5");
}

#[test]
fn z05_n04_a_leader_turns_newer_histories_away_until_a_quorum_has_promised() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.timeout(3);
    for from in [1, 2] {
        hear(&mut cluster, 3, from, looking(1, vote(0, (0, 0), 3)));
    }
    assert_eq!(cluster.status(3).role, Role::Candidate);
    let link = |life| LinkId { life, attempt: 1 };
    hear(&mut cluster, 3, 1, Message::FollowerInfo { link: link(1), accepted: Epoch(1) });
    assert_eq!(cluster.status(3).epoch, Epoch(2), "above all that a quorum promised");
    let history = |current, last| History {
        current: Epoch(current),
        last,
        compacted: Position::ZERO,
        epochs: vec![(Epoch(1), Index(1))],
    };
    let newer = history(1, Position::new(1, 1));
    let ack = |link, history| Message::AckEpoch { link, epoch: Epoch(2), promised: true, history };
    hear(&mut cluster, 3, 1, ack(link(1), newer.clone()));
    assert_eq!(last_said(&cluster, 3, 1), Some(Message::Close { link: link(1), why: Ended::NotLeading }));
    let empty = History { epochs: vec![], ..history(0, Position::ZERO) };
    hear(&mut cluster, 3, 2, Message::FollowerInfo { link: link(2), accepted: Epoch(0) });
    hear(&mut cluster, 3, 2, ack(link(2), empty));
    // Now a quorum has promised, so nobody committed 1.1: who has it is cut.
    hear(&mut cluster, 3, 1, Message::FollowerInfo { link: link(7), accepted: Epoch(2) });
    hear(&mut cluster, 3, 1, ack(link(7), newer));
    let trunc = |message: &Message| matches!(message, Message::Stream { packet: Packet::Trunc(at), .. } if *at == Position::ZERO);
    assert!(said(&cluster, 3, 1).iter().any(trunc));
}

#[test]
fn z05_a_link_that_heard_of_an_earlier_lead_is_begun_anew() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.timeout(3);
    for from in [1, 2] {
        hear(&mut cluster, 3, from, looking(1, vote(0, (0, 0), 3)));
    }
    let link = LinkId { life: 1, attempt: 1 };
    hear(&mut cluster, 3, 1, Message::FollowerInfo { link, accepted: Epoch(1) });
    assert_eq!(cluster.status(3).epoch, Epoch(2));
    // Of epoch 1 it heard by a NEWEPOCH that came late, on this very link: the one of epoch 2 was a repetition to it.
    let history =
        History { current: Epoch(0), last: Position::ZERO, compacted: Position::ZERO, epochs: vec![] };
    hear(&mut cluster, 3, 1, Message::AckEpoch { link, epoch: Epoch(1), promised: true, history });
    assert_eq!(last_said(&cluster, 3, 1), Some(Message::Close { link, why: Ended::Broken }));
    let mut played = Played::new(2);
    played.stream(Packet::NewEpoch(Epoch(2)));
    let (link, packet) = (played.link, Packet::NewEpoch(Epoch(3)));
    hear(&mut played.cluster, 1, 3, Message::Stream { link, sequence: 0, packet });
    assert!(played.started_again());
}

/// {S3 leads, and ends the link of S1, which does not hear of it; an old FOLLOWERINFO of that link arrives}: S3 would wait for ACKEPOCH, and S1, which has what was
/// proposed on it up to NEWLEADER and beyond, for the next proposal. Both hear each other, so neither gives up. Found by the simulator (I20).
#[test]
fn z05_a_link_that_an_old_follower_info_opens_again_is_ended() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let leader = cluster.elect();
    let follower = if leader == 1 { 2 } else { 1 };
    let epoch = cluster.status(leader).epoch;
    cluster.wait(200);
    cluster.network.clear();
    cluster.timeout(leader);
    let link = said(&cluster, leader, follower).into_iter().find_map(|message| match message {
        Message::Ping { link, .. } => Some(link),
        _ => None,
    });
    let link = link.expect("a ping");
    // The leader's connection to it closes, and what the leader says of that is lost.
    cluster.step(leader, Input::PeerUnreachable { peer: NodeId(follower) });
    assert_eq!(last_said(&cluster, leader, follower), Some(Message::Close { link, why: Ended::Broken }));
    cluster.drop(leader, follower);
    hear(&mut cluster, leader, follower, Message::FollowerInfo { link, accepted: epoch });
    cluster.propose(leader, "x");
    cluster.wait(300);
    assert_eq!(cluster.status(follower).last, cluster.status(leader).last);
    assert_eq!(cluster.status(follower).commit, cluster.status(leader).commit);
}

#[test]
fn z05_a22_an_absurd_epoch_or_round_is_ignored() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.timeout(1);
    cluster.network.clear();
    hear(&mut cluster, 1, 2, leads(EPOCH_JUMP_MAX + 1, 2));
    hear(&mut cluster, 1, 2, looking(1, vote(u64::MAX, (9, 9), 2)));
    hear(&mut cluster, 1, 2, looking(u64::MAX, vote(1, (1, 1), 2)));
    assert!(cluster.network.is_empty());
    let mut played = Played::follow(cluster, 3, 1);
    played.stream(Packet::NewEpoch(Epoch(EPOCH_JUMP_MAX + 1)));
    assert_eq!(played.cluster.status(1).epoch, Epoch(0));
}

#[test]
fn z05_a_learner_that_promised_more_brings_a_new_epoch_and_not_its_own_exile() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.crash(1);
    assert_eq!(cluster.elect(), 3);
    boot(&mut cluster, 1, hard(6, 0), vec![]);
    cluster.wait(100);
    assert_eq!((cluster.leader(), cluster.status(3).epoch), (Some(3), Epoch(7)));
    assert_eq!(cluster.status(1).leader, Some(NodeId(3)));
}

#[test]
pub(crate) fn z05_h17_only_what_was_promised_to_this_leader_counts_and_by_a_quorum() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    elected(&mut cluster, &[1, 2, 4, 5]);
    for node in [1, 2] {
        comes(&mut cluster, node, 0);
    }
    assert_eq!(cluster.status(3).epoch, Epoch(1));
    // 1 has promised epoch 1 to another prospective leader. It is counted there.
    promises(&mut cluster, 1, 1, false);
    promises(&mut cluster, 2, 1, true);
    let synchronizes = |cluster: &Cluster, to| was_sent(cluster, to, |p| matches!(p, Packet::Diff(_)));
    assert!(!synchronizes(&cluster, 1) && !synchronizes(&cluster, 2), "two of five have promised");
    comes(&mut cluster, 4, 0);
    promises(&mut cluster, 4, 1, true);
    assert!(
        synchronizes(&cluster, 1) && synchronizes(&cluster, 2),
        "and 1 is brought to the history all the same"
    );
}

#[test]
fn z05_a_leader_that_all_others_are_ahead_of_gives_up_at_once() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    elected(&mut cluster, &[1, 2]);
    for node in [1, 2] {
        comes(&mut cluster, node, 1);
        let last = Position::new(1, 1);
        let epochs = vec![(Epoch(1), Index(1))];
        let history = History { current: Epoch(1), last, compacted: Position::ZERO, epochs };
        let ack = Message::AckEpoch { link: link_of(node), epoch: Epoch(2), promised: true, history };
        hear(&mut cluster, 3, node, ack);
    }
    assert_eq!(cluster.status(3).role, Role::PreCandidate);
}

#[test]
fn z05_h03_a_leader_counts_its_own_promise_when_it_is_durable_and_not_before() {
    // Alone, it is the quorum.
    let mut cluster = Cluster::with(Config::default(), &[3]);
    slow(&mut cluster, 3);
    cluster.timeout(3);
    let written = |cluster: &Cluster| -> Vec<(u64, u64)> {
        let writes = cluster.node(3).writes.iter().filter_map(|write| write.hard_state);
        writes.map(|hard| (hard.accepted.0, hard.current.0)).collect()
    };
    assert_eq!(written(&cluster), [(1, 0)], "the promise, and nothing that follows from it");
    cluster.sync_one(3);
    assert_eq!(written(&cluster), [(1, 1)]);
    // And of three: nobody answers NEWEPOCH before it has left, but if somebody did, two would not be a quorum yet.
    let mut cluster = Cluster::new(&[1, 2, 3]);
    slow(&mut cluster, 3);
    elected(&mut cluster, &[1, 2]);
    comes(&mut cluster, 1, 0);
    promises(&mut cluster, 1, 1, true);
    assert_eq!(written(&cluster), [(1, 0)]);
    cluster.sync_one(3);
    assert_eq!(written(&cluster), [(1, 1)]);
}
