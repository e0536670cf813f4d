//! Single rules, and single mistakes, each by the smallest story that shows it.

mod support;

use std::collections::BTreeSet;

use quorate_consensus::{
    ChangeRefusal, Duration, Effects, Engine, Entry, Epoch, Index, Input, Membership, MembershipChange,
    NodeId, Payload, Position, Proposal, ProposalId, ReadRefusal, Refusal, Role, SnapshotMeta, Status,
};
use quorate_raft::{Config, HardState, Lease, Message, TERM_JUMP_MAX};
use support::{Cluster, Disk, birth};

fn hear(cluster: &mut Cluster, to: u64, from: u64, message: Message) {
    cluster.step(to, Input::Message { from: NodeId(from), message });
}

fn last_said(cluster: &Cluster, from: u64, to: u64) -> Option<Message> {
    cluster
        .network
        .iter()
        .rev()
        .find(|(a, b, _)| (a.0, b.0) == (from, to))
        .map(|(_, _, message)| message.clone())
}

fn append(term: u64, prev: (u64, u64), commit: u64, epochs: &[u64]) -> Message {
    let entries = epochs.iter().enumerate().map(|(at, epoch)| {
        let command = format!("{epoch}").into_bytes().into();
        Entry::new(Epoch(*epoch), Index(prev.1 + 1 + at as u64), Payload::Command(command))
    });
    Message::AppendEntries {
        term: Epoch(term),
        prev: Position::new(prev.0, prev.1),
        commit: Index(commit),
        entries: entries.collect(),
    }
}

#[test]
fn r04_timeouts_differ_between_nodes_and_are_drawn_anew() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let mut drawn = BTreeSet::new();
    for id in [1, 2, 3] {
        for _ in 0..20 {
            let before = cluster.now;
            let at = cluster.node(id).engine.poll_timeout().unwrap();
            cluster.timeout(id);
            cluster.network.clear();
            drawn.insert(at.since(before));
        }
    }
    assert!(drawn.len() > 50, "{drawn:?}");
    assert!(drawn.iter().all(|timeout| *timeout <= Duration::from_millis(300)));
}

#[test]
fn r05_a_larger_term_is_adopted_a_smaller_one_refused_an_absurd_one_ignored() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    hear(&mut cluster, 1, 2, append(5, (0, 0), 0, &[]));
    assert_eq!((cluster.status(1).role, cluster.status(1).epoch), (Role::Follower, Epoch(5)));
    cluster.network.clear();
    hear(&mut cluster, 1, 3, append(4, (0, 0), 0, &[4]));
    assert!(matches!(last_said(&cluster, 1, 3), Some(Message::HeartbeatReply { term: Epoch(5), .. })));
    hear(&mut cluster, 1, 3, append(5 + TERM_JUMP_MAX + 1, (0, 0), 0, &[]));
    hear(&mut cluster, 1, 3, append(u64::MAX, (0, 0), 0, &[]));
    assert_eq!(cluster.status(1).epoch, Epoch(5), "A22");
}

/// S3 was cut off, and asked for votes in vain, term after term. Its answer to a heartbeat is all that tells S1 of them: what S1 says is stale to S3, and
/// S1's followers do not listen to who disturbs.
#[test]
fn r05_g14_a_leader_learns_of_a_newer_term_from_a_peers_answer() {
    let mut cluster = Cluster::with(Config { pre_vote: false, ..Config::default() }, &[1, 2, 3]);
    cluster.elect(1);
    cluster.partition(&[vec![1, 2], vec![3]]);
    cluster.wait(2_000);
    let newer = cluster.status(3).epoch;
    assert!(cluster.status(1).role == Role::Leader && newer > cluster.status(1).epoch);
    cluster.cut.clear();
    cluster.wait(3_000);
    let Status { leader, epoch, .. } = cluster.status(1);
    assert!(leader.is_some() && epoch >= newer, "{leader:?} in {epoch:?}");
    assert!([2, 3].into_iter().all(|id| cluster.status(id).leader == leader));
}

#[test]
fn r07_one_vote_a_term_first_come_and_only_to_a_log_as_new() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.step(1, Input::Message { from: NodeId(2), message: append(2, (0, 0), 0, &[1, 2]) });
    cluster.now = cluster.now + Duration::from_millis(400);
    let ask = |term, last: (u64, u64)| Message::RequestVote {
        term: Epoch(term),
        last: Position::new(last.0, last.1),
        transfer: false,
    };
    let cases =
        [(3, (1, 9), false), (4, (2, 1), false), (5, (2, 2), true), (6, (3, 1), true), (7, (2, 9), true)];
    for (term, last, granted) in cases {
        cluster.network.clear();
        hear(&mut cluster, 1, 3, ask(term, last));
        let expected = Message::VoteReply { term: Epoch(term), granted };
        assert_eq!(last_said(&cluster, 1, 3), Some(expected), "{term} {last:?} against 2.2");
    }
    hear(&mut cluster, 1, 2, ask(7, (9, 9)));
    assert_eq!(
        last_said(&cluster, 1, 2),
        Some(Message::VoteReply { term: Epoch(7), granted: false }),
        "one vote a term"
    );
    cluster.network.clear();
    hear(&mut cluster, 1, 3, ask(7, (2, 9)));
    assert_eq!(
        last_said(&cluster, 1, 3),
        Some(Message::VoteReply { term: Epoch(7), granted: true }),
        "N02: the same again"
    );
}

