//! Fast leader election, and joining an established ensemble (rules Z03, Z04).

use quorate_consensus::{Engine, Entry, Epoch, Incarnation, Index, Input, Membership, NodeId, Payload, Role};
use quorate_zab::{Message, State, Vote};

use crate::{played::*, support::Cluster};

#[test]
fn z03_n05_votes_compare_the_current_epoch_then_the_end_of_the_log_then_the_id() {
    let order =
        [vote(1, (9, 9), 9), vote(2, (1, 7), 5), vote(2, (2, 3), 1), vote(2, (2, 4), 1), vote(2, (2, 4), 2)];
    assert!(order.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
pub(crate) fn z03_the_current_epoch_beats_a_longer_log() {
    // S1 logged 1.2 alone; S2 and S3 validated their shorter history in epoch 2, wrote nothing, and all lost power. 1.2 was given up in epoch 2.
    let mut cluster = Cluster::new(&[1, 2, 3]);
    boot(&mut cluster, 1, hard(1, 1), vec![entry(1, 1), entry(1, 2)]);
    for id in [2, 3] {
        boot(&mut cluster, id, hard(2, 2), vec![entry(1, 1)]);
    }
    cluster.partition(&[vec![1, 2], vec![3]]);
    assert_eq!(cluster.elect(), 2);
    assert_eq!(cluster.log(1), ["1:1.1", "3:"], "1.2 is gone");
}

#[test]
fn z03_an_older_round_is_answered_and_not_counted_a_newer_one_adopted() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.timeout(1);
    cluster.network.clear();
    hear(&mut cluster, 1, 2, looking(7, vote(0, (0, 0), 2)));
    let adopted = looking(7, vote(0, (0, 0), 2));
    assert_eq!(last_said(&cluster, 1, 3), Some(adopted.clone()), "the newer round and the better vote");
    cluster.network.clear();
    hear(&mut cluster, 1, 3, looking(6, vote(5, (5, 5), 3)));
    assert_eq!(last_said(&cluster, 1, 3), Some(adopted), "answered");
    assert_eq!(last_said(&cluster, 1, 2), None, "and not adopted");
}

#[test]
fn z03_an_election_ends_at_once_when_everybody_agrees_and_waits_a_little_otherwise() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.timeout(1);
    hear(&mut cluster, 1, 3, looking(1, vote(0, (0, 0), 3)));
    assert_eq!(cluster.status(1).role, Role::PreCandidate, "2 may know a better one");
    assert_eq!(cluster.node(1).engine.poll_timeout(), Some(cluster.now + ms(20)));
    hear(&mut cluster, 1, 2, looking(1, vote(0, (0, 0), 3)));
    assert_eq!(cluster.status(1).role, Role::Follower);
}

#[test]
fn z03_a_better_vote_puts_the_decision_off() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.timeout(1);
    hear(&mut cluster, 1, 2, looking(1, vote(0, (0, 0), 2)));
    hear(&mut cluster, 1, 3, looking(1, vote(1, (1, 1), 3)));
    cluster.now = cluster.now + ms(10);
    hear(&mut cluster, 1, 2, looking(1, vote(1, (1, 1), 3)));
    assert!(matches!(last_said(&cluster, 1, 3), Some(Message::FollowerInfo { .. })), "all three agree on 3");
}

#[test]
fn z04_followers_of_a_dead_leader_attract_nobody() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.timeout(1);
    let follows = |leader| Message::Notification {
        round: 5,
        state: State::Following,
        vote: Some(vote(1, (1, 1), leader)),
    };
    for from in [2, 3, 4] {
        hear(&mut cluster, 1, from, follows(5));
    }
    assert_eq!(cluster.status(1).role, Role::PreCandidate, "5 itself has said nothing");
    let leads =
        Message::Notification { round: 5, state: State::Leading(None), vote: Some(vote(1, (1, 1), 5)) };
    hear(&mut cluster, 1, 5, leads);
    assert!(matches!(last_said(&cluster, 1, 5), Some(Message::FollowerInfo { .. })));
}

/// S1 and S2 have what S3 has, and their membership leaves S3 out; that is not committed yet, so S3 stands too, and its id is the largest.
#[test]
fn z03_r22_among_equal_histories_one_that_stays_leads_before_one_that_is_left_out() {
    let left_out = Vote { voter: false, ..vote(1, (1, 2), 3) };
    assert!(
        left_out < vote(1, (1, 2), 1) && left_out > vote(1, (1, 1), 2),
        "a newer history is needed all the same"
    );
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let membership = Membership::new([1, 2].map(NodeId), [NodeId(3)]);
    for id in [1, 2, 3] {
        let log = vec![entry(1, 1), Entry::new(Epoch(1), Index(2), Payload::Membership(membership.clone()))];
        boot(&mut cluster, id, hard(1, 1), log);
    }
    assert_eq!(cluster.elect(), 2);
    cluster.wait(100);
    assert_eq!(cluster.status(3).leader, Some(NodeId(2)));
}

