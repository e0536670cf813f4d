//! Rules of ordinary days, each by the smallest story that shows it: how nodes start, how a leader breaks its silence, how an epoch begins, and what is not said.

mod support;

use quorate_consensus::{Duration, Engine, Epoch, Index, Input, MembershipChange, NodeId, Role};
use quorate_zab::{Config, Message, Packet};
use support::{Cluster, Disk, birth};

fn sent(cluster: &Cluster, from: u64, to: u64) -> Vec<&Message> {
    let between = cluster.network.iter().filter(|(a, b, _)| (a.0, b.0) == (from, to));
    between.map(|(_, _, message)| message).collect()
}

#[test]
fn z02_every_node_starts_and_starts_again_looking() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert!([1, 2, 3].iter().all(|id| cluster.status(*id).role == Role::PreCandidate));
    assert_eq!(cluster.elect(), 3);
    cluster.crash(3);
    cluster.restart(3);
    let status = cluster.status(3);
    assert_eq!((status.role, status.epoch, status.leader), (Role::PreCandidate, Epoch(1), None));
    // Also alone, where nobody could object, it leads again only in an epoch of its own.
    let mut alone = Cluster::new(&[1]);
    assert_eq!(alone.elect(), 1);
    alone.crash(1);
    alone.restart(1);
    assert_eq!(alone.elect(), 1);
    assert_eq!(alone.status(1).epoch, Epoch(2));
    assert_eq!(alone.log(1), ["1:", "2:"]);
}

#[test]
fn z08_silence_is_broken_at_the_heartbeat_interval_and_not_more_often() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    let mut beats = Vec::new();
    for _ in 0..1000 {
        cluster.now = cluster.now + Duration::from_millis(1);
        for id in [1, 2, 3] {
            if cluster.node(id).engine.poll_timeout().is_some_and(|at| at <= cluster.now) {
                cluster.step(id, Input::Wake);
            }
        }
        let said = sent(&cluster, 3, 1);
        assert!(said.iter().all(|message| matches!(message, Message::Ping { .. })), "{said:?}");
        if !said.is_empty() {
            assert_eq!(said.len(), 1);
            beats.push(cluster.now);
        }
        cluster.settle();
    }
    let gaps: Vec<_> = beats.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(gaps.len() >= 18, "{} beats in a second", beats.len());
    assert!(gaps.iter().all(|gap| *gap == Config::default().heartbeat_interval), "{gaps:?}");
}

#[test]
fn z08_only_silence_ends_a_lead_and_a_dead_leader_is_replaced_within_two_timeouts() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.wait(3_000);
    assert_eq!((cluster.status(3).role, cluster.status(3).epoch), (Role::Leader, Epoch(1)));
    cluster.crash(3);
    let mut waited = 0;
    while cluster.leader().is_none() {
        cluster.wait(1);
        waited += 1;
    }
    println!("replaced after {waited} ms");
    assert!(waited <= 2 * 300, "{waited} ms");
}

#[test]
fn q10_a_closed_connection_to_the_leader_is_noticed_at_once() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.crash(3);
    let before = cluster.now;
    for id in [1, 2] {
        cluster.step(id, Input::PeerUnreachable { peer: NodeId(3) });
    }
    cluster.settle();
    while cluster.leader().is_none() {
        cluster.wait(1);
    }
    let waited = cluster.now.since(before);
    println!("replaced after {waited:?}");
    assert!(waited <= Config::default().heartbeat_interval, "{waited:?}: no timeout is waited for");
}

#[test]
fn n03_a_proposal_leaves_at_once_and_not_with_the_next_ping() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    let before = cluster.now;
    cluster.propose(3, "a");
    for peer in [1, 2] {
        let proposes = |message: &&&Message| matches!(message, Message::Stream { packet: Packet::Propose { entries, .. }, .. } if entries.len() == 1);
        assert_eq!(sent(&cluster, 3, peer).iter().filter(proposes).count(), 1, "to {peer}");
    }
    cluster.settle();
    assert_eq!(cluster.status(3).commit, Index(2), "committed within the same instant");
    assert_eq!(cluster.now, before);
    // One ACK answers what one sync made durable, one COMMIT tells: nothing more is said.
    cluster.propose(3, "b");
    let mut said = Vec::new();
    while let Some((from, to, message)) = cluster.network.pop_front() {
        said.push((from.0, to.0));
        cluster.step(to.0, Input::Message { from, message });
    }
    said.sort_unstable();
    assert_eq!(said, [(1, 3), (2, 3), (3, 1), (3, 1), (3, 2), (3, 2)]);
}

#[test]
fn q01_a_new_leader_commits_what_it_found_without_a_clients_help() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    // A proposal reaches everyone, and nobody hears that it is committed.
    cluster.propose(3, "a");
    cluster.deliver(3, 1);
    cluster.deliver(3, 2);
    cluster.crash(3);
    assert_eq!(cluster.status(2).commit, Index(1));
    assert_eq!(cluster.elect(), 2);
    assert_eq!(cluster.log(2), ["1:", "1:a", "2:"]);
    assert_eq!(cluster.status(2).commit, Index(3));
}

#[test]
fn z07_q11_an_observer_hears_inform_and_nothing_of_what_is_only_proposed() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    cluster.boot(4, Disk { hard: None, snapshot: birth(&[]), log: vec![] });
    assert_eq!(cluster.elect(), 3);
    cluster.change(3, MembershipChange::AddLearner(NodeId(4)));
    cluster.wait(100);
    cluster.propose(3, "a");
    assert!(sent(&cluster, 3, 4).is_empty(), "not yet committed");
    cluster.deliver(3, 1);
    cluster.deliver(1, 3);
    let informs = |message: &&&Message| matches!(message, Message::Stream { packet: Packet::Inform(_), .. });
    assert_eq!(sent(&cluster, 3, 4).iter().filter(informs).count(), 1);
    cluster.settle();
    assert_eq!(cluster.status(4).commit, Index(3));
}

#[test]
fn r25_a_member_that_restarts_into_an_idle_ensemble_learns_what_is_committed() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    cluster.propose(3, "a");
    cluster.settle();
    cluster.crash(1);
    cluster.restart(1);
    cluster.wait(100);
    assert_eq!((cluster.status(1).commit, cluster.status(1).leader), (Index(2), Some(NodeId(3))));
}