/// A17: {S1 has not received yet what makes S9 a voter}: it may be the vote that is missing.
#[test]
fn r22_a17_a_voter_votes_for_one_that_its_own_membership_does_not_have() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.step(1, Input::Message { from: NodeId(2), message: append(2, (0, 0), 0, &[1, 2]) });
    cluster.now = cluster.now + Duration::from_millis(400);
    let ask = Message::RequestVote { term: Epoch(3), last: Position::new(2, 3), transfer: false };
    hear(&mut cluster, 1, 9, ask);
    let granted = Message::VoteReply { term: Epoch(3), granted: true };
    assert_eq!(last_said(&cluster, 1, 9), Some(granted), "I20: it refuses one that it does not know");
}

#[test]
fn r07_a02_a21_no_vote_leaves_or_counts_before_it_is_durable() {
    let mut cluster = Cluster::with(Config { pre_vote: false, ..Config::default() }, &[1, 2, 3]);
    for id in [1, 2] {
        cluster.nodes.get_mut(&NodeId(id)).unwrap().slow = true;
    }
    cluster.timeout(1);
    assert!(cluster.network.is_empty(), "the candidate asks before its term and vote are durable");
    hear(&mut cluster, 1, 3, Message::VoteReply { term: Epoch(1), granted: true });
    assert_eq!(cluster.status(1).role, Role::Candidate, "the own vote counts before it is durable");
    cluster.sync(1);
    assert_eq!(cluster.status(1).role, Role::Leader);
    cluster.deliver(1, 2);
    assert_eq!(last_said(&cluster, 2, 1), None, "the grant leaves before it is durable");
    cluster.sync(2);
    assert!(last_said(&cluster, 2, 1).is_some());
}

#[test]
fn r11_b21_the_leader_counts_its_own_disk_like_any_other() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = true;
    cluster.crash(3);
    cluster.propose(1, "a");
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    assert_eq!(cluster.status(1).commit, Index(1), "one disk of three");
    cluster.sync(1);
    assert_eq!(cluster.status(1).commit, Index(2));
}

#[test]
fn r11_a_quorum_of_followers_commits_while_the_leaders_disk_is_slow() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = true;
    cluster.propose(1, "a");
    cluster.settle();
    assert_eq!((cluster.status(1).commit, cluster.status(1).durable), (Index(2), Index(1)));
}

#[test]
fn r11_b17_a_single_node_commits_only_what_is_on_its_disk() {
    let mut cluster = Cluster::new(&[1]);
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = true;
    cluster.timeout(1);
    assert_eq!(cluster.status(1).role, Role::Candidate);
    cluster.sync_one(1);
    assert_eq!((cluster.status(1).role, cluster.status(1).commit), (Role::Leader, Index(0)));
    cluster.sync(1);
    assert_eq!(cluster.status(1).commit, Index(1));
    let read = cluster.read(1);
    assert_eq!(cluster.answers.safe.get(&read), Some(&Index(1)), "no round is needed");
}

#[test]
fn r12_commands_of_one_step_leave_in_one_message_bounded_in_bytes() {
    let mut cluster = Cluster::with(Config { message_bytes_max: 1000, ..Config::default() }, &[1, 2, 3]);
    cluster.elect(1);
    let proposals = (0..20)
        .map(|id| Proposal { id: ProposalId(id), command: vec![b'x'; 76].into(), forward: false })
        .collect::<Vec<_>>();
    cluster.step(1, Input::Propose(proposals));
    let sizes: Vec<usize> = cluster
        .network
        .iter()
        .filter(|(_, to, _)| to.0 == 2)
        .filter_map(|(_, _, message)| match message {
            Message::AppendEntries { entries, .. } => Some(entries.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [10, 10], "pipelined, ten of a hundred bytes each");
}

#[test]
fn r12_no_more_leaves_than_the_window_allows() {
    let config = Config { message_bytes_max: 1, inflight_messages_max: 3, ..Config::default() };
    let mut cluster = Cluster::with(config, &[1, 2, 3]);
    cluster.elect(1);
    for _ in 0..10 {
        cluster.propose(1, "x");
    }
    assert_eq!(cluster.network.iter().filter(|(_, to, _)| to.0 == 2).count(), 3);
    cluster.settle();
    assert_eq!(cluster.status(2).last.index, Index(11));
}

#[test]
fn r13_b06_b25_only_what_follows_is_taken_and_only_a_conflict_is_cut() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    hear(&mut cluster, 1, 2, append(2, (0, 0), 0, &[1, 1, 2]));
    hear(&mut cluster, 1, 2, append(2, (0, 0), 0, &[1]));
    assert_eq!(cluster.status(1).last, Position::new(2, 3), "an old message cuts nothing");
    cluster.network.clear();
    hear(&mut cluster, 1, 2, append(2, (2, 7), 0, &[2]));
    let hint = Position::new(2, 3);
    assert_eq!(
        last_said(&cluster, 1, 2),
        Some(Message::AppendRejected { term: Epoch(2), prev: Index(7), hint }),
        "a gap"
    );
    hear(&mut cluster, 1, 3, append(3, (1, 2), 0, &[3, 3]));
    assert_eq!(cluster.log(1), ["1:1", "1:1", "3:3", "3:3"], "a conflict is replaced");
}

#[test]
fn r13_a_thousand_diverging_entries_of_one_term_cost_one_probe() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    hear(&mut cluster, 1, 2, append(1, (0, 0), 0, &[1; 5]));
    hear(&mut cluster, 2, 3, append(1, (0, 0), 0, &[1; 5]));
    hear(&mut cluster, 3, 2, append(1, (0, 0), 0, &[1; 5]));
    hear(&mut cluster, 3, 2, append(2, (1, 5), 0, &[2; 1000]));
    hear(&mut cluster, 1, 2, append(3, (1, 5), 0, &[3; 1000]));
    cluster.network.clear();
    cluster.now = cluster.now + Duration::from_millis(400);
    cluster.timeout(1);
    cluster.settle();
    assert_eq!(cluster.status(1).role, Role::Leader);
    let rejected = cluster.reasons.iter().filter(|(id, r)| id.0 == 3 && r.what == "append_rejected").count();
    assert!(rejected <= 2, "{rejected} probes");
    assert_eq!(cluster.log(3), cluster.log(1));
}