#[test]
fn z03_a_prospective_leader_stands_in_the_newest_round_that_its_voters_look_in() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    elected(&mut cluster, &[1, 2]);
    cluster.network.clear();
    hear(&mut cluster, 3, 2, looking(7, vote(0, (0, 0), 2)));
    let stands =
        Message::Notification { round: 7, state: State::Leading(None), vote: Some(vote(0, (0, 0), 3)) };
    assert_eq!(last_said(&cluster, 3, 2), Some(stands.clone()));
    // And who looks there follows it, since its own history is not newer.
    cluster.timeout(2);
    hear(&mut cluster, 2, 1, looking(7, vote(0, (0, 0), 1)));
    hear(&mut cluster, 2, 3, stands);
    assert!(matches!(last_said(&cluster, 2, 3), Some(Message::FollowerInfo { .. })));
}

#[test]
pub(crate) fn z03_who_decided_for_one_that_votes_for_another_looks_again() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.timeout(1);
    for from in [2, 3] {
        hear(&mut cluster, 1, from, looking(1, vote(0, (0, 0), 2)));
    }
    assert_eq!(cluster.status(1).role, Role::Follower);
    // Late words of 2 for itself, and others' words, change nothing.
    hear(&mut cluster, 1, 2, looking(1, vote(0, (0, 0), 2)));
    hear(&mut cluster, 1, 3, looking(1, vote(0, (0, 0), 3)));
    assert_eq!(cluster.status(1).role, Role::Follower);
    hear(&mut cluster, 1, 2, looking(1, vote(0, (0, 0), 3)));
    assert_eq!(cluster.status(1).role, Role::PreCandidate);
    // And 2 says so when 1 asks to follow it.
    cluster.timeout(2);
    hear(&mut cluster, 2, 3, looking(1, vote(0, (0, 0), 3)));
    cluster.drop(2, 1);
    hear(&mut cluster, 2, 1, Message::FollowerInfo { link: link_of(1), accepted: Epoch(0) });
    assert_eq!(last_said(&cluster, 2, 1), Some(looking(1, vote(0, (0, 0), 3))));
}

#[test]
fn z04_a_follower_says_whom_it_follows_and_not_for_whom_it_voted_once() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.step(3, Input::TransferLeadership { to: Some(NodeId(2)) });
    cluster.settle();
    assert_eq!((cluster.leader(), cluster.status(1).leader), (Some(2), Some(NodeId(2))));
    hear(&mut cluster, 1, 3, looking(9, vote(0, (0, 0), 3)));
    let told = last_said(&cluster, 1, 3);
    assert!(
        matches!(told, Some(Message::Notification { state: State::Following, vote: Some(vote), .. }) if vote.leader.0 == 2),
        "{told:?}"
    );
}

/// The nodes vouch for each other, whatever their engines do; and a leader that starts again has forgotten the election's round.
#[test]
fn z08_a_leader_that_restarted_and_is_vouched_for_is_left() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.crash(1);
    assert_eq!(cluster.elect(), 3);
    cluster.crash(3);
    cluster.restart(1);
    assert_eq!(cluster.elect(), 2);
    cluster.restart(3);
    cluster.wait(300);
    cluster.crash(1);
    cluster.crash(2);
    cluster.restart(2);
    let until = cluster.now + ms(10_000);
    cluster.step(3, Input::PeerVouched { peer: NodeId(2), incarnation: Incarnation(2), until });
    cluster.wait(400);
    assert!(cluster.leader().is_some(), "3 follows 2, and 2 waits for 3");
    // A late word that it looks, from before it led, costs a leader nothing.
    let leader = cluster.leader().unwrap();
    let follower = 5 - leader;
    hear(&mut cluster, follower, leader, looking(1, vote(0, (0, 0), leader)));
    cluster.settle();
    assert_eq!(cluster.status(follower).leader, Some(NodeId(leader)));
}

/// {S3 votes for itself, and S2 by its word; S3 loses its disk, S2 restarts; S1 has heard of S3 by S2 alone, and S2 hears of it again by S1}: each keeps the other's belief
/// alive, nobody has heard S3 itself, and so nobody follows it. Found by the simulator (I20).
#[test]
fn z03_a_candidate_whom_nobody_has_heard_is_given_up() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.crash(3);
    for id in [1, 2] {
        cluster.timeout(id);
    }
    cluster.network.clear();
    let better = vote(0, (0, 0), 3);
    for (to, from) in [(1, 2), (2, 1)] {
        hear(&mut cluster, to, from, looking(1, better));
    }
    cluster.wait(100);
    assert_eq!(cluster.leader(), None, "both vote for S3");
    cluster.wait(3_000);
    assert!(cluster.leader().is_some(), "one of those that are there leads");
    assert!(cluster.gave(1, "candidate_never_heard") || cluster.gave(2, "candidate_never_heard"));
}
