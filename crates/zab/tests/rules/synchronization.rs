//! Synchronisation (rule Z06): history, epoch, acknowledgement, and what becomes of other histories.

use quorate_consensus::{Engine, Epoch, Index, Input, Membership, NodeId, Position, Role, SnapshotMeta};
use quorate_zab::{Config, HardState, Message, Packet};

use crate::{
    played::*,
    support::{Cluster, Disk, birth},
};

#[test]
pub(crate) fn z06_z7_z9_h01_h02_history_then_epoch_then_the_ack() {
    let mut played = Played::new(2);
    slow(&mut played.cluster, 1);
    played.stream(Packet::NewEpoch(Epoch(2)));
    played.cluster.sync_one(1);
    played.stream(Packet::Diff(Position::ZERO));
    played.propose(vec![entry(1, 1), entry(1, 2)], 0);
    let last = Position::new(1, 2);
    played.stream(Packet::NewLeader { epoch: Epoch(2), last });
    let current = |played: &Played| played.cluster.node(1).disk.hard.map(|hard| hard.current);
    let writes = played.cluster.node(1).writes.iter();
    assert!(
        writes.filter_map(|write| write.hard_state).all(|hard| hard.current == Epoch(0)),
        "H02: the epoch is written before the history is durable"
    );
    played.cluster.sync_one(1);
    assert_eq!((played.cluster.log(1).len(), current(&played)), (2, Some(Epoch(0))));
    assert!(!played.acknowledged(), "H01: acknowledged before the epoch is durable");
    played.cluster.sync_one(1);
    assert_eq!(current(&played), Some(Epoch(2)));
    assert!(played.acknowledged());
}

#[test]
pub(crate) fn z06_h08_a_new_leader_before_the_whole_history_ends_the_link() {
    let mut played = Played::new(2);
    played.stream(Packet::NewEpoch(Epoch(2)));
    played.stream(Packet::Diff(Position::ZERO));
    played.propose(vec![entry(1, 1)], 0);
    played.stream(Packet::NewLeader { epoch: Epoch(2), last: Position::new(1, 2) });
    assert!(played.started_again() && !played.acknowledged());
    assert_eq!(played.cluster.node(1).disk.hard.unwrap().current, Epoch(0));
}

#[test]
fn z06_packets_out_of_turn_end_the_link() {
    let new_leader = Packet::NewLeader { epoch: Epoch(2), last: Position::ZERO };
    let cases: [&[Packet]; 7] = [
        &[Packet::Diff(Position::ZERO)],
        &[Packet::NewEpoch(Epoch(2)), Packet::NewEpoch(Epoch(3))],
        &[Packet::NewEpoch(Epoch(2)), Packet::UpToDate(Index(0))],
        &[Packet::NewEpoch(Epoch(2)), new_leader.clone()],
        &[Packet::NewEpoch(Epoch(2)), Packet::Propose { entries: vec![entry(1, 1)], commit: Index(1) }],
        &[Packet::NewEpoch(Epoch(2)), Packet::Diff(Position::new(1, 1))],
        &[Packet::NewEpoch(Epoch(2)), Packet::Diff(Position::ZERO), Packet::UpToDate(Index(0))],
    ];
    for packets in cases {
        let mut played = Played::new(2);
        packets.iter().for_each(|packet| played.stream(packet.clone()));
        assert!(played.started_again(), "{packets:?}");
        assert_eq!(played.cluster.status(1).last, Position::ZERO);
    }
}

#[test]
fn z06_h11_a_trunc_cuts_what_differs_and_never_what_is_committed() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let log = vec![entry(1, 1), entry(1, 2), entry(1, 3)];
    boot(&mut cluster, 1, HardState { commit: Index(2), ..hard(1, 1) }, log);
    let mut played = Played::follow(cluster, 3, 2);
    played.stream(Packet::NewEpoch(Epoch(2)));
    played.stream(Packet::Trunc(Position::new(1, 1)));
    assert!(played.started_again());
    played.take_link();
    played.stream(Packet::NewEpoch(Epoch(2)));
    played.stream(Packet::Trunc(Position::new(1, 2)));
    assert_eq!(played.cluster.log(1), ["1:1.1", "1:1.2"]);
}

#[test]
fn z06_a_snap_never_takes_back_what_is_committed() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    boot(&mut cluster, 1, HardState { commit: Index(2), ..hard(1, 1) }, vec![entry(1, 1), entry(1, 2)]);
    let mut played = Played::follow(cluster, 3, 2);
    slow(&mut played.cluster, 1);
    played.stream(Packet::NewEpoch(Epoch(2)));
    played.cluster.sync(1);
    played.stream(Packet::Snap(SnapshotMeta { position: Position::new(1, 1), ..birth(&[1, 2, 3]) }));
    assert!(played.cluster.node(1).installing.is_none() && played.started_again());
}