#[test]
fn r14_what_is_committed_is_never_cut_whoever_asks() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    hear(&mut cluster, 1, 2, append(1, (0, 0), 2, &[1, 1]));
    assert_eq!(cluster.status(1).commit, Index(2));
    hear(&mut cluster, 1, 3, append(9, (0, 0), 9, &[9, 9, 9]));
    assert_eq!(cluster.log(1)[..2], ["1:1", "1:1"]);
}

#[test]
fn r14_b02_a_follower_commits_only_what_its_leader_verified() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    hear(&mut cluster, 1, 2, append(1, (0, 0), 0, &[1, 1, 1]));
    hear(&mut cluster, 1, 3, append(2, (0, 0), 9, &[1]));
    assert_eq!(cluster.status(1).commit, Index(1));
}

#[test]
fn r17_e01_a_read_waits_for_the_first_commit_of_the_term() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    assert_eq!(cluster.status(1).commit, Index(2));
    cluster.crash(1);
    cluster.timeout(2);
    for _ in 0..2 {
        cluster.deliver(2, 3);
        cluster.deliver(3, 2);
    }
    assert_eq!(
        (cluster.status(2).role, cluster.status(2).commit),
        (Role::Leader, Index(1)),
        "it does not know yet"
    );
    let read = cluster.read(2);
    cluster.settle();
    assert!(cluster.answers.safe[&read] >= Index(2));
}

#[test]
fn r17_e02_answers_to_an_earlier_round_do_not_confirm_a_later_read() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    let first = cluster.read(1);
    cluster.deliver(1, 2);
    let second = cluster.read(1);
    cluster.deliver(2, 1);
    assert!(cluster.answers.safe.contains_key(&first));
    assert!(!cluster.answers.safe.contains_key(&second), "its round has not begun when 2 answered");
    cluster.settle();
    assert!(cluster.answers.safe.contains_key(&second));
}

#[test]
fn r17_reads_of_a_leader_that_falls_are_refused_everywhere() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.partition(&[vec![1], vec![2, 3]]);
    let at_leader = cluster.read(1);
    let at_follower = cluster.read(2);
    cluster.wait(1000);
    assert_eq!(cluster.answers.reads_refused[&at_leader], ReadRefusal::LeaderChanged);
    assert_eq!(cluster.answers.reads_refused[&at_follower], ReadRefusal::LeaderChanged);
}

#[test]
fn r17_e08_a_vote_in_an_adopted_term_still_waits_for_the_lease() {
    let lease = Some(Lease { clock_error: Duration::from_millis(10) });
    let mut cluster = Cluster::with(Config { lease, ..Config::default() }, &[1, 2, 3]);
    cluster.wait(200);
    while cluster.status(1).role != Role::Leader {
        cluster.wait(100);
        if cluster.status(1).leader.is_some_and(|leader| leader.0 != 1) {
            let leader = cluster.status(1).leader.unwrap().0;
            cluster.step(leader, Input::TransferLeadership { to: Some(NodeId(1)) });
        }
    }
    cluster.wait(200);
    let term = cluster.status(1).epoch.0 + 5;
    // An old refusal brings 2 a larger term; then a candidate of that very term asks.
    hear(&mut cluster, 2, 3, Message::PreVoteReply { term: Epoch(term), round: 0, granted: false });
    assert_eq!(cluster.status(2).epoch, Epoch(term));
    cluster.network.clear();
    hear(
        &mut cluster,
        2,
        3,
        Message::RequestVote { term: Epoch(term), last: Position::new(99, 99), transfer: false },
    );
    assert_eq!(last_said(&cluster, 2, 3), Some(Message::VoteReply { term: Epoch(term), granted: false }));
}

