//! Rules of ordinary days, each by the smallest story that shows it: how nodes start, how a leader breaks its silence, how a term begins.

mod support;

use quorate_consensus::{Duration, Engine, Entry, Epoch, Index, Input, NodeId, Payload, Position, Role};
use quorate_raft::{Config, Message};
use support::Cluster;

fn sent(cluster: &Cluster, from: u64, to: u64) -> Vec<&Message> {
    let between = cluster.network.iter().filter(|(a, b, _)| (a.0, b.0) == (from, to));
    between.map(|(_, _, message)| message).collect()
}

#[test]
fn r01_every_node_starts_and_starts_again_as_a_follower() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert!([1, 2, 3].iter().all(|id| cluster.status(*id).role == Role::Follower));
    cluster.elect(1);
    cluster.crash(1);
    cluster.restart(1);
    let status = cluster.status(1);
    assert_eq!(status.role, Role::Follower, "it led, and its disk knows its vote");
    assert_eq!((status.epoch, status.leader), (Epoch(1), None));
    // A14: also alone, where nobody could object, it leads again only in a term of its own.
    let mut alone = Cluster::new(&[1]);
    alone.elect(1);
    alone.crash(1);
    alone.restart(1);
    assert_eq!(alone.status(1).role, Role::Follower);
    alone.elect(1);
    assert_eq!(alone.status(1).epoch, Epoch(2));
}

#[test]
fn r02_silence_is_broken_at_the_heartbeat_interval_and_not_more_often() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    let interval = Config::default().heartbeat_interval;
    let mut beats = Vec::new();
    for _ in 0..1000 {
        cluster.now = cluster.now + Duration::from_millis(1);
        if cluster.node(1).engine.poll_timeout().is_some_and(|at| at <= cluster.now) {
            cluster.step(1, Input::Wake);
        }
        if sent(&cluster, 1, 2).iter().any(|message| matches!(message, Message::Heartbeat { .. })) {
            beats.push(cluster.now);
        }
        cluster.settle();
    }
    let gaps: Vec<_> = beats.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(gaps.len() >= 18, "{} beats in a second", beats.len());
    assert!(gaps.iter().all(|gap| *gap == interval), "{gaps:?}");
}

#[test]
fn r03_only_silence_starts_an_election() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.wait(3_000);
    assert_eq!((cluster.status(1).role, cluster.status(1).epoch), (Role::Leader, Epoch(1)));
    cluster.crash(1);
    cluster.wait(700);
    let leaders = [2, 3].map(|id| cluster.status(id).role == Role::Leader);
    assert!(leaders.iter().any(|leads| *leads), "the others have gone on");
}

#[test]
fn n03_an_entry_leaves_at_once_and_not_with_the_next_heartbeat() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    let before = cluster.now;
    cluster.propose(1, "a");
    let carries =
        |message: &&Message| matches!(message, Message::AppendEntries { entries, .. } if !entries.is_empty());
    assert_eq!(cluster.now, before, "no time has passed");
    for peer in [2, 3] {
        assert!(sent(&cluster, 1, peer).iter().any(carries), "to {peer}");
    }
    cluster.settle();
    assert_eq!(cluster.status(1).commit, Index(2), "committed within the same instant");
}

#[test]
fn r08_a_majority_elects_and_less_does_not() {
    let mut cluster = Cluster::with(Config { pre_vote: false, ..Config::default() }, &[1, 2, 3, 4, 5]);
    cluster.timeout(1);
    let grant = Message::VoteReply { term: Epoch(1), granted: true };
    cluster.step(1, Input::Message { from: NodeId(2), message: grant.clone() });
    cluster.step(1, Input::Message { from: NodeId(2), message: grant.clone() });
    assert_eq!(cluster.status(1).role, Role::Candidate, "two of five, however often one of them says so");
    cluster.step(1, Input::Message { from: NodeId(3), message: grant });
    assert_eq!(cluster.status(1).role, Role::Leader);
}

#[test]
fn r16_a_term_begins_with_an_entry_of_its_own_that_commits_what_came_before() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    assert_eq!(cluster.log(1), ["1:"]);
    // An entry of term 1 reaches everyone, and nobody hears that it is committed.
    cluster.propose(1, "a");
    cluster.deliver(1, 2);
    cluster.deliver(1, 3);
    cluster.crash(1);
    assert_eq!(cluster.status(2).commit, Index(1));
    cluster.now = cluster.now + Duration::from_millis(400);
    cluster.elect(2);
    assert_eq!(cluster.log(2), ["1:", "1:a", "2:"]);
    assert_eq!(cluster.status(2).commit, Index(3), "without a client's help");
}

#[test]
fn n02_a_follower_that_adopted_the_term_without_voting_grants_at_an_equal_term() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let entry = Entry::new(Epoch(1), Index(1), Payload::Noop);
    let append = Message::AppendEntries {
        term: Epoch(1),
        prev: Position::ZERO,
        commit: Index::ZERO,
        entries: vec![entry],
    };
    cluster.step(1, Input::Message { from: NodeId(2), message: append });
    cluster.network.clear();
    cluster.now = cluster.now + Duration::from_millis(400);
    let ask = |last| Message::RequestVote { term: Epoch(2), last, transfer: false };
    // A candidate with an older log brings term 2, and gets no vote.
    cluster.step(1, Input::Message { from: NodeId(2), message: ask(Position::ZERO) });
    assert_eq!(cluster.status(1).epoch, Epoch(2));
    assert!(matches!(sent(&cluster, 1, 2)[..], [Message::VoteReply { granted: false, .. }]));
    // So in term 2 the vote is still to be had.
    cluster.step(1, Input::Message { from: NodeId(3), message: ask(Position::new(1, 1)) });
    let reply = sent(&cluster, 1, 3);
    assert!(matches!(reply[..], [Message::VoteReply { term: Epoch(2), granted: true }]), "{reply:?}");
}