/// ZOOKEEPER-1154: by index alone 1.2 and 2.2 are the same.
#[test]
pub(crate) fn z06_h11_a_joiner_with_another_end_is_truncated() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    boot(&mut cluster, 1, hard(1, 1), vec![entry(1, 1), entry(1, 2)]);
    for id in [2, 3] {
        boot(&mut cluster, id, hard(2, 2), vec![entry(1, 1), entry(2, 2)]);
    }
    cluster.elect();
    cluster.wait(100);
    assert_eq!(cluster.log(1), ["1:1.1", "2:2.2", "3:"]);
}

#[test]
pub(crate) fn z06_an_interrupted_snap_is_never_built_upon() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    boot(&mut cluster, 1, hard(1, 1), vec![entry(1, 1)]);
    let mut played = Played::follow(cluster, 3, 2);
    slow(&mut played.cluster, 1);
    let meta = SnapshotMeta { position: Position::new(1, 9), ..birth(&[1, 2, 3]) };
    played.stream(Packet::NewEpoch(Epoch(2)));
    played.cluster.sync(1);
    played.stream(Packet::Snap(meta));
    played.propose(vec![entry(1, 10)], 0);
    assert!(!played.started_again(), "what follows the snapshot waits for it");
    // The link dies while the snapshot is being put in place: no vote, and no history for another leader, from a state that is neither the old nor the new.
    played.cluster.step(1, Input::PeerUnreachable { peer: NodeId(3) });
    played.cluster.network.clear();
    hear(&mut played.cluster, 1, 2, looking(1, vote(0, (0, 0), 2)));
    hear(&mut played.cluster, 1, 2, leads(3, 2));
    assert!(said(&played.cluster, 1, 2).iter().all(|said| matches!(said, Message::FollowerInfo { .. })));
    assert_eq!(played.cluster.status(1).last, Position::new(1, 1));
    played.cluster.sync(1);
    assert_eq!(
        (played.cluster.status(1).last, played.cluster.status(1).commit),
        (Position::new(1, 9), Index(9))
    );
    assert_eq!(played.cluster.node(1).disk.hard.unwrap().current, Epoch(1), "no history of a new epoch");
}

#[test]
fn z06_h06_h13_live_proposals_wait_until_new_leader_is_queued_and_none_is_lost() {
    let config = Config { message_bytes_max: 1, inflight_messages_max: 2, ..Config::default() };
    let mut cluster = Cluster::with(config, &[1, 2, 3]);
    cluster.crash(1);
    assert_eq!(cluster.elect(), 3);
    for _ in 0..4 {
        cluster.propose(3, "history");
        cluster.settle();
    }
    slow(&mut cluster, 1);
    cluster.restart(1);
    cluster.timeout(1);
    let mut order = Vec::new();
    for round in 0..60 {
        if round % 5 == 0 {
            cluster.propose(3, "live");
            slow(&mut cluster, 1);
        }
        for message in said(&cluster, 3, 1) {
            match message {
                Message::Stream { packet: Packet::Propose { entries, .. }, .. } => {
                    order.extend(entries.iter().map(|entry| entry.position.index.0));
                }
                Message::Stream { packet: Packet::NewLeader { last, .. }, .. } => {
                    assert_eq!(order.last(), Some(&last.index.0), "the history, all of it, and no more");
                    order.push(0);
                }
                _ => {}
            }
        }
        cluster.deliver(3, 1);
        cluster.sync(1);
        for (a, b) in [(1, 3), (1, 2), (2, 3), (3, 2), (2, 1)] {
            cluster.deliver(a, b);
        }
    }
    let entries: Vec<u64> = order.iter().copied().filter(|index| *index > 0).collect();
    assert!(entries.windows(2).all(|pair| pair[1] == pair[0] + 1), "{order:?}");
    assert_eq!(order.iter().filter(|index| **index == 0).count(), 1, "{order:?}");
    cluster.settle();
    assert_eq!(cluster.log(1), cluster.log(3));
}

#[test]
fn z06_z7_a_leaders_own_history_is_durable_before_its_epoch_is_written() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    assert_eq!(cluster.elect(), 3);
    slow(&mut cluster, 2);
    for command in ["a", "b"] {
        cluster.propose(3, command);
        cluster.settle();
    }
    cluster.crash(3);
    for id in [1, 2] {
        cluster.step(id, Input::PeerUnreachable { peer: NodeId(3) });
    }
    // 2 has logged b and not yet synced it; it is as good as 1, and has the larger id.
    let pending = |cluster: &Cluster| cluster.node(2).writes.iter().any(|write| !write.append.is_empty());
    for _ in 0..40 {
        cluster.wait(5);
        let epoch =
            cluster.node(2).writes.iter().filter_map(|write| write.hard_state).map(|hard| hard.current).max();
        assert!(
            !(pending(&cluster) && epoch > Some(Epoch(1))),
            "the epoch is written before the history is durable"
        );
        cluster.sync_one(2);
    }
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn z06_an_observer_is_synchronised_once_the_history_is_committed() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    let meta = SnapshotMeta { membership: Membership::new([1, 2, 3].map(NodeId), [NodeId(4)]), ..birth(&[]) };
    cluster.boot(3, Disk { hard: Some(hard(1, 1)), snapshot: meta, log: vec![entry(1, 1)] });
    cluster.timeout(3);
    for from in [1, 2] {
        hear(&mut cluster, 3, from, looking(1, vote(1, (1, 1), 3)));
    }
    for node in [1, 4] {
        comes(&mut cluster, node, 0);
        promises(&mut cluster, node, 2, true);
    }
    assert!(was_sent(&cluster, 1, |p| matches!(p, Packet::Propose { .. })));
    assert!(!was_sent(&cluster, 4, |p| !matches!(p, Packet::NewEpoch(_))), "1.1 may not be committed");
    hear(&mut cluster, 3, 1, Message::Ack { link: link_of(1), durable: Index(1) });
    acknowledges(&mut cluster, 1, 2, 1);
    assert_eq!(cluster.status(3).role, Role::Leader);
    assert!(was_sent(&cluster, 4, |p| matches!(p, Packet::Inform(entries) if entries == &[entry(1, 1)])));
}