#[test]
fn r17_e06_no_lease_after_timeout_now_has_left() {
    let lease = Some(Lease { clock_error: Duration::from_millis(10) });
    let mut cluster = Cluster::with(Config { lease, ..Config::default() }, &[1, 2, 3]);
    cluster.wait(1000);
    let leader = cluster.status(1).leader.unwrap().0;
    cluster.wait(60);
    let read = cluster.read(leader);
    assert!(cluster.answers.safe.contains_key(&read), "under the lease, at once");
    cluster.network.clear();
    let to = if leader == 1 { 2 } else { 1 };
    cluster.step(leader, Input::TransferLeadership { to: Some(NodeId(to)) });
    assert!(matches!(last_said(&cluster, leader, to), Some(Message::TimeoutNow { .. })));
    // TimeoutNow is delayed; the transfer is given up, the leader goes on.
    cluster.drop(leader, to);
    cluster.wait(600);
    assert_eq!(cluster.status(leader).role, Role::Leader);
    let read = cluster.read(leader);
    assert!(!cluster.answers.safe.contains_key(&read), "TimeoutNow may still arrive: only a round will do");
    cluster.settle();
    assert!(cluster.answers.safe.contains_key(&read));
}

#[test]
fn r18_a_follower_says_what_is_too_large_and_who_leads() {
    let mut cluster = Cluster::with(Config { command_bytes_max: 10, ..Config::default() }, &[1, 2, 3]);
    cluster.elect(1);
    let id = cluster.propose(2, "longer than ten bytes");
    assert_eq!(cluster.answers.refused[&id], Refusal::TooLarge { command_bytes_max: 10 });
    let stay = Proposal { id: ProposalId(77), command: "x".into(), forward: false };
    cluster.step(2, Input::Propose(vec![stay]));
    assert_eq!(cluster.answers.refused[&ProposalId(77)], Refusal::NotLeader { leader: Some(NodeId(1)) });
}

#[test]
fn r18_a_refusal_of_what_was_sent_on_is_certain_even_if_the_network_repeats() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    let id = cluster.propose(2, "once");
    let twice = last_said(&cluster, 2, 1).unwrap();
    cluster.settle();
    assert_eq!(cluster.log(1), ["1:", "1:once"]);
    // The leader restarts, and the network delivers the second copy to what is a follower of the same term now.
    cluster.crash(1);
    cluster.restart(1);
    hear(&mut cluster, 1, 2, twice);
    cluster.settle();
    assert_eq!(cluster.answers.refused.get(&id), None, "it is in the log, and committed");
    assert_eq!(cluster.log(1), ["1:", "1:once"], "and only once");
}

#[test]
fn r20_r21_the_same_term_snapshot_keeps_what_follows() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    hear(&mut cluster, 1, 2, append(1, (0, 0), 1, &[1, 1, 1]));
    let meta = |epoch, index| SnapshotMeta {
        position: Position::new(epoch, index),
        membership: Membership::new([1, 2, 3].map(NodeId), []),
        membership_at: Index(0),
        size_bytes: 0,
        digest: 0,
    };
    let install = |epoch, index| Message::InstallSnapshot { term: Epoch(1), meta: meta(epoch, index) };
    hear(&mut cluster, 1, 2, install(1, 1));
    assert_eq!(cluster.status(1).compacted.index, Index(0), "an older one is ignored");
    hear(&mut cluster, 1, 2, install(1, 2));
    assert_eq!(
        (cluster.status(1).compacted, cluster.status(1).last),
        (Position::new(1, 2), Position::new(1, 3))
    );
    hear(&mut cluster, 1, 2, install(1, 9));
    assert_eq!(
        (cluster.status(1).compacted, cluster.status(1).last),
        (Position::new(1, 9), Position::new(1, 9))
    );
    assert_eq!(cluster.status(1).epoch, Epoch(1), "A05");
    hear(&mut cluster, 1, 2, install(5, 20));
    assert_eq!(cluster.status(1).last, Position::new(1, 9), "an entry of a term that has not begun");
}

#[test]
fn r21_probing_ends_in_a_snapshot_and_repeated_answers_start_no_storm() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.crash(3);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command);
    }
    cluster.settle();
    cluster.snapshot(1);
    cluster.snapshot(2);
    cluster.crash(1);
    cluster.restart(3);
    cluster.timeout(2);
    for _ in 0..3 {
        cluster.deliver(2, 3);
        cluster.deliver(3, 2);
    }
    assert_eq!(cluster.status(2).role, Role::Leader);
    let rejected = Message::AppendRejected { term: Epoch(2), prev: Index(4), hint: Position::new(1, 1) };
    hear(&mut cluster, 2, 3, rejected.clone());
    hear(&mut cluster, 2, 3, rejected);
    cluster.settle();
    cluster.wait(200);
    assert_eq!(cluster.status(3).commit, cluster.status(2).commit);
}

#[test]
fn r22_c01_c02_one_change_at_a_time_and_none_before_the_first_commit() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.timeout(1);
    for _ in 0..2 {
        cluster.deliver(1, 2);
        cluster.deliver(2, 1);
    }
    assert_eq!((cluster.status(1).role, cluster.status(1).commit), (Role::Leader, Index(0)));
    let early = cluster.change(1, MembershipChange::Remove(NodeId(3)));
    assert_eq!(cluster.answers.refused[&early], Refusal::Change(ChangeRefusal::NotYet));
    cluster.settle();
    let first = cluster.change(1, MembershipChange::Remove(NodeId(3)));
    let second = cluster.change(1, MembershipChange::Remove(NodeId(2)));
    assert!(cluster.answers.accepted.contains_key(&first));
    assert_eq!(cluster.answers.refused[&second], Refusal::Change(ChangeRefusal::Pending));
    cluster.settle();
    cluster.wait(50);
    let learner = |id| MembershipChange::AddLearner(NodeId(id));
    let (third, fourth) = (cluster.change(1, learner(4)), cluster.change(1, learner(5)));
    assert!(cluster.answers.accepted.contains_key(&third), "{:?}", cluster.answers.refused);
    assert_eq!(
        cluster.answers.refused[&fourth],
        Refusal::Change(ChangeRefusal::Pending),
        "learners alone are a change too"
    );
}

#[test]
fn r22_c10_a_learner_that_never_answered_is_not_promoted_and_never_counted() {
    let mut cluster = Cluster::new(&[1, 2]);
    cluster.elect(1);
    let add = cluster.change(1, MembershipChange::AddLearner(NodeId(3)));
    cluster.settle();
    assert!(cluster.answers.accepted.contains_key(&add));
    let promote = cluster.change(1, MembershipChange::Promote(NodeId(3)));
    assert_eq!(cluster.answers.refused[&promote], Refusal::Change(ChangeRefusal::NotCaughtUp(NodeId(3))));
    cluster.boot(3, Disk { hard: None, snapshot: birth(&[]), log: Vec::new() });
    assert_eq!(cluster.node(3).engine.poll_timeout(), None, "a node without a membership never campaigns");
    cluster.wait(100);
    cluster.crash(2);
    cluster.propose(1, "a");
    cluster.wait(50);
    assert!(cluster.status(1).commit < cluster.status(1).last.index, "a learner's disk does not count");
}

#[test]
fn r22_c07_a_joint_membership_is_left_by_whoever_leads_next_even_by_the_same_node() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.elect(1);
    cluster.change(1, MembershipChange::Remove(NodeId(5)));
    // The joint entry reaches all and is committed; the entry that ends it stays at 1.
    for to in [2, 3, 4, 5] {
        cluster.deliver(1, to);
    }
    for from in [2, 3, 4, 5] {
        cluster.deliver(from, 1);
    }
    assert!(!cluster.status(1).membership.is_joint() && cluster.status(2).membership.is_joint());
    cluster.network.clear();
    cluster.now = cluster.now + Duration::from_millis(400);
    cluster.partition(&[vec![1], vec![2, 3, 4, 5]]);
    cluster.timeout(2);
    for _ in 0..2 {
        for peer in [3, 4, 5] {
            cluster.deliver(2, peer);
            cluster.deliver(peer, 2);
        }
    }
    assert_eq!(cluster.status(2).role, Role::Leader);
    // 2 brings its no-op to 1 alone, which cuts 1's entry, and dies; 1 is elected again.
    cluster.cut.clear();
    cluster.network.clear();
    cluster.timeout(2);
    for _ in 0..3 {
        cluster.deliver(2, 1);
        cluster.deliver(1, 2);
    }
    assert!(cluster.status(1).membership.is_joint(), "back in the joint one: {:?}", cluster.log(1));
    cluster.crash(2);
    cluster.network.clear();
    cluster.now = cluster.now + Duration::from_millis(400);
    cluster.elect(1);
    cluster.wait(100);
    for id in [1, 3, 4] {
        assert!(!cluster.status(id).membership.is_joint(), "{id}: {:?}", cluster.log(id));
    }
}

#[test]
fn r22_a_membership_that_replaces_another_at_the_same_index_is_told() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let with = |term, voters: &[u64]| Message::AppendEntries {
        term: Epoch(term),
        prev: Position::ZERO,
        commit: Index(0),
        entries: vec![Entry::new(
            Epoch(term),
            Index(1),
            Payload::Membership(Membership::new(voters.iter().copied().map(NodeId), [])),
        )],
    };
    hear(&mut cluster, 1, 2, with(1, &[1, 2, 3, 4]));
    hear(&mut cluster, 1, 3, with(2, &[1, 2, 3, 5]));
    // `Cluster::step` compares what was told with what is in force.
    assert!(cluster.node(1).told_membership.is_voter(NodeId(5)));
}

#[test]
fn r22_voters_that_are_left_behind_campaign_while_only_they_have_the_entry_that_leaves_them() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4]);
    cluster.elect(1);
    cluster.change(1, MembershipChange::Set { voters: vec![NodeId(3), NodeId(4)], learners: vec![] });
    for to in [2, 3, 4] {
        cluster.deliver(1, to);
        cluster.deliver(to, 1);
    }
    assert!(!cluster.status(1).membership.is_joint(), "the entry that ends it is appended at 1");
    // It reaches 2, which leaves, and nobody else; then 1 dies.
    cluster.drop(1, 3);
    cluster.drop(1, 4);
    cluster.deliver(1, 2);
    cluster.crash(1);
    assert!(cluster.status(3).membership.is_joint() && !cluster.status(2).membership.is_voter(NodeId(2)));
    cluster.restart(1);
    cluster.wait(3000);
    let leader = cluster.status(3).leader.expect("a leader: 1 or 2 finish what they began");
    assert!([3, 4].contains(&leader.0), "{leader}");
    assert_eq!(cluster.status(3).membership.voters(), [NodeId(3), NodeId(4)]);
    assert_eq!(cluster.status(3).commit, cluster.status(4).commit);
}