/// What 3's disk was told of the current epoch while the entry before it is not on it.
fn epoch_is_written_early(cluster: &Cluster) -> bool {
    cluster.node(3).writes.iter().filter_map(|write| write.hard_state).any(|hard| hard.current == Epoch(2))
}

/// A slow disk holds back the end of the history; the promises of a quorum of others come all the same, however they came by them.
#[test]
fn z06_z7_h02_a_leader_writes_its_current_epoch_when_its_history_is_durable_and_not_before() {
    let mut cluster = Cluster::new(&[1, 2, 3, 4, 5]);
    cluster.boot(3, Disk { hard: Some(hard(1, 1)), snapshot: birth(&[1, 2, 3, 4, 5]), log: vec![] });
    hear(&mut cluster, 3, 5, leads(1, 5));
    let link = last_said(&cluster, 3, 5).and_then(|message| match message {
        Message::FollowerInfo { link, .. } => Some(link),
        _ => None,
    });
    let link = link.expect("a FOLLOWERINFO");
    slow(&mut cluster, 3);
    let packets = [
        Packet::NewEpoch(Epoch(1)),
        Packet::Diff(Position::ZERO),
        Packet::Propose { entries: vec![entry(1, 1)], commit: Index(0) },
    ];
    for (sequence, packet) in (0..).zip(packets) {
        hear(&mut cluster, 3, 5, Message::Stream { link, sequence, packet });
    }
    cluster.step(3, Input::PeerUnreachable { peer: NodeId(5) });
    for from in [1, 2, 4, 5] {
        hear(&mut cluster, 3, from, looking(10, vote(1, (1, 1), 3)));
    }
    assert_eq!(cluster.status(3).role, Role::Candidate);
    for node in [1, 2, 4] {
        comes(&mut cluster, node, 1);
    }
    for node in [1, 2, 4] {
        promises(&mut cluster, node, 2, true);
    }
    assert!(!epoch_is_written_early(&cluster), "1.1 is not on the disk yet");
    cluster.sync_one(3);
    assert_eq!(cluster.log(3), ["1:1.1"]);
    assert!(epoch_is_written_early(&cluster), "now it may be");
}

#[test]
fn z06_a_node_whose_state_is_being_replaced_neither_stands_for_election_nor_answers() {
    let mut cluster = Cluster::new(&[1, 2, 3]);
    boot(&mut cluster, 1, hard(1, 1), vec![entry(1, 1)]);
    let mut played = Played::follow(cluster, 3, 2);
    slow(&mut played.cluster, 1);
    played.stream(Packet::NewEpoch(Epoch(2)));
    played.cluster.sync(1);
    played.stream(Packet::Snap(SnapshotMeta { position: Position::new(1, 9), ..birth(&[1, 2, 3]) }));
    let mut cluster = played.cluster;
    cluster.network.clear();
    cluster.step(1, Input::PeerUnreachable { peer: NodeId(3) });
    cluster.step(1, Input::Wake);
    assert_eq!(cluster.node(1).engine.poll_timeout(), None, "it waits for its disk alone");
    assert!(cluster.network.is_empty(), "it stands: {:?}", cluster.network);
    // Asked, in an older round and in a newer one, by who looks and by who would follow it.
    for round in [1, 99] {
        hear(&mut cluster, 1, 2, looking(round, vote(0, (0, 0), 2)));
    }
    hear(&mut cluster, 1, 2, Message::FollowerInfo { link: link_of(2), accepted: Epoch(2) });
    cluster.step(1, Input::Wake);
    assert!(cluster.network.is_empty(), "it answers: {:?}", cluster.network);
    // When the snapshot is in place, it stands with what that holds.
    cluster.sync(1);
    cluster.timeout(1);
    let stands = looking(10, vote(1, (1, 9), 1));
    assert_eq!(last_said(&cluster, 1, 2), Some(stands));
}