#[test]
fn r23_a_leader_without_a_quorum_steps_down() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.partition(&[vec![1], vec![2], vec![3]]);
    cluster.wait(700);
    assert_ne!(cluster.status(1).role, Role::Leader);
    assert!(cluster.gave(1, "leader_steps_down_without_quorum"));
}

#[test]
fn r25_a_follower_that_restarts_in_an_idle_cluster_learns_what_is_committed() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.settle();
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!(cluster.status(3).commit, Index(0));
    cluster.wait(120);
    assert_eq!(
        (cluster.status(3).epoch, cluster.status(3).commit),
        (Epoch(1), Index(2)),
        "nobody wrote meanwhile"
    );
}

/// {1 and 2 become 1 alone while a read at 1 waits for 2's word, and 2's word is lost}: nobody else is left to confirm anything.
#[test]
fn r17_reads_that_wait_are_served_by_the_quorum_of_the_membership_in_force() {
    let mut cluster = Cluster::new(&[1, 2]);
    cluster.elect(1);
    cluster.settle();
    let waits = cluster.read(1);
    cluster.network.clear();
    let waits_for_the_next_round = cluster.read(1);
    cluster.change(1, MembershipChange::Set { voters: vec![NodeId(1)], learners: vec![] });
    cluster.settle();
    assert_eq!(cluster.status(1).membership.voters(), [NodeId(1)]);
    assert!(cluster.answers.safe.contains_key(&waits));
    assert!(cluster.answers.safe.contains_key(&waits_for_the_next_round));
}

/// {All are cut off from each other after a restart}: each still applies what it knew to be committed, and not what it only has.
#[test]
fn r25_a_node_that_starts_knows_what_it_knew_to_be_committed() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.settle();
    cluster.propose(1, "b");
    cluster.settle();
    let before = cluster.status(1);
    assert_eq!((before.commit, before.last.index), (Index(3), Index(3)));
    for id in [1, 2, 3] {
        cluster.crash(id);
        cluster.restart(id);
    }
    cluster.partition(&[vec![1], vec![2], vec![3]]);
    for id in [1, 2, 3] {
        cluster.timeout(id);
        // That "b" was committed is written with whatever is written next.
        assert_eq!(cluster.status(id).commit, Index(2), "node {id}");
    }
}

/// A follower writes the vote for a later term while the entries that replace its tail are not durable: what it says of its commit index holds for the log on
/// its disk, not for the one in memory.
#[test]
fn r25_a_commit_index_is_never_written_ahead_of_the_durable_log() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let entry = |epoch: u64, index: u64| Entry::new(Epoch(epoch), Index(index), Payload::Noop);
    let hard = HardState { term: Epoch(1), vote: None, commit: Index(1) };
    let log = vec![entry(1, 1), entry(1, 2), entry(1, 3)];
    cluster.boot(2, Disk { hard: Some(hard), snapshot: birth(&[1, 2, 3]), log });
    cluster.nodes.get_mut(&NodeId(2)).expect("a node").slow = true;
    hear(&mut cluster, 2, 1, append(2, (1, 1), 3, &[2, 2]));
    assert_eq!(cluster.status(2).commit, Index(3));
    let vote = Message::RequestVote { term: Epoch(3), last: Position::new(2, 3), transfer: true };
    hear(&mut cluster, 2, 3, vote);
    let written = cluster.node(2).writes.iter().filter_map(|persist| persist.hard_state);
    assert!(written.clone().count() > 0);
    assert!(written.clone().all(|hard| hard.commit == Index(1)), "{:?}", written.collect::<Vec<_>>());
}

#[test]
fn r05_a08_a_pre_vote_of_a_node_that_lags_behind_in_terms_counts() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let hard = HardState { term: Epoch(5), vote: Some(NodeId(1)), commit: Index(0) };
    cluster.boot(1, Disk { hard: Some(hard), snapshot: birth(&[1, 2, 3]), log: Vec::new() });
    cluster.crash(3);
    cluster.timeout(1);
    cluster.settle();
    assert_eq!((cluster.status(1).role, cluster.status(1).epoch), (Role::Leader, Epoch(6)));
}

#[test]
fn a10_a_late_pre_vote_starts_no_second_campaign() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.timeout(1);
    let early = |round| Message::PreVoteReply { term: Epoch(0), round, granted: true };
    cluster.timeout(1);
    hear(&mut cluster, 1, 2, early(1));
    assert_eq!(cluster.status(1).role, Role::PreCandidate, "that was another round");
    hear(&mut cluster, 1, 2, early(2));
    assert_eq!(cluster.status(1).role, Role::Candidate);
    cluster.settle();
    let term = cluster.status(1).epoch;
    hear(&mut cluster, 1, 3, early(2));
    assert_eq!((cluster.status(1).role, cluster.status(1).epoch), (Role::Leader, term));
}

#[test]
fn r06_a_candidate_recognises_the_leader_of_its_term() {
    let mut cluster = Cluster::with(Config { pre_vote: false, ..Config::default() }, &[1, 2, 3]);
    cluster.timeout(1);
    assert_eq!((cluster.status(1).role, cluster.status(1).epoch), (Role::Candidate, Epoch(1)));
    hear(&mut cluster, 1, 2, append(1, (0, 0), 0, &[1]));
    assert_eq!((cluster.status(1).role, cluster.status(1).leader), (Role::Follower, Some(NodeId(2))));
}

#[test]
fn a01_a_vote_of_an_older_term_does_not_count() {
    let mut cluster = Cluster::with(Config { pre_vote: false, ..Config::default() }, &[1, 2, 3]);
    cluster.timeout(1);
    cluster.timeout(1);
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = true;
    cluster.timeout(1);
    hear(&mut cluster, 1, 3, Message::VoteReply { term: Epoch(1), granted: true });
    cluster.sync(1);
    assert_eq!((cluster.status(1).role, cluster.status(1).epoch), (Role::Candidate, Epoch(3)));
}

#[test]
fn r11_b23_a_follower_acknowledges_what_is_on_its_disk() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.nodes.get_mut(&NodeId(2)).unwrap().slow = true;
    cluster.propose(1, "a");
    cluster.deliver(1, 2);
    assert_eq!(last_said(&cluster, 2, 1), None);
    cluster.sync(2);
    assert_eq!(
        last_said(&cluster, 2, 1),
        Some(Message::AppendAccepted { term: Epoch(1), matched: Index(2) })
    );
}

#[test]
fn b07_b10_a_conflict_is_replaced_in_one_write_and_a_late_completion_attests_nothing_of_it() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.nodes.get_mut(&NodeId(1)).unwrap().slow = true;
    hear(&mut cluster, 1, 2, append(1, (0, 0), 0, &[1, 1]));
    hear(&mut cluster, 1, 3, append(2, (1, 1), 0, &[2]));
    assert_eq!(cluster.status(1).last, Position::new(2, 2));
    while cluster.log(1).is_empty() {
        assert!(cluster.sync_one(1));
    }
    assert_eq!(
        (cluster.log(1).len(), cluster.status(1).durable),
        (2, Index(1)),
        "index 2 is another entry by now"
    );
    while cluster.sync_one(1) {
        assert_eq!(cluster.log(1).len(), 2, "cut and appended in one write");
    }
    assert_eq!((cluster.log(1)[1].as_str(), cluster.status(1).durable), ("2:2", Index(2)));
}

#[test]
fn b04_a_reordered_acknowledgement_takes_nothing_back() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.settle();
    hear(&mut cluster, 1, 2, Message::AppendAccepted { term: Epoch(1), matched: Index(1) });
    assert_eq!(cluster.status(1).matched[&NodeId(2)], Index(2));
}

#[test]
fn b28_a_repeated_message_puts_a_command_into_the_log_once() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.propose(2, "once");
    let again = last_said(&cluster, 2, 1).unwrap();
    hear(&mut cluster, 1, 2, again);
    cluster.settle();
    assert_eq!(cluster.log(1), ["1:", "1:once"]);
}

#[test]
fn r14_b03_a_commit_index_never_falls() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    hear(&mut cluster, 1, 2, append(1, (0, 0), 2, &[1, 1]));
    hear(&mut cluster, 1, 2, append(1, (1, 2), 1, &[1]));
    assert_eq!(cluster.status(1).commit, Index(2));
}

#[test]
fn r17_e05_a_lease_runs_from_when_its_round_was_sent() {
    let lease = Some(Lease { clock_error: Duration::from_millis(10) });
    let mut cluster = Cluster::with(Config { lease, ..Config::default() }, &[1, 2, 3]);
    cluster.wait(1000);
    let leader = cluster.status(1).leader.unwrap().0;
    // One round, whose answers take 130 ms; then another 20 ms.
    while cluster.network.is_empty() {
        cluster.timeout(leader);
    }
    cluster.now = cluster.now + Duration::from_millis(130);
    cluster.settle();
    cluster.now = cluster.now + Duration::from_millis(20);
    let read = cluster.read(leader);
    assert!(!cluster.answers.safe.contains_key(&read), "150 ms after it was sent the round promises nothing");
}

#[test]
fn a_limit_refuses_and_the_first_proposal_always_passes() {
    let config = Config { uncommitted_bytes_max: 60, command_bytes_max: 100, ..Config::default() };
    let mut cluster = Cluster::with(config, &[1, 2, 3]);
    cluster.elect(1);
    let first = cluster.propose(1, &"x".repeat(100));
    let second = cluster.propose(1, "y");
    assert!(cluster.answers.accepted.contains_key(&first));
    assert_eq!(cluster.answers.refused[&second], Refusal::Overloaded { uncommitted_bytes_max: 60 });
    cluster.settle();
    let third = cluster.propose(1, "z");
    assert!(cluster.answers.accepted.contains_key(&third));
}

/// Whatever a peer says, however absurd, is refused or ignored; and nothing committed changes.
#[test]
fn hostile_messages_never_panic() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.elect(1);
    cluster.propose(1, "a");
    cluster.settle();
    let mut random = quorate_consensus::Random::new(11);
    let odd = [0, 1, 2, 3, 5, 7, 1 << 33, u64::MAX - 1, u64::MAX];
    for _ in 0..200_000 {
        let mut pick = || odd[random.below(odd.len() as u64) as usize];
        let (term, at, other) = (Epoch(pick().min(1 << 34)), Position::new(pick(), pick()), pick());
        let entries = vec![Entry::new(Epoch(pick()), Index(pick()), Payload::Noop)];
        let meta = SnapshotMeta {
            position: at,
            membership: Membership::new([NodeId(1), NodeId(9)], []),
            membership_at: Index(other),
            size_bytes: other,
            digest: 0,
        };
        let (commit, round, nonce) = (Index(other), other, other);
        let message = match pick() % 7 + u64::from(pick() > 4) * 7 {
            0 => Message::PreVote { term, last: at, round },
            1 => Message::PreVoteReply { term, round, granted: true },
            2 => Message::RequestVote { term, last: at, transfer: true },
            3 => Message::VoteReply { term, granted: true },
            4 => Message::AppendEntries { term, prev: at, commit, entries },
            5 => Message::AppendAccepted { term, matched: commit },
            6 => Message::AppendRejected { term, prev: commit, hint: at },
            7 => Message::Heartbeat { term, commit, round },
            8 => Message::HeartbeatReply { term, round, verified: commit },
            9 => Message::Commit { term, commit },
            10 if at.index.0 < 1 << 40 => Message::InstallSnapshot { term, meta },
            11 => Message::TimeoutNow { term },
            12 => Message::Forward { term, nonce, sequence: other, proposals: vec![] },
            _ => Message::ReadIndexReply {
                term,
                nonce,
                id: quorate_consensus::ReadId(other),
                index: Some(commit),
            },
        };
        let mut effects: Effects<Message, HardState> = Effects::default();
        let engine = &mut cluster.nodes.get_mut(&NodeId(1)).unwrap().engine;
        let from = NodeId(pick() % 4 + 1);
        let before = engine.status();
        engine.step(cluster.now, Input::Message { from, message }, &mut effects);
        engine.step(cluster.now, Input::Wake, &mut effects);
        assert!(engine.status().commit >= before.commit && engine.status().epoch >= before.epoch);
    }
}

/// Every planted bug is caught by the story named here; and without the plant the story is clean, or its own test would fail.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_caught_by_its_story() {
    let stories: &[(&str, &str, fn())] = &[
        ("A01", "I1", a01_a_vote_of_an_older_term_does_not_count),
        ("A02", "I15", r07_a02_a21_no_vote_leaves_or_counts_before_it_is_durable),
        ("A04", "I5", r07_one_vote_a_term_first_come_and_only_to_a_log_as_new),
        ("A08", "I20", r05_a08_a_pre_vote_of_a_node_that_lags_behind_in_terms_counts),
        ("A06", "I1", r06_a_candidate_recognises_the_leader_of_its_term),
        ("A17", "I20", r22_a17_a_voter_votes_for_one_that_its_own_membership_does_not_have),
        ("A10", "I21", a10_a_late_pre_vote_starts_no_second_campaign),
        ("A12", "I18", r23_a_leader_without_a_quorum_steps_down),
        ("A13", "I12", r22_c10_a_learner_that_never_answered_is_not_promoted_and_never_counted),
        ("A21", "I15", r07_a02_a21_no_vote_leaves_or_counts_before_it_is_durable),
        ("B02", "I7", r14_b02_a_follower_commits_only_what_its_leader_verified),
        ("B03", "I9", r14_b03_a_commit_index_never_falls),
        ("B04", "I11", b04_a_reordered_acknowledgement_takes_nothing_back),
        ("B06", "I6", r13_b06_b25_only_what_follows_is_taken_and_only_a_conflict_is_cut),
        (
            "B07",
            "I13",
            b07_b10_a_conflict_is_replaced_in_one_write_and_a_late_completion_attests_nothing_of_it,
        ),
        (
            "B10",
            "I15",
            b07_b10_a_conflict_is_replaced_in_one_write_and_a_late_completion_attests_nothing_of_it,
        ),
        ("B12", "I18", r17_e02_answers_to_an_earlier_round_do_not_confirm_a_later_read),
        ("B21", "I7", r11_b21_the_leader_counts_its_own_disk_like_any_other),
        ("B23", "I15", r11_b23_a_follower_acknowledges_what_is_on_its_disk),
        ("B25", "I4", r13_b06_b25_only_what_follows_is_taken_and_only_a_conflict_is_cut),
        ("B28", "X1", b28_a_repeated_message_puts_a_command_into_the_log_once),
        ("C01", "I12", r22_c01_c02_one_change_at_a_time_and_none_before_the_first_commit),
        ("C02", "I12", r22_c01_c02_one_change_at_a_time_and_none_before_the_first_commit),
        ("C10", "I7", r22_c10_a_learner_that_never_answered_is_not_promoted_and_never_counted),
        ("C11", "I12", r22_c10_a_learner_that_never_answered_is_not_promoted_and_never_counted),
        ("D02", "I4", r20_r21_the_same_term_snapshot_keeps_what_follows),
        ("D03", "I9", r20_r21_the_same_term_snapshot_keeps_what_follows),
        ("E01", "I18", r17_e01_a_read_waits_for_the_first_commit_of_the_term),
        ("E02", "I18", r17_e02_answers_to_an_earlier_round_do_not_confirm_a_later_read),
        ("E05", "I18", r17_e05_a_lease_runs_from_when_its_round_was_sent),
        ("E06", "I18", r17_e06_no_lease_after_timeout_now_has_left),
        ("G14", "I20", r05_g14_a_leader_learns_of_a_newer_term_from_a_peers_answer),
    ];
    for (plant, checker, story) in stories {
        quorate_consensus::hunt_plant(plant, checker, [()], |()| story());
    }
}
